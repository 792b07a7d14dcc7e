"""`accordant data build` and `accordant lineage`: what they say, and their JSON last."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from accordant.cli import app, judgements
from accordant.errors import AccordantError
from accordant.store import annotations
from accordant.store.migrate import open_database
from accordant.store.users import LOCAL

assert judgements  # registers the commands
DIALOGUE = {
    "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],
    "taken": [],
}


def run(*arguments: str, home: Path) -> list[str]:
    done = CliRunner().invoke(app, list(arguments), env={"ACCORDANT_HOME": str(home), "COLUMNS": "300"})
    if isinstance(done.exception, AccordantError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output.strip().splitlines()


def test_from_the_store_to_data_and_from_a_checkpoint_to_the_store(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'accordant.db'}")
    with database.write() as session:
        made = annotations.begin_demonstration(session, LOCAL, {})
        annotations.submit(session, annotations.held(session, LOCAL, made.id, "demonstration"), 0, DIALOGUE)
    database.close()
    *lines, last = run("data", "build", "--json", home=tmp_path)
    assert lines[0] == "demonstrations.jsonl: 1 rows (1 demonstration)"
    assert lines[-1] == f"data: {tmp_path / 'data' / 'own'}"
    about = json.loads(last)["files"]["demonstrations.jsonl"]
    checkpoint = tmp_path / "runs" / "r" / "sft" / "checkpoint"
    checkpoint.mkdir(parents=True)
    record = {"stage": "sft", "base": "starter", "data_sha256": {"anywhere.jsonl": about["sha256"]}}
    (checkpoint / "run.json").write_text(json.dumps(record))
    named, rows, total, uses = run("lineage", str(checkpoint), "--json", home=tmp_path)
    assert rows == "demonstrations.jsonl: 1 rows"
    assert named == f"{made.id}  demonstrations.jsonl  {made.id}"
    assert total == "1 judgements"
    expected = {"judgement": made.id, "row": made.id, "file": "demonstrations.jsonl", "sha256": about["sha256"]}
    assert json.loads(uses) == [expected]
    assert run("lineage", made.id, home=tmp_path) == [str(checkpoint), "1 checkpoints"]
    with pytest.raises(AccordantError, match="in no data that were built here"):
        run("lineage", "rank_none", home=tmp_path)


def test_few_judgements_are_named_unless_all_are_asked_for(tmp_path: Path) -> None:
    ids = [f"fb_{number:02}" for number in range(judgements.FEW + 3)]
    built = {"sha256": "abc", "judgements": {one: [one] for one in ids}}
    manifests, checkpoint = tmp_path / "manifests", tmp_path / "checkpoint"
    for folder, name, content in (
        (manifests, "m.json", {"files": {"comparisons.jsonl": built}}),
        (checkpoint, "run.json", {"base": "starter", "data_sha256": {"x": "abc"}}),
    ):
        folder.mkdir()
        (folder / name).write_text(json.dumps(content))
    *named, more, rows, total = run("lineage", str(checkpoint), home=tmp_path)
    assert [line.split()[0] for line in named] == ids[: judgements.FEW]
    assert (more, rows, total) == ("and 3 more; --all names them", "comparisons.jsonl: 23 rows", "23 judgements")
    everything = run("lineage", str(checkpoint), "--all", home=tmp_path)
    assert [line.split()[0] for line in everything[:-2]] == ids
