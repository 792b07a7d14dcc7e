import { Link } from "wouter";
import { useWords } from "@/i18n";
import { useMay } from "@/labelling/roles";
import { Icon } from "@/parts/Icon";

/** The way to the training runs, for admins. */
export function RunsLink() {
  const words = useWords();
  const may = useMay();
  if (!may("admin")) return null;
  return (
    <Link href="/runs" className="quiet teach">
      <Icon name="runs" /> {words.runs.title}
    </Link>
  );
}
