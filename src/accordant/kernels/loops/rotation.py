"""Rotary positions."""

from typing import Any

import numpy as np
from numba import carray

from accordant.kernels.loops.numbers import narrow, rounded, wide


def rotate(
    x: Any, cosine: Any, sine: Any, out: Any, tokens: int, stride: int, heads: int, size: int, sign: float
) -> None:
    """Turn each pair (i, i + size/2) by its token's angle times `sign`; tokens of `x` are `stride` numbers apart."""
    half = size // 2
    x, out = carray(x, (tokens, stride)), carray(out, (tokens, heads, size))
    cosine, sine = carray(cosine, (tokens, size)), carray(sine, (tokens, size))
    for token in range(tokens):
        for head in range(heads):
            for i in range(half):
                c, s = wide(cosine[token, half + i]), wide(sine[token, half + i]) * np.float32(sign)
                a, b = wide(x[token, head * size + i]), wide(x[token, head * size + half + i])
                out[token, head, i] = narrow(rounded(a * c, out) - rounded(b * s, out), out)
                out[token, head, half + i] = narrow(rounded(b * c, out) + rounded(a * s, out), out)
