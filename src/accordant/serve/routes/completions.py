"""POST /v1/completions: text goes on, without a conversation around it."""

import secrets
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from accordant.engine import Ask
from accordant.serve.deps import Signed
from accordant.serve.faults import Fault
from accordant.serve.openai.answers import Completion, TextChoice, text_log_probs, usage
from accordant.serve.openai.chunks import Part, chunks, gather, new_head
from accordant.serve.openai.completion import CompletionRequest
from accordant.serve.openai.fields import check_context, check_model
from accordant.serve.service import Service, Serving
from accordant.serve.stream import JobStream, collect, events

router = APIRouter(prefix="/v1", tags=["openai"])

MAX_TOKENS = 16


@router.post("/completions", response_model=Completion)
async def create(body: CompletionRequest, request: Request, service: Serving, principal: Signed) -> Response:
    """Continue one or several prompts, whole or as a stream of chunks."""
    check_model(body.model, service.model)
    body.check_stream_options()
    asks = await run_in_threadpool(_asks, body, service)
    words = [prompt if isinstance(prompt, str) else service.spell(prompt) for prompt in body.prompts()]
    job = await service.begin(asks, principal, words, "prompt", end_user=body.user or "")
    head = new_head("cmpl", service.model)
    shows_tokens = body.logprobs is not None
    if body.stream:
        chunk = head | {"object": "text_completion"}
        pieces = chunks(events(job), chunk, lambda part: _choice(part, shows_tokens), False, body.include_usage)
        return JobStream(service.scheduler, job, pieces)
    found = gather(await collect(request, service.scheduler, job), len(job.choices))
    choices = [
        TextChoice(
            index=number,
            text=answer.text,
            logprobs=text_log_probs(answer.tokens) if shows_tokens else None,
            finish_reason=answer.finish,
            moderation=answer.flagged,
        )
        for number, answer in enumerate(found.answers)
    ]
    whole = Completion(**head, choices=choices, usage=usage(found.prompt_tokens, found.answer_tokens))
    return Response(whole.model_dump_json(), media_type="application/json")


def _asks(body: CompletionRequest, service: Service) -> list[Ask]:
    prompts = body.prompts()
    samples = body.n or 1
    service.check_answers(samples * len(prompts))
    nudges, seed = body.nudges(service.knows), secrets.randbits(32)
    asks = []
    for prompt in prompts:
        ids = service.engine.renderer.words(prompt) if isinstance(prompt, str) else prompt
        longest = check_context(len(ids), body.max_tokens or MAX_TOKENS, service.context, "prompt")
        if unknown := next((token for token in ids if not service.knows(token)), None):
            raise Fault(f"prompt has token {unknown}, which this model does not have", "prompt")
        asks.append(Ask(ids, body.sampling(longest, seed), samples, body.logprobs, nudges))
    return asks


def _choice(part: Part, shows_tokens: bool) -> dict[str, Any]:
    tokens = text_log_probs(part.tokens).model_dump() if shows_tokens and part.tokens else None
    return {"text": part.text, "logprobs": tokens, "finish_reason": part.finish}
