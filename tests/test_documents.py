"""The documents hold: links lead somewhere, and every function, test and recipe field that is named exists."""

import ast
import re
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest
from benchmarks import figures

from accordant.config import PPOSection, Recipe

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
METHOD = (ROOT / "docs" / "method.md").read_text()
DETAILS = [paragraph for paragraph in re.split(r"\n\n+", METHOD) if re.match(r"\*\*\w", paragraph)]
SECTION = "|".join(Recipe.model_fields)


class Link(NamedTuple):
    """What is written, and where it leads."""

    text: str
    path: Path


def links(text: str, folder: Path) -> list[Link]:
    """Links to files of the repository; code is no prose."""
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    found = re.findall(r"\[([^\]]+)\]\(([^)\s#]+)(?:#[^)\s]*)?\)", prose)
    return [Link(name, folder / target) for name, target in found if not re.match(r"\w+:", target)]


def defined_in(path: Path) -> set[str]:
    """Functions, classes, `Class.method` and constants of a Python file."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
            inner = node.body if isinstance(node, ast.ClassDef) else []
            names |= {f"{node.name}.{method.name}" for method in inner if isinstance(method, ast.FunctionDef)}
    return names


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", METHOD, re.DOTALL)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    broken = [link.text for link in links(document.read_text(), document.parent) if not link.path.exists()]
    assert broken == []


def test_what_the_method_names_is_defined_where_it_links() -> None:
    for link in links(METHOD, ROOT / "docs"):
        if link.path.suffix == ".py":
            names = [name for name in re.findall(r"`([A-Za-z_][\w.]*)`", link.text) if not name.endswith(".py")]
            module = link.path.stem
            missing = {name.removeprefix(f"{module}.") for name in names} - defined_in(link.path)
            assert not missing, f"{link.path.name} does not define {missing}"


def test_what_the_method_names_elsewhere_is_defined_somewhere() -> None:
    known = set().union(*(defined_in(path) for path in (ROOT / "src").rglob("*.py")))
    prose = re.sub(r"\[[^\]]*\]\([^)]*\)", "", METHOD)
    named = set(re.findall(r"`([A-Z]\w+\.\w+)`", prose))
    assert named <= known, named - known


def test_every_test_that_the_method_names_exists() -> None:
    files = list((ROOT / "tests").rglob("test_*.py"))
    tests = set().union(*(defined_in(path) for path in files))
    named = set(re.findall(r"`(test_\w+)(?:\[[^`]*\])?`", METHOD))
    assert len(named) > 50
    assert named <= tests, named - tests
    assert set(re.findall(r"\b(test_\w+\.py)", METHOD)) <= {path.name for path in files}


def test_every_recipe_field_that_the_method_names_exists() -> None:
    sections = {name: field.annotation for name, field in Recipe.model_fields.items()}
    named = set(re.findall(rf"`({SECTION})\.(?!json\b)(\w+)", METHOD))
    assert len(named) > 25
    unknown = [f"{s}.{f}" for s, f in named if f not in sections[s].model_fields]  # type: ignore[union-attr]
    assert unknown == []


def test_every_field_of_ppo_is_in_the_method() -> None:
    named = set(re.findall(r"`ppo\.(\w+)", METHOD))
    assert sorted(PPOSection.model_fields.keys() - named) == []


def test_each_detail_is_told_once() -> None:
    titles = [detail.split("**")[1] for detail in DETAILS]
    assert len(titles) == len(set(titles))
    assert re.findall(r"[^\n·]\n\*\*.*", METHOD) == [], "a paragraph begins in another"


def test_no_merge_has_kept_both_versions_of_a_line() -> None:
    for detail in DETAILS:
        beginnings = [line[:9] for line in detail.splitlines()]
        assert len(beginnings) == len(set(beginnings)), detail


@pytest.mark.parametrize("detail", DETAILS, ids=lambda text: text[2:40])
def test_each_detail_has_a_line_a_source_a_test_and_what_breaks_without_it(detail: str) -> None:
    assert links(detail, ROOT / "docs"), "no link"
    assert re.search(r"\b[Ss]ources?\b|\bOwn\b", detail), "no source"
    assert re.search(r"`test_|test_\w+\.py|[Nn]o test of its own", detail), "no test"
    assert re.search(r"\b[Ww]ithout\b|\b[Oo]therwise\b", detail), "nothing breaks without it"


def test_the_recipes_and_programs_of_the_method_are_valid() -> None:
    for recipe in blocks("toml"):
        PPOSection.model_validate(tomllib.loads(recipe)["ppo"])
    for program in blocks("python"):
        ast.parse(program)
    assert blocks("toml")
    assert blocks("python")


def test_the_figures_of_the_benchmarks_are_those_of_their_history() -> None:
    """After a new line in benchmarks/history: `python -m benchmarks.figures`."""
    assert figures.PAGE.read_text() == figures.page()
    shown = set(re.findall(r"<!-- figures: (\w+) -->", figures.PAGE.read_text()))
    assert {path.stem for path in figures.HISTORY.glob("*.jsonl")} <= shown


def test_every_fault_still_fits_the_code() -> None:
    """A fault whose text is gone tests nothing; `make mutants` would only find out after minutes."""
    faults = tomllib.loads((ROOT / "tests" / "mutants" / "faults.toml").read_text())["fault"]
    assert len({fault["name"] for fault in faults}) == len(faults)
    for fault in faults:
        source = (ROOT / "src" / "accordant" / fault["file"]).read_text()
        assert source.count(fault["old"]) == 1, fault["name"]
        assert all((ROOT / test.partition("::")[0]).exists() for test in fault["tests"]), fault["name"]
