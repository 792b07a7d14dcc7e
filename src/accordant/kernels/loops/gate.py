"""The gate of the MLP, silu(gate) up, there and back."""

from typing import Any

import numpy as np
from numba import carray

from accordant.kernels.loops.numbers import exp, narrow, rounded, wide


def swiglu(gate: Any, up: Any, out: Any, count: int) -> None:
    """`out` = silu(gate) up."""
    gate, up, out = carray(gate, (count,)), carray(up, (count,)), carray(out, (count,))
    for i in range(count):
        x = wide(gate[i])
        out[i] = narrow(rounded(x / (np.float32(1) + exp(-x)), out) * wide(up[i]), out)


def swiglu_backward(gate: Any, up: Any, gradient: Any, by_gate: Any, by_up: Any, count: int) -> None:
    """With s = sigmoid(gate): silu' = s (1 + gate (1 - s))."""
    gate, up, gradient = carray(gate, (count,)), carray(up, (count,)), carray(gradient, (count,))
    by_gate, by_up = carray(by_gate, (count,)), carray(by_up, (count,))
    for i in range(count):
        x, g = wide(gate[i]), wide(gradient[i])
        share = np.float32(1) / (np.float32(1) + exp(-x))
        by_up[i] = narrow(g * rounded(x * share, by_up), by_up)
        by_gate[i] = narrow(
            rounded(g * wide(up[i]), by_gate) * share * (np.float32(1) + x * (np.float32(1) - share)), by_gate
        )
