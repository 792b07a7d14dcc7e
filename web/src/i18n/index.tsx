import { createContext, type ReactNode, useContext, useEffect, useState } from "react";
import { keep, kept } from "@/parts/kept";
import { en, type Words } from "./en";
import { id } from "./id";
import { zh } from "./zh";

export type { Words };
export const LANGUAGES: readonly Words[] = [en, id, zh];

/** The first of the wanted languages that the page speaks. */
export function choose(wanted: readonly string[]): Words {
  const codes = wanted.map((one) => one.toLowerCase().split("-")[0]).map((code) => (code === "in" ? "id" : code));
  for (const code of codes) {
    const found = LANGUAGES.find((words) => words.code === code);
    if (found) return found;
  }
  return en;
}

const Context = createContext<{ words: Words; speak: (code: string) => void }>({ words: en, speak: () => {} });

export function LanguageProvider({ children }: { children: ReactNode }) {
  const [words, setWords] = useState(() => choose([kept("language") ?? "", ...navigator.languages]));
  useEffect(() => {
    document.documentElement.lang = words.code;
  }, [words]);
  const speak = (code: string) => {
    keep("language", code);
    setWords(choose([code]));
  };
  return <Context.Provider value={{ words, speak }}>{children}</Context.Provider>;
}

export const useWords = () => useContext(Context).words;
export const useLanguage = () => useContext(Context);
