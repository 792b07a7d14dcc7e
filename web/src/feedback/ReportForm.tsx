import type { FilterReport } from "@/api/schema";
import { useWords } from "@/i18n";
import { Asking } from "@/parts/Asking";
import { Pill } from "@/parts/Pill";
import { type Subject, useSaid, useSaying } from "./data";

type Category = NonNullable<FilterReport["categories"]>[number];

/** "This should have been caught": what the filter did not see in an answer. */
export function ReportForm({ subject, onClose }: { subject: Subject; onClose: () => void }) {
  const words = useWords();
  const say = words.feedback;
  const given = useSaid(subject, "report");
  const { report, withdraw } = useSaying(subject.conversation);
  const before = given?.said.fault === "false_negative" ? given.said : null;
  const categories = Object.keys(words.categories) as Category[];
  return (
    <Asking
      title={say.missed}
      verb={say.send}
      onClose={onClose}
      onDo={(filled) =>
        report(subject.message, {
          kind: "report",
          fault: "false_negative",
          categories: categories.filter((category) => filled.getAll("category").includes(category)),
          note: String(filled.get("note")).trim(),
        })
      }
    >
      <p>{say.missedHelp}</p>
      <div className="pills">
        {categories.map((category) => (
          <Pill
            key={category}
            name="category"
            value={category}
            defaultChecked={before?.categories?.includes(category) ?? false}
          >
            {words.categories[category]}
          </Pill>
        ))}
      </div>
      <label>
        {say.note}
        <textarea name="note" rows={2} dir="auto" maxLength={4000} defaultValue={before?.note} />
      </label>
      {given && before && (
        <button type="button" className="quiet" onClick={() => withdraw(given.id).then(onClose)}>
          {say.takeBack}
        </button>
      )}
    </Asking>
  );
}
