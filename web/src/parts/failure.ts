import { Failure } from "@/api/client";
import type { Words } from "@/i18n";

/** What went wrong, in the reader's words; what only the server knows is quoted. */
export function sayFailure(error: unknown, words: Words): string {
  const say = words.failure;
  if (!(error instanceof Failure)) return words.broken;
  const known = say.codes[error.code as keyof typeof say.codes];
  if (known) return known(error.retryAfter);
  switch (error.status) {
    case 0:
      return say.unreachable;
    case 401:
      return say.signedOut;
    case 404:
      return say.gone;
    case 409:
      return say.changed;
    case 413:
      return say.tooLarge;
    case 429:
      return say.tooMany(error.retryAfter);
    case 503:
      return say.closing;
  }
  if (error.status >= 500) return say.server;
  return error.message ? say.refused(error.message) : say.forbidden;
}
