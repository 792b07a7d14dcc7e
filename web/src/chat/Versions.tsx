import { useWords } from "@/i18n";
import { Icon } from "@/parts/Icon";

type Props = { id: string; siblings: string[]; onShow: (message: string) => void };

/** Pages through the versions of a message: edits of a question, answers to the same one. */
export function Versions({ id, siblings, onShow }: Props) {
  const words = useWords();
  const place = siblings.indexOf(id);
  if (siblings.length < 2) return null;
  const step = (by: number, label: string, icon: "left" | "right") => {
    const goal = siblings[place + by];
    return (
      <button
        type="button"
        className="quiet round"
        aria-label={label}
        disabled={!goal}
        onClick={() => goal && onShow(goal)}
      >
        <Icon name={icon} />
      </button>
    );
  };
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset is for forms
    <div className="versions" role="group" aria-label={words.versions}>
      {step(-1, words.previous, "left")}
      <span role="img" aria-label={words.versionOf(place + 1, siblings.length)}>
        {place + 1}/{siblings.length}
      </span>
      {step(1, words.next, "right")}
    </div>
  );
}
