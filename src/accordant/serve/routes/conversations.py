"""Conversations: pages of them, questions and their answers, branches, consent, taking away, deleting."""

from collections.abc import AsyncIterator
from typing import Annotated, Literal

from fastapi import APIRouter, Header, HTTPException, Query
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, PlainTextResponse, Response

from accordant.records import Record
from accordant.serve.deps import DatabaseDep, DialogueDep, Signed
from accordant.serve.dialogue import MOST_READ, AnswerSettings, Dialogue
from accordant.serve.events import Event, encode
from accordant.serve.keep_alive import EventStream
from accordant.serve.requests import LARGEST_CONVERSATION
from accordant.serve.routes.views import BegunView, ConversationList, ConversationPage, ConversationView
from accordant.store import audit, conversations, export, generations, verdicts
from accordant.store.conversations import Opened
from accordant.store.database import Database
from accordant.store.schema import Generation

router = APIRouter(prefix="/api/conversations", tags=["conversations"])

Text = Annotated[str, Field(max_length=LARGEST_CONVERSATION, pattern=r"^[^\x00]*$")]
Question = Annotated[str, Field(min_length=1, max_length=LARGEST_CONVERSATION, pattern=r"^[^\x00]*[^\s\x00][^\x00]*$")]
Title = Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")]


class NewConversation(Record):
    """An empty conversation."""

    title: Title = ""
    system: Text = ""
    consent: bool = False


class Change(Record):
    """A new title, or a new word on consent to training; what is absent stays."""

    title: Title | None = None
    consent: bool | None = None


class Ask(AnswerSettings):
    """A question at the end of the path that is shown."""

    content: Question


class Again(AnswerSettings):
    """Another answer to a question."""


class Path(Record):
    """The message through which the path shall go."""

    message: str = Field(max_length=100)


@router.get("")
def list_conversations(
    who: Signed,
    database: DatabaseDep,
    limit: Annotated[int, Query(ge=1, le=100)] = 30,
    before: Annotated[str | None, Query(max_length=100)] = None,
    search: Annotated[str, Query(max_length=200, pattern=r"^[^\x00]*$")] = "",
) -> ConversationList:
    """Own conversations, the last changed first; `next` of a page is `before` of the next one.

    With `search`, those alone that have it in their title or in a message.
    """
    with database.read() as session:
        page = conversations.listed(session, who.user_id, limit, before, search.strip())
    return ConversationList(conversations=[ConversationView.of(one) for one in page.conversations], next=page.next)


@router.post("", status_code=201)
async def create_conversation(
    asked: NewConversation, who: Signed, database: DatabaseDep, talk: DialogueDep
) -> ConversationView:
    """Begin a conversation."""
    await talk.check_system(who, asked.system)
    return await run_in_threadpool(_create, asked, who.user_id, database)


@router.get("/{conversation_id}")
def open_conversation(
    conversation_id: str,
    who: Signed,
    database: DatabaseDep,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    end: Annotated[str | None, Query(max_length=100)] = None,
) -> ConversationPage:
    """The last messages of the path that is shown; `earlier` of a page is `end` of the one before it."""
    with database.read() as session:
        opened = conversations.opened(session, who.user_id, conversation_id, limit, end)
        siblings = conversations.siblings(session, conversation_id, opened.path)
        judged = verdicts.of_messages(session, [turn.message.id for turn in opened.path])
    return ConversationPage.of(opened, siblings, judged)


@router.patch("/{conversation_id}")
def change_conversation(conversation_id: str, asked: Change, who: Signed, database: DatabaseDep) -> ConversationView:
    """Rename it, or say whether it may be used for training."""
    values = asked.model_dump(exclude_none=True)
    with database.write() as session:
        changed = conversations.change(session, who.user_id, conversation_id, **values)
        if asked.consent is not None:
            audit.record(session, who.user_id, "conversation.consent", conversation_id, consent=asked.consent)
        return ConversationView.of(changed)


@router.delete("/{conversation_id}", status_code=204)
async def delete_conversation(conversation_id: str, who: Signed, database: DatabaseDep, talk: DialogueDep) -> None:
    """Delete it for good, with its answers, events and verdicts."""
    await run_in_threadpool(_delete, database, who.user_id, conversation_id)
    talk.answers.forget({conversation_id})


@router.get("/{conversation_id}/export")
def export_conversation(
    conversation_id: str, who: Signed, database: DatabaseDep, form: Literal["json", "markdown"] = "json"
) -> Response:
    """The whole tree as JSON, or the path that is shown as Markdown."""
    with database.read() as session:
        document = export.conversation(session, who.user_id, conversation_id)
    ending = "json" if form == "json" else "md"
    headers = {"Content-Disposition": f'attachment; filename="{conversation_id}.{ending}"'}
    if form == "json":
        return JSONResponse(document, headers=headers)
    return PlainTextResponse(export.markdown(document), headers=headers, media_type="text/markdown")


@router.put("/{conversation_id}/path")
def choose_path(conversation_id: str, asked: Path, who: Signed, database: DatabaseDep) -> ConversationView:
    """Show the branch through this message, down to its newest one."""
    with database.write() as session:
        return ConversationView.of(conversations.choose(session, who.user_id, conversation_id, asked.message))


@router.post("/{conversation_id}/messages", status_code=202)
async def ask(conversation_id: str, asked: Ask, who: Signed, database: DatabaseDep, talk: DialogueDep) -> BegunView:
    """Say something; the answer is read at `/generations/{generation}/events`."""
    opened = await run_in_threadpool(_open, database, who.user_id, conversation_id, None)
    path = [turn.message for turn in opened.path]
    return BegunView.of(await talk.begin(who, opened, path, asked.content, asked))


@router.post("/{conversation_id}/messages/{message_id}/edit", status_code=202)
async def edit(
    conversation_id: str, message_id: str, asked: Ask, who: Signed, database: DatabaseDep, talk: DialogueDep
) -> BegunView:
    """Say something else instead of an own message: a sibling of it, with an answer of its own."""
    opened = await run_in_threadpool(_open, database, who.user_id, conversation_id, message_id)
    *before, old = (turn.message for turn in opened.path)
    if old.role != "user":
        raise HTTPException(400, "only own messages can be edited")
    return BegunView.of(await talk.begin(who, opened, before, asked.content, asked))


@router.post("/{conversation_id}/messages/{message_id}/answers", status_code=202)
async def answer_again(
    conversation_id: str, message_id: str, asked: Again, who: Signed, database: DatabaseDep, talk: DialogueDep
) -> BegunView:
    """Another answer beside the named one, or to the named question."""
    opened = await run_in_threadpool(_open, database, who.user_id, conversation_id, message_id)
    path = [turn.message for turn in opened.path]
    if path[-1].role == "assistant":
        path.pop()
    return BegunView.of(await talk.begin(who, opened, path, None, asked))


@router.get(
    "/{conversation_id}/generations/{generation_id}/events",
    status_code=200,
    response_class=EventStream,
    responses={200: {"model": Event, "description": "Server-Sent Events; each `data` line is one of these."}},
)
async def read_events(
    conversation_id: str,
    generation_id: str,
    who: Signed,
    database: DatabaseDep,
    talk: DialogueDep,
    start: Annotated[int, Query(ge=0, lt=1 << 31)] = 0,
    last_event_id: Annotated[int | None, Header(ge=0, lt=1 << 31)] = None,
) -> Response:
    """Events of an answer from number `start` on, while it is written and afterwards; leaving does not stop it."""
    await run_in_threadpool(_generation, database, who.user_id, conversation_id, generation_id)
    first = start if last_event_id is None else last_event_id + 1
    return EventStream(_encoded(talk, generation_id, first))


@router.post("/{conversation_id}/generations/{generation_id}/stop", status_code=202)
async def stop(conversation_id: str, generation_id: str, who: Signed, database: DatabaseDep, talk: DialogueDep) -> None:
    """Stop an answer within a token; what is written stays."""
    await talk.answers.stop(await run_in_threadpool(_generation, database, who.user_id, conversation_id, generation_id))


def _create(asked: NewConversation, user_id: str, database: Database) -> ConversationView:
    with database.write() as session:
        made = conversations.create(session, user_id, asked.title, asked.system, asked.consent)
        return ConversationView.of(made)


def _open(database: Database, user_id: str, conversation_id: str, end: str | None) -> Opened:
    with database.read() as session:
        return conversations.opened(session, user_id, conversation_id, MOST_READ, end)


def _delete(database: Database, user_id: str, conversation_id: str) -> None:
    with database.write() as session:
        conversations.delete(session, user_id, conversation_id)
        audit.record(session, user_id, "conversation.delete", conversation_id)
    database.forget_deleted()


def _generation(database: Database, user_id: str, conversation_id: str, generation_id: str) -> Generation:
    with database.read() as session:
        return generations.owned(session, user_id, conversation_id, generation_id)


async def _encoded(talk: Dialogue, generation_id: str, start: int) -> AsyncIterator[bytes]:
    async for number, event in talk.answers.read(generation_id, start):
        yield encode(event, number)
