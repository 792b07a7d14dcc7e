import { useEffect, useRef, useState } from "react";
import type { KeyView } from "@/api/schema";
import { useWords } from "@/i18n";
import { Asking } from "@/parts/Asking";
import { CopyButton } from "@/parts/CopyButton";
import { Dialog } from "@/parts/Dialog";
import { sayFailure } from "@/parts/failure";
import { Icon } from "@/parts/Icon";
import { Notice } from "@/parts/Notice";
import { useKeyChanges, useKeys } from "./data";
import { KeyFields } from "./KeyFields";
import { KeyRow } from "./KeyRow";
import { limitsOf } from "./limits";

/** One's own API keys. */
export function Keys() {
  const words = useWords();
  const say = words.account.keys;
  const { data, error, refetch } = useKeys();
  const { create } = useKeyChanges();
  const [asking, setAsking] = useState(false);
  const [fresh, setFresh] = useState<string | null>(null);
  const newest = data?.toReversed() ?? [];
  const valid = newest.filter((key) => !key.revoked);
  const revoked = newest.filter((key) => key.revoked);
  return (
    <section aria-labelledby="keys">
      <div className="heading">
        <h2 id="keys">{say.title}</h2>
        <button type="button" className="plain small" onClick={() => setAsking(true)}>
          <Icon name="plus" /> {say.create}
        </button>
      </div>
      {error && <Notice action={{ label: words.retry, onClick: refetch }}>{sayFailure(error, words)}</Notice>}
      {data && valid.length === 0 && <p className="empty">{say.none}</p>}
      {valid.length > 0 && <Rows keys={valid} />}
      {revoked.length > 0 && (
        <details>
          <summary>{say.revoked(new Intl.NumberFormat(words.code).format(revoked.length))}</summary>
          <Rows keys={revoked} />
        </details>
      )}
      <Address />
      {asking && (
        <Asking
          title={say.create}
          verb={say.create}
          onClose={() => setAsking(false)}
          onDo={async (given) => setFresh(await create(String(given.get("name")), limitsOf(given)))}
        >
          <KeyFields />
        </Asking>
      )}
      {fresh && <FreshKey text={fresh} onClose={() => setFresh(null)} />}
    </section>
  );
}

const Rows = ({ keys }: { keys: KeyView[] }) => (
  <ul className="keys">
    {keys.map((key) => (
      <KeyRow key={key.id} about={key} />
    ))}
  </ul>
);

/** Where programs reach the service. */
export function Address() {
  const words = useWords();
  const address = `${location.origin}/v1`;
  return (
    <div className="address">
      <p className="note">{words.account.keys.address}</p>
      <code>{address}</code>
      <CopyButton text={address} />
    </div>
  );
}

/** The only time that a key is shown. */
function FreshKey({ text, onClose }: { text: string; onClose: () => void }) {
  const words = useWords();
  const say = words.account.keys;
  const field = useRef<HTMLTextAreaElement>(null);
  useEffect(() => field.current?.select(), []);
  return (
    <Dialog title={say.fresh} onClose={onClose}>
      <form method="dialog">
        <p>{say.once}</p>
        <label>
          {say.key}
          <textarea ref={field} className="key-text" rows={3} readOnly value={text} />
        </label>
        <div className="choices">
          <CopyButton text={text} />
          <button type="submit" className="main">
            {words.done}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
