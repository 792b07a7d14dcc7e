"""What is written down while answers come, as far as no client sees it."""

import asyncio
import threading

import pytest

from accordant.serve.answers import Answers
from accordant.store import database as store
from accordant.store import users
from accordant.store.database import Database, Unusable


@pytest.mark.parametrize("before", [0, 1, 2, 3])
def test_writing_ends_when_it_is_told_to_at_the_very_moment_an_answer_ends(database: Database, before: int) -> None:
    """An answer's end wakes it up; closing a server ends answers and cancels this at once."""

    async def main() -> None:
        answers = Answers(database)
        writing = asyncio.create_task(answers.run())
        await asyncio.sleep(0.05)
        answers._hurry.set()
        for _ in range(before):
            await asyncio.sleep(0)
        writing.cancel()
        done, _ = await asyncio.wait({writing}, timeout=60)
        assert done, "it went on, and who waits for its end waits for ever"
        assert writing.cancelled()

    asyncio.run(main())


def test_who_waits_for_another_write_is_told_after_a_while(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "WAIT_SECONDS", 1)
    database = Database(database_url)
    holds, end = threading.Event(), threading.Event()

    def hold() -> None:
        with database.write() as session:
            users.add(session, "ada", None)
            holds.set()
            end.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert holds.wait(30)
        with pytest.raises(Unusable), database.write() as session:
            users.add(session, "ada", None)  # the same name: PostgreSQL waits for what becomes of the other
    finally:
        end.set()
        holder.join(30)
    with database.write() as session:
        users.add(session, "eve", None)
    database.close()


def test_who_waits_for_a_connection_is_told_after_a_while(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "WAIT_SECONDS", 0.2)
    monkeypatch.setattr(store, "MOST_CONNECTIONS", 2)
    database = Database(database_url)

    def nested(depth: int) -> None:
        with database.read() as session:
            session.connection()
            if depth:
                nested(depth - 1)

    nested(1)
    with pytest.raises(Unusable):
        nested(2)
    nested(1)
    database.close()
