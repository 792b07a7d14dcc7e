import { useEffect, useRef, useState } from "react";
import type { DemonstrationView } from "@/api/schema";
import { useWords } from "@/i18n";
import { useAnnounce } from "@/parts/Announcer";
import { Asking } from "@/parts/Asking";
import { Icon } from "@/parts/Icon";
import { demonstrationCalls, useWorkChanged } from "./data";
import { inserted, isWhole, turnsOf, withoutLast, withTurn, written } from "./dialogues";
import { GuidelinesBeside } from "./Guidelines";
import { Saved, Trouble, UndoButton } from "./Saving";
import { Suggestions } from "./Suggestions";
import { Turn } from "./Turn";
import { useSteps } from "./useSteps";
import { type Suggestion, useSuggestions } from "./useSuggestions";

/** A dialogue in which the trainer plays both sides; the model suggests how the assistant could go on. */
export function Demonstration({ work, onOver }: { work: DemonstrationView; onOver: () => void }) {
  const words = useWords();
  const say = words.labelling.write;
  const announce = useAnnounce();
  const changed = useWorkChanged();
  const [progress, steps] = useSteps(work, demonstrationCalls(work.id));
  const { view, value } = progress;
  const turns = turnsOf(value);
  const [active, setActive] = useState(turns.length - 1);
  const [throwing, setThrowing] = useState(false);
  const root = useRef<HTMLElement>(null);
  const turn = turns[active];
  const answering = turn?.role === "assistant" && turns.slice(0, active).every(({ content }) => content.trim());
  const suggestions = useSuggestions(work.id, answering ? turns.slice(0, active) : null, turn?.content ?? "");
  const open = view.state === "open";

  // biome-ignore lint/correctness/useExhaustiveDependencies: once
  useEffect(() => {
    if (open) return;
    if (view.state === "submitted") announce(words.labelling.handedIn);
    changed();
    onOver();
  }, [open]);

  const focus = (number: number) =>
    requestAnimationFrame(() => {
      const area = root.current?.querySelectorAll("textarea")[number];
      area?.focus();
      area?.setSelectionRange(area.value.length, area.value.length);
    });
  const goOn = () => {
    steps.change(withTurn(value));
    focus(turns.length);
  };
  const insert = (suggestion: Suggestion, text: string) => {
    if (!suggestion.id) return;
    steps.change(inserted(value, active, text, suggestion.id));
    announce(say.inserted);
    focus(active);
  };
  const last = turns.at(-1);
  return (
    <main ref={root} className="writing">
      <div className="paper">
        <h1>{say.title}</h1>
        <p className="note">{say.bothSides}</p>
        <ol className="turns">
          {turns.map(({ role, content }, number) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: a turn is what stands at its place
            <li key={number}>
              <Turn
                role={role}
                text={content}
                autoFocus={turns.length === 1}
                onFocus={() => setActive(number)}
                onType={(text) => steps.type(written(value, number, text))}
                onEnd={() => (number < turns.length - 1 ? focus(number + 1) : content.trim() && goOn())}
                onTake={(choice) => {
                  const suggestion = suggestions.found[choice];
                  if (number === active && suggestion) insert(suggestion, suggestion.text);
                }}
              />
              {number === active && answering && (
                <Suggestions suggestions={suggestions} begun={content} onInsert={insert} />
              )}
            </li>
          ))}
        </ol>
        <div className="choices between-turns">
          {turns.length > 1 && (
            <button type="button" className="quiet small" onClick={() => steps.change(withoutLast(value))}>
              {say.removeLast}
            </button>
          )}
          <button type="button" className="plain" disabled={!last?.content.trim()} onClick={goOn}>
            <Icon name="plus" /> {last?.role === "user" ? say.nextAssistant : say.nextPerson}
          </button>
        </div>
        <section className="desk" aria-label={say.title}>
          <Trouble progress={progress} onNext={onOver} />
          <div className="doing">
            <UndoButton disabled={view.undo_steps === 0 && progress.saved} onUndo={() => steps.undo()} />
            <button type="button" className="plain" onClick={() => setThrowing(true)}>
              {say.throwAway}
            </button>
            <Saved progress={progress} />
            <button type="button" className="main" disabled={!isWhole(value) || !open} onClick={() => steps.submit()}>
              {words.labelling.submit}
            </button>
          </div>
        </section>
      </div>
      <GuidelinesBeside kind="demonstrations" />
      {throwing && (
        <Asking
          title={say.throwTitle}
          verb={say.throwAway}
          danger
          onClose={() => setThrowing(false)}
          onDo={async () => steps.skip("")}
        >
          <p>{say.throwText}</p>
        </Asking>
      )}
    </main>
  );
}
