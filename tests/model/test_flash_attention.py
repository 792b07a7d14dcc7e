"""The GPU's attention with its kernel replaced by loops: what is handed to the kernel is what belongs together."""

import math

import pytest
import torch
from torch import Tensor

from accordant.engine import prompts
from accordant.engine.prompts import PartOfPrompt, PieceAttention
from accordant.model import BranchedAttention, PackedAttention
from accordant.model import attention as layouts
from accordant.model import flash_attention as flash
from accordant.testing import tiny_model

HEADS, SHARED, SIZE = 4, 2, 8


def kernel(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_borders: Tensor,
    key_borders: Tensor,
    most_queries: int,
    most_keys: int,
    *,
    window_size: tuple[int, int],
    enable_gqa: bool,
) -> Tensor:
    """What `varlen_attn` documents, one query at a time: causal, aligned at the last query and the last key."""
    assert window_size == (-1, 0)
    assert enable_gqa == (query.shape[1] != key.shape[1])
    assert query_borders.dtype == key_borders.dtype == torch.int32
    assert query_borders[-1] == len(query)
    assert key_borders[-1] == len(key)
    assert (query_borders.diff() > 0).all(), "no sequence is empty"
    assert most_queries == query_borders.diff().max()
    assert most_keys == key_borders.diff().max()
    out = torch.empty_like(query)
    each = query.shape[1] // key.shape[1]
    borders = zip(*(b.unfold(0, 2, 1).tolist() for b in (query_borders, key_borders)), strict=True)
    for (first_query, end_query), (first_key, end_key) in borders:
        for asking in range(first_query, end_query):
            last = end_key - (end_query - asking) + 1
            for head in range(query.shape[1]):
                keys, values = (t[first_key:last, head // each] for t in (key, value))
                shares = torch.softmax(keys @ query[asking, head] / math.sqrt(query.shape[2]), 0)
                out[asking, head] = shares @ values
    return out


def inputs(tokens: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(tokens, HEADS, SIZE), (tokens, SHARED, SIZE), (tokens, SHARED, SIZE)]
    return [torch.randn(*shape, generator=generator) for shape in shapes]


LAYOUTS = {
    "packed": lambda: PackedAttention([5, 1, 3]),
    "one sequence": lambda: PackedAttention([7]),
    "branches": lambda: BranchedAttention([3, 2], [[2, 4, 1], [3]]),
    "a stem of no token": lambda: BranchedAttention([0, 2], [[2, 3], [1, 1]]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_kernel_is_asked_for_what_the_rectangle_gives(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make = LAYOUTS[layout]
    arguments = inputs(len(make().positions))
    expected = make()(0, *arguments)
    monkeypatch.setattr(layouts, "has_flash_attention", lambda query: True)
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", kernel)
    torch.testing.assert_close(make()(0, *arguments), expected, atol=1e-5, rtol=1e-5)


def test_a_cpu_has_no_flash_attention() -> None:
    assert not flash.has_flash_attention(torch.zeros(1, 1, 64, dtype=torch.bfloat16))


def test_the_kernel_takes_our_arguments() -> None:
    """The call itself, with tensors that have shapes and no values."""
    with torch.device("meta"):
        query, key = torch.empty(9, 4, 64, dtype=torch.bfloat16), torch.empty(9, 2, 64, dtype=torch.bfloat16)
    out = flash.flash_attention(query, key, key, flash.Stretches([5, 4], [5, 4], "meta"))
    assert out.shape == query.shape


def test_pieces_of_a_prompt_ask_the_kernel_for_what_plain_products_give(monkeypatch: pytest.MonkeyPatch) -> None:
    model, prompt = tiny_model(), torch.arange(5, 28)

    def read() -> Tensor:
        part = PartOfPrompt(model, len(prompt))
        pieces = prompt.split(7)
        return torch.cat([model.hidden(piece, PieceAttention(part, len(piece))) for piece in pieces])

    with torch.inference_mode():
        expected = read()
        monkeypatch.setattr(prompts, "has_flash_attention", lambda query: True)
        monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", kernel)
        torch.testing.assert_close(read(), expected, atol=1e-5, rtol=1e-5)
