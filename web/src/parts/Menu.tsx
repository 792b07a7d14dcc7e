import { type KeyboardEvent, type ReactNode, useEffect, useRef, useState } from "react";
import { Icon, type IconName } from "./Icon";

type Props = { label: string; children: ReactNode };

/** A button that opens a list of things to do: arrows go through them, Escape and a click elsewhere close it. */
export function Menu({ label, children }: Props) {
  const [open, setOpen] = useState(false);
  const root = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  /** The focus goes to the button, so that a dialog which opens now gives it back there. */
  const close = () => {
    setOpen(false);
    button.current?.focus();
  };
  const items = () => [...(root.current?.querySelectorAll<HTMLElement>("[role=menuitem]") ?? [])];

  useEffect(() => {
    if (!open) return;
    root.current?.querySelector("[role=menu]")?.scrollIntoView({ block: "nearest" });
    root.current?.querySelector<HTMLElement>("[role=menuitem]")?.focus({ preventScroll: true });
    const away = (event: Event) => {
      if (!root.current?.contains(event.target as Node)) setOpen(false);
    };
    document.addEventListener("pointerdown", away);
    return () => document.removeEventListener("pointerdown", away);
  }, [open]);

  const onKeyDown = (event: KeyboardEvent) => {
    if (!open) return;
    const all = items();
    const place = all.indexOf(document.activeElement as HTMLElement);
    const goal = { ArrowDown: place + 1, ArrowUp: place - 1 + all.length, Home: 0, End: all.length - 1 }[event.key];
    if (goal !== undefined) {
      event.preventDefault();
      all[goal % all.length]?.focus();
    } else if (event.key === "Escape") {
      event.stopPropagation();
      close();
    } else if (event.key === "Tab") {
      setOpen(false);
    }
  };

  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: it only listens to the keys of what is inside
    <div className="menu" ref={root} onKeyDown={onKeyDown}>
      <button
        ref={button}
        type="button"
        className="quiet round"
        aria-label={label}
        aria-haspopup="menu"
        aria-expanded={open}
        onClick={() => setOpen(!open)}
      >
        <Icon name="more" />
      </button>
      {open && (
        // biome-ignore lint/a11y/useKeyWithClickEvents: the items are buttons and links
        <div role="menu" aria-label={label} tabIndex={-1} onClick={close}>
          {children}
        </div>
      )}
    </div>
  );
}

type ItemProps = { icon: IconName; children: ReactNode; onChoose?: () => void; href?: string; danger?: boolean };

export function MenuItem({ icon, children, onChoose, href, danger = false }: ItemProps) {
  const shown = (
    <>
      <Icon name={icon} />
      {children}
    </>
  );
  const common = { role: "menuitem", tabIndex: -1, className: danger ? "danger" : undefined };
  if (href) {
    return (
      <a {...common} href={href} download>
        {shown}
      </a>
    );
  }
  return (
    <button {...common} type="button" onClick={onChoose}>
      {shown}
    </button>
  );
}
