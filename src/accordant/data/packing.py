"""Sequences laid end to end, without padding, in batches of bounded size."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from accordant.model import PackedAttention


@dataclass(frozen=True)
class Example:
    """One sequence; `trained[i]` says whether token i is a target (predicted from the tokens before it)."""

    ids: list[int]
    trained: list[bool]


@dataclass(frozen=True)
class PackedBatch:
    """Several examples as one flat batch.

    ids: (tokens,). attention: which of them belong together. predicting: (targets,) index of the token whose hidden
    state predicts each target. targets: (targets,) the ids to predict. target_counts: targets of each example.
    last: (examples,) index of the last token of each.
    """

    ids: Tensor
    attention: PackedAttention
    predicting: Tensor
    targets: Tensor
    target_counts: list[int]
    last: Tensor


def pack(examples: Sequence[Example], device: torch.device | str = "cpu") -> PackedBatch:
    """Lay `examples` end to end; the first token of a sequence is never a target, nothing stands before it."""
    ids: list[int] = []
    predicting: list[int] = []
    counts: list[int] = []
    for example in examples:
        places = [len(ids) + i - 1 for i in range(1, len(example.ids)) if example.trained[i]]
        predicting += places
        counts.append(len(places))
        ids += example.ids
    lengths = [len(example.ids) for example in examples]
    flat = torch.tensor(ids, device=device)
    where = torch.tensor(predicting, dtype=torch.long, device=device)
    return PackedBatch(
        ids=flat,
        attention=PackedAttention(lengths, device),
        predicting=where,
        targets=flat[where + 1],
        target_counts=counts,
        last=torch.tensor(lengths, device=device).cumsum(0) - 1,
    )


def micro_batches(lengths: Sequence[int], most_tokens: int) -> list[list[int]]:
    """Group indices so that no group has over `most_tokens` tokens (unless one sequence alone does).

    Longest first, so that sequences of like length share a group and the attention rectangle wastes little.
    """
    groups: list[list[int]] = []
    total = 0
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if not groups or total + lengths[index] > most_tokens:
            groups.append([])
            total = 0
        groups[-1].append(index)
        total += lengths[index]
    return groups
