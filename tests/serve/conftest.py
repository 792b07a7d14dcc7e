"""Clients of a whole service over a store."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from argon2 import PasswordHasher
from fastapi.testclient import TestClient
from people import PASSWORD

from accordant.serve.access import Access
from accordant.serve.app import create_app
from accordant.store import passwords, users
from accordant.store.database import Database
from accordant.testing.scripted import ScriptedEngine


@pytest.fixture(autouse=True)
def _cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    found = Database(database_url)
    yield found
    found.close()


@pytest.fixture
def serve(database: Database) -> Iterator[Callable[..., TestClient]]:
    """Starts a service: `serve(replies, accounts=..., ...)` is a client of it, which is nobody yet."""
    with ExitStack() as stack:

        def start(
            replies: Any = ("hello there",),
            accounts: bool = False,
            delay: float = 0.0,
            secure: bool = False,
            **settings: Any,
        ) -> TestClient:
            engine = replies if hasattr(replies, "stream") else ScriptedEngine(list(replies), delay)
            access = Access(database, accounts, "s" * 32, secure)
            app = create_app(engine, checkpoint_name="tiny", access=access, **settings)
            scheme = "https" if secure else "http"
            return stack.enter_context(TestClient(app, base_url=f"{scheme}://127.0.0.1"))

        yield start


@pytest.fixture
def people(database: Database) -> dict[str, str]:
    """Ids of ada, eve, and an admin, by name; all with the same password."""
    digest = passwords.hash_password(PASSWORD)
    with database.write() as session:
        return {
            name: users.add(session, name, digest, roles).id
            for name, roles in [("ada", []), ("eve", []), ("root", ["admin"])]
        }
