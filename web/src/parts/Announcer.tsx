import { createContext, type ReactNode, useContext, useState } from "react";

const Context = createContext<(text: string) => void>(() => {});

/** One place from which screen readers are told things. */
export function Announcer({ children }: { children: ReactNode }) {
  const [said, setSaid] = useState("");
  return (
    <Context.Provider value={setSaid}>
      {children}
      <div className="unseen" role="status">
        {said}
      </div>
    </Context.Provider>
  );
}

export const useAnnounce = () => useContext(Context);
