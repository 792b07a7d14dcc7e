"""A store, the same tests on SQLite and on PostgreSQL."""

from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher

from accordant.store import passwords, users
from accordant.store.database import Database


@pytest.fixture(autouse=True)
def _cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    found = Database(database_url)
    yield found
    found.close()


@pytest.fixture
def ada(database: Database) -> str:
    """Id of a user."""
    with database.write() as session:
        return users.add(session, "ada", None).id
