"""Attention of one new token per row."""

from typing import Any

import numpy as np
from numba import carray

from accordant.kernels.loops.numbers import narrow, wide
from accordant.kernels.loops.sizes import BLOCK, OUTPUTS
from accordant.kernels.loops.softmax import to_shares
from accordant.kernels.loops.tiles import multiply_rows


def decode_attention(
    query: Any,
    key: Any,
    value: Any,
    keys: Any,
    values: Any,
    positions: Any,
    out: Any,
    scaled: Any,
    weights: Any,
    room: Any,
    zeros: Any,
    end: Any,
    rows: int,
    value_stride: int,
    heads: int,
    shared: int,
    size: int,
    capacity: int,
    scale: float,
) -> None:
    """Write each row's key and value to its slot and attend to all slots up to it.

    query (rows, heads, size), key (rows, shared, size), value (rows, ...) of which rows lie `value_stride` numbers
    apart, keys (rows, shared, size / 2, capacity, 2), values (rows, shared, capacity / 2, size, 2), positions (rows,),
    out like query. `size` and `capacity` are multiples of 32, and values of unused slots finite.
    Room: scaled (heads / shared, size) and weights (heads / shared, capacity) of a model's numbers; of float32 numbers
    `capacity` and a block, and 32 zeros; `end` for one integer.
    """
    group = heads // shared
    query, out = carray(query, (rows, shared, group, size)), carray(out, (rows, shared, group, size))
    key, value = carray(key, (rows, shared, size)), carray(value, (rows, value_stride))
    keys = carray(keys, (rows, shared, size // 2, capacity, 2))
    values = carray(values, (rows, shared, capacity // 2, size, 2))
    scaled, weights = carray(scaled, (group, size)), carray(weights, (group, capacity))
    positions, room, end = carray(positions, (rows,)), carray(room, (capacity + BLOCK,)), carray(end, (1,))
    nothing, till = carray(zeros, (OUTPUTS,)).ctypes.data, end.ctypes.data
    lowest = np.float32(-np.inf)
    for row in range(rows):
        last = positions[row]
        slots, filled = (last // OUTPUTS + 1) * OUTPUTS, (last // BLOCK + 1) * BLOCK
        for head in range(shared):
            own_keys, own_values = keys[row, head], values[row, head]
            for i in range(size):
                own_keys[i // 2, last, i % 2] = key[row, head, i]
                own_values[last // 2, i, last % 2] = value[row, head * size + i]
            for member in range(group):
                for i in range(size):
                    scaled[member, i] = narrow(wide(query[row, head, member, i]) * np.float32(scale), scaled)
            end[0] = size // 2
            for first in range(0, slots, OUTPUTS):
                tile, there = own_keys.ctypes.data + 4 * first, weights.ctypes.data + 2 * first
                multiply_rows(group, scaled.ctypes.data, tile, till, 1, nothing, there, size, capacity, capacity)
            for member in range(group):
                line = weights[member]
                for i in range(slots):
                    room[i] = wide(line[i]) if i <= last else lowest
                for i in range(slots, filled):
                    room[i] = lowest
                share = np.float32(1) / to_shares(room, filled)
                for i in range(slots):
                    line[i] = narrow(room[i] * share, line)
            end[0] = slots // 2
            for first in range(0, size, OUTPUTS):
                tile, there = own_values.ctypes.data + 4 * first, out[row, head].ctypes.data + 2 * first
                multiply_rows(group, weights.ctypes.data, tile, till, 1, nothing, there, capacity, size, size)
