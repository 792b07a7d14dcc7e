import { account } from "./en.account";
import { type Codes, codes } from "./en.codes";
import { runs } from "./en.runs";
import { feedback, labelling } from "./en.teaching";

// Every sentence of the page. The other languages have this type, so a missing one does not compile.

const s = (count: number, one: string, many: string) => (count === 1 ? one : many);

export const en = {
  code: "en",
  name: "English",

  skip: "Skip to the message",
  loading: "Loading",
  cancel: "Cancel",
  close: "Close",
  retry: "Try again",
  more: "More",
  language: "Language",
  theme: "Appearance",
  themes: { auto: "System", light: "Light", dark: "Dark" },

  conversations: "Conversations",
  openList: "Show conversations",
  closeList: "Hide conversations",
  newChat: "New chat",
  search: "Search",
  nothingFound: "Nothing found.",
  noneYet: "Conversations will stand here.",
  untitled: "Untitled",
  olderOnes: "Show older ones",
  optionsOf: (title: string) => `Options for “${title}”`,
  rename: "Rename",
  newTitle: "New title",
  exportMarkdown: "Export to read",
  exportJson: "Export everything (JSON)",
  delete: "Delete",
  deleteTitle: "Delete this conversation?",
  deleteText: (title: string) => `“${title}” and everything in it will be gone for good.`,

  welcome: "What would you like to talk about?",
  honest: (size: string | undefined) =>
    `You are talking to a ${size ? `${size}\u2011parameter` : "small"} language model made with Accordant. It is often wrong.`,
  tryThis: "Try",
  prompts: [
    "Explain photosynthesis to a ten-year-old.",
    "Give me three tips for sleeping better.",
    "Suggest a name for a small bakery by the sea.",
    "Who was the first person to walk on Mars?",
  ],
  samples: "What it answered when it was measured, word for word",
  askThis: "Ask this",
  itCan: "What it can do",
  abilities: [
    "Answer, explain, and help you write",
    "Remember what was said earlier in a conversation",
    "Be corrected: say what was wrong and ask again",
  ],
  itCannot: "Where it fails",
  failings: ["It can state what is false with confidence", "It knows nothing of what happened lately"],
  measured: {
    premises_challenged: (share: string, n: number) =>
      `Out of ${n} questions with a false premise it challenged ${share}`,
    harmful_refused: (share: string, n: number) => `Out of ${n} harmful requests it refused ${share}`,
    lookalikes_answered: (share: string, n: number) =>
      `Out of ${n} harmless requests that look harmful it answered ${share}`,
    clarified: (share: string, n: number) => `Out of ${n} unclear questions it asked back at ${share}`,
  },
  measuredOn: "Measured on held-out prompts.",

  conversation: "Conversation",
  message: "Message",
  writeMessage: "Write a message",
  send: "Send",
  stop: "Stop",
  toEnd: "Go to the end",
  fine: "Answers may be wrong.",
  consent: "May be used for training",
  consentHelp: "Off unless you allow it. You can change your mind at any time.",
  you: "You",
  answer: "Answer",
  answering: "The answer is being written",
  copy: "Copy",
  copied: "Copied",
  copyRefused: "The browser refused",
  regenerate: "Answer again",
  edit: "Edit",
  editMessage: "Edit your message",
  resend: "Send again",
  versions: "Versions",
  versionOf: (number: number, all: number) => `${number} of ${all}`,
  previous: "Previous version",
  next: "Next version",
  earlier: "Show earlier messages",
  codeOf: (language: string) => (language ? `Code: ${language}` : "Code"),
  table: "Table",
  done: "Done",
  notDone: "Not done",
  imageOf: (text: string) => `Image not loaded: ${text}`,

  waiting: (ahead: number) => `Waiting: ${ahead} ${s(ahead, "answer comes", "answers come")} before yours.`,
  lost: (seconds: number) =>
    `The connection is lost. The answer goes on without it; trying again in ${seconds} ${s(seconds, "second", "seconds")}.`,
  tryNow: "Try now",
  stopped: "Stopped.",
  stoppedEarly: "Stopped before the first word.",
  atLimit: "The answer ended at its length limit.",
  leftOut: "The beginning of this conversation no longer fits and was not read.",
  saidNothing: "The model said nothing.",
  processDied: "The server stopped while this answer was written. What was stored of it stands here.",
  answerFailed: (why: string) => `The answer broke off: ${why}`,

  filter: {
    warned: (what: string) => `Flagged by the filter: ${what}.`,
    questionBlocked: (what: string) => `The filter did not let this message through: ${what}. It was not answered.`,
    answerBlocked: (what: string) => `The filter stopped this answer: ${what}.`,
    unnamed: "against the rules",
  },
  categories: {
    sexual: "sexual content",
    hate: "hate",
    violence: "violence",
    harassment: "harassment",
    "self-harm": "self-harm",
    "sexual/minors": "sexual content about minors",
    "hate/threatening": "hate with threats",
    "violence/graphic": "graphic violence",
  },

  failure: {
    codes: codes as Codes,
    unreachable: "The server cannot be reached.",
    signedOut: "You are signed out.",
    forbidden: "You may not do this.",
    gone: "This is not there any more.",
    changed: "This conversation was changed elsewhere; it has been loaded again.",
    tooLarge: "This message is too long.",
    tooMany: (seconds: number | null) =>
      `Too much was asked at once. Try again ${seconds ? `in ${seconds} ${s(seconds, "second", "seconds")}` : "soon"}.`,
    closing: "The server is not taking questions now. Try again soon.",
    refused: (why: string) => `The server refused: ${why}`,
    server: "Something went wrong on the server; its log says what.",
    kept: "Your message is still below.",
  },
  notFound: "There is nothing here.",
  toStart: "Start a new chat",
  broken: "The page broke. Loading it again usually helps.",
  reload: "Load again",

  signIn: "Sign in",
  signUp: "Create an account",
  signOut: "Sign out",
  signedInAs: (name: string) => `Signed in as ${name}`,
  userName: "Name",
  password: "Password",
  invitation: "Invitation code",
  invitationHelp: "Leave it empty where signing up is open to everyone.",
  haveAccount: "I have an account",
  noAccount: "I have no account",

  account,
  feedback,
  labelling,
  runs,
};

export type Words = typeof en;
