"""The softmax of attention scores, there and back."""

from typing import Any

import numpy as np
from numba import carray

from accordant.kernels.loops.numbers import LANES, exp, narrow, wide


def causal_softmax(scores: Any, hidden: Any, room: Any, rows: int, hidden_rows: int, heads: int, tokens: int) -> None:
    """Scores (rows, heads, tokens, tokens) to weights, in place; `hidden` (rows or 1, tokens, tokens) get none.

    `hidden` hides whatever lies behind a token; that is not looked at but for the last lanes. `room` is for `tokens`
    float32 numbers.
    """
    scores, room = carray(scores, (rows, heads, tokens, tokens)), carray(room, (tokens,))
    hidden = carray(hidden, (hidden_rows, tokens, tokens))
    lowest = np.float32(-np.inf)
    for row in range(rows):
        for head in range(heads):
            for token in range(tokens):
                line, unseen = scores[row, head, token], hidden[row % hidden_rows, token]
                end = min(tokens, (token // LANES + 1) * LANES)
                most, total = lowest, np.float32(0)
                for i in range(end):
                    score = lowest if unseen[i] else wide(line[i])
                    room[i] = score
                    most = score if score > most else most
                for i in range(end):
                    share = np.float32(0) if room[i] == lowest else exp(room[i] - most)
                    room[i] = share
                    total += share
                for i in range(end):
                    line[i] = narrow(room[i] / total, line)
                for i in range(end, tokens):
                    line[i] = 0


def softmax_backward(weights: Any, gradient: Any, rows: int, tokens: int) -> None:
    """`gradient` by weights to that by scores, w (g - sum(w g)), in place; both (rows, tokens)."""
    weights, gradient = carray(weights, (rows, tokens)), carray(gradient, (rows, tokens))
    for row in range(rows):
        along = np.float32(0)
        for i in range(tokens):
            along += wide(weights[row, i]) * wide(gradient[row, i])
        for i in range(tokens):
            gradient[row, i] = narrow(wide(weights[row, i]) * (wide(gradient[row, i]) - along), gradient)
