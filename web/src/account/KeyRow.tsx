import { useState } from "react";
import type { KeyView } from "@/api/schema";
import { useWords } from "@/i18n";
import { Asking } from "@/parts/Asking";
import { Menu, MenuItem } from "@/parts/Menu";
import { useKeyChanges } from "./data";
import { KeyFields } from "./KeyFields";
import { limitsOf, sayLimits } from "./limits";

/** A key without its secret, and what can be done with it. */
export function KeyRow({ about }: { about: KeyView }) {
  const words = useWords();
  const say = words.account.keys;
  const { change, revoke } = useKeyChanges();
  const [doing, setDoing] = useState<"change" | "revoke" | null>(null);
  const name = about.name || say.unnamed;
  const created = new Intl.DateTimeFormat(words.code, { dateStyle: "medium" }).format(new Date(about.created_at));
  const done = () => setDoing(null);
  return (
    <li>
      <div>
        <strong dir="auto">{name}</strong> <code>acc-{about.prefix}…</code>
        <p className="note">
          {say.created(created)} · {sayLimits(about.limits, words)}
        </p>
      </div>
      {!about.revoked && (
        <Menu label={words.optionsOf(name)}>
          <MenuItem icon="pencil" onChoose={() => setDoing("change")}>
            {say.change}
          </MenuItem>
          <MenuItem icon="trash" danger onChoose={() => setDoing("revoke")}>
            {say.revoke}
          </MenuItem>
        </Menu>
      )}
      {doing === "change" && (
        <Asking
          title={say.change}
          verb={say.save}
          onClose={done}
          onDo={(given) => change(about.id, String(given.get("name")), limitsOf(given))}
        >
          <KeyFields about={about} />
        </Asking>
      )}
      {doing === "revoke" && (
        <Asking title={say.revokeTitle} verb={say.revoke} danger onClose={done} onDo={() => revoke(about.id)}>
          <p>{say.revokeText(name)}</p>
        </Asking>
      )}
    </li>
  );
}
