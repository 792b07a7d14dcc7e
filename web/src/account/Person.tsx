import { useState } from "react";
import { useWords } from "@/i18n";
import { Asking } from "@/parts/Asking";
import { Icon } from "@/parts/Icon";
import { usePersonChanges } from "./data";

const SHORTEST = 10; // of a password; the service holds everybody to it

/** A new password, one's data to take away, and the end of the account. */
export function Person() {
  const words = useWords();
  const say = words.account.person;
  const { changePassword, remove } = usePersonChanges();
  const [doing, setDoing] = useState<"password" | "delete" | null>(null);
  const [changed, setChanged] = useState(false);
  const done = () => setDoing(null);
  const text = (given: FormData, name: string) => String(given.get(name));
  return (
    <section aria-labelledby="person">
      <h2 id="person">{say.title}</h2>
      <div className="doings">
        <button type="button" className="plain" onClick={() => setDoing("password")}>
          {say.changePassword}
        </button>
        <a href="/api/me/export" download className="plain" aria-describedby="taken">
          <Icon name="download" /> {say.export}
        </a>
        <button type="button" className="plain danger" onClick={() => setDoing("delete")}>
          {say.delete}
        </button>
      </div>
      <p id="taken" className="note">
        {say.exportHelp}
      </p>
      <p className="note" role="status">
        {changed && say.passwordChanged}
      </p>
      {doing === "password" && (
        <Asking
          title={say.changePassword}
          verb={say.changePassword}
          onClose={done}
          onDo={async (given) => {
            await changePassword(text(given, "old"), text(given, "new"));
            setChanged(true);
          }}
        >
          <Password name="old" label={say.oldPassword} />
          <div>
            <label>
              {say.newPassword}
              <input
                name="new"
                type="password"
                autoComplete="new-password"
                required
                minLength={SHORTEST}
                aria-describedby="shortest"
              />
            </label>
            <small id="shortest">{say.atLeast(new Intl.NumberFormat(words.code).format(SHORTEST))}</small>
          </div>
        </Asking>
      )}
      {doing === "delete" && (
        <Asking
          title={say.deleteTitle}
          verb={say.deleteForever}
          danger
          onClose={done}
          onDo={(given) => remove(text(given, "proof"))}
        >
          <p>{say.deleteText}</p>
          <Password name="proof" label={say.proof} />
        </Asking>
      )}
    </section>
  );
}

const Password = ({ name, label }: { name: string; label: string }) => (
  <label>
    {label}
    <input name={name} type="password" autoComplete="current-password" required />
  </label>
);
