import { type RefObject, useCallback, useEffect, useRef, useState } from "react";

/** Once sent to the end, keep it in view while something grows, until the reader scrolls up. */
export function useFollow(scroller: RefObject<HTMLElement | null>) {
  const following = useRef(false);
  const [away, setAway] = useState(false);

  const toEnd = useCallback(() => {
    following.current = true;
    const box = scroller.current;
    if (box) box.scrollTop = box.scrollHeight;
  }, [scroller]);

  useEffect(() => {
    const box = scroller.current;
    const content = box?.firstElementChild;
    if (!box || !content) return;
    let last = box.scrollTop;
    const onScroll = () => {
      const left = box.scrollHeight - box.scrollTop - box.clientHeight;
      if (box.scrollTop < last - 1 && left > 32)
        following.current = false; // growth alone never scrolls up
      else if (box.scrollTop > last + 1 && left <= 32) following.current = true;
      last = box.scrollTop;
      setAway(left > 200);
    };
    const onSize = () => {
      if (following.current) box.scrollTop = box.scrollHeight;
      onScroll();
    };
    const sizes = new ResizeObserver(onSize);
    sizes.observe(content);
    sizes.observe(box);
    box.addEventListener("scroll", onScroll, { passive: true });
    return () => {
      sizes.disconnect();
      box.removeEventListener("scroll", onScroll);
    };
  }, [scroller]);

  const toStart = useCallback(() => {
    following.current = false;
    if (scroller.current) scroller.current.scrollTop = 0;
  }, [scroller]);

  return { away, toEnd, toStart };
}
