"""The figures of docs/benchmarks.md, taken from the last line of each history.

    python -m benchmarks.figures        writes them; a test holds the page to what this makes

In the page stands `<!-- figures: NAME -->`, and what follows up to `<!-- end -->` is written here.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from benchmarks.paired import HISTORY

PAGE = HISTORY.parent.parent / "docs" / "benchmarks.md"
BLOCK = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
ABOUT = ("benchmark", "when", "commit", "threads", "processor", "torch", "machine")
"""What says where and when, and is no result."""


class Row(NamedTuple):
    """One line of a table."""

    what: str
    figure: str


def rows(result: Mapping[str, Any]) -> list[Row]:
    """All results of a document, each under its path."""
    return list(_rows({key: value for key, value in result.items() if key not in ABOUT}, ()))


def _rows(value: Any, path: tuple[str, ...]) -> Iterator[Row]:
    if isinstance(value, Mapping) and not {"median", "lowest", "highest"} <= value.keys():
        for key, inner in value.items():
            yield from _rows(inner, (*path, str(key).replace("_", " ")))
    else:
        yield Row(", ".join(path), _text(value))


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{_text(value['median'])} [{_text(value['lowest'])}, {_text(value['highest'])}]"
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


def table(name: str) -> str:
    """The last result of a benchmark as Markdown, under a line that says where it is from."""
    history = HISTORY / f"{name}.jsonl"
    if not history.exists():
        return "No figures yet.\n"
    last = json.loads(history.read_text().splitlines()[-1])
    lines = [
        f"{last['when'][:10]}, commit {last['commit']}, {last['processor']}, {last['threads']} thread(s), "
        f"torch {last['torch']}:",
        "",
        "| what | median [lowest, highest] |",
        "|---|---|",
        *(f"| {row.what} | {row.figure} |" for row in rows(last)),
    ]
    return "\n".join(lines) + "\n"


def page() -> str:
    """The whole page with its figures as they are now."""
    return BLOCK.sub(lambda block: block[1] + table(block[2]) + block[3], PAGE.read_text())


def write() -> None:
    """Put them in."""
    PAGE.write_text(page())


if __name__ == "__main__":
    write()
