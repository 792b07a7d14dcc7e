"""The way back of a softmax."""

from typing import Any

import numpy as np
from numba import carray

from accordant.kernels.loops.numbers import narrow, wide


def softmax_backward(weights: Any, gradient: Any, rows: int, tokens: int) -> None:
    """`gradient` by weights to that by scores, w (g - sum(w g)), in place; both (rows, tokens)."""
    weights, gradient = carray(weights, (rows, tokens)), carray(gradient, (rows, tokens))
    for row in range(rows):
        along = np.float32(0)
        for i in range(tokens):
            along += wide(weights[row, i]) * wide(gradient[row, i])
        for i in range(tokens):
            gradient[row, i] = narrow(wide(weights[row, i]) * (wide(gradient[row, i]) - along), gradient)
