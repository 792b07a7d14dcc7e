import { useEffect, useState } from "react";
import { useWords } from "@/i18n";
import { CopyButton } from "@/parts/CopyButton";
import type { Piece } from "./highlight";

const LONGEST = 20_000; // characters; longer ones stay plain rather than hold the page up

/** A block of code; coloured once it is whole. */
export function Code({ text, language, open }: { text: string; language: string; open: boolean }) {
  const words = useWords();
  const name = language.split(/\s/)[0] ?? "";
  const pieces = usePieces(text, name, !open && text.length <= LONGEST);
  return (
    <figure className="code" aria-label={words.codeOf(name)}>
      <figcaption>
        <span>{name}</span>
        <CopyButton text={text} />
      </figcaption>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
      <pre tabIndex={0}>
        <code>{pieces ? pieces.map(Coloured) : text}</code>
      </pre>
    </figure>
  );
}

function Coloured({ text, kind }: Piece, place: number) {
  if (!kind) return text;
  return (
    <span key={place} className={kind}>
      {text}
    </span>
  );
}

function usePieces(text: string, language: string, wanted: boolean): Piece[] | null {
  const [found, setFound] = useState<{ text: string; pieces: Piece[] } | null>(null);
  useEffect(() => {
    if (!wanted || !language) return;
    let current = true;
    import("./highlight").then(({ highlight }) => {
      const pieces = highlight(text, language);
      if (current && pieces) setFound({ text, pieces });
    });
    return () => {
      current = false;
    };
  }, [text, language, wanted]);
  return found && found.text === text ? found.pieces : null;
}
