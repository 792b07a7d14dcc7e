import type { ReactNode } from "react";

type Props = { children: ReactNode; action?: { label: string; onClick: () => void }; kind?: "failure" | "filter" };

/** One line about something that went wrong, with what can be done about it. */
export function Notice({ children, action, kind = "failure" }: Props) {
  return (
    <div className={`notice ${kind}`} role="alert">
      <span>{children}</span>
      {action && (
        <button type="button" onClick={action.onClick}>
          {action.label}
        </button>
      )}
    </div>
  );
}
