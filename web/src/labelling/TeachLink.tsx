import { Link } from "wouter";
import { useWords } from "@/i18n";
import { Icon } from "@/parts/Icon";
import { useMay } from "./roles";

/** The way to the pages for trainers, for those who are some. */
export function TeachLink() {
  const words = useWords();
  const may = useMay();
  if (!may("trainer") && !may("reviewer")) return null;
  return (
    <Link href={may("trainer") ? "/label/compare" : "/label/review"} className="quiet teach">
      <Icon name="teach" /> {words.labelling.teach}
    </Link>
  );
}
