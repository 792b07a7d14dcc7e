import { type ReactNode, type SyntheticEvent, useState } from "react";
import { useWords } from "@/i18n";
import { Dialog } from "./Dialog";
import { sayFailure } from "./failure";
import { Notice } from "./Notice";

type Props = {
  title: string;
  verb: string;
  danger?: boolean;
  children: ReactNode;
  onClose: () => void;
  onDo: (given: FormData) => Promise<unknown>;
};

/** A dialog that does something with what is filled in, or says why it could not. */
export function Asking({ title, verb, danger = false, children, onClose, onDo }: Props) {
  const words = useWords();
  const [failure, setFailure] = useState<unknown>(null);
  const submit = async (event: SyntheticEvent<HTMLFormElement>) => {
    event.preventDefault();
    try {
      await onDo(new FormData(event.currentTarget));
      onClose();
    } catch (error) {
      setFailure(error);
    }
  };
  return (
    <Dialog title={title} onClose={onClose}>
      <form onSubmit={submit}>
        {children}
        {failure !== null && <Notice>{sayFailure(failure, words)}</Notice>}
        <div className="choices">
          <button type="button" className="plain" onClick={onClose}>
            {words.cancel}
          </button>
          <button type="submit" className={danger ? "main danger" : "main"}>
            {verb}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
