"""Talking to a checkpoint in the terminal."""

import contextlib
import secrets
import sys
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO

from rich.console import Console

from accordant.cli.conversation import Conversation
from accordant.cli.visible import visible
from accordant.errors import AccordantError
from accordant.records import Message
from accordant.serve.history import Prompter, fit

if TYPE_CHECKING:
    from accordant.engine import Generation, Sampling

HELP = """\
/system TEXT   set the system message, from the next answer on; without TEXT there is none
/undo          take back the last question and its answer
/save FILE     save the conversation as one line of JSON in FILE (.jsonl)
/new           start a new conversation; the system message stays
/help          show this
/quit          leave; Ctrl-D does so too
Ctrl-C stops an answer and keeps what was said. Begin with a space to send a line that starts with a slash."""


class Speaker(Protocol):
    """The part of `accordant.engine.Engine` that is used here: a generator that may be closed between two tokens."""

    def stream(self, prompt: list[int], sampling: "Sampling", /) -> Generator[str, None, "Generation"]:
        """Text of one answer as it becomes certain; returns the whole answer."""


def chat(
    checkpoint: Path,
    console: Console,
    system: str = "",
    temperature: float = 0.7,
    top_p: float = 0.9,
    max_tokens: int = 256,
    seed: int | None = None,
) -> None:
    """Load a checkpoint in the hub's format and talk to it on stdin until that ends.

    Raises:
        AccordantError: when the checkpoint cannot be read or a setting is out of range.
    """
    from accordant.engine import Sampling
    from accordant.serve.load import context_of, load_engine

    sampling = Sampling(temperature, top_p, max_tokens, seed=secrets.randbits(32) if seed is None else seed)
    engine = load_engine(checkpoint)
    run_chat(engine, engine.renderer, sys.stdin, console, sampling, system, context=context_of(engine))


def run_chat(
    engine: Speaker,
    renderer: Prompter,
    stdin: TextIO,
    console: Console,
    sampling: "Sampling",
    system: str = "",
    *,
    context: int = 2048,
) -> None:
    """Talk until the input ends: each line is a message or a command; piped input works as a terminal does.

    Args:
        engine: makes the answers.
        renderer: its tokenizer and template.
        stdin: where lines come from; a terminal gets line editing where Python has readline.
        console: where answers and notes go.
        sampling: how answers are drawn; each answer's seed is one higher than that of the one before.
        system: first system message, may be empty.
        context: most tokens of prompt and answer together.
    """
    interactive = stdin is sys.stdin and stdin.isatty()
    talk = _Talk(engine, renderer, console, sampling, context, Conversation(system.strip()))
    if interactive:
        talk.note("/help lists the commands; Ctrl-D leaves")
    read = _terminal_reader() if interactive else _pipe_reader(stdin)
    while True:
        try:
            line = read().encode(errors="replace").decode()
        except EOFError:
            if interactive:
                console.out("")
            return
        except KeyboardInterrupt:
            if not interactive:
                return
            talk.note("\nCtrl-D leaves")
            continue
        if line.strip() == "/quit":
            return
        talk.take(line)


def _terminal_reader() -> Callable[[], str]:
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  (gives input() its line editing)
    return lambda: input("› ")


def _pipe_reader(stdin: TextIO) -> Callable[[], str]:
    def read() -> str:
        try:
            line = stdin.readline()
        except UnicodeDecodeError:
            raise AccordantError("the input is not UTF-8 text; convert it first") from None
        if not line:
            raise EOFError
        return line.rstrip("\r\n")

    return read


class _Talk:
    """One sitting: a conversation and what is done with each line."""

    def __init__(
        self,
        engine: Speaker,
        renderer: Prompter,
        console: Console,
        sampling: "Sampling",
        context: int,
        conversation: Conversation,
    ) -> None:
        self.engine, self.renderer, self.console = engine, renderer, console
        self.sampling, self.context, self.conversation = sampling, context, conversation

    def note(self, text: str) -> None:
        """A line that the model did not say."""
        self.console.out(visible(text), style="dim", highlight=False)

    def take(self, line: str) -> None:
        """Obey a command or answer a message; what goes wrong is said in one line, and the talk goes on."""
        try:
            if line.startswith("/"):
                command, _, argument = line.strip().partition(" ")
                self.obey(command, argument.strip())
            elif line.strip():
                self.answer(line.strip())
        except AccordantError as error:
            self.note(str(error))

    def obey(self, command: str, argument: str) -> None:
        """Do what a line with a slash says."""
        conversation = self.conversation
        match command:
            case "/system":
                conversation.system = argument
                self.note("the system message is set" if argument else "there is no system message now")
            case "/undo" if conversation.turns:
                question, _ = conversation.turns.pop()
                self.note(f"taken back: {question}")
            case "/undo":
                self.note("there is nothing to take back")
            case "/save" if argument:
                path = Path(argument).expanduser()
                conversation.save(path)
                self.note(f"saved to {path}")
            case "/save":
                self.note("say where: /save FILE.jsonl")
            case "/new":
                self.conversation = Conversation(conversation.system)
                self.note("a new conversation")
            case "/help":
                self.note(HELP)
            case _:
                self.note(f"there is no command {command}; /help lists them")

    def answer(self, question: str) -> None:
        """Stream one answer; the turn is kept when the model said anything."""
        messages = [*self.conversation.messages(), Message(role="user", content=question)]
        fitted = fit(self.renderer, messages, self.context - self.sampling.max_tokens)
        if fitted.turns_left_out:
            self.note(f"(the oldest turns no longer fit and are left out: {fitted.turns_left_out})")
        sampling, self.sampling = self.sampling, replace(self.sampling, seed=self.sampling.seed + 1)
        said, stopped = self._say(fitted.prompt, sampling)
        if said.strip():
            self.conversation.turns.append((question, said))
            if stopped:
                self.note("(stopped)")
        else:
            self.note("(nothing was said; the question is taken back)")

    def _say(self, prompt: list[int], sampling: "Sampling") -> tuple[str, bool]:
        """Show an answer as it comes; returns it and whether Ctrl-C ended it."""
        said = ""
        try:
            with contextlib.closing(self.engine.stream(prompt, sampling)) as pieces:
                for piece in pieces:
                    said += piece
                    self.console.out(visible(piece), end="", highlight=False)
        except KeyboardInterrupt:
            return said, True
        finally:
            self.console.out("", highlight=False)
        return said, False
