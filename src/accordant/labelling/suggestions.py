"""How much of a demonstration is a model's: measured when it is handed in, not told by who wrote it."""

from collections.abc import Mapping
from difflib import SequenceMatcher

from accordant.records import DemonstrationDraft, Sampling, Suggested
from accordant.store.schema import Suggestion


def edited_share(text: str, suggestion: str) -> float:
    """Share of the characters of `text` that are not from `suggestion`: those outside their longest common blocks."""
    blocks = SequenceMatcher(None, suggestion, text, autojunk=False).get_matching_blocks()
    return 1 - sum(block.size for block in blocks) / len(text) if text else 0.0


def taken_over(draft: DemonstrationDraft, known: Mapping[str, Suggestion]) -> tuple[Suggested, ...]:
    """What was taken from which suggestion; one that was made for another demonstration, or that left no trace, is not.

    Args:
        draft: the dialogue, whole.
        known: the suggestions that were made for it, by id.
    """
    found = []
    for taken in dict.fromkeys(draft.taken):
        suggestion = known.get(taken.suggestion)
        if suggestion is None or taken.message >= len(draft.messages):
            continue
        edited = edited_share(draft.messages[taken.message].content, suggestion.content)
        if edited < 1:
            found.append(
                Suggested(
                    message=taken.message,
                    suggestion=suggestion.id,
                    edited=edited,
                    model=suggestion.model,
                    sampling=Sampling.model_validate(suggestion.sampling),
                )
            )
    return tuple(found)
