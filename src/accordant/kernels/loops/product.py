"""The product of one row with a matrix, which is as fast as the matrix comes from memory."""

from typing import Any

import numpy as np
from numba import carray

from accordant.kernels.loops.numbers import narrow, wide


def row_product(x: Any, weight: Any, bias: Any, out: Any, row: Any, outputs: int, inputs: int, biased: int) -> None:
    """`out` (outputs,) = weight (outputs, inputs) x, and + bias where `biased` is 1; `row` is room for x as float32."""
    x, row, weight = carray(x, (inputs,)), carray(row, (inputs,)), carray(weight, (outputs, inputs))
    bias, out = carray(bias, (outputs,)), carray(out, (outputs,))
    for i in range(inputs):
        row[i] = wide(x[i])
    for output in range(outputs):
        total = wide(bias[output]) if biased == 1 else np.float32(0)
        for i in range(inputs):
            total += row[i] * wide(weight[output, i])
        out[output] = narrow(total, out)
