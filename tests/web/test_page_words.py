"""What the service refuses by a name (`code`) has words on the page, and every such word has a refusal."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from accordant.serve import faults

ROOT = Path(__file__).parent.parent.parent
BY_STATUS = {"shutting_down"}
"""What the page has had words for by its status alone."""


def codes(source: Path) -> Iterator[str]:
    """The code of each refusal that is raised in a file: its last argument, where that is a name."""
    for node in ast.walk(ast.parse(source.read_text())):
        if not (isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)):
            continue
        given = [keyword.value for keyword in node.exc.keywords if keyword.arg == "code"] or node.exc.args[1:][-1:]
        for one in given:
            if isinstance(one, ast.Constant) and isinstance(one.value, str) and re.fullmatch("[a-z_]+", one.value):
                yield one.value


def test_every_code_of_the_service_has_words_on_the_page() -> None:
    sources = [path for folder in ("serve", "store") for path in (ROOT / "src/accordant" / folder).rglob("*.py")]
    # What /v1 says is for programs: OpenAI's own codes.
    of_the_page = [
        path
        for path in sources
        if "openai" not in path.parts and "completions" not in path.stem and path.stem != "service"
    ]
    raised = {code for path in of_the_page for code in codes(path)} | {faults.DATABASE, faults.FILTER}
    words = set(re.findall(r"^  ([a-z_]+):", (ROOT / "web/src/i18n/en.codes.ts").read_text(), re.MULTILINE))
    assert len(words) > 15
    assert words == raised - BY_STATUS
