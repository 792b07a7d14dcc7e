// The service, typed: every call either gives its data or throws a Failure.

import createClient, { type Middleware } from "openapi-fetch";
import type { paths } from "./schema";

/** Why a request was not answered. Status 0: there was no answer at all. */
export class Failure extends Error {
  constructor(
    readonly status: number,
    message = "",
    readonly retryAfter: number | null = null,
    /** Names the fault, where the page has words of its own for it. */
    readonly code: string | null = null,
  ) {
    super(message);
  }
}

let csrf: string | null = null;

/** What the service wants to see with each change; see `/api/me`. */
export function setCsrf(token: string | null) {
  csrf = token;
}

let signedOut = () => {};

/** What to do when the service no longer knows who is asking. */
export function whenSignedOut(work: () => void) {
  signedOut = work;
}

export async function failureOf(response: Response): Promise<Failure> {
  const body: unknown = await response.json().catch(() => null);
  const said = (body as { error?: { message?: unknown; code?: unknown } } | null)?.error;
  const wait = Number(response.headers.get("retry-after"));
  const text = (one: unknown) => (typeof one === "string" ? one : "");
  return new Failure(response.status, text(said?.message), wait > 0 ? wait : null, text(said?.code) || null);
}

const ours: Middleware = {
  onRequest({ request }) {
    if (csrf) request.headers.set("X-CSRF-Token", csrf);
    return request;
  },
  async onResponse({ response, schemaPath }) {
    if (response.status === 401 && schemaPath !== "/api/login") signedOut();
    if (!response.ok) throw await failureOf(response);
  },
  onError: () => new Failure(0),
};

export const api = createClient<paths>({ baseUrl: location.origin });
api.use(ours);

/** The data of a call, which is there: what failed was thrown. */
export async function dataOf<T>(call: Promise<{ data?: T }>): Promise<T> {
  return (await call).data as T;
}
