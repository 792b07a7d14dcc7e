import { type RefObject, useLayoutEffect, useRef, useState } from "react";

/** How wide an element is, now and when that changes: what is drawn in pixels keeps its letters' size. */
export function useWidth<T extends HTMLElement>(atFirst: number): [RefObject<T | null>, number] {
  const element = useRef<T>(null);
  const [width, setWidth] = useState(atFirst);
  useLayoutEffect(() => {
    if (!element.current) return;
    const measure = () => setWidth(element.current?.clientWidth || atFirst);
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element.current);
    return () => observer.disconnect();
  }, [atFirst]);
  return [element, width];
}
