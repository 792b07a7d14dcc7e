"""Trees of messages: paths, siblings, pages, and real deletion."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accordant.errors import AccordantError
from accordant.store import conversations, export, generations, users, verdicts
from accordant.store.conversations import Plan
from accordant.store.database import Changed, Database, NotFound
from accordant.store.ids import new_id
from accordant.store.schema import Base, Conversation, Message
from accordant.store.verdicts import Judgement

PLAN = Plan(model="tiny", temperature=0.7, top_p=0.9, max_tokens=16, seed=1, turns_left_out=0)


@contextmanager
def statements(database: Database) -> Iterator[Counter[str]]:
    """Counts what is sent to the database, by its first word; framing of transactions left aside."""
    counts: Counter[str] = Counter()

    def count(_c: object, _cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith("BEGIN"):
            counts[statement.split()[0]] += 1

    sa.event.listen(database.engine, "before_cursor_execute", count)
    yield counts
    sa.event.remove(database.engine, "before_cursor_execute", count)


def say(
    database: Database, user: str, conversation: str, question: str | None, end: str | None = None
) -> tuple[str, str]:
    """A question below `end` (None: below the leaf) with its finished answer; their ids."""
    with database.read() as session:
        opened = conversations.opened(session, user, conversation, 1000, end)
    parent = opened.path[-1].message if opened.path else None
    with database.write() as session:
        written = conversations.write(session, opened.conversation, parent, question, PLAN)
    assert written.answer
    assert written.generation
    with database.write() as session:
        text = f"answer to {question}"
        generations.finish(session, [generations.End(written.generation.id, written.answer.id, text, "done", "stop")])
    return written.question.id if written.question else "", written.answer.id


def shown(database: Database, user: str, conversation: str, most: int = 1000, end: str | None = None) -> list[str]:
    with database.read() as session:
        return [turn.message.id for turn in conversations.opened(session, user, conversation, most, end).path]


def begin(database: Database, user: str) -> str:
    with database.write() as session:
        return conversations.create(session, user).id


def test_a_conversation_grows_downwards_and_names_itself(database: Database, ada: str) -> None:
    one = begin(database, ada)
    assert shown(database, ada, one) == []
    first = say(database, ada, one, "What is rain?\nIn short.")
    second = say(database, ada, one, "And snow?")
    assert shown(database, ada, one) == [*first, *second]
    with database.read() as session:
        opened = conversations.opened(session, ada, one, 1000)
    assert opened.conversation.title == "What is rain?"
    assert not opened.conversation.consent
    assert [turn.message.content for turn in opened.path] == [
        "What is rain?\nIn short.",
        "answer to What is rain?\nIn short.",
        "And snow?",
        "answer to And snow?",
    ]
    assert [turn.message.depth for turn in opened.path] == [0, 1, 2, 3]
    assert [turn.generation.status if turn.generation else None for turn in opened.path] == [None, "done"] * 2


def test_a_long_title_is_cut() -> None:
    assert conversations.title_of(" word" * 30) == "word" + " word" * 11 + "…"
    assert len(conversations.title_of("x" * 200)) == conversations.TITLE_LENGTH


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_paths_siblings_and_choices_are_those_of_a_tree_in_memory(
    database: Database, ada: str, data: st.DataObject
) -> None:
    """The tree kept here is a dict from message to parent; every figure is derived from it alone."""
    one = begin(database, ada)
    parents: dict[str, str | None] = {}
    order: list[str] = []
    leaf: str | None = None
    for step in range(data.draw(st.integers(1, 7))):
        ends = [message for number, message in enumerate(order) if number % 2]
        if ends and data.draw(st.booleans()):
            end: str | None = data.draw(st.sampled_from(ends))
            question, leaf = say(database, ada, one, f"q{step}", end)
            parents |= {question: end, leaf: question}
        else:
            before = leaf
            question, leaf = say(database, ada, one, f"q{step}")
            parents |= {question: before, leaf: question}
        order += [question, leaf]

    def path(end: str | None) -> list[str]:
        return [*path(parents[end]), end] if end else []

    assert shown(database, ada, one) == path(leaf)
    end = data.draw(st.sampled_from(order))
    most = data.draw(st.integers(1, 6))
    assert shown(database, ada, one, most, end) == path(end)[-most:]
    with database.read() as session:
        opened = conversations.opened(session, ada, one, 1000, end)
        found = conversations.siblings(session, one, opened.path)
    for message in path(end):
        assert found[parents[message]] == [m for m in order if parents[m] == parents[message]]
    with database.write() as session:
        chosen = conversations.choose(session, ada, one, end).leaf_id
    assert chosen == [message for message in order if end in path(message)][-1]


def test_siblings_at_the_root(database: Database, ada: str) -> None:
    one = begin(database, ada)
    first, _ = say(database, ada, one, "first")
    with database.read() as session:
        conversation = conversations.opened(session, ada, one, 1).conversation
    with database.write() as session:
        edited = conversations.write(session, conversation, None, "edited", PLAN).question
    assert edited
    with database.read() as session:
        opened = conversations.opened(session, ada, one, 10)
        assert conversations.siblings(session, one, opened.path)[None] == [first, edited.id]


def test_who_writes_after_an_older_state_is_refused(database: Database, ada: str) -> None:
    one = begin(database, ada)
    with database.read() as session:
        seen = conversations.opened(session, ada, one, 10).conversation
    say(database, ada, one, "meanwhile")
    with pytest.raises(Changed, match="load it again"), database.write() as session:
        conversations.write(session, seen, None, "late", PLAN)
    assert len(shown(database, ada, one)) == 2


def test_of_many_who_write_at_once_each_is_stored_or_told(database: Database, ada: str) -> None:
    one = begin(database, ada)
    stored, refused = [], []

    def work(number: int) -> None:
        for _ in range(10):
            try:
                say(database, ada, one, f"from {number}")
                stored.append(number)
            except Changed:
                refused.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stored) + len(refused) == 40
    assert len(shown(database, ada, one)) == 2 * len(stored)
    with database.read() as session:
        numbers = session.scalars(sa.select(Message.number).order_by(Message.number)).all()
    assert list(numbers) == list(range(2 * len(stored)))


def test_pages_of_the_list_meet_without_gap_or_repetition(database: Database, ada: str) -> None:
    with database.write() as session:
        grace = users.add(session, "grace", None).id
    made = [begin(database, ada) for _ in range(7)]
    begin(database, grace)
    say(database, ada, made[2], "moves it up")
    expected = [made[2], *[one for one in reversed(made) if one != made[2]]]
    found: list[str] = []
    mark = None
    while True:
        with database.read() as session:
            page = conversations.listed(session, ada, 3, mark)
        found += [one.id for one in page.conversations]
        if (mark := page.next) is None:
            break
    assert found == expected
    with database.read() as session, pytest.raises(AccordantError, match="not where a page begins"):
        conversations.listed(session, ada, 3, "yesterday")


def test_a_page_and_a_message_take_few_statements_however_long_the_conversation(database: Database, ada: str) -> None:
    one = begin(database, ada)
    for number in range(30):
        say(database, ada, one, f"question {number}")
    with statements(database) as page, database.read() as session:
        opened = conversations.opened(session, ada, one, 50)
        conversations.siblings(session, one, opened.path)
        verdicts.of_messages(session, [turn.message.id for turn in opened.path])
    assert len(opened.path) == 50
    assert page.total() == 3
    with statements(database) as written, database.write() as session:
        conversations.write(session, opened.conversation, opened.path[-1].message, "one more", PLAN)
    assert written.total() == 3
    with statements(database) as listing, database.read() as session:
        conversations.listed(session, ada)
    assert listing.total() == 1


def test_what_belongs_to_another_is_as_if_it_were_not_there(database: Database, ada: str) -> None:
    with database.write() as session:
        eve = users.add(session, "eve", None).id
    one, other = begin(database, ada), begin(database, eve)
    question, answer = say(database, ada, one, "mine")
    with database.read() as session:
        made = conversations.opened(session, ada, one, 10).path[-1].generation
        assert made
        for attempt in (
            lambda: conversations.opened(session, eve, one, 10),
            lambda: conversations.opened(session, eve, other, 10, end=answer),
            lambda: generations.owned(session, eve, one, made.id),
            lambda: generations.owned(session, eve, other, made.id),
            lambda: export.conversation(session, eve, one),
        ):
            with pytest.raises(NotFound):
                attempt()
    with database.write() as session:
        for attempt in (
            lambda: conversations.change(session, eve, one, title="x"),
            lambda: conversations.choose(session, eve, one, question),
            lambda: conversations.choose(session, eve, other, question),
            lambda: conversations.delete(session, eve, one),
        ):
            with pytest.raises(NotFound):
                attempt()
    assert shown(database, ada, one) == [question, answer]


def fill(database: Database, user: str, word: str) -> str:
    """A conversation whose text, events and verdicts hold the word."""
    one = begin(database, user)
    for _ in range(20):
        say(database, user, one, f"{word} " * 50)
    with database.write() as session:
        turn = conversations.opened(session, user, one, 1).path[-1]
        assert turn.generation
        generations.append(session, [(turn.generation.id, 0, [{"type": "delta", "text": word}])])
        said = Judgement(new_id("verdict"), "warn", False, {word: 0.6}, {"hate": 0.6}, 0, 5, "test")
        verdicts.add(session, [(turn.message, said)])
        conversations.change(session, user, one, title=word)
    return one


def rows(database: Database) -> dict[str, int]:
    with database.read() as session:
        return {
            t.name: session.scalar(sa.select(sa.func.count()).select_from(t)) or 0 for t in Base.metadata.sorted_tables
        }


def test_deleting_leaves_no_row(database: Database, ada: str) -> None:
    before = rows(database)
    kept = fill(database, ada, "kept")
    with_one = rows(database)
    gone = fill(database, ada, "gone")
    with database.write() as session:
        conversations.delete(session, ada, gone)
    assert rows(database) == with_one
    assert all(with_one[name] > before[name] for name in ("messages", "generations", "event_batches", "verdicts"))
    with database.write() as session:
        conversations.delete(session, ada, kept)
    assert rows(database) == before


def test_deleting_an_account_deletes_all_of_it(database: Database) -> None:
    before = rows(database)
    with database.write() as session:
        eve = users.add(session, "eve", None)
    fill(database, eve.id, "gone")
    with database.write() as session:
        users.delete(session, eve)
    assert rows(database) == before


def test_deleted_words_are_nowhere_in_the_files(tmp_path: Path, migrated: Path) -> None:
    path = tmp_path / "accordant.db"
    path.write_bytes(migrated.read_bytes())
    database = Database(f"sqlite:///{path}")
    with database.write() as session:
        user = users.add(session, "ada", None).id
    gone = fill(database, user, "Zanzibar")
    fill(database, user, "Samarkand")

    def traces(word: bytes) -> int:
        return sum(file.read_bytes().count(word) for file in tmp_path.iterdir())

    assert traces(b"Zanzibar") > 1000
    with database.read() as reader:
        reader.scalar(sa.select(Conversation.id))  # holds the log as it is
        with database.write() as session:
            conversations.delete(session, user, gone)
        database.forget_deleted()
    database.upkeep()
    assert traces(b"Zanzibar") == 0
    assert traces(b"Samarkand") > 1000
    database.close()
