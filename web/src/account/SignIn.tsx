import { type SyntheticEvent, useId, useState } from "react";
import { useWords } from "@/i18n";
import { sayFailure } from "@/parts/failure";
import { Mark } from "@/parts/Icon";
import { Notice } from "@/parts/Notice";
import { LanguageChoice } from "@/parts/Preferences";
import { useSignIn } from "./session";
import "./account.css";

/** The way in, where there are accounts. */
export function SignIn({ title }: { title: string }) {
  const words = useWords();
  const { signIn, signUp } = useSignIn();
  const [opening, setOpening] = useState(false);
  const [failure, setFailure] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const help = useId();

  const submit = async (event: SyntheticEvent<HTMLFormElement>) => {
    event.preventDefault();
    const given = new FormData(event.currentTarget);
    const [name, password, invitation] = ["name", "password", "invitation"].map((key) => String(given.get(key) ?? ""));
    setBusy(true);
    setFailure(null);
    try {
      await (opening ? signUp(name ?? "", password ?? "", invitation ?? "") : signIn(name ?? "", password ?? ""));
    } catch (error) {
      setFailure(error);
      setBusy(false);
    }
  };

  return (
    <main className="account">
      <form onSubmit={submit}>
        <h1>
          <Mark /> {title}
        </h1>
        <label>
          {words.userName}
          <input name="name" autoComplete="username" required maxLength={64} autoCapitalize="none" />
        </label>
        <label>
          {words.password}
          <input
            name="password"
            type="password"
            autoComplete={opening ? "new-password" : "current-password"}
            required
          />
        </label>
        {opening && (
          <label>
            {words.invitation}
            <input name="invitation" autoComplete="off" aria-describedby={help} />
            <small id={help}>{words.invitationHelp}</small>
          </label>
        )}
        {failure !== null && <Notice>{sayFailure(failure, words)}</Notice>}
        <button type="submit" className="main" disabled={busy}>
          {opening ? words.signUp : words.signIn}
        </button>
        <button type="button" className="quiet" onClick={() => setOpening(!opening)}>
          {opening ? words.haveAccount : words.noAccount}
        </button>
      </form>
      <LanguageChoice />
    </main>
  );
}
