"""From feedback of users to training rows, or to the reason why it becomes none."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from accordant.labelling.rows import NO_CONSENT, NO_ORDER, REJECTED, LeftOut, Row
from accordant.records import (
    CATEGORIES,
    SAID,
    Candidate,
    Category,
    Choice,
    Comparison,
    Demonstration,
    FilterReport,
    LabelledText,
    Message,
    Rating,
)
from accordant.store.judgements import Talk
from accordant.store.schema import Feedback

Thumbs = dict[tuple[str, str | None], list[tuple[Feedback, Talk, Rating]]]
"""By user and question."""


def rows_of_feedback(everything: Iterable[tuple[Feedback, Talk]]) -> Iterator[Row | LeftOut]:
    """The rows of all feedback; thumbs make pairs among the answers to one question, of one user."""
    thumbs: Thumbs = defaultdict(list)
    for feedback, talk in everything:
        said = SAID.validate_python(feedback.value)
        if not talk.conversation.consent:
            yield LeftOut(feedback.kind, NO_CONSENT, feedback.id)
        elif feedback.review == "rejected":
            yield LeftOut(feedback.kind, REJECTED, feedback.id)
        elif isinstance(said, Rating):
            thumbs[feedback.user_id, talk.messages[feedback.message_id].parent_id].append((feedback, talk, said))
        elif isinstance(said, Choice):
            yield _chosen(feedback, talk, said)
        else:
            yield _reported(feedback, talk, said)
    for rated in thumbs.values():
        yield from _rated(rated)


def _rated(rated: list[tuple[Feedback, Talk, Rating]]) -> Iterator[Row | LeftOut]:
    """Ideal answers to one question, and its thumbs up against its thumbs down."""
    used = set()
    for feedback, talk, said in rated:
        if said.ideal.strip():
            used.add(feedback.id)
            yield from _ideal(feedback, talk, said.ideal)
    for better, talk, up in rated:
        for worse, _, down in rated:
            if (up.thumb, down.thumb) != ("up", "down"):
                continue
            row = _pair("thumbs", talk, better.message_id, worse.message_id, (better, worse), better.user_id)
            if isinstance(row, Row):
                used |= {better.id, worse.id}
                yield row
    for feedback, _, _ in rated:
        if feedback.id not in used:
            yield LeftOut("rating", "a thumb without another answer to compare with", feedback.id)


def _ideal(feedback: Feedback, talk: Talk, ideal: str) -> Iterator[Row]:
    asked, given = talk.asked(feedback.message_id), talk.candidate(feedback.message_id)
    dialogue = (*asked, Message(role="assistant", content=ideal))
    demonstration = Demonstration(id=feedback.id, messages=dialogue, author=feedback.user_id)
    yield Row("ideal answer", demonstration, (feedback.id,))
    if given.content.strip() not in ("", ideal.strip()):
        candidates = (given, Candidate(content=ideal))
        better = Comparison(
            id=feedback.id, messages=asked, candidates=candidates, ranking=((1,), (0,)), annotator=feedback.user_id
        )
        yield Row("ideal answer", better, (feedback.id,))


def _chosen(feedback: Feedback, talk: Talk, said: Choice) -> Row | LeftOut:
    if said.preferred in ("tie", "neither"):
        return LeftOut("choice", NO_ORDER, feedback.id)
    better, worse = (said.left, said.right) if said.preferred == "left" else (said.right, said.left)
    shown = (0, 1) if said.preferred == "left" else (1, 0)
    return _pair("choice", talk, better, worse, (feedback,), feedback.user_id, shown)


def _pair(
    source: str,
    talk: Talk,
    better: str,
    worse: str,
    judged: tuple[Feedback, ...],
    user_id: str,
    shown: tuple[int, ...] = (),
) -> Row | LeftOut:
    candidates = (talk.candidate(better), talk.candidate(worse))
    ids = tuple(feedback.id for feedback in judged)
    if candidates[0].content.strip() == candidates[1].content.strip():
        return LeftOut(source, NO_ORDER, ids[0])
    record = Comparison(
        id="+".join(ids),
        messages=talk.asked(better),
        candidates=candidates,
        ranking=((0,), (1,)),
        annotator=user_id,
        shown_order=shown,
    )
    return Row(source, record, ids)


def _reported(feedback: Feedback, talk: Talk, said: FilterReport) -> Row | LeftOut:
    """A false alarm says no to what was flagged, a missed one yes to what is named."""
    text = talk.messages[feedback.message_id].content
    if not text.strip():
        return LeftOut("report", "nothing of the message is kept", feedback.id)
    labels: dict[Category, bool]
    if said.fault == "false_negative":
        labels = dict.fromkeys(said.categories, True)
    else:
        flagged = {name for verdict in talk.verdicts.get(feedback.message_id, []) for name in verdict.categories}
        wrong = said.categories or tuple(name for name in CATEGORIES if name in flagged) or CATEGORIES
        labels = dict.fromkeys(wrong, False)
    if not labels:
        return LeftOut("report", "no category is named", feedback.id)
    return Row("report", LabelledText(id=feedback.id, text=text, labels=labels), (feedback.id,))
