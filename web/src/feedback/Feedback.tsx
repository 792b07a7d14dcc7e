import { useState } from "react";
import type { MessageView, Rating } from "@/api/schema";
import { useWords } from "@/i18n";
import { sayFailure } from "@/parts/failure";
import { Icon } from "@/parts/Icon";
import { Menu, MenuItem } from "@/parts/Menu";
import { Notice } from "@/parts/Notice";
import { useSaid, useSaying } from "./data";
import { Preference } from "./Preference";
import { RatingForm } from "./RatingForm";
import { ReportForm } from "./ReportForm";
import "./feedback.css";

type Props = { conversation: string; message: MessageView };

/** What the reader says of an answer: a thumb, why, what would have been better, what the filter should have caught. */
export function Feedback({ conversation, message }: Props) {
  const words = useWords();
  const say = words.feedback;
  const subject = { conversation, message: message.id };
  const given = useSaid(subject, "rating");
  const { rate, withdraw } = useSaying(conversation);
  const [open, setOpen] = useState<"rating" | "report" | null>(null);
  const [thanks, setThanks] = useState(false);
  const [failure, setFailure] = useState<unknown>(null);
  const rating: Rating = given?.said ?? { kind: "rating" };

  /** Whether it came through. */
  const attempt = async (work: () => Promise<unknown>, thankful = true): Promise<boolean> => {
    setFailure(null);
    try {
      await work();
      setThanks(thankful);
      return true;
    } catch (error) {
      setFailure(error);
      return false;
    }
  };
  const takeBack = () => attempt(() => (given ? withdraw(given.id) : Promise.resolve()), false);
  const press = async (thumb: "up" | "down") => {
    if (rating.thumb !== thumb) {
      setOpen(thumb === "down" ? "rating" : null);
      await attempt(() => rate(message.id, { ...rating, thumb, reasons: [] }));
    } else if (rating.ideal) await attempt(() => rate(message.id, { ...rating, thumb: null, reasons: [] }), false);
    else {
      setOpen(null);
      await takeBack();
    }
  };
  const thumb = (which: "up" | "down") => (
    <button
      type="button"
      className="quiet round"
      aria-label={say.thumbs[which]}
      title={say.thumbs[which]}
      aria-pressed={rating.thumb === which}
      onClick={() => press(which)}
    >
      <Icon name={which === "up" ? "thumbUp" : "thumbDown"} />
    </button>
  );

  return (
    <div className="feedback">
      {thumb("up")}
      {thumb("down")}
      <Menu label={say.more}>
        <MenuItem icon="pencil" onChoose={() => setOpen("rating")}>
          {say.idealTitle}
        </MenuItem>
        <MenuItem icon="flag" onChoose={() => setOpen("report")}>
          {say.missed}
        </MenuItem>
      </Menu>
      <span className="note" role="status">
        {thanks && say.thanks}
      </span>
      {thanks && open === null && (
        <button type="button" className="quiet small" onClick={() => setOpen("rating")}>
          {say.sayMore}
        </button>
      )}
      {failure !== null && <Notice>{sayFailure(failure, words)}</Notice>}
      {open === "rating" && (
        <RatingForm
          rating={rating}
          answer={message.content}
          onClose={() => setOpen(null)}
          onSave={async (next) => {
            if (await attempt(() => rate(message.id, next))) setOpen(null);
          }}
        />
      )}
      {open === "report" && <ReportForm subject={subject} onClose={() => setOpen(null)} />}
      <Preference conversation={conversation} message={message} onFailure={setFailure} />
    </div>
  );
}
