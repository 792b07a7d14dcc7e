"""Whatever is sent to any route of the OpenAPI document, the server does not fail; later routes join by themselves.

The sender is an admin who is logged in, and every other id in a path is that of something of theirs: else nearly all
requests would end at the door.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NamedTuple, cast

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from live import live
from schemathesis.checks import not_a_server_error

from accordant.engine import Engine
from accordant.records import Rating
from accordant.serve.access import Access
from accordant.serve.app import create_app
from accordant.serve.moderation import Moderation
from accordant.store import conversations, feedback, generations, keys, logins, tasks, users
from accordant.store.conversations import Plan
from accordant.store.database import Database
from accordant.store.ids import new_id, now
from accordant.store.migrate import open_database
from accordant.store.schema import Task
from accordant.testing import tiny_model, tiny_renderer
from accordant.testing.moderation import WordModerator
from accordant.testing.scripted import ScriptedEngine


class Server(NamedTuple):
    """A running one, and who sends."""

    address: str
    access: Access
    database: Database
    admin: str

    def headers(self) -> dict[str, str]:
        """A login of its own for each request: some of them log out."""
        with self.database.write() as session:
            token = logins.begin(session, self.admin)
        return {"Cookie": f"{self.access.cookie}={token}", "X-CSRF-Token": self.access.csrf(token)}

    def ids(self) -> dict[str, str]:
        """Something of the sender's, anew for each request: some of them delete it."""
        with self.database.write() as session:
            one = conversations.create(session, self.admin)
            written = conversations.write(session, one, None, "hello", Plan("tiny", 0.7, 0.9, 16, 0, 0))
            assert written.answer
            assert written.generation
            generations.append(session, [(written.generation.id, 0, [{"type": "delta", "text": "hi"}])])
            generations.finish(
                session, [generations.End(written.generation.id, written.answer.id, "hi", "failed", error="x")]
            )
            question = [{"role": "user", "content": "hello"}]
            answers = [{"content": "a"}, {"content": "b"}]
            task = Task(id=new_id("task"), messages=question, candidates=answers, places=0, skips=0, created_at=now())
            session.add(task)
            session.flush()
            rating = feedback.give(session, self.admin, one.id, written.answer.id, Rating(thumb="up"))
            return {
                "feedback_id": rating.id,
                "task_id": task.id,
                "annotation_id": tasks.begin(session, self.admin, task, [1, 0], timedelta(minutes=1)).id,
                "conversation_id": one.id,
                "message_id": written.answer.id,
                "generation_id": written.generation.id,
                "key_id": keys.add(session, self.admin, "a key").row.id,
                "user_id": self.admin,
                "name": "tiny",
            }


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    database = open_database(f"sqlite:///{tmp_path_factory.mktemp('schema') / 'store.db'}")
    with database.write() as session:
        admin = users.add(session, "root", None, ["admin", "trainer", "reviewer", "red-teamer"]).id
    access = Access(database, accounts=True, secret="s" * 32)
    moderation = Moderation(lambda: WordModerator(["\x07"], ["\x08"]))
    engine = Engine(tiny_model(), tiny_renderer(), 4)
    app = create_app(engine, checkpoint_name="tiny", context=64, access=access, moderation=moderation)
    with live(app) as address:
        yield Server(address, access, database, admin)
    database.close()


# The document asks nothing of a store but that there is one.
DOCUMENT = create_app(ScriptedEngine(["x"]), access=Access(cast(Database, object()), True)).openapi()
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
DRAWN_ALONE = schemathesis.openapi.from_dict(DOCUMENT)
DRAWN_ALONE.config.phases.coverage.enabled = False  # thousands of cases at the borders of each field


def check(case: Any, server: Server) -> None:
    made = case.path_parameters or {}
    if sum(map(len, map(str, made.values()))) % 2:
        there = server.ids()
        case.path_parameters = {name: there.get(name, value) for name, value in made.items()}
    response = case.call(base_url=server.address, headers=server.headers())
    case.validate_response(response, checks=[not_a_server_error])
    if response.status_code >= 400 and case.path.startswith("/v1/"):
        assert set(response.json()["error"]) == {"message", "type", "param", "code"}


@DRAWN_ALONE.parametrize()
@settings(max_examples=4, suppress_health_check=list(HealthCheck))
def test_nothing_makes_it_fail(case: Any, server: Server) -> None:
    check(case, server)


@pytest.mark.slow
@SCHEMA.parametrize()
@settings(max_examples=200, suppress_health_check=list(HealthCheck))
def test_nothing_at_all_makes_it_fail(case: Any, server: Server) -> None:
    check(case, server)


def test_everything_is_documented_and_asked() -> None:
    paths = DOCUMENT["paths"]
    assert {"/v1/chat/completions", "/api/about", "/api/login", "/api/keys", "/api/conversations"} <= set(paths)
    for path, methods in paths.items():
        assert all(method["description"] for method in methods.values()), path
