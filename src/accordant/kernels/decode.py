"""Attention of one new token per row, on a cache whose numbers lie in pairs."""

import torch
from torch import Tensor

from accordant.kernels import few_threads
from accordant.kernels.compiled import has_loop, loops_for
from accordant.kernels.loops.sizes import BLOCK, OUTPUTS


def suits_decoding(dtype: torch.dtype, device: torch.device, size: int) -> bool:
    """Whether heads of so many numbers are attended to fastest by `decode_attention`, which computes in one thread."""
    there = device.type == "cpu" and dtype == torch.bfloat16 and has_loop("decode.decode_attention", dtype)
    return there and size % OUTPUTS == 0 and few_threads()


def decode_attention(query: Tensor, key: Tensor, value: Tensor, keys: Tensor, values: Tensor, slots: Tensor) -> Tensor:
    """Write each row's key and value to its slot of a cache, and attend to all slots up to it.

    Rounds where `short_attention` rounds and adds up in its order, so that a token gets the bits of a pass.

    Args:
        query: (rows, heads, size); size is a multiple of 32.
        key: (rows, kv_heads, size).
        value: like `key`, or a part of larger rows.
        keys: (rows, kv_heads, size / 2, capacity, 2); capacity is a multiple of 32.
        values: (rows, kv_heads, capacity / 2, size, 2); unused slots are finite.
        slots: (rows,), int64.

    Returns:
        Like query.
    """
    rows, heads, size = query.shape
    shared, capacity = keys.shape[1], keys.shape[3]
    query, key = query.contiguous(), key.contiguous()
    if value.stride()[1:] != (size, 1):
        value = value.contiguous()
    out, scaled = torch.empty_like(query), query.new_empty(heads // shared, size)
    weights, end = query.new_empty(heads // shared, capacity), slots.new_empty(1)
    room, zeros = torch.empty(capacity + BLOCK, dtype=torch.float32), torch.zeros(OUTPUTS, dtype=torch.float32)
    given = query, key, value, keys, values, slots, out, scaled, weights, room, zeros, end
    sizes = rows, value.stride(0), heads, shared, size, capacity
    loops_for(query.dtype).decode_attention(*(tensor.data_ptr() for tensor in given), *sizes, size**-0.5)
    return out
