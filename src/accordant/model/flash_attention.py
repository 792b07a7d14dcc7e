"""Attention by a GPU's fused kernel over sequences laid end to end: no padding, no mask, no scores in memory."""

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor


class Stretches:
    """The sequences of a flat batch as the kernel takes them: where the queries and the keys of each begin and end.

    A sequence's last query sees all its keys, the one before it all but the last, and so on back.

    Args:
        queries: tokens of each sequence that ask; they lie in this order in the batch.
        keys: tokens of each sequence that are seen, at least as many.
        device: where the tokens are.
        order: the batch's token for each key, where keys are not simply the tokens in their order.
    """

    def __init__(
        self,
        queries: Sequence[int],
        keys: Sequence[int],
        device: torch.device | str,
        order: Tensor | None = None,
    ) -> None:
        self.query_borders, self.key_borders = (
            torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device) for lengths in (queries, keys)
        )
        self.most_queries, self.most_keys = max(queries), max(keys)
        self.order = order


def has_flash_attention(query: Tensor) -> bool:
    """Whether the kernel takes these: bfloat16 on a GPU of compute capability 8.0 (Ampere) or newer."""
    return (
        query.is_cuda
        and query.dtype == torch.bfloat16
        and query.shape[-1] % 8 == 0
        and query.shape[-1] <= 256
        and torch.cuda.get_device_capability(query.device) >= (8, 0)
    )


def flash_attention(query: Tensor, key: Tensor, value: Tensor, stretches: Stretches) -> Tensor:
    """Causal attention within each stretch (Dao 2023, FlashAttention-2), differentiable.

    Args:
        query: (tokens, heads, size).
        key: (tokens, kv_heads, size).
        value: like `key`.
        stretches: which tokens belong together.

    Returns:
        (tokens, heads, size).
    """
    from torch.nn.attention.varlen import varlen_attn  # brings torch's compiler, a second that a CPU need not wait

    if stretches.order is not None:
        key, value = key[stretches.order], value[stretches.order]
    out = varlen_attn(
        query,
        key,
        value,
        stretches.query_borders,
        stretches.key_borders,
        stretches.most_queries,
        stretches.most_keys,
        window_size=(-1, 0),  # everything before, nothing after; counted from the ends of queries and keys
        enable_gqa=query.shape[1] != key.shape[1],
    )
    assert isinstance(out, Tensor)
    return out
