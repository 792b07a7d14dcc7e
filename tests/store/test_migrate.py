"""Up and down with data, and databases of other versions."""

import threading

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from accordant.errors import AccordantError
from accordant.records import Rating
from accordant.store import conversations, feedback, keys, passwords, usage, users, verdicts
from accordant.store.database import Database
from accordant.store.migrate import _scripts, downgrade, newest, open_database, revision, upgrade
from accordant.store.schema import Base, User

PLAN = ("tiny", 0.7, 0.9, 16, 0, 0)


def tables(database: Database) -> set[str]:
    with database.engine.connect() as connection:
        return set(sa.inspect(connection).get_table_names()) - {"alembic_version"}


def test_the_migrations_make_what_the_schema_says(empty_url: str) -> None:
    database = open_database(empty_url)
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    assert tables(database) == set(Base.metadata.tables)
    database.close()


def test_the_newest_revision_is_that_of_the_newest_file() -> None:
    assert newest() == _scripts().get_current_head()


def test_up_and_down_with_data(empty_url: str) -> None:
    database = Database(empty_url)
    assert revision(database) is None
    upgrade(database, "0001")
    with database.write() as session:
        ada = users.add(session, "ada", "digest", ["trainer"]).id
        for statement in (
            "INSERT INTO api_keys (id, user_id, name, prefix, secret_hash, created_at) "
            f"VALUES ('key', '{ada}', 'laptop', 'prefix', '{passwords.token_hash('secret')}', '2026-01-01')",
            f"INSERT INTO usage VALUES ('{ada}', 'key', '2026-01-01', 2, 30, 4)",
        ):
            session.execute(sa.text(statement))
    upgrade(database)
    with database.write() as session:
        found = keys.find(session, "acc-prefix-secret")
        assert found
        assert (found[0].limits, found[1].id) == ({}, ada)
        usage.add(session, ada, "key", "tiny", 5, 6)
        assert [(row.model, row.requests, name) for row, name in usage.of_user(session, ada)] == [
            ("tiny", 1, "laptop"),
            ("", 2, "laptop"),
        ]
        moment = {"day": "2026-01-01"}
        session.execute(sa.text("UPDATE usage SET day = :day"), moment)  # two models on one day
        one = conversations.create(session, ada, title="kept until the next step down").id
        written = conversations.write(
            session, conversations.opened(session, ada, one, 1).conversation, None, "hi", conversations.Plan(*PLAN)
        )
        assert written.answer
        feedback.give(session, ada, one, written.answer.id, Rating(thumb="up"))
    downgrade(database, "0002")
    assert "feedback" not in tables(database)
    with database.read() as session:
        assert conversations.opened(session, ada, one, 1).conversation.title == "kept until the next step down"
    downgrade(database, "0001")
    assert revision(database) == "0001"
    assert "conversations" not in tables(database)
    with database.read() as session:
        owner = session.get_one(User, ada)
        assert (owner.id, owner.roles, owner.password_hash) == (ada, ["user", "trainer"], "digest")
        rows = session.execute(sa.text("SELECT key_id, requests, prompt_tokens, answer_tokens FROM usage"))
        assert [tuple(row) for row in rows] == [("key", 3, 35, 10)]
        assert session.scalar(sa.text("SELECT prefix FROM api_keys")) == "prefix"
    upgrade(database)
    with database.read() as session:
        assert users.named(session, "ada").id == ada
        assert not conversations.ids_of(session, ada)
    downgrade(database, "base")
    assert tables(database) == set()
    database.close()


def test_a_migration_that_fails_changes_nothing(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from alembic import op

    database = Database(empty_url)
    upgrade(database, "0001")
    before = tables(database)
    create = op.create_table

    def fail_at_the_last(name: str, *arguments: object) -> object:
        if name == "verdicts":
            raise AccordantError("the power is out")
        return create(name, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(op, "create_table", fail_at_the_last)
    with pytest.raises(AccordantError, match="power"):
        upgrade(database)
    assert (revision(database), tables(database)) == ("0001", before)
    database.close()


def test_an_older_and_a_newer_database_are_refused_with_what_to_do(empty_url: str) -> None:
    database = Database(empty_url)
    upgrade(database, "0001")
    with pytest.raises(AccordantError, match="back it up, then run accordant store upgrade"):
        open_database(empty_url)
    upgrade(database)
    open_database(empty_url).close()
    with database.connect() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(AccordantError, match="written by a newer version"):
        open_database(empty_url)
    database.close()


def test_of_several_that_open_a_new_one_at_once_one_makes_it(empty_url: str) -> None:
    found: list[str | None] = []

    def work() -> None:
        database = open_database(empty_url)
        found.append(revision(database))
        database.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [newest()] * 3


def test_older_verdicts_keep_what_they_said(empty_url: str) -> None:
    database = Database(empty_url)
    upgrade(database, "0003")
    with database.write() as session:
        ada = users.add(session, "ada", None).id
        empty = conversations.create(session, ada)
        asked = conversations.write(session, empty, None, "hi", None).question
        assert asked
        older = sa.table("verdicts", *map(sa.column, ("id", "conversation_id", "message_id", "action", "classifier")))
        values = {"conversation_id": empty.id, "message_id": asked.id, "classifier": "test"}
        for action in ("warn", "block"):
            session.execute(
                sa.text(
                    "INSERT INTO verdicts (id, conversation_id, message_id, action, categories, classifier, created_at)"
                    " VALUES (:action, :conversation_id, :message_id, :action, :said, :classifier, '2026-01-01')"
                ),
                values | {"action": action, "said": '{"hate": 0.7}'},
            )
    upgrade(database)
    with database.read() as session:
        found = {row.id: row for row in verdicts.of_messages(session, [asked.id])[asked.id]}
        assert {name: row.withheld for name, row in found.items()} == {"warn": False, "block": True}
        assert found["block"].categories == found["block"].scores == {"hate": 0.7}
    downgrade(database, "0003")
    with database.engine.connect() as connection:
        rows = connection.execute(sa.select(older.c.id, older.c.action).order_by(older.c.id)).all()
    assert [tuple(row) for row in rows] == [("block", "block"), ("warn", "warn")]
    database.close()
