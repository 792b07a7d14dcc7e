// Asks for one answer and hands over its events as they arrive.

const OUT_OF_REACH = "The server does not answer. It may have been stopped, or the connection is down.";

/**
 * Throws an AbortError when `signal` fires, else an Error whose message is meant for the reader.
 * `take` gets each event (waiting, delta, flagged, done, error); after `done` or `error` this returns.
 */
export async function ask(messages, signal, take) {
  let response;
  try {
    response = await fetch("api/chat", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ messages }),
      signal,
    });
  } catch (error) {
    throw error.name === "AbortError" ? error : new Error(OUT_OF_REACH);
  }
  if (!response.ok) throw new Error(await reason(response));
  let over = false;
  try {
    for await (const event of events(response.body)) {
      take(event);
      over ||= event.type === "done" || event.type === "error";
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
  }
  if (!over) throw new Error("The answer broke off: the connection to the server was lost.");
}

async function reason(response) {
  try {
    const { message } = (await response.json()).error;
    return `${message.charAt(0).toUpperCase()}${message.slice(1)}.`;
  } catch {
    return `The server answered with status ${response.status}.`;
  }
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      if (part.startsWith("data: ")) yield JSON.parse(part.slice(6));
    }
  }
}
