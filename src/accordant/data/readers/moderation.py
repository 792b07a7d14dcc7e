"""Public sets of labelled texts, in our taxonomy: what a set does not say stays unknown.

openai: Markov et al. 2022; davidson: Davidson et al. 2017; hatecheck: Röttger et al. 2021; surge: Surge AI's
toxicity set. Where a label decides no category, the row is left out with a word.
"""

from collections.abc import Iterable

from accordant.data.jsonl import Fields
from accordant.data.readers.base import Reader, need_text
from accordant.records import CATEGORIES, Category, LabelledText

_CODES: dict[str, Category] = {
    "S": "sexual",
    "S3": "sexual/minors",
    "H": "hate",
    "H2": "hate/threatening",
    "V": "violence",
    "V2": "violence/graphic",
    "HR": "harassment",
    "SH": "self-harm",
}
_YES_NO = {"0": False, "1": True}


def _openai(fields: Fields, id: str) -> Iterable[LabelledText]:
    labels: dict[Category, bool] = {}
    for code, category in _CODES.items():
        value = fields.get(code)
        if value is None or value == "":
            continue
        if str(value) not in _YES_NO:
            raise ValueError(f"field {code!r} is {value!r:.40}, expected 0, 1 or nothing")
        labels[category] = _YES_NO[str(value)]
    yield LabelledText(id=id, text=need_text(fields, "prompt"), labels=labels)


def _davidson(fields: Fields, id: str) -> Iterable[LabelledText]:
    labels: dict[str, dict[Category, bool]] = {
        "hate": {"hate": True},
        "neither": {"hate": False, "hate/threatening": False, "harassment": False},
    }
    label = need_text(fields, "label")
    if label not in labels:
        raise ValueError(f"label {label!r:.40} decides no category")
    yield LabelledText(id=id, text=need_text(fields, "text"), labels=labels[label])


def _hatecheck(fields: Fields, id: str) -> Iterable[LabelledText]:
    hateful = need_text(fields, "label_gold") == "hateful"
    threat = need_text(fields, "functionality").startswith("threat_")
    yield LabelledText(
        id=id, text=need_text(fields, "test_case"), labels={"hate": hateful, "hate/threatening": hateful and threat}
    )


def _surge(fields: Fields, id: str) -> Iterable[LabelledText]:
    if (label := need_text(fields, "is_toxic")) != "Not Toxic":
        raise ValueError(f"label {label!r:.40} decides no category")
    yield LabelledText(id=id, text=need_text(fields, "text"), labels=dict.fromkeys(CATEGORIES, False))


openai = Reader("openai-moderation", lambda fields: "prompt" in fields and bool(_CODES.keys() & fields.keys()), _openai)
davidson = Reader("davidson", lambda fields: {"text", "label", "votes"} <= fields.keys(), _davidson)
hatecheck = Reader("hatecheck", lambda fields: {"functionality", "test_case"} <= fields.keys(), _hatecheck)
surge = Reader("surge-toxicity", lambda fields: {"text", "is_toxic"} <= fields.keys(), _surge)
