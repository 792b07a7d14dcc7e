"""From files to heads, a model card and figures, with a tiny random encoder."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from accordant.cli import app, commands  # noqa: F401  (registers the commands)
from accordant.errors import AccordantError
from accordant.moderation import training
from accordant.moderation.moderator import SHIPPED, Moderator, encoder_folder, heads_folder
from accordant.records import CATEGORIES
from accordant.testing.moderation import save_tiny_encoder

BAD, GOOD = ["horrible", "fool", "go away"], ["river", "hills", "harbour", "rain"]


def rows(count: int = 60) -> list[dict[str, Any]]:
    """Texts whose words say what they are; every third harassment is not judged for hate."""
    found: list[dict[str, Any]] = []
    for i in range(count):
        words = BAD if i % 3 == 0 else GOOD
        row = {"prompt": " ".join(words[(i // 3 + j) % len(words)] for j in range(3)) + f" {i}", "HR": int(i % 3 == 0)}
        found.append(row | ({"H": 0} if i % 2 else {}) | {"V": 0, "S": 0})
    return found


def write(path: Path, found: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in found))
    return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with the tiny encoder in the place of the real one."""
    monkeypatch.setenv("ACCORDANT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(training, "resolve_dtype", lambda _: __import__("torch").float32)
    save_tiny_encoder(encoder_folder())
    return tmp_path


def run(*arguments: object) -> dict[str, Any]:
    """The JSON document in the last line of a command's output."""
    done = CliRunner().invoke(app, ["moderation", *map(str, arguments), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    document: dict[str, Any] = json.loads(done.output.strip().splitlines()[-1])
    return document


def test_train_writes_heads_and_card_and_eval_measures_them(home: Path) -> None:
    data = write(home / "data.jsonl", rows())
    turns = [{"role": "user", "content": "the rain?"}, {"role": "assistant", "content": "the river and the hills"}]
    harmless = write(home / "harmless.jsonl", [{"messages": turns}])
    prompts = [{"prompt": "rain fool", "label": "safe", "type": "x"}, {"prompt": "x", "label": "unsafe", "type": "x"}]
    lookalikes = write(home / "prompts.jsonl", prompts)
    trained = run("train", "--data", data, "--harmless", harmless, "--lookalikes", lookalikes, "--folds", 3)
    assert trained["categories"]["harassment"]["auprc"] > 0.9
    assert trained["categories"]["hate"]["positives"] == 0 if "positives" in trained["categories"]["hate"] else True
    assert trained["lookalikes"]["prompts.jsonl"]["texts"] == 1
    assert {"median", "p95"} <= trained["milliseconds"].keys()

    folder = heads_folder()
    assert folder == home / "home" / "moderation"
    record = json.loads((folder / "heads.json").read_text())
    assert [source["file"] for source in record["sources"]] == ["data.jsonl", "harmless.jsonl"]
    card = (folder / "MODEL_CARD.md").read_text()
    assert "| harassment | 60 | 20 |" in card
    assert "no row shows it" in card

    moderator = Moderator.load()
    assert moderator.judge("horrible fool go away").scores["harassment"] > 0.5
    assert moderator.judge("river hills harbour").scores["harassment"] < 0.5
    assert moderator.scores(["river"])[0]["hate"] == 0, "no row shows hate: no head"

    measured = run("eval", "--data", data)
    assert measured["n"] == 60
    assert any("were trained on data.jsonl" in note for note in measured["notes"])
    unseen = run("eval", "--data", write(home / "other.jsonl", rows(30)))
    assert unseen["notes"] == []
    folded = run("eval", "--data", data, "--folds", 3, "--with", write(home / "more.jsonl", rows(12)))
    assert folded["n"] == 60
    assert folded["categories"]["flagged"]["positives"] == 20
    assert any("cross-validated" in note for note in folded["notes"])


def test_long_texts_are_judged_by_their_worst_window(home: Path) -> None:
    run("train", "--data", write(home / "data.jsonl", rows()), "--folds", 2)
    moderator = Moderator.load()
    harmless = "river hills harbour rain . " * 40
    hidden = harmless + "horrible fool go away horrible fool go away " * 8 + harmless
    assert moderator.judge(harmless).scores["harassment"] < 0.5
    assert moderator.judge(hidden).scores["harassment"] > 0.5


def test_training_again_gives_the_same_heads(home: Path) -> None:
    data = write(home / "data.jsonl", rows())
    for name in ("one", "two"):
        run("train", "--data", data, "--folds", 2, "--out", home / name)
    assert (home / "one" / "heads.safetensors").read_bytes() == (home / "two" / "heads.safetensors").read_bytes()


def test_rows_without_both_labels_are_one_line(home: Path) -> None:
    data = write(home / "data.jsonl", [{"prompt": f"rain {i}", "HR": 0} for i in range(9)])
    with pytest.raises(AccordantError, match="no category with texts of both labels"):
        run("train", "--data", data)


def test_without_own_heads_the_shipped_ones_are_used(home: Path) -> None:
    assert heads_folder() == SHIPPED
    assert {"heads.json", "heads.safetensors", "MODEL_CARD.md"} <= {path.name for path in SHIPPED.iterdir()}
    record = json.loads((SHIPPED / "heads.json").read_text())
    assert record["categories"] == list(CATEGORIES)
    assert record["command"].startswith("accordant moderation train")
