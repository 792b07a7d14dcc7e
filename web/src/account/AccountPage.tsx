import { useEffect } from "react";
import { Link } from "wouter";
import type { Me } from "@/api/schema";
import { useWords } from "@/i18n";
import { useAbout } from "@/parts/about";
import { Icon } from "@/parts/Icon";
import { Address, Keys } from "./Keys";
import { OwnLimits } from "./OwnLimits";
import { Person } from "./Person";
import { EverybodysUsage, OwnUsage } from "./Usage";
import "./account-page.css";

/** What belongs to one person: their keys, what they used, their account. */
export default function AccountPage({ me }: { me: Me }) {
  const words = useWords();
  const say = words.account;
  const { data: about } = useAbout();
  const title = me.accounts ? say.title : say.titleWithout;
  useEffect(() => {
    document.title = [title, about?.title ?? "Accordant"].join(" · ");
  }, [title, about]);
  return (
    <div className="account-page">
      <header className="bar">
        <Link href="/chat" className="quiet round" aria-label={words.labelling.toChat} title={words.labelling.toChat}>
          <Icon name="left" />
        </Link>
      </header>
      <main className="scroller">
        <div className="column">
          <header>
            <h1>{title}</h1>
            {me.accounts && <p className="note">{words.signedInAs(me.name)}</p>}
          </header>
          {me.accounts ? (
            <Keys />
          ) : (
            <section>
              <Address />
              <p className="note">{say.keys.noneNeeded}</p>
            </section>
          )}
          <OwnLimits />
          <OwnUsage />
          {me.accounts && me.roles.includes("admin") && <EverybodysUsage />}
          {me.accounts && <Person />}
        </div>
      </main>
    </div>
  );
}
