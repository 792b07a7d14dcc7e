"""The live view: lines where there is no terminal, a panel where there is one."""

import io

from rich.console import Console

from accordant.cli.live import LiveWatcher


def view(terminal: bool) -> tuple[LiveWatcher, io.StringIO]:
    out = io.StringIO()
    return LiveWatcher(Console(file=out, force_terminal=terminal, width=120)), out


def work_on(watcher: LiveWatcher) -> None:
    watcher.begin("PPO", 2)
    watcher.sample("why is the sky\nblue", "because\x1b[2J of [bold]light[/bold]")
    watcher.step(1, {"reward": 0.25, "seconds": 1.0})
    watcher.note("a note")
    watcher.step(2, {"reward": 0.5})
    watcher.end()


def test_lines_carry_progress_figures_and_the_newest_sample() -> None:
    watcher, out = view(terminal=False)
    work_on(watcher)
    lines = out.getvalue().splitlines()
    assert lines[0] == "PPO: 0 of 2 steps done"
    assert lines[1].startswith("  PPO 1/2, about 0:00 left: reward 0.25")
    assert lines[2].strip() == "why is the sky blue -> because [2J of [bold]light[/bold]"
    assert "  a note" in lines
    assert "PPO" in lines[-1]
    assert "reward 0.5" in lines[-1]


def test_a_terminal_gets_no_control_characters_from_model_text() -> None:
    watcher, out = view(terminal=True)
    work_on(watcher)
    assert "[bold]light" in out.getvalue()
    assert "\x1b[2J of" not in out.getvalue()
    assert "a sampled answer" in out.getvalue()
