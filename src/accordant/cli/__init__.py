"""The command line: parses, calls, prints. Torch and the rest are imported by the command that needs them."""

import os
import sys

import typer

from accordant.errors import AccordantError, Stopped

app = typer.Typer(
    name="accordant",
    help="The whole of how ChatGPT was made: demonstrations, reward model, PPO, evaluation, chat.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def main() -> None:
    """Entry point: a known error is one line and exit code 1; a stop is one line and exit code 130."""
    from accordant.cli import commands, judgements, store  # noqa: F401  (registers the commands)

    debug = bool(os.environ.get("ACCORDANT_DEBUG"))
    try:
        app(standalone_mode=True)
    except Stopped as stop:
        _say(str(stop))
        sys.exit(130)
    except AccordantError as error:
        if debug:
            raise
        _say(f"accordant: {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        _say("interrupted; what was saved before is intact: run again to go on")
        sys.exit(130)


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
