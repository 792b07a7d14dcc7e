import { useEffect, useState } from "react";
import { useWords } from "@/i18n";
import { Icon } from "./Icon";

type Outcome = "copy" | "copied" | "copyRefused";

export function CopyButton({ text }: { text: string }) {
  const words = useWords();
  const [outcome, setOutcome] = useState<Outcome>("copy");
  useEffect(() => {
    if (outcome === "copy") return;
    const timer = setTimeout(() => setOutcome("copy"), 1600);
    return () => clearTimeout(timer);
  }, [outcome]);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setOutcome("copied");
    } catch {
      setOutcome("copyRefused");
    }
  };
  return (
    <button type="button" className="quiet small" onClick={copy}>
      <Icon name={outcome === "copied" ? "check" : "copy"} />
      <span aria-live="polite">{words[outcome]}</span>
    </button>
  );
}
