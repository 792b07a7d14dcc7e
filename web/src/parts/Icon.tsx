// Line drawings of 20 by 20; they only accompany words or labels.

const PATHS = {
  plus: "M10 4v12M4 10h12",
  menu: "M3.5 6h13M3.5 10h13M3.5 14h13",
  close: "M5 5l10 10M15 5L5 15",
  search: "M9 4a5 5 0 1 0 0 10A5 5 0 0 0 9 4M12.8 12.8L16.5 16.5",
  more: "M5 10h.01M10 10h.01M15 10h.01",
  up: "M10 16V4M5 9l5-5 5 5",
  down: "M10 4v12M5 11l5 5 5-5",
  left: "M12 5l-5 5 5 5",
  right: "M8 5l5 5-5 5",
  stop: "M7 7h6v6H7z",
  copy: "M9 7h5a2 2 0 0 1 2 2v5a2 2 0 0 1-2 2H9a2 2 0 0 1-2-2V9a2 2 0 0 1 2-2M13 7V6a2 2 0 0 0-2-2H6a2 2 0 0 0-2 2v5a2 2 0 0 0 2 2h1",
  check: "M4.5 10.5l3.5 3.5 7.5-8",
  again: "M15.5 10a5.5 5.5 0 1 1-1.6-3.9L15.5 7.7M15.5 4v3.7h-3.7",
  pencil: "M4 16l.8-3.6L13 4.2a1.5 1.5 0 0 1 2.1 0l.7.7a1.5 1.5 0 0 1 0 2.1L7.6 15.2z",
  trash: "M4.5 6h11M8 6V4.5h4V6M6 6l.7 9.5h6.6L14 6",
  download: "M10 4v8M6.5 8.5L10 12l3.5-3.5M4.5 15.5h11",
  thumbUp:
    "M6.5 9v7H4V9zM6.5 9l3-5.2a1.6 1.6 0 0 1 1.9 1.9L11 8.5h4a1.3 1.3 0 0 1 1.3 1.6l-1.2 4.8a1.5 1.5 0 0 1-1.4 1.1H6.5",
  thumbDown:
    "M6.5 11V4H4v7zM6.5 11l3 5.2a1.6 1.6 0 0 0 1.9-1.9L11 11.5h4a1.3 1.3 0 0 0 1.3-1.6l-1.2-4.8A1.5 1.5 0 0 0 13.7 4H6.5",
  flag: "M5 16.5v-12M5 5c3-2 6 2 9.5 0v6.5c-3.5 2-6.5-2-9.5 0",
  undo: "M7 4.5L3.5 8 7 11.5M3.5 8H12a4 4 0 0 1 0 8H8.5",
  teach: "M10 4.5L2.5 8 10 11.5 17.5 8zM5.5 9.5v4c2.5 2 6.5 2 9 0v-4",
  runs: "M3.5 15.5h13M4.5 5c2 7.5 5 8 11 8",
  leave: "M8 4.5H5.5v11H8M12 7l3 3-3 3M8.5 10H15",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg className="icon" viewBox="0 0 20 20" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}

export function Mark() {
  return (
    <svg className="mark" viewBox="0 0 32 32" aria-hidden="true">
      <path d="M7 12c6-6 12 6 18 0M7 21c6-6 12 6 18 0" />
    </svg>
  );
}
