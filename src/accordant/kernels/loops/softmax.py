"""The softmax of attention scores, there and back."""

from typing import Any

import numpy as np
from numba import carray

from accordant.kernels.loops.numbers import exp, largest, loop, narrow, wide
from accordant.kernels.loops.sizes import BLOCK


@loop
def to_shares(line: Any, end: int) -> Any:
    """The first `end` float32 scores to e^(score - largest), minus infinity to 0, in place; returns their sum."""
    lowest, top, total = np.float32(-np.inf), largest(line, end), np.float32(0)
    for i in range(end):
        share = np.float32(0) if line[i] == lowest else exp(line[i] - top)
        line[i] = share
        total += share
    return total


def softmax(
    scores: Any, sights: Any, out: Any, room: Any, rows: int, sight_rows: int, heads: int, tokens: int, slots: int
) -> None:
    """`out` = weights of scores, both (rows, heads, tokens, slots).

    Token t of row r sees the slots before s and those from b to before e, with (s, b, e) = `sights`[r, t], of which
    there is one row for all or each has its own. Its sum has the same order wherever these slots are a part of more.
    `room` is for `slots` float32 numbers and a block.
    """
    numbers = rows * heads * tokens * slots
    scores, out = carray(scores, (numbers,)), carray(out, (numbers,))
    sights, room = carray(sights, (sight_rows, tokens, 3)), carray(room, (slots + BLOCK,))
    lowest, start = np.float32(-np.inf), 0
    for row in range(rows):
        for _ in range(heads):
            for token in range(tokens):
                sight, line, weights = sights[row % sight_rows, token], scores[start:], out[start:]
                stem, begin, end = np.int32(sight[0]), np.int32(sight[1]), np.int32(sight[2])
                filled = (sight[2] + BLOCK - 1) // BLOCK * BLOCK
                # What lies behind the line are lines that come later: they are read in vain, and written before.
                there = min(filled, numbers - start)
                for i in range(there):
                    slot = np.int32(i)
                    room[i] = wide(line[i]) if (slot < stem) | ((slot >= begin) & (slot < end)) else lowest
                for i in range(there, filled):
                    room[i] = lowest
                scale = np.float32(1) / to_shares(room, filled)
                for i in range(there):
                    weights[i] = narrow(room[i] * scale, weights)
                for i in range(there, slots):
                    weights[i] = 0
                start += slots


def softmax_backward(weights: Any, gradient: Any, rows: int, tokens: int) -> None:
    """`gradient` by weights to that by scores, w (g - sum(w g)), in place; both (rows, tokens)."""
    weights, gradient = carray(weights, (rows, tokens)), carray(gradient, (rows, tokens))
    for row in range(rows):
        along = np.float32(0)
        for i in range(tokens):
            along += wide(weights[row, i]) * wide(gradient[row, i])
        for i in range(tokens):
            gradient[row, i] = narrow(wide(weights[row, i]) * (wide(gradient[row, i]) - along), gradient)
