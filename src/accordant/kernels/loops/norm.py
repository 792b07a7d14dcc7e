"""Root-mean-square normalisation, there and back."""

from typing import Any

import numpy as np
from numba import carray

from accordant.kernels.loops.numbers import narrow, rounded, wide


def rms_norm(x: Any, weight: Any, out: Any, scales: Any, rows: int, size: int, epsilon: float) -> None:
    """`out` = weight x / rms(x); `scales` gets 1 / rms(x) of each row."""
    x, out = carray(x, (rows, size)), carray(out, (rows, size))
    weight, scales = carray(weight, (size,)), carray(scales, (rows,))
    for row in range(rows):
        squares = np.float32(0)
        for i in range(size):
            squares += wide(x[row, i]) * wide(x[row, i])
        scale = np.float32(1) / np.sqrt(squares / np.float32(size) + np.float32(epsilon))
        scales[row] = scale
        for i in range(size):
            out[row, i] = narrow(rounded(wide(x[row, i]) * scale, x) * wide(weight[i]), out)


def rms_norm_backward(
    x: Any, weight: Any, scales: Any, gradient: Any, by_x: Any, by_weight: Any, rows: int, size: int
) -> None:
    """With n = x / rms(x) and y = w n: the gradient by x is (w g - n mean(w g n)) / rms(x), by w the sum of g n."""
    x, gradient, by_x = carray(x, (rows, size)), carray(gradient, (rows, size)), carray(by_x, (rows, size))
    weight, by_weight, scales = carray(weight, (size,)), carray(by_weight, (size,)), carray(scales, (rows,))
    for row in range(rows):
        scale, along = scales[row], np.float32(0)
        for i in range(size):
            normal = wide(x[row, i]) * scale
            by_weight[i] += wide(gradient[row, i]) * normal
            along += wide(gradient[row, i]) * wide(weight[i]) * normal
        along /= np.float32(size)
        for i in range(size):
            within = wide(gradient[row, i]) * wide(weight[i]) - wide(x[row, i]) * scale * along
            by_x[row, i] = narrow(within * scale, by_x)
