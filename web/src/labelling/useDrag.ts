import { type PointerEvent, useEffect, useRef, useState } from "react";

type Dragged = { answer: number; x: number; y: number };

const FAR = 6; // pixels, from which on a press is a pull

/** Pulling answers into boxes (elements with `data-place`) by mouse, pen or finger; Escape lets go. */
export function useDrag(onDrop: (answer: number, place: number | null) => void) {
  const [dragged, setDragged] = useState<Dragged | null>(null);
  const [over, setOver] = useState<number | null | undefined>(undefined);
  const start = useRef<{ x: number; y: number } | null>(null);

  const end = () => {
    start.current = null;
    setDragged(null);
    setOver(undefined);
  };
  // biome-ignore lint/correctness/useExhaustiveDependencies: `end` is always the same
  useEffect(() => {
    if (!dragged) return;
    const onKey = (event: KeyboardEvent) => event.key === "Escape" && end();
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, [dragged !== null]);

  const handlers = (answer: number) => ({
    onPointerDown: (event: PointerEvent<HTMLElement>) => {
      if (event.button !== 0) return;
      event.currentTarget.setPointerCapture(event.pointerId);
      start.current = { x: event.clientX, y: event.clientY };
    },
    onPointerMove: (event: PointerEvent<HTMLElement>) => {
      if (!start.current) return;
      const [x, y] = [event.clientX - start.current.x, event.clientY - start.current.y];
      if (!dragged && Math.hypot(x, y) < FAR) return;
      setDragged({ answer, x, y });
      setOver(placeAt(event.clientX, event.clientY));
    },
    onPointerUp: (event: PointerEvent<HTMLElement>) => {
      const place = dragged ? placeAt(event.clientX, event.clientY) : undefined;
      end();
      if (place !== undefined) onDrop(answer, place);
    },
    onPointerCancel: end,
  });
  return { dragged, over, handlers };
}

/** The box under a point; undefined where there is none. */
function placeAt(x: number, y: number): number | null | undefined {
  for (const element of document.elementsFromPoint(x, y)) {
    const place = element instanceof HTMLElement ? element.dataset.place : undefined;
    if (place !== undefined) return place === "" ? null : Number(place);
  }
}
