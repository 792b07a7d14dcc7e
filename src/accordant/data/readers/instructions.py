"""One request, maybe with a text that it is about, and one answer: Alpaca, Dolly and their kin.

The request and its text become one user message. LLaMA-Factory's `history` (earlier [request, answer] pairs)
and `system` are read where a row has them.
"""

from collections.abc import Iterable
from typing import Any

from accordant.data.jsonl import Fields
from accordant.data.readers.base import Reader, need_text, optional_text, tag, with_context, without_end_mark
from accordant.data.readers.turns import Turn, messages
from accordant.records import Demonstration


def _history(value: Any) -> list[Turn]:
    if not isinstance(value, list | None):
        raise ValueError(f"field 'history' is {value!r:.40}, expected a list")
    turns: list[Turn] = []
    for number, exchange in enumerate(value or [], start=1):
        match exchange:
            case [str(request), str(answer)]:
                turns += [("user", request), ("assistant", answer)]
            case _:
                raise ValueError(f"history {number} is {exchange!r:.40}, expected [request, answer]")
    return turns


def _reader(format: str, request: str, context: str, answer: str) -> Reader[Demonstration]:
    def fits(fields: Fields) -> bool:
        return {request, answer} <= set(fields) and (not context or context in fields)

    def read(fields: Fields, id: str) -> Iterable[Demonstration]:
        asked = with_context(need_text(fields, request), optional_text(fields, context))
        turns: list[Turn] = [
            ("system", optional_text(fields, "system")),
            *_history(fields.get("history")),
            ("user", asked),
            ("assistant", without_end_mark(need_text(fields, answer))),
        ]
        yield Demonstration(id=id, messages=messages(turns), tag=tag(fields))

    return Reader(format, fits, read)


alpaca = _reader("alpaca", "instruction", "input", "output")
dolly = _reader("dolly", "instruction", "context", "response")
gpteacher = _reader("gpteacher", "instruction", "input", "response")
instruction_output = _reader("instruction-output", "instruction", "", "output")
question_answer = _reader("question-answer", "question", "", "answer")
prompt_completion = _reader("prompt-completion", "prompt", "", "completion")
