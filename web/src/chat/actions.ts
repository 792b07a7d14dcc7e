/** What can be done with the messages of the conversation on the screen. */
export type Actions = {
  /** An answer is being written: what would begin another one waits. */
  busy: boolean;
  edit: (message: string, text: string) => Promise<boolean>;
  again: (message: string) => Promise<boolean>;
  show: (message: string) => void;
};
