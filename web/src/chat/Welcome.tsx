import type { About } from "@/api/schema";
import { useWords } from "@/i18n";
import { Markdown } from "@/markdown/Markdown";
import { useAbout, useSamples } from "@/parts/about";

/** Before the first word: what to ask, what to expect, and what was measured of its failings. */
export function Welcome({ onAsk }: { onAsk: (question: string) => void }) {
  const words = useWords();
  const { data: about } = useAbout();
  const measured = useMeasured(about);
  return (
    <section className="welcome">
      <h2>{words.welcome}</h2>
      <p className="honest">{words.honest(about?.facts.Parameters)}</p>
      <div className="cards">
        <section>
          <h3>{words.tryThis}</h3>
          <ul className="prompts">
            {words.prompts.map((prompt) => (
              <li key={prompt}>
                <button type="button" onClick={() => onAsk(prompt)}>
                  {prompt}
                </button>
              </li>
            ))}
          </ul>
        </section>
        <section>
          <h3>{words.itCan}</h3>
          <ul>
            {words.abilities.map((ability) => (
              <li key={ability}>{ability}</li>
            ))}
          </ul>
        </section>
        <section>
          <h3>{words.itCannot}</h3>
          <ul>
            {[...words.failings, ...measured].map((failing) => (
              <li key={failing}>{failing}</li>
            ))}
          </ul>
          {measured.length > 0 && <p className="note">{words.measuredOn}</p>}
        </section>
        <Samples onAsk={onAsk} />
      </div>
    </section>
  );
}

/** What this very model answered when it was measured, as it was; the first one can be seen at a glance. */
function Samples({ onAsk }: { onAsk: (question: string) => void }) {
  const words = useWords();
  const { data } = useSamples();
  if (!data || data.length === 0) return null;
  return (
    <section className="samples">
      <h3>{words.samples}</h3>
      {data.map(({ question, answer }, place) => (
        <details key={question} open={place === 0}>
          <summary dir="auto">{question}</summary>
          <Markdown text={answer} />
          <button type="button" className="quiet small" onClick={() => onAsk(question)}>
            {words.askThis}
          </button>
        </details>
      ))}
    </section>
  );
}

/** The figures of the evaluation of this very model, as sentences. */
function useMeasured(about: About | undefined): string[] {
  const words = useWords();
  const share = new Intl.NumberFormat(words.code, { style: "percent", maximumFractionDigits: 0 });
  const kinds = Object.keys(words.measured) as (keyof typeof words.measured)[];
  return kinds.flatMap((kind) => {
    const figure = about?.measured[kind];
    return figure ? [words.measured[kind](share.format(figure.value), figure.n)] : [];
  });
}
