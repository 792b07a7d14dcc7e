"""Numbers of a model inside a loop: float32 as they are, bfloat16 as the upper half of a float32's bits.

Every function is written into its caller. What torch rounds to the model's numbers between two operators is rounded
here at the same place, so that results differ only by the order of sums.
"""

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload

FAST = {"reassoc", "contract", "nsz"}
"""Sums in any order and fused multiply-adds, so that loops become vector instructions; NaN and infinity stay."""


def loop(function: Any) -> Any:
    """Compile a function that others call; dividing by zero gives infinity, as everywhere in tensors."""
    return njit(fastmath=FAST, error_model="numpy", inline="always")(function)


def wide(number: Any) -> Any:
    """As float32."""


def narrow(value: Any, like: Any) -> Any:
    """A float32 as an element of the array `like`; of two bfloat16 equally near the one whose last bit is 0."""


def rounded(value: Any, like: Any) -> Any:
    """A float32 as it comes back from the array `like`."""


@overload(wide, inline="always")  # type: ignore[untyped-decorator]
def _wide(number: Any) -> Any:
    def same(number: Any) -> Any:
        return number

    def shifted(number: Any) -> Any:
        return np.uint32(np.uint32(number) << np.uint32(16)).view(np.float32)

    return same if number == types.float32 else shifted


@loop
def _to_nearest(value: Any) -> Any:
    """Bits of a float32, of which the upper half is the nearest bfloat16."""
    bits = np.float32(value).view(np.uint32)
    return np.uint32(bits + np.uint32(0x7FFF) + np.uint32(np.uint32(bits >> np.uint32(16)) & np.uint32(1)))


@overload(narrow, inline="always")  # type: ignore[untyped-decorator]
def _narrow(value: Any, like: Any) -> Any:
    def same(value: Any, like: Any) -> Any:
        return value

    def upper_half(value: Any, like: Any) -> Any:
        return np.uint16(_to_nearest(value) >> np.uint32(16))

    return same if like.dtype == types.float32 else upper_half


@overload(rounded, inline="always")  # type: ignore[untyped-decorator]
def _rounded(value: Any, like: Any) -> Any:
    def same(value: Any, like: Any) -> Any:
        return value

    def cut(value: Any, like: Any) -> Any:
        return np.uint32(_to_nearest(value) & np.uint32(0xFFFF0000)).view(np.float32)

    return same if like.dtype == types.float32 else cut


@loop
def _in_order(bits: Any) -> Any:
    """Bits of a float32 as an integer that is larger where the number is, and back."""
    return np.int32(bits ^ np.int32(np.int32(bits >> np.int32(31)) & np.int32(0x7FFFFFFF)))


@loop
def largest(line: Any, end: int) -> Any:
    """Of the first `end` float32 numbers; among integers, as a search among floats minds NaN and takes one by one."""
    most = np.int32(-0x7FFFFFFF)
    for i in range(end):
        most = max(most, _in_order(np.float32(line[i]).view(np.int32)))
    return np.int32(_in_order(most)).view(np.float32)


@loop
def exp(x: Any) -> Any:
    """e^x of a float32, within two units of its last place; below -87 and above 88 as at these (Cody & Waite 1980).

    x = n log 2 + r with |r| <= log 2 / 2, of which e^r is a Taylor polynomial: the library's function is called for
    one number at a time.
    """
    x = np.float32(-87) if x < np.float32(-87) else x
    x = np.float32(88) if x > np.float32(88) else x
    n = np.int32(np.int32(x * np.float32(1.4426950408889634) + np.float32(128.5)) - np.int32(128))
    r = x - np.float32(n) * np.float32(0.693359375)
    r = r + np.float32(n) * np.float32(2.12194440e-4)
    p = np.float32(1 / 5040)
    p = p * r + np.float32(1 / 720)
    p = p * r + np.float32(1 / 120)
    p = p * r + np.float32(1 / 24)
    p = p * r + np.float32(1 / 6)
    p = p * r + np.float32(1 / 2)
    p = p * r * r + r + np.float32(1)
    return p * np.int32(np.int32(n + np.int32(127)) << np.int32(23)).view(np.float32)
