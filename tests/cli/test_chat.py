import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from accordant.cli.chat import run_chat
from accordant.cli.conversation import Conversation
from accordant.data.jsonl import read_rows
from accordant.engine import Sampling
from accordant.errors import AccordantError
from accordant.records import Demonstration
from accordant.testing.scripted import ScriptedEngine

SAMPLING = Sampling(max_tokens=16, seed=5)


def talk(engine: ScriptedEngine, *lines: str, system: str = "", context: int = 200) -> str:
    """What is shown for these lines of input."""
    shown = io.StringIO()
    console = Console(file=shown, width=40)
    stdin = io.StringIO("".join(f"{line}\n" for line in lines))
    run_chat(engine, engine.renderer, stdin, console, SAMPLING, system, context=context)
    return shown.getvalue()


def test_piped_lines_are_answered_and_nothing_else_is_shown() -> None:
    assert talk(ScriptedEngine(["Hello [bold]you[/] :smile:", "Again"]), "hi", "", "more") == (
        "Hello [bold]you[/] :smile:\nAgain\n"
    )


def test_an_answer_is_not_wrapped() -> None:
    reply = "x" * 100
    assert talk(ScriptedEngine([reply]), "hi") == reply + "\n"


def test_the_conversation_grows_and_each_answer_has_a_seed_of_its_own() -> None:
    engine = ScriptedEngine(["one two"])
    talk(engine, "a b c", "d", system="be brief")
    # System message 3, question 4, answer 3, question 2.
    assert [len(prompt) for prompt, _ in engine.asked] == [7, 12]
    assert [sampling.seed for _, sampling in engine.asked] == [5, 6]


def test_undo_new_and_system() -> None:
    engine = ScriptedEngine(["one"])
    shown = talk(
        engine, "a", "/undo", "/undo", "b", "/system be very kind", "c", "/new", "d", "/system", "e", "/quit", "f"
    )
    assert [len(prompt) for prompt, _ in engine.asked] == [2, 2, 4 + 4 + 2, 4 + 2, 2 + 2 + 2]
    assert "taken back: a" in shown
    assert "nothing to take back" in shown


def test_unknown_commands_are_not_sent_to_the_model() -> None:
    engine = ScriptedEngine(["one"])
    assert "no command /etc/hosts" in talk(engine, "/etc/hosts means?")
    assert not engine.asked
    talk(engine, " /etc/hosts means?")
    assert len(engine.asked) == 1


def test_help_names_every_command() -> None:
    shown = talk(ScriptedEngine(["one"]), "/help")
    assert all(f"/{name}" in shown for name in ("system", "undo", "save", "new", "help", "quit"))


def test_escape_sequences_of_the_model_do_not_reach_the_terminal() -> None:
    shown = talk(ScriptedEngine(["\x1b[2J\x1b]52;c;x\x07gone\u202e"]), "hi", "/\x1b[31m")
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "\u202e" not in shown
    assert "␛[2J" in shown


def test_a_long_history_is_cut_by_whole_turns_with_a_note() -> None:
    engine = ScriptedEngine(["one"])
    # Room for 14: a turn is 6 tokens, a question 4.
    shown = talk(engine, "a b c", "a b c", "a b c", context=30)
    assert [len(prompt) for prompt, _ in engine.asked] == [4, 10, 10]
    assert "left out: 1" in shown


def test_a_message_that_cannot_fit_is_refused_and_not_kept() -> None:
    engine = ScriptedEngine(["one"])
    shown = talk(engine, "w " * 40, "a", context=30)
    assert "41 tokens" in shown
    assert [len(prompt) for prompt, _ in engine.asked] == [2]


def test_a_failing_engine_is_one_line_and_the_talk_goes_on() -> None:
    engine = ScriptedEngine([AccordantError("the logits are not finite"), "fine"])
    assert talk(engine, "a", "b") == "\nthe logits are not finite\nfine\n"
    assert [len(prompt) for prompt, _ in engine.asked] == [2, 2]


class Interrupted(ScriptedEngine):
    """The reader presses Ctrl-C after the first `keep` pieces of each answer."""

    keep = 2

    def stream(self, prompt: list[int], sampling: Sampling) -> Iterator[str]:  # type: ignore[override]
        for place, piece in enumerate(super().stream(prompt, sampling)):
            if place == self.keep:
                raise KeyboardInterrupt
            yield piece


def test_ctrl_c_stops_the_answer_and_keeps_what_was_said() -> None:
    engine = Interrupted(["one two three four"])
    shown = talk(engine, "a", "b")
    assert shown.startswith("one two\n(stopped)\n")
    assert [len(prompt) for prompt, _ in engine.asked] == [2, 2 + 3 + 2]


def test_ctrl_c_before_the_first_word_takes_the_question_back() -> None:
    engine = Interrupted(["one two three four"])
    engine.keep = 0
    assert "taken back" in talk(engine, "a", "b")
    assert [len(prompt) for prompt, _ in engine.asked] == [2, 2]


def test_input_that_is_not_text_is_one_line() -> None:
    engine = ScriptedEngine(["one"])
    stdin = io.TextIOWrapper(io.BytesIO(b"\xff\xfe\n"), encoding="utf-8")
    with pytest.raises(AccordantError, match="UTF-8"):
        run_chat(engine, engine.renderer, stdin, Console(file=io.StringIO()), SAMPLING)


def test_a_lone_surrogate_does_not_reach_the_tokenizer() -> None:
    seen: list[str] = []
    engine = ScriptedEngine(["one"])

    class Spy:
        def prompt(self, messages, /):  # type: ignore[no-untyped-def]
            seen.extend(message.content for message in messages)
            return [1]

    run_chat(engine, Spy(), io.StringIO("caf\udce9\n"), Console(file=io.StringIO()), SAMPLING)
    assert seen == ["caf?"]


def test_save_writes_demonstrations_and_replaces_only_its_own(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    for _ in range(2):
        talk(ScriptedEngine(["one", "two"]), "a", f"/save {path}", "b", f"/save {path}", system="kind")
    rows = [Demonstration.model_validate(json.loads(line)) for line in path.read_text().splitlines()]
    assert len(rows) == 2
    assert len({row.id for row in rows}) == 2
    for row in rows:
        assert [message.content for message in row.messages] == ["kind", "a", "one", "b", "two"]
    assert len(list(read_rows(path))) == 2
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", ['{"some": "thing else"}\n', "not JSON\n"])
def test_save_leaves_other_files_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_text(content)
    shown = talk(ScriptedEngine(["one"]), "a", f"/save {path}", f"/save {tmp_path / 'talk.txt'}", "/save")
    assert path.read_text() == content
    assert "row 1" in shown
    assert "should end in .jsonl" in shown
    assert "say where" in shown
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_said_is_nothing_saved(tmp_path: Path) -> None:
    with pytest.raises(AccordantError, match="nothing was said"):
        Conversation("kind").save(tmp_path / "talk.jsonl")
