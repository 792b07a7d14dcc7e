// What the server refuses by a name (`code`), in the reader's words; the others are quoted as the server says them.

/** Until it may be tried again. */
export type Seconds = number | null;

const soon = (seconds: Seconds) => (seconds ? `in ${seconds} ${seconds === 1 ? "second" : "seconds"}` : "soon");

export const codes = {
  line_full: (seconds: Seconds) => `Very many are waiting for the model just now. Try again ${soon(seconds)}.`,
  requests_per_minute: (seconds: Seconds) =>
    `You have asked as often as you may in a minute. Try again ${soon(seconds)}.`,
  tokens_per_minute: (seconds: Seconds) =>
    `You have used as many tokens as you may in a minute. Try again ${soon(seconds)}.`,
  tokens_per_day: () => "You have used your tokens of today. At midnight (UTC) there are new ones.",
  concurrency: () => "As many of your answers are being written as you may have at once. Wait for one, or stop one.",
  request_too_large: () =>
    "This would take more tokens than you may use in a minute. Begin a new chat, or ask for less.",
  too_long: () => "This message is longer than the model can read at once. Shorten it.",
  filter_unavailable: () =>
    "The filter cannot judge your words just now, and nothing is answered without it. Try again soon.",
  database_unavailable: () => "The server cannot reach its database. Try again soon.",
  same_answers: () => "The model wrote the same answer each time, so there is nothing to rank. Try again.",
  login_wrong: () => "Name or password is wrong.",
  password_wrong: () => "The password is wrong.",
  password_length: () => "A password has at least ten characters.",
  too_many_tries: (seconds: Seconds) => `Too many tries. Try again ${soon(seconds)}.`,
  name_taken: () => "Somebody has this name already. Choose another one.",
  name_invalid: () =>
    "A name has small letters, digits and . _ @ + -, up to 64 of them, and begins with a letter or digit.",
  invitation_needed: () => "Signing up needs an invitation code.",
  invitation_invalid: () => "This invitation does not exist, was used, or has expired. Ask for another one.",
  last_admin: () => "This is the only admin. Make somebody else one first.",
  role_needed: () => "Your account may not do this.",
  csrf: () => "You signed in anew in another window. Load the page again.",
};

/** Each with the seconds until it may be tried again. */
export type Codes = Record<keyof typeof codes, (seconds: Seconds) => string>;
