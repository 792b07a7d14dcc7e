import { useEffect } from "react";
import { Link, Redirect, Route, Switch, useLocation } from "wouter";
import { useWords } from "@/i18n";
import { useAbout } from "@/parts/about";
import { Icon } from "@/parts/Icon";
import { ComparePage } from "./ComparePage";
import { DemonstrationPage } from "./DemonstrationPage";
import { ReviewPage } from "./review/ReviewPage";
import { useMay } from "./roles";
import { WritePage } from "./WritePage";
import "./labelling.css";

/** The work of trainers and reviewers, each under its own address. */
export default function LabellingPage() {
  const words = useWords();
  const say = words.labelling;
  const may = useMay();
  const [location] = useLocation();
  const { data: about } = useAbout();
  useEffect(() => {
    document.title = [say.teach, about?.title ?? "Accordant"].join(" · ");
  }, [say, about]);
  const tab = (place: string, label: string) => (
    <Link href={`/label/${place}`} className={location.startsWith(`/label/${place}`) ? "tab current" : "tab"}>
      {label}
    </Link>
  );
  return (
    <div className="work">
      <header>
        <Link href="/chat" className="quiet round" aria-label={say.toChat} title={say.toChat}>
          <Icon name="left" />
        </Link>
        <nav aria-label={say.teach}>
          {may("trainer") && tab("compare", say.compare.tab)}
          {may("trainer") && tab("write", say.write.tab)}
          {may("reviewer") && tab("review", say.review.tab)}
        </nav>
      </header>
      <Switch>
        {may("trainer") && <Route path="/label/compare" component={ComparePage} />}
        {may("trainer") && <Route path="/label/write" component={WritePage} />}
        {may("trainer") && <Route path="/label/write/:id">{({ id }) => <DemonstrationPage key={id} id={id} />}</Route>}
        {may("reviewer") && <Route path="/label/review" component={ReviewPage} />}
        <Route>
          <Redirect to={may("trainer") ? "/label/compare" : may("reviewer") ? "/label/review" : "/chat"} replace />
        </Route>
      </Switch>
    </div>
  );
}
