import { type ReactNode, useId, useLayoutEffect, useRef } from "react";

type Props = { title: string; children: ReactNode; onClose: () => void };

/** Above everything else; the browser keeps the focus inside, closes it by Escape, and gives the focus back. */
export function Dialog({ title, children, onClose }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const label = useId();
  useLayoutEffect(() => {
    const shown = dialog.current;
    shown?.showModal();
    return () => shown?.close(); // while it is still there: one that is only removed gives no focus back
  }, []);
  return (
    <dialog ref={dialog} aria-labelledby={label} onClose={onClose}>
      <h2 id={label}>{title}</h2>
      {children}
    </dialog>
  );
}
