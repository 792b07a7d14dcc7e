"""Kill -9 under write load: what was acknowledged is there, whole, and nothing of what was not."""

import functools
import os
import random
import signal
from pathlib import Path

import sqlalchemy as sa
from tests.killed import run_child

from accordant.store import conversations, generations, users
from accordant.store.conversations import Plan
from accordant.store.database import Database
from accordant.store.schema import EventBatch, Generation, Message

PLAN = Plan("tiny", 0.7, 0.9, 16, 1, 0)


def write_for_ever(url: str, user: str, acknowledged: str) -> None:
    """Questions with answers and events; each one's number is told once its transaction is over."""
    database = Database(url)
    with database.write() as session:
        one = conversations.create(session, user)
    out = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    parent = None
    for number in range(1_000_000):
        with database.write() as session:
            written = conversations.write(session, one, parent, f"question {number}", PLAN)
            assert written.generation
            generations.append(session, [(written.generation.id, 0, [{"type": "delta", "text": "x" * 2000}])])
        parent, one.message_count = written.answer, one.message_count + 2
        os.write(out, f"{number}\n".encode())


def has_begun(told: Path) -> bool:
    return told.exists() and told.stat().st_size > 0


def test_no_acknowledged_write_is_lost(database: Database, database_url: str, ada: str, tmp_path: Path) -> None:
    draw = random.Random(0)
    for attempt in range(2):
        told = tmp_path / f"told{attempt}"
        begun = functools.partial(has_begun, told)
        code = run_child(write_for_ever, database_url, ada, str(told), when=begun, after=0.3 * draw.random())
        assert code == -signal.SIGKILL
        acknowledged = [int(line) for line in told.read_text().splitlines()]
        with database.read() as session:
            newest = conversations.listed(session, ada).conversations[0]
            query = sa.select(Message.content).where(Message.conversation_id == newest.id, Message.role == "user")
            stored = {int(content.split()[1]) for content in session.scalars(query)}
            # All that was told, and at most the one that was committed but not yet told.
            assert stored - set(acknowledged) <= {len(acknowledged)}
            assert set(acknowledged) <= stored
            opened = conversations.opened(session, ada, newest.id, 10_000)
            assert len(opened.path) == 2 * len(stored) == opened.conversation.message_count
            answers = session.scalar(sa.select(sa.func.count()).select_from(Generation))
            assert session.scalar(sa.select(sa.func.count()).select_from(EventBatch)) == answers
            if database.is_sqlite:
                assert session.scalar(sa.text("PRAGMA integrity_check")) == "ok"
    with database.write() as session:
        assert users.add(session, "grace", None)
