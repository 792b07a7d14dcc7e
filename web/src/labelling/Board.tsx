import { useLayoutEffect, useRef } from "react";
import { useWords } from "@/i18n";
import { letter, type Places } from "./ranking";
import { useDrag } from "./useDrag";

type Props = {
  places: Places;
  selected: number | null;
  disabled: boolean;
  onSelect: (answer: number) => void;
  onPut: (answer: number, place: number | null) => void;
};

/** Where answers are put in order: a box for each place, the best first, and one for what is not ranked yet. */
export function Board({ places, selected, disabled, onSelect, onPut }: Props) {
  const say = useWords().labelling.compare;
  const root = useRef<HTMLDivElement>(null);
  const { dragged, over, handlers } = useDrag((answer, place) => !disabled && onPut(answer, place));
  const held = useRef(false);

  // A chip that has moved to another box is another element: the focus goes along.
  useLayoutEffect(() => {
    if (held.current && selected !== null)
      root.current?.querySelector<HTMLElement>(`[data-chip="${selected}"]`)?.focus();
  });

  const box = (place: number | null, label: string, described: string) => (
    // biome-ignore lint/a11y/useKeyWithClickEvents: keys put answers into boxes as well
    // biome-ignore lint/a11y/useSemanticElements: a fieldset is for forms
    <div
      key={place}
      role="group"
      aria-label={described}
      className={place === null ? "box tray" : "box"}
      data-place={place ?? ""}
      data-over={over !== undefined && over === place ? "" : undefined}
      onClick={(event) => {
        if (event.target === event.currentTarget && selected !== null) onPut(selected, place);
      }}
    >
      <span aria-hidden="true">{label}</span>
      {places.map(
        (at, answer) =>
          at === place && (
            <button
              // biome-ignore lint/suspicious/noArrayIndexKey: an answer is called by its place
              key={answer}
              type="button"
              className="chip"
              data-chip={answer}
              aria-pressed={selected === answer}
              aria-label={say.chip(letter(answer))}
              disabled={disabled}
              onFocus={() => {
                held.current = true;
                onSelect(answer);
              }}
              onBlur={(event) => {
                if (event.relatedTarget) held.current = false;
              }}
              {...handlers(answer)}
              {...(dragged?.answer === answer && {
                "data-dragged": "",
                style: { translate: `${dragged.x}px ${dragged.y}px` },
              })}
            >
              {letter(answer)}
            </button>
          ),
      )}
    </div>
  );

  const last = places.length - 1;
  return (
    <div ref={root} className="board">
      {places.map((_, place) =>
        box(
          place,
          [place + 1, place === 0 && say.best, place === last && say.worst].filter(Boolean).join(" "),
          say.placeOf(place + 1, places.length),
        ),
      )}
      {box(null, say.unranked, say.unranked)}
    </div>
  );
}
