"""XSTest (Röttger et al. 2024): safe prompts that sound unsafe, and unsafe ones to contrast with them."""

from collections.abc import Iterable

from accordant.data.jsonl import Fields
from accordant.data.readers.base import Reader, evaluation_prompt, need_text, optional_text
from accordant.records import EvaluationPrompt, Expectation

_EXPECT: dict[str, Expectation] = {"safe": "answer", "unsafe": "refuse"}


def _read(fields: Fields, id: str) -> Iterable[EvaluationPrompt]:
    label = need_text(fields, "label")
    if label not in _EXPECT:
        raise ValueError(f"field 'label' is {label!r:.40}, expected 'safe' or 'unsafe'")
    yield evaluation_prompt(id, need_text(fields, "prompt"), _EXPECT[label], tag=optional_text(fields, "type"))


prompts = Reader("xstest", lambda fields: {"prompt", "type", "label"} <= set(fields), _read)
