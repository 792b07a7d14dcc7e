"""The house rules that a machine can hold: imports run one way, files stay small, every field is read."""

import ast
from pathlib import Path

import pytest
from pydantic import BaseModel

from accordant import config

SOURCE = Path(config.__file__).parent
LAYERS = {
    "base": {"errors", "files", "journal", "progress", "records", "config", "machine", "stats"},
    "text": {"text"},
    "kernels": {"kernels"},
    "model": {"model"},
    "data": {"data"},
    "engine": {"engine"},
    "train": {"train"},
    "evals": {"evals"},
    "moderation": {"moderation"},
    "rounds": {"rounds"},
    "store": {"store"},
    "labelling": {"labelling", "feedback"},
    "serve": {"serve"},
    "cli": {"cli", "__init__"},
    "testing": {"testing"},
}
MAY_IMPORT = {
    "base": {"base"},
    "text": {"base", "text"},
    "kernels": {"base", "kernels"},
    "model": {"base", "text", "kernels", "model"},
    "data": {"base", "text", "model", "data"},
    "engine": {"base", "text", "kernels", "model", "data", "engine"},
    "train": {"base", "text", "kernels", "model", "data", "engine", "train"},
    "evals": {"base", "text", "model", "data", "engine", "train", "evals"},
    "moderation": {"base", "text", "model", "data", "engine", "moderation"},
    "rounds": {"base", "text", "model", "data", "engine", "train", "evals", "rounds"},
    "store": {"base", "store"},
    "labelling": {"base", "text", "model", "data", "store", "labelling"},
    "serve": {"base", "text", "model", "data", "engine", "rounds", "moderation", "store", "labelling", "serve"},
    "cli": set(LAYERS) - {"testing"},
    "testing": {"base", "text", "model", "data", "engine", "moderation", "testing"},
}
LONGEST = 400


def layer_of(part: str) -> str:
    return next(layer for layer, parts in LAYERS.items() if part in parts)


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def imported_parts(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom) and node.module == "accordant":
            names = [f"accordant.{alias.name}" for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("accordant.")}
    return found - {"__version__"}


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_run_one_way(path: Path) -> None:
    own = layer_of(path.relative_to(SOURCE).parts[0].removesuffix(".py"))
    for part in imported_parts(path):
        assert layer_of(part) in MAY_IMPORT[own], f"{own} must not import {part}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_files_hold_one_concept(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST


def sections() -> list[type[BaseModel]]:
    return [value for value in vars(config).values() if isinstance(value, type) and issubclass(value, config.Section)]


def test_every_config_field_says_what_it_is() -> None:
    nested = set(sections())
    for section in sections():
        for name, field in section.model_fields.items():
            assert field.description or field.annotation in nested, f"{section.__name__}.{name} has no description"
