import { useWords } from "@/i18n";
import { sayFailure } from "@/parts/failure";
import { Icon } from "@/parts/Icon";
import { Notice } from "@/parts/Notice";
import { firstSentence } from "./dialogues";
import type { Suggestion, useSuggestions } from "./useSuggestions";

type Props = {
  suggestions: ReturnType<typeof useSuggestions>;
  /** What the trainer has written of the turn so far. */
  begun: string;
  onInsert: (suggestion: Suggestion, text: string) => void;
};

/** Ways to go on, as they are made. */
export function Suggestions({ suggestions, begun, onInsert }: Props) {
  const words = useWords();
  const say = words.labelling.write;
  const { found, busy, ahead, failure, automatic, setAutomatic, ask } = suggestions;
  return (
    <section className="suggestions" aria-label={say.suggestions} aria-busy={busy}>
      <div className="head">
        <h2>{say.suggestions}</h2>
        {busy && <span className="pulse" />}
        {ahead > 0 && <span className="note">{words.waiting(ahead)}</span>}
        <label className="switch">
          <input
            type="checkbox"
            role="switch"
            checked={automatic}
            aria-checked={automatic}
            onChange={(event) => setAutomatic(event.target.checked)}
          />
          {say.automatic}
        </label>
        <button type="button" className="quiet small" disabled={busy} onClick={ask}>
          <Icon name="again" /> {say.suggest}
        </button>
      </div>
      {failure !== null && <Notice>{sayFailure(failure, words)}</Notice>}
      <ol>
        {found.map((suggestion, choice) => {
          const typed = suggestion.text.startsWith(begun.trimEnd()) ? begun.trimEnd().length : 0;
          return (
            // biome-ignore lint/suspicious/noArrayIndexKey: a suggestion is what grows at its place
            <li key={choice}>
              <p dir="auto">
                <span className="typed">{suggestion.text.slice(0, typed)}</span>
                {suggestion.text.slice(typed)}
                {!suggestion.id && "…"}
              </p>
              {suggestion.id && (
                <div className="taking">
                  <button type="button" className="plain small" onClick={() => onInsert(suggestion, suggestion.text)}>
                    {say.insert} <kbd>Alt+{choice + 1}</kbd>
                  </button>
                  <button
                    type="button"
                    className="quiet small"
                    onClick={() => onInsert(suggestion, firstSentence(suggestion.text, begun))}
                  >
                    {say.insertSentence}
                  </button>
                </div>
              )}
            </li>
          );
        })}
      </ol>
      {!busy && failure === null && found.length === 0 && <p className="note">{say.noSuggestions}</p>}
    </section>
  );
}
