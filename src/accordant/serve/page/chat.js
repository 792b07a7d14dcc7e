// The chat page. Everything that people or the model wrote is put into the page as text, never as markup.

import { render } from "./render.js";
import { ask } from "./stream.js";

const find = (id) => document.getElementById(id);
const scroller = find("scroller");
const composer = find("composer");
const message = find("message");

// State: turns of {question, answer, note, failure}; `previous` are those that "New chat" put aside.
const KEY = "accordant-chat";
const LARGEST = 60_000;
let { turns, previous } = read();
let views = [];
let answering = null; // AbortController of the answer that is being written
let following = true; // stay at the end while text arrives
let memory = true; // whether the browser lets this page keep anything

function read() {
  try {
    const saved = JSON.parse(localStorage.getItem(KEY));
    const sound = (list) =>
      Array.isArray(list) ? list.filter((turn) => typeof turn?.question === "string" && typeof turn.answer === "string") : [];
    return { turns: sound(saved?.turns), previous: sound(saved?.previous) };
  } catch {
    return { turns: [], previous: [] };
  }
}

function save() {
  try {
    localStorage.setItem(KEY, JSON.stringify({ turns, previous }));
  } catch {
    if (memory) speak("This browser does not let the page keep the conversation; it ends with this tab.");
    memory = false;
  }
}

// What is on the screen

function showAll() {
  find("conversation").replaceChildren();
  views = turns.map(addView);
  views.forEach(show);
  showFrame();
}

function addView(turn) {
  const root = find("turn").content.cloneNode(true).firstElementChild;
  const part = (name) => root.querySelector(`.${name}`);
  const view = { turn, root, answer: part("answer"), note: part("note"), failure: part("failure"), actions: part("actions") };
  part("question").textContent = turn.question;
  part("retry").addEventListener("click", () => again(view));
  part("regenerate").addEventListener("click", () => again(view));
  part("copy").addEventListener("click", (event) => copy(turn.answer, event.currentTarget.lastElementChild));
  find("conversation").append(root);
  return view;
}

function show(view) {
  const { turn } = view;
  const busy = view === answering?.view;
  render(view.answer, turn.answer);
  view.answer.setAttribute("aria-busy", String(busy));
  view.note.textContent = turn.note ?? "";
  view.note.hidden = !turn.note;
  view.failure.firstElementChild.textContent = turn.failure ?? "";
  view.failure.hidden = !turn.failure;
  view.actions.hidden = busy || !turn.answer;
}

function showFrame() {
  const empty = turns.length === 0;
  find("welcome").hidden = !empty;
  find("restore").hidden = !(empty && previous.length);
  find("new").hidden = empty;
  find("send").hidden = Boolean(answering);
  find("stop").hidden = !answering;
  find("send").disabled = !message.value.trim();
  stay();
}

function stay() {
  if (following) scroller.scrollTop = scroller.scrollHeight;
  find("latest").hidden = following;
}

const atEnd = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 32;

function speak(text) {
  find("spoken").textContent = text;
}

// What happens

function send(question) {
  const view = addView({ question, answer: "" });
  turns.push(view.turn);
  views.push(view);
  answer(view);
}

// Turns without an answer stay on the screen but are not part of what the model reads. The server leaves out what does
// not fit; the cut here only keeps a very long conversation within the size that it takes.
function conversationUpTo(turn) {
  let room = LARGEST - turn.question.length;
  const said = turns
    .slice(0, turns.indexOf(turn))
    .filter(({ answer }) => answer.trim())
    .reverse()
    .slice(0, 400)
    .filter(({ question, answer }) => (room -= question.length + answer.length) > 0)
    .reverse();
  return [
    ...said.flatMap(({ question, answer }) => [
      { role: "user", content: question },
      { role: "assistant", content: answer },
    ]),
    { role: "user", content: turn.question },
  ];
}

// The button that was pressed disappears; the focus goes where the reader may want it next.
function again(view) {
  answer(view);
  find("stop").focus();
}

async function answer(view) {
  if (answering) return;
  const { turn } = view;
  const run = { view, control: new AbortController() };
  const before = { answer: turn.answer, note: turn.note };
  const soon = onceAFrame(() => {
    show(view);
    stay();
  });
  answering = run;
  following = true;
  save();
  Object.assign(turn, { answer: "", note: "", failure: "" });
  show(view);
  showFrame();
  speak("Answering");

  let doubt = "";
  const on = {
    waiting: ({ ahead }) => (turn.note = ahead === 1 ? "Waiting: one answer comes before yours." : `Waiting: ${ahead} answers come before yours.`),
    delta: ({ text }) => {
      if (!turn.answer) turn.note = "";
      turn.answer += text;
    },
    flagged: ({ withheld }) => {
      if (withheld) turn.failure = "The moderation filter withheld the rest of this answer.";
      else doubt = "The moderation filter has doubts about this exchange.";
    },
    done: (event) => (turn.note = `${remark(event)} ${doubt}`.trim()),
    error: (event) => (turn.failure = sentence(event.message)),
  };
  try {
    await ask(conversationUpTo(turn), run.control.signal, (event) => {
      on[event.type]?.(event);
      soon();
    });
  } catch (error) {
    if (error.name === "AbortError") turn.note = "Stopped.";
    else turn.failure = error.message;
  }
  if (!turn.answer.trim()) {
    turn.failure ||= turn.note === "Stopped." ? "Stopped before the first word." : "The model said nothing.";
    Object.assign(turn, before); // a second try that fails does not cost the first answer
  }
  answering = null;
  save();
  show(view);
  if (document.activeElement === find("stop")) focusMessage();
  showFrame();
  speak(turn.failure || !views.includes(view) ? "" : turn.answer);
}

function remark({ finish, turns_left_out }) {
  const ended = finish === "length" ? "The answer ended at its length limit." : "";
  const left = turns_left_out ? "The beginning of this conversation no longer fits and was not read." : "";
  return `${ended} ${left}`.trim();
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");

function onceAFrame(work) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      work();
    });
  };
}

async function copy(text, label) {
  const was = label.textContent;
  try {
    await navigator.clipboard.writeText(text);
    label.textContent = "Copied";
  } catch {
    label.textContent = "The browser refused";
  }
  speak(label.textContent);
  setTimeout(() => (label.textContent = was), 1600);
}

function grow() {
  message.style.height = "auto";
  message.style.height = `${message.scrollHeight}px`;
}

// On a touch screen this would open the keyboard unasked.
function focusMessage() {
  if (matchMedia("(hover: hover)").matches) message.focus();
}

function stop() {
  answering?.control.abort();
}

// Events

composer.addEventListener("submit", (event) => {
  event.preventDefault();
  const question = message.value.trim();
  if (!question || answering) return;
  message.value = "";
  grow();
  send(question);
});

message.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  composer.requestSubmit();
});

message.addEventListener("input", () => {
  grow();
  showFrame();
});

find("stop").addEventListener("click", () => {
  stop();
  focusMessage();
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") stop();
});

find("new").addEventListener("click", () => {
  stop();
  [previous, turns] = [turns, []];
  save();
  showAll();
  focusMessage();
});

find("restore").addEventListener("click", () => {
  [turns, previous] = [previous, []];
  following = true;
  save();
  showAll();
  focusMessage();
});

find("examples").addEventListener("click", (event) => {
  const example = event.target.closest("button");
  if (example && !answering) send(example.textContent);
});

find("latest").addEventListener("click", () => {
  following = true;
  stay();
  focusMessage();
});

scroller.addEventListener("scroll", () => {
  following = atEnd();
  find("latest").hidden = following;
});

new ResizeObserver(stay).observe(scroller);

addEventListener("pagehide", () => answering && save());

addEventListener("storage", (event) => {
  if (event.key !== KEY || answering) return;
  ({ turns, previous } = read());
  showAll();
});

async function tellAbout() {
  const { title, checkpoint, facts } = await (await fetch("api/about")).json();
  document.title = title;
  find("title").textContent = title;
  if (facts.Parameters) {
    const honest = `You are talking to a ${facts.Parameters}\u2011parameter model made with Accordant. It is often wrong.`;
    find("honest").textContent = honest;
  }
  if (!checkpoint) return;
  find("checkpoint").textContent = checkpoint;
  for (const [label, text] of Object.entries({ Checkpoint: checkpoint, ...facts })) {
    const [term, detail] = ["dt", "dd"].map((name) => document.createElement(name));
    term.textContent = label;
    detail.textContent = text;
    find("facts").append(term, detail);
  }
  find("about").hidden = false;
}

document.addEventListener("click", (event) => {
  if (!find("about").contains(event.target)) find("about").open = false;
});

showAll();
focusMessage();
tellAbout().catch(() => {}); // the page works without
