import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { lazy, Suspense, useCallback, useEffect, useState } from "react";
import { Redirect, Route, Switch } from "wouter";
import { SignIn } from "@/account/SignIn";
import { forgetSession, useSession } from "@/account/session";
import { Failure, whenSignedOut } from "@/api/client";
import { ChatPage } from "@/chat/ChatPage";
import { Sidebar } from "@/chat/Sidebar";
import { LanguageProvider, useWords } from "@/i18n";
import { Announcer } from "@/parts/Announcer";
import { useAbout } from "@/parts/about";
import { ErrorBoundary } from "@/parts/ErrorBoundary";
import { sayFailure } from "@/parts/failure";
import { Notice } from "@/parts/Notice";

/** What no other try would mend is not tried again. */
const mayPass = (error: unknown) => !(error instanceof Failure) || error.status === 0 || error.status >= 500;

/** Most people never teach: they do not load it either. */
const LabellingPage = lazy(() => import("@/labelling/LabellingPage"));
const RunsPage = lazy(() => import("@/runs/RunsPage"));
const AccountPage = lazy(() => import("@/account/AccountPage"));

const client = new QueryClient({
  defaultOptions: {
    queries: { retry: (count, error) => count < 3 && mayPass(error), networkMode: "always" },
    mutations: { networkMode: "always" },
  },
});

whenSignedOut(() => forgetSession(client));

export function App() {
  return (
    <LanguageProvider>
      <ErrorBoundary instead={<Broken />}>
        <QueryClientProvider client={client}>
          <Announcer>
            <Gate />
          </Announcer>
        </QueryClientProvider>
      </ErrorBoundary>
    </LanguageProvider>
  );
}

/** Lets those in who are known; without accounts everybody is. */
function Gate() {
  const words = useWords();
  const { data: about } = useAbout();
  const { data: me, isPending, error, refetch } = useSession();
  if (isPending) return null;
  if (error) {
    return (
      <main className="alone">
        <Notice action={{ label: words.retry, onClick: refetch }}>{sayFailure(error, words)}</Notice>
      </main>
    );
  }
  if (!me) return <SignIn title={about?.title ?? "Accordant"} />;
  return (
    <Switch>
      <Route path="/label/*?">
        <Suspense>
          <LabellingPage />
        </Suspense>
      </Route>
      <Route path="/runs/*?">
        <Suspense>
          <RunsPage />
        </Suspense>
      </Route>
      <Route path="/account">
        <Suspense>
          <AccountPage me={me} />
        </Suspense>
      </Route>
      <Route path="/chat/:id?">{({ id }) => <Chat id={id ?? null} />}</Route>
      <Route>
        <Redirect to="/chat" replace />
      </Route>
    </Switch>
  );
}

function Chat({ id }: { id: string | null }) {
  const words = useWords();
  const [open, setOpen] = useState(false);
  const close = useCallback(() => setOpen(false), []);
  // biome-ignore lint/correctness/useExhaustiveDependencies: whoever chose something wants to see it
  useEffect(close, [id]);
  return (
    <div className="shell">
      <a className="skip" href="#message">
        {words.skip}
      </a>
      <Sidebar chosen={id} open={open} onClose={close} />
      <ChatPage id={id} onOpenList={() => setOpen(true)} />
    </div>
  );
}

function Broken() {
  const words = useWords();
  return (
    <main className="alone">
      <Notice action={{ label: words.reload, onClick: () => location.reload() }}>{words.broken}</Notice>
    </main>
  );
}
