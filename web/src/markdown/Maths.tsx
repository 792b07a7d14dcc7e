import { useEffect, useRef } from "react";

/** A formula; its source until KaTeX is loaded, and where KaTeX cannot read it. */
export function Maths({ tex, display = false }: { tex: string; display?: boolean }) {
  const place = useRef<HTMLSpanElement>(null);
  useEffect(() => {
    let current = true;
    import("./katex").then(({ draw }) => {
      if (current && place.current) draw(tex, place.current, display);
    });
    return () => {
      current = false;
    };
  }, [tex, display]);
  return (
    <span ref={place} className={display ? "maths display" : "maths"} key={tex}>
      {tex}
    </span>
  );
}
