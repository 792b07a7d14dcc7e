"""POST /v1/chat/completions."""

import secrets
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from accordant.engine import Ask
from accordant.errors import AccordantError
from accordant.serve.deps import Signed
from accordant.serve.faults import Fault
from accordant.serve.openai.answers import AnswerMessage, ChatChoice, ChatCompletion, chat_log_probs, usage
from accordant.serve.openai.chat import ChatCompletionRequest
from accordant.serve.openai.chunks import Part, chunks, gather, new_head
from accordant.serve.openai.fields import check_context, check_model
from accordant.serve.service import Service, Serving
from accordant.serve.stream import JobStream, collect, events

router = APIRouter(prefix="/v1", tags=["openai"])


@router.post("/chat/completions", response_model=ChatCompletion)
async def create(body: ChatCompletionRequest, request: Request, service: Serving, principal: Signed) -> Response:
    """Answer a conversation, whole or as a stream of chunks."""
    check_model(body.model, service.model)
    body.check_stream_options()
    ask = await run_in_threadpool(_ask, body, service)
    try:
        end_user = body.safety_identifier or body.user or ""
        answers = [message.content for message in body.messages if message.role == "assistant"]
        job = await service.begin([ask], principal, _words(body), "messages", end_user=end_user, answers=answers)
    except AccordantError as error:
        if ask.schema is not None and type(error) is AccordantError:
            raise Fault(str(error), "response_format") from None
        raise
    head = new_head("chatcmpl", service.model)
    shows_tokens = ask.alternatives is not None
    if body.stream:
        chunk = head | {"object": "chat.completion.chunk"}
        pieces = chunks(events(job), chunk, lambda part: _choice(part, shows_tokens), True, body.include_usage)
        return JobStream(service.scheduler, job, pieces)
    found = gather(await collect(request, service.scheduler, job), ask.samples)
    choices = [
        ChatChoice(
            index=number,
            message=AnswerMessage(content=answer.text),
            logprobs=chat_log_probs(answer.tokens) if shows_tokens else None,
            finish_reason=answer.finish,
            moderation=answer.flagged,
        )
        for number, answer in enumerate(found.answers)
    ]
    whole = ChatCompletion(**head, choices=choices, usage=usage(found.prompt_tokens, found.answer_tokens))
    return Response(whole.model_dump_json(), media_type="application/json")


def _ask(body: ChatCompletionRequest, service: Service) -> Ask:
    prompt = service.engine.renderer.prompt([message.to_record() for message in body.messages])
    longest = check_context(len(prompt), body.longest, service.context, "messages")
    samples = body.n or 1
    service.check_answers(samples)
    return Ask(
        prompt,
        body.sampling(longest, secrets.randbits(32)),
        samples,
        body.alternatives,
        body.nudges(service.knows),
        body.json_schema,
    )


def _words(body: ChatCompletionRequest) -> list[str]:
    return [message.content for message in body.messages if message.role != "assistant"]


def _choice(part: Part, shows_tokens: bool) -> dict[str, Any]:
    if part.first:
        delta: dict[str, str] = {"role": "assistant", "content": ""}
    else:
        delta = {} if part.finish else {"content": part.text}
    tokens = chat_log_probs(part.tokens).model_dump() if shows_tokens and part.tokens else None
    return {"delta": delta, "logprobs": tokens, "finish_reason": part.finish}
