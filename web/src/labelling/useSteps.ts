import { useEffect, useState } from "react";
import { type Calls, type Held, type Progress, Steps } from "./steps";

/** One piece of work, saved step by step while it is on the screen. */
export function useSteps<View extends Held<unknown>>(first: View, calls: Calls<View>): [Progress<View>, Steps<View>] {
  const [progress, setProgress] = useState<Progress<View>>(() => ({
    view: first,
    value: first.value,
    saved: true,
    failure: null,
  }));
  const [steps] = useState(() => new Steps(first, calls, setProgress));
  useEffect(() => {
    const hidden = () => document.visibilityState === "hidden" && steps.flush();
    document.addEventListener("visibilitychange", hidden);
    return () => {
      document.removeEventListener("visibilitychange", hidden);
      steps.leave();
    };
  }, [steps]);
  return [progress, steps];
}
