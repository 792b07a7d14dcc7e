import { Fragment, useState } from "react";
import type { ConversationPage, MessageView } from "@/api/schema";
import { useWords } from "@/i18n";
import { Icon } from "@/parts/Icon";
import { Answer } from "./Answer";
import type { Actions } from "./actions";
import { useEarlier } from "./data";
import { Question } from "./Question";

type Props = { page: ConversationPage; actions: Actions };

/** A conversation's messages; earlier ones come by the page when they are asked for. */
export function Thread({ page, actions }: Props) {
  const { conversation, messages, earlier } = page;
  return (
    <>
      {earlier && <Earlier key={earlier} conversation={conversation.id} end={earlier} actions={actions} />}
      {messages.map((message) => (
        <Fragment key={message.id}>
          {message.role === "user" ? (
            <Question conversation={conversation.id} message={message} actions={actions} />
          ) : (
            <Answer conversation={conversation.id} message={message} actions={actions} />
          )}
        </Fragment>
      ))}
    </>
  );
}

function Earlier({ conversation, end, actions }: { conversation: string; end: string; actions: Actions }) {
  const words = useWords();
  const [wanted, setWanted] = useState(false);
  const { data, isFetching } = useEarlier(conversation, end, wanted);
  if (data) return <Thread page={data} actions={actions} />;
  return (
    <button type="button" className="plain earlier" disabled={isFetching} onClick={() => setWanted(true)}>
      {words.earlier}
    </button>
  );
}

/** A question that nothing answers yet, though it may be. */
export function Unanswered({ last, actions }: { last: MessageView | undefined; actions: Actions }) {
  const words = useWords();
  if (last?.role !== "user" || last.verdicts.some((verdict) => verdict.withheld)) return null;
  return (
    <button type="button" className="plain" disabled={actions.busy} onClick={() => actions.again(last.id)}>
      <Icon name="again" /> {words.regenerate}
    </button>
  );
}
