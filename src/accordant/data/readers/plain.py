"""Bare requests: AdvBench, HarmBench, StrongREJECT, SimpleSafetyTests and Do-Not-Answer for harm, all others for help.

The harmful sets are known by their fields. A list of harmful requests under a field such as `prompt` looks like
any other: its reader's caller has to say what is expected.
"""

from collections.abc import Iterable

from accordant.data.jsonl import Fields
from accordant.data.readers.base import Reader, evaluation_prompt, need_text, optional_text, tag, with_context
from accordant.records import EvaluationPrompt

_HARMFUL = ("goal", "Behavior", "forbidden_prompt", "prompts_final")
_ASKED = ("prompt", "question", "instruction", *_HARMFUL)
_TAGS = ("SemanticCategory", "harm_area", "area")


def _read(fields: Fields, id: str) -> Iterable[EvaluationPrompt]:
    name = next((name for name in _ASKED if name in fields), _ASKED[0])
    harmful = name in _HARMFUL or "area" in fields
    context = optional_text(fields, "ContextString") or optional_text(fields, "input")
    question = with_context(need_text(fields, name), context)
    topic = next((fields[t] for t in _TAGS if isinstance(fields.get(t), str)), tag(fields))
    yield evaluation_prompt(id, question, "refuse" if harmful else "answer", tag=topic)


prompts = Reader("plain", lambda fields: any(name in fields for name in _ASKED), _read)
