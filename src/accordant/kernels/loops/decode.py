"""Attention of one new token per row."""

from typing import Any

import numpy as np
from numba import carray

from accordant.kernels.loops.numbers import LANES, loop, narrow, rounded, wide
from accordant.kernels.loops.softmax import to_shares


@loop
def _add_eight(
    sums: Any, count: int, begun: bool, block: Any,
    f0: Any, f1: Any, f2: Any, f3: Any, f4: Any, f5: Any, f6: Any, f7: Any,
) -> None:  # fmt: skip
    """Eight lines of `block`, each times its factor, on top of the first `count` sums where these are begun."""
    for i in range(count):
        sums[i] = (
            (sums[i] if begun else np.float32(0))
            + f0 * block[0, i]
            + f1 * block[1, i]
            + f2 * block[2, i]
            + f3 * block[3, i]
            + f4 * block[4, i]
            + f5 * block[5, i]
            + f6 * block[6, i]
            + f7 * block[7, i]
        )


@loop
def _scores(query: Any, keys: Any, scores: Any, block: Any, slots: int, scale: Any) -> None:
    """Products of a head's queries (group, size) with its keys (size, capacity), eight dimensions at a time."""
    for first in range(0, keys.shape[0], 8):
        for i in range(8):
            for slot in range(slots):
                block[i, slot] = wide(keys[first + i, slot])
        for member in range(len(query)):
            own, line = query[member], scores[member]
            q0, q1 = rounded(wide(own[first]) * scale, own), rounded(wide(own[first + 1]) * scale, own)
            q2, q3 = rounded(wide(own[first + 2]) * scale, own), rounded(wide(own[first + 3]) * scale, own)
            q4, q5 = rounded(wide(own[first + 4]) * scale, own), rounded(wide(own[first + 5]) * scale, own)
            q6, q7 = rounded(wide(own[first + 6]) * scale, own), rounded(wide(own[first + 7]) * scale, own)
            _add_eight(line, slots, first > 0, block, q0, q1, q2, q3, q4, q5, q6, q7)


@loop
def _softmax(line: Any, last: int, slots: int, like: Any) -> None:
    """Scores to weights, in place; those of `slots` that lie behind the last one in use become 0."""
    for slot in range(slots):
        line[slot] = rounded(line[slot], like) if slot <= last else np.float32(-np.inf)
    total = to_shares(line, slots)
    for slot in range(slots):
        line[slot] = rounded(line[slot] / total, like)


@loop
def _mix(weights: Any, values: Any, mixed: Any, block: Any, out: Any, slots: int) -> None:
    """Weighted sums (group, size) of a head's values (capacity, size), eight slots at a time; `mixed` is room."""
    size = values.shape[1]
    for first in range(0, slots, 8):
        for i in range(8):
            for j in range(size):
                block[i, j] = wide(values[first + i, j])
        for member in range(len(out)):
            line, sums = weights[member], mixed[member]
            w0, w1, w2, w3 = line[first], line[first + 1], line[first + 2], line[first + 3]
            w4, w5, w6, w7 = line[first + 4], line[first + 5], line[first + 6], line[first + 7]
            _add_eight(sums, size, first > 0, block, w0, w1, w2, w3, w4, w5, w6, w7)
    for member in range(len(out)):
        for j in range(size):
            out[member, j] = narrow(mixed[member, j], out)


def decode_attention(
    query: Any,
    key: Any,
    value: Any,
    keys: Any,
    values: Any,
    positions: Any,
    out: Any,
    scores: Any,
    mixed: Any,
    block: Any,
    rows: int,
    value_stride: int,
    heads: int,
    shared: int,
    size: int,
    capacity: int,
) -> None:
    """Write each row's key and value to its slot and attend to all slots up to it.

    query (rows, heads, size), key (rows, shared, size), value (rows, ...) of which rows lie `value_stride` numbers
    apart, keys (rows, shared, size, capacity), values (rows, shared, capacity, size), positions (rows,), out like
    query. `size` and `capacity` are multiples of 8, and values of unused slots finite.
    Room for float32 numbers: scores (heads / shared, max(capacity, size)), mixed (heads / shared, size) and block
    (8, max(capacity, size)).
    """
    group, width = heads // shared, max(capacity, size)
    query, out = carray(query, (rows, shared, group, size)), carray(out, (rows, shared, group, size))
    key, value = carray(key, (rows, shared, size)), carray(value, (rows, value_stride))
    keys, values = carray(keys, (rows, shared, size, capacity)), carray(values, (rows, shared, capacity, size))
    positions, scores = carray(positions, (rows,)), carray(scores, (group, width))
    mixed, block = carray(mixed, (group, size)), carray(block, (8, width))
    scale = np.float32(1) / np.sqrt(np.float32(size))
    for row in range(rows):
        last = positions[row]
        slots = min(capacity, (last // LANES + 1) * LANES)
        for head in range(shared):
            for i in range(size):
                keys[row, head, i, last] = key[row, head, i]
                values[row, head, last, i] = value[row, head * size + i]
            _scores(query[row, head], keys[row, head], scores, block, slots, scale)
            for member in range(group):
                _softmax(scores[member], last, slots, out)
            _mix(scores, values[row, head], mixed, block, out[row, head], slots)
