import { useLocation } from "wouter";
import { Failure } from "@/api/client";
import { useWords } from "@/i18n";
import { sayFailure } from "@/parts/failure";
import { Notice } from "@/parts/Notice";
import { Demonstration } from "./Demonstration";
import { Dialogue } from "./Dialogue";
import { useDemonstration } from "./data";

/** One dialogue: to write on, or, once it was handed in, to read. */
export function DemonstrationPage({ id }: { id: string }) {
  const words = useWords();
  const say = words.labelling.write;
  const [, go] = useLocation();
  const { data, error, refetch } = useDemonstration(id);
  const back = () => go("/label/write");
  if (error) {
    const gone = error instanceof Failure && error.status === 404;
    const action = gone ? { label: say.all, onClick: back } : { label: words.retry, onClick: () => refetch() };
    return (
      <main className="between">
        <Notice action={action}>{sayFailure(error, words)}</Notice>
      </main>
    );
  }
  if (!data) return <main className="between">{words.loading}</main>;
  if (data.state === "open") return <Demonstration work={data} onOver={back} />;
  return (
    <main className="writing">
      <div className="paper">
        <h1>{say.title}</h1>
        <p className="note">{data.state === "submitted" ? say.wasHandedIn : say.wasThrownAway}</p>
        <Dialogue messages={data.value.messages ?? []} />
        <button type="button" className="plain" onClick={back}>
          {say.all}
        </button>
      </div>
    </main>
  );
}
