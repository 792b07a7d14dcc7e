import { type KeyboardEvent, useEffect, useRef, useState } from "react";
import type { AnswerMarks, ComparisonView } from "@/api/schema";
import { useWords } from "@/i18n";
import { useAnnounce } from "@/parts/Announcer";
import { AnswerCard } from "./AnswerCard";
import { Board } from "./Board";
import { Dialogue } from "./Dialogue";
import { comparisonCalls } from "./data";
import { GuidelinesButton } from "./Guidelines";
import { Keys } from "./Keys";
import { letter, moved, placesOf, sameTiers, tiersOf } from "./ranking";
import { Saved, Trouble, UndoButton } from "./Saving";
import { SkipButton } from "./SkipButton";
import { useLease } from "./useLease";
import { useSteps } from "./useSteps";

const NO_MARKS: AnswerMarks = { helpful: null, truthful: null, harmless: null, flags: [] };

/** `onOver` is told how it ended. */
type Props = { work: ComparisonView; onOver: (state: ComparisonView["state"]) => void };

/** Answers to one conversation, to be ranked. */
export function Comparison({ work, onOver }: Props) {
  const words = useWords();
  const say = words.labelling.compare;
  const announce = useAnnounce();
  const [progress, steps] = useSteps(work, comparisonCalls(work.id));
  const { view, value } = progress;
  const { answers, messages, state } = view;
  const count = answers.length;
  const [board, setBoard] = useState(() => placesOf(value.tiers ?? [], count));
  const [selected, setSelected] = useState<number | null>(null);
  const root = useRef<HTMLElement>(null);
  const asleep = useLease(view.leased_until);
  // The board may have gaps, which are not saved; after a step back it is what was saved.
  const places = sameTiers(tiersOf(board), value.tiers ?? []) ? board : placesOf(value.tiers ?? [], count);
  const complete = value.all_bad || places.every((place) => place !== null);
  const open = state === "open";

  useEffect(() => root.current?.focus(), []);
  // biome-ignore lint/correctness/useExhaustiveDependencies: once
  useEffect(() => {
    if (state === "submitted" || state === "skipped") onOver(state);
  }, [state]);

  const put = (answer: number, place: number | null) => {
    setSelected(answer);
    if (!open || places[answer] === place) return;
    const next = places.with(answer, place);
    setBoard(next);
    steps.change({ ...value, tiers: tiersOf(next) });
    const tied = next.flatMap((at, other) => (other !== answer && at === place ? [letter(other)] : []));
    announce(place === null ? say.takenOut(letter(answer)) : say.placed(letter(answer), place + 1, tied.join(", ")));
  };
  const mark = (answer: number, change: AnswerMarks) => {
    const marks = value.marks?.length ? value.marks : answers.map(() => NO_MARKS);
    steps.change({ ...value, marks: marks.with(answer, { ...NO_MARKS, ...marks[answer], ...change }) });
  };
  const allBad = () => steps.change({ ...value, all_bad: !value.all_bad });
  const submit = () => open && complete && steps.submit();
  const canUndo = view.undo_steps > 0 || !progress.saved;

  const onKeyDown = (event: KeyboardEvent) => {
    if ((event.target as Element).closest("dialog")) return;
    const inText = event.target instanceof HTMLTextAreaElement;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) submit();
    else if (inText || event.ctrlKey || event.metaKey || event.altKey) return;
    else if (event.key === "u" && canUndo) steps.undo();
    else if (event.key === "x") allBad();
    else if (/^[a-i]$/.test(event.key) && event.key.charCodeAt(0) - 97 < count) choose(event.key.charCodeAt(0) - 97);
    else if (selected === null) return;
    else if (/^[1-9]$/.test(event.key) && Number(event.key) <= count) put(selected, Number(event.key) - 1);
    else if (event.key === "Backspace" || event.key === "Delete" || event.key === "0") put(selected, null);
    else if (onChip(event) && event.key in ARROWS) put(selected, moved(places[selected] ?? null, arrow(event), count));
    else return;
    event.preventDefault();
  };
  const choose = (answer: number) => root.current?.querySelector<HTMLElement>(`[data-chip="${answer}"]`)?.focus();

  return (
    <main ref={root} className="ranking" tabIndex={-1} onKeyDown={onKeyDown}>
      <h1 className="unseen">{say.tab}</h1>
      <section className="talk" aria-label={words.conversation}>
        <div className="head">
          <h2>{words.conversation}</h2>
          <GuidelinesButton kind="comparisons" />
        </div>
        <Dialogue messages={messages} />
      </section>
      <section className="answers" aria-label={say.answers}>
        {answers.map((answer, number) => (
          <AnswerCard
            // biome-ignore lint/suspicious/noArrayIndexKey: an answer is called by its place
            key={number}
            number={number}
            text={answer}
            place={places[number] ?? null}
            selected={selected === number}
            marks={value.marks?.[number] ?? NO_MARKS}
            onSelect={() => choose(number)}
            onMark={(change) => mark(number, change)}
          />
        ))}
        <label className="remark">
          {say.note}
          <textarea
            rows={2}
            dir="auto"
            maxLength={4000}
            value={value.note}
            onChange={(event) => steps.type({ ...value, note: event.target.value })}
          />
        </label>
      </section>
      <section className="desk" aria-label={say.board}>
        <Trouble progress={progress} onNext={() => onOver(state)} />
        {asleep && open && (
          <div className="notice filter" role="alert">
            <span>{say.asleep}</span>
            <button type="button" onClick={() => steps.renew()}>
              {say.goOn}
            </button>
          </div>
        )}
        <Board places={places} selected={selected} disabled={!open} onSelect={setSelected} onPut={put} />
        <Keys answers={count} />
        <div className="doing">
          <UndoButton disabled={!canUndo || !open} onUndo={() => steps.undo()} />
          <SkipButton disabled={!open} onSkip={(reason) => steps.skip(reason)} />
          <button
            type="button"
            className="plain"
            aria-pressed={value.all_bad ?? false}
            disabled={!open}
            onClick={allBad}
          >
            {say.allBad}
          </button>
          <Saved progress={progress} />
          <button type="button" className="main" disabled={!complete || !open} onClick={submit}>
            {words.labelling.submit}
          </button>
        </div>
      </section>
    </main>
  );
}

const ARROWS: Record<string, 1 | -1> = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1 };
const arrow = (event: KeyboardEvent) => ARROWS[event.key] ?? 1;
const onChip = (event: KeyboardEvent) => (event.target as HTMLElement).dataset.chip !== undefined;
