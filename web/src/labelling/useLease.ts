import { useEffect, useState } from "react";

const LONGEST = 2 ** 31 - 1; // milliseconds that a timer takes

/** Whether the time for which nobody else gets this work is over. */
export function useLease(until: string): boolean {
  const [over, setOver] = useState(false);
  useEffect(() => {
    setOver(false);
    const left = Math.max(Date.parse(until) - Date.now(), 0);
    const timer = setTimeout(() => setOver(true), Math.min(left, LONGEST));
    return () => clearTimeout(timer);
  }, [until]);
  return over;
}
