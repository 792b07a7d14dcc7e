import { useEffect } from "react";
import { Link, Redirect, Route, Switch, useLocation } from "wouter";
import { useWords } from "@/i18n";
import { useMay } from "@/labelling/roles";
import { useAbout } from "@/parts/about";
import { Icon } from "@/parts/Icon";
import { RunList } from "./RunList";
import { RunPage } from "./RunPage";
import { runOf } from "./words";
import "./runs.css";

/** The rounds of the workspace, for admins. */
export default function RunsPage() {
  const words = useWords();
  const may = useMay();
  const [location] = useLocation();
  const { data: about } = useAbout();
  const inside = location.startsWith("/runs/");
  const back = inside ? { href: "/runs", label: words.runs.toAll } : { href: "/chat", label: words.labelling.toChat };
  useEffect(() => {
    if (!inside) document.title = [words.runs.title, about?.title ?? "Accordant"].join(" · ");
  }, [inside, words, about]);
  if (!may("admin")) return <Redirect to="/chat" replace />;
  return (
    <div className="runs-page">
      <header className="bar">
        <Link href={back.href} className="quiet round" aria-label={back.label} title={back.label}>
          <Icon name="left" />
        </Link>
      </header>
      <main className="scroller">
        <div className="column">
          <Switch>
            <Route path="/runs/:name/:part?">
              {({ part }) => (
                <RunPage
                  key={runOf(window.location.pathname)}
                  wanted={part ?? null}
                  name={runOf(window.location.pathname)}
                />
              )}
            </Route>
            <Route component={RunList} />
          </Switch>
        </div>
      </main>
    </div>
  );
}
