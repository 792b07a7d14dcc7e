import { useState } from "react";
import { LANGUAGES, useLanguage } from "@/i18n";
import { applyTheme, THEMES, type Theme, theme } from "./theme";

export function LanguageChoice() {
  const { words, speak } = useLanguage();
  return (
    <select
      className="choice"
      aria-label={words.language}
      value={words.code}
      onChange={(event) => speak(event.target.value)}
    >
      {LANGUAGES.map(({ code, name }) => (
        <option key={code} value={code} lang={code}>
          {name}
        </option>
      ))}
    </select>
  );
}

export function ThemeChoice() {
  const { words } = useLanguage();
  const [chosen, setChosen] = useState(theme);
  const choose = (next: Theme) => {
    applyTheme(next);
    setChosen(next);
  };
  return (
    <select
      className="choice"
      aria-label={words.theme}
      value={chosen}
      onChange={(event) => choose(event.target.value as Theme)}
    >
      {THEMES.map((one) => (
        <option key={one} value={one}>
          {words.themes[one]}
        </option>
      ))}
    </select>
  );
}
