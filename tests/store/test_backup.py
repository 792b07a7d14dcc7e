"""Backup and restore: round trips, between kinds of databases, of older versions, and of damaged files."""

import json
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from accordant.errors import AccordantError
from accordant.records import Rating
from accordant.store import (
    audit,
    conversations,
    feedback,
    generations,
    invitations,
    keys,
    logins,
    settings,
    usage,
    users,
    verdicts,
)
from accordant.store.backup import back_up, restore
from accordant.store.conversations import Plan
from accordant.store.database import Database
from accordant.store.ids import now
from accordant.store.migrate import newest, open_database, revision
from accordant.store.schema import Annotation, Base, Draft, Suggestion, Task
from accordant.store.settings import AccountSettings
from accordant.store.verdicts import Judgement

PLAN = Plan("tiny", 0.7, 0.9, 16, (1 << 32) - 1, 0)


def fill(database: Database) -> None:
    """At least one row in every table."""
    with database.write() as session:
        ada = users.add(session, "ada", "digest", ["trainer"])
        logins.begin(session, ada.id)
        logins.attempt(session, {"ada": 1})
        invitations.use(invitations.find(session, invitations.add(session)), ada)
        key = keys.revoke(session, keys.add(session, ada.id, "laptop").row.id)
        usage.add(session, ada.id, key.id, "tiny", 1 << 40, 2)
        settings.save(session, AccountSettings(sign_up="open"))
        audit.record(session, ada.id, "x", roles=["a", {"b": None}])
        parent = None
        one = conversations.create(session, ada.id, system='"quotes"\n\u2028 and 🙂', consent=True)
        for number in range(300):  # several chunks, children with ids before and after their parents'
            written = conversations.write(session, one, parent, f"question {number}", PLAN)
            parent, one.message_count = written.answer, one.message_count + 2
        assert written.generation
        assert written.answer
        generations.append(session, [(written.generation.id, 0, [{"type": "delta", "text": "a\u0000b"}])])
        said = Judgement("verdict_1", "warn", False, {"hate": 0.1}, {"hate": 0.1, "violence": 0.0}, 0, 5, "test")
        verdicts.add(session, [(written.answer, said)])
        verdicts.add_of_request(session, ada.id, key.id, "user", said._replace(id="verdict_2"))
        feedback.give(session, ada.id, one.id, written.answer.id, Rating(thumb="down", ideal="better"))
        label(session, ada.id, one.id, written.answer.id)


def label(session: Session, user: str, conversation: str, message: str) -> None:
    """A task without a known answer and one with it; work on the first."""
    for name, gold in (("plain", None), ("gold", [[1], [0]])):
        task = {"id": name, "messages": [{"role": "user", "content": "q"}], "candidates": [{"content": "a"}] * 2}
        place = {"conversation_id": conversation, "message_id": message} if gold is None else {"prompt": name}
        session.add(Task(**task, **place, places=1, skips=0, gold=gold, created_at=now()))
    session.flush()
    times = {name: now() for name in ("leased_until", "begun_at", "saved_at")}
    open_work = {"kind": "comparison", "user_id": user, "task_id": "plain", "repeat": 0, "shown_order": [1, 0]}
    open_work |= {"state": "open", "skip_reason": "", "value": {}, "revision": 1, "seconds": 0.5}
    session.add(Annotation(id="work", **open_work, **times))
    session.flush()
    session.add(Draft(annotation_id="work", number=0, value={"tiers": []}))
    session.add(Suggestion(id="s", annotation_id="work", model="tiny", sampling={}, content="x", created_at=now()))


def test_what_is_not_there_is_not_there_after_a_restore_either(
    database: Database, empty_url: str, tmp_path: Path
) -> None:
    """A JSON column can hold no value, which is not the JSON value null."""
    fill(database)
    back_up(database, tmp_path / "backup.zip")
    target = Database(empty_url)
    restore(target, tmp_path / "backup.zip")
    with target.read() as session:
        assert session.scalars(sa.select(Task.id).where(Task.gold.is_(None))).all() == ["plain"]
    target.close()


def content(database: Database) -> dict[str, list[Any]]:
    with database.read() as session:
        return {
            table.name: sorted(repr(tuple(row)) for row in session.execute(sa.select(table)))
            for table in Base.metadata.sorted_tables
        }


@pytest.fixture
def target_url(request: pytest.FixtureRequest, tmp_path: Path, postgres_url: str) -> str:
    import psycopg

    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'target.db'}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS target WITH (FORCE)")
        connection.execute("CREATE DATABASE target TEMPLATE template0")
    return postgres_url.replace("/postgres?", "/target?")


@pytest.mark.parametrize("target_url", ["sqlite", "postgresql"], indirect=True)
def test_a_backup_is_the_same_store_again_on_any_database(database: Database, target_url: str, tmp_path: Path) -> None:
    fill(database)
    before = content(database)
    assert all(before.values())
    file = tmp_path / "backup.zip"
    counts = back_up(database, file)
    assert counts == {name: len(rows) for name, rows in before.items()}
    assert file.stat().st_mode & 0o777 == 0o600
    target = Database(target_url)
    assert restore(target, file) == counts
    assert content(target) == before
    target.close()
    opened = open_database(target_url)
    assert content(opened) == before
    opened.close()


def test_a_backup_under_writes_is_of_one_moment(database: Database, tmp_path: Path) -> None:
    """Each transaction adds a user and a key: a backup that holds one without the other is of no moment."""
    over = threading.Event()

    def work() -> None:
        number = 0
        while not over.is_set():
            with database.write() as session:
                keys.add(session, users.add(session, f"u{number}", None).id, "")
            number += 1

    writer = threading.Thread(target=work)
    writer.start()
    try:
        found = [back_up(database, tmp_path / f"{number}.zip") for number in range(4)]
    finally:
        over.set()
        writer.join()
    assert all(counts["users"] == counts["api_keys"] + 1 for counts in found)
    assert found[-1]["users"] > found[0]["users"]


def test_a_database_with_anything_in_it_is_not_overwritten(database: Database, tmp_path: Path) -> None:
    back_up(database, tmp_path / "backup.zip")
    before = content(database)
    with pytest.raises(AccordantError, match="is not empty"):
        restore(database, tmp_path / "backup.zip")
    assert content(database) == before


def rewritten(file: Path, name: str, text: str) -> Path:
    """A copy of a backup with one member replaced."""
    out = file.with_name("rewritten.zip")
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(out, "w") as new:
        for member in old.namelist():
            new.writestr(member, text if member == name else old.read(member))
    return out


def test_a_damaged_backup_restores_nothing(database: Database, tmp_path: Path) -> None:
    file = tmp_path / "backup.zip"
    back_up(database, file)
    head = json.loads(zipfile.ZipFile(file).read("store.json"))
    (tmp_path / "half.zip").write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    (tmp_path / "text.zip").write_text("hello")
    cases = [
        (tmp_path / "nowhere.zip", "does not exist"),
        (tmp_path / "half.zip", "is damaged"),
        (tmp_path / "text.zip", "is damaged"),
    ]
    for path, said in cases:
        with pytest.raises(AccordantError, match=said):
            restore(Database(f"sqlite:///{tmp_path / 'target.db'}"), path)
    for name, text, said in (
        ("store.json", json.dumps(head | {"revision": "9999"}), "does not know"),
        ("store.json", json.dumps(head | {"kind": "something"}), "does not know"),
        ("users.jsonl", "", "users has 0 rows, not 1"),
    ):
        target = Database(f"sqlite:///{tmp_path / 'target.db'}")
        with pytest.raises(AccordantError, match=said):
            restore(target, rewritten(file, name, text))
        assert revision(target) is None
        target.close()


def test_a_backup_of_an_older_version_is_migrated(empty_url: str, tmp_path: Path) -> None:
    """As the first version wrote it: without the tables that came later."""
    source = open_database(f"sqlite:///{tmp_path / 'source.db'}")
    with source.write() as session:
        users.add(session, "ada", None)
    file = tmp_path / "backup.zip"
    back_up(source, file)
    head = json.loads(zipfile.ZipFile(file).read("store.json"))
    later = {"conversations", "messages", "generations", "event_batches", "verdicts", "request_verdicts"}
    later |= {"feedback", "tasks", "annotations", "drafts", "suggestions"}
    head |= {"revision": "0001", "rows": {name: n for name, n in head["rows"].items() if name not in later}}
    target = Database(empty_url)
    restore(target, rewritten(file, "store.json", json.dumps(head)))
    assert revision(target) == newest()
    with target.read() as session:
        assert users.named(session, "ada").roles == ["user"]
    target.close()
