import { useDeferredValue, useEffect, useRef, useState } from "react";
import { Link, useLocation } from "wouter";
import { useSession, useSignIn } from "@/account/session";
import { useWords } from "@/i18n";
import { TeachLink } from "@/labelling/TeachLink";
import { useAbout } from "@/parts/about";
import { sayFailure } from "@/parts/failure";
import { Icon, Mark } from "@/parts/Icon";
import { Notice } from "@/parts/Notice";
import { LanguageChoice, ThemeChoice } from "@/parts/Preferences";
import { RunsLink } from "@/runs/RunsLink";
import { ConversationRow } from "./ConversationRow";
import { useConversations } from "./data";
import "./sidebar.css";

type Props = { chosen: string | null; open: boolean; onClose: () => void };

/** All conversations; on a phone a drawer over the page. */
export function Sidebar({ chosen, open, onClose }: Props) {
  const words = useWords();
  const { data: about } = useAbout();
  const close = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (!open) return;
    close.current?.focus();
    const onKey = (event: KeyboardEvent) => event.key === "Escape" && onClose();
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, [open, onClose]);
  return (
    <>
      {/* biome-ignore lint/a11y/noStaticElementInteractions: Escape and the button do the same */}
      {/* biome-ignore lint/a11y/useKeyWithClickEvents: Escape and the button do the same */}
      {open && <div className="veil" onClick={onClose} />}
      <nav className={open ? "sidebar open" : "sidebar"} aria-label={words.conversations}>
        <div className="brand">
          <Mark />
          <strong>{about?.title ?? "Accordant"}</strong>
          <button
            ref={close}
            type="button"
            className="quiet round close"
            aria-label={words.closeList}
            onClick={onClose}
          >
            <Icon name="close" />
          </button>
        </div>
        <Link href="/chat" className="new-chat">
          <Icon name="plus" /> {words.newChat}
        </Link>
        <Conversations chosen={chosen} />
        <TeachLink />
        <RunsLink />
        <div className="preferences">
          <LanguageChoice />
          <ThemeChoice />
          <Account />
        </div>
      </nav>
    </>
  );
}

function Conversations({ chosen }: { chosen: string | null }) {
  const words = useWords();
  const [, go] = useLocation();
  const [search, setSearch] = useState("");
  const { data, error, isPending, hasNextPage, fetchNextPage, isFetchingNextPage, refetch } = useConversations(
    useDeferredValue(search.trim()),
  );
  const found = data?.pages.flatMap((page) => page.conversations) ?? [];
  return (
    <>
      <label className="search">
        <Icon name="search" />
        <input
          type="search"
          value={search}
          placeholder={words.search}
          aria-label={words.search}
          maxLength={200}
          onChange={(event) => setSearch(event.target.value)}
        />
      </label>
      <div className="rows">
        {error && <Notice action={{ label: words.retry, onClick: refetch }}>{sayFailure(error, words)}</Notice>}
        {!error && !isPending && found.length === 0 && (
          <p className="note">{search ? words.nothingFound : words.noneYet}</p>
        )}
        <ul>
          {found.map((one) => (
            <ConversationRow
              key={one.id}
              conversation={one}
              current={one.id === chosen}
              onGone={() => one.id === chosen && go("/chat")}
            />
          ))}
        </ul>
        {hasNextPage && (
          <button type="button" className="quiet small" disabled={isFetchingNextPage} onClick={() => fetchNextPage()}>
            {words.olderOnes}
          </button>
        )}
      </div>
    </>
  );
}

function Account() {
  const words = useWords();
  const { data: me } = useSession();
  const { signOut } = useSignIn();
  if (!me) return null;
  return (
    <div className="me">
      <Link href="/account" className="mine" title={me.accounts ? words.signedInAs(me.name) : undefined}>
        {me.accounts ? me.name : words.account.titleWithout}
      </Link>
      {me.accounts && (
        <button type="button" className="quiet small" onClick={signOut}>
          <Icon name="leave" /> {words.signOut}
        </button>
      )}
    </div>
  );
}
