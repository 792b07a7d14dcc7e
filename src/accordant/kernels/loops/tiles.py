"""Products with a matrix by the processor's own instruction for bfloat16, which adds two products to a float32 at once.

They are made tile by tile: a few rows of x and 32 outputs, whose sums stay in registers while all inputs go by. LLVM
makes no such instruction of a loop over numbers, so that the innermost part is written in its terms.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from accordant.kernels.loops.numbers import loop
from accordant.kernels.loops.sizes import OUTPUTS

_AHEAD = 4096
"""Bytes of the matrix that are asked from memory before their turn (docs/log.md)."""


class _BFloat(ir.types.Type):  # type: ignore[misc]
    """LLVM's bfloat16, which llvmlite has no type for."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(_BFloat)


_BYTE, _INT = ir.IntType(8), ir.IntType(64)
_SUMS = ir.VectorType(ir.FloatType(), 16)
_PAIRS = ir.VectorType(_BFloat(), 32)
_NARROW = ir.VectorType(_BFloat(), 16)


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def _multiply_tile(
    typing: Any, rows: Any, x: Any, tile: Any, ends: Any, parts: Any, bias: Any, out: Any, inputs: Any, pair: Any,
    outputs: Any,
) -> Any:  # fmt: skip
    """One tile of `multiply_rows`; the number of rows is known to the compiler."""
    if not isinstance(rows, types.IntegerLiteral):
        return None
    count = rows.literal_value

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, tile, ends, parts, bias, out, inputs, pair_size, outputs = arguments[1:]

        def at(address: Any, kind: Any) -> Any:
            return builder.inttoptr(address, kind.as_pointer())

        def place(start: Any, *steps: tuple[Any, int]) -> Any:
            """An address so many things of so many bytes further on."""
            for number, size in steps:
                number = number if isinstance(number, ir.Value) else _INT(number)
                start = builder.add(start, builder.mul(number, _INT(size)))
            return start

        module = builder.module
        dot = cgutils.get_or_insert_function(
            module, ir.FunctionType(_SUMS, (_SUMS, _PAIRS, _PAIRS)), "llvm.x86.avx512bf16.dpbf16ps.512"
        )
        flag = ir.IntType(32)
        ask = cgutils.get_or_insert_function(
            module, ir.FunctionType(ir.VoidType(), (_BYTE.as_pointer(), flag, flag, flag)), "llvm.prefetch.p0"
        )
        zero = ir.Constant(_SUMS, None)
        # Sums are written as places in memory, and LLVM keeps them in registers as long as it can.
        cells = [(row, half) for row in range(count) for half in range(2)]
        totals = {cell: cgutils.alloca_once_value(builder, zero) for cell in cells}
        sums = {cell: cgutils.alloca_once(builder, _SUMS) for cell in cells}
        begin = cgutils.alloca_once_value(builder, _INT(0))
        with cgutils.for_range(builder, parts) as part:
            end = builder.load(at(place(ends, (part.index, 8)), _INT))
            for cell in cells:
                builder.store(zero, sums[cell])
            with cgutils.for_range_slice(builder, builder.load(begin), end, _INT(1)) as (pair, _):
                weights = []
                for half in range(2):
                    there = place(tile, (builder.mul(pair, pair_size), 4), (half, 64))
                    weights.append(builder.load(at(there, _PAIRS), align=4))
                    builder.call(ask, [at(builder.add(there, _INT(_AHEAD)), _BYTE), flag(0), flag(3), flag(1)])
                for row in range(count):
                    own = builder.load(at(place(x, (pair, 4), (builder.mul(inputs, _INT(row)), 2)), flag), align=4)
                    spread = builder.insert_element(ir.Constant(ir.VectorType(flag, 16), ir.Undefined), own, flag(0))
                    spread = builder.shuffle_vector(spread, spread, ir.Constant(ir.VectorType(flag, 16), None))
                    spread = builder.bitcast(spread, _PAIRS)
                    for half in range(2):
                        sum_ = sums[row, half]
                        builder.store(builder.call(dot, [builder.load(sum_), weights[half], spread]), sum_)
            builder.store(end, begin)
            for cell in cells:
                builder.store(builder.fadd(builder.load(totals[cell]), builder.load(sums[cell])), totals[cell])
        for row, half in cells:
            total = builder.fadd(
                builder.load(totals[row, half]), builder.load(at(place(bias, (half, 64)), _SUMS), align=4)
            )
            there = place(out, (builder.mul(outputs, _INT(row)), 2), (half, 32))
            builder.store(builder.fptrunc(total, _NARROW), at(there, _NARROW), align=2)
        return context.get_dummy_value()

    return types.void(rows, *[types.int64] * 9), generate


@loop
def multiply_rows(
    rows: int, x: int, tile: int, ends: int, parts: int, bias: int, out: int, inputs: int, pair: int, outputs: int
) -> None:
    """Rows of x times 32 columns of a matrix, plus float32 bias, rounded once to `out`; addresses are whole numbers.

    Rows of x lie `inputs` numbers apart and those of `out` `outputs`. The matrix has a pair of inputs for each of its
    columns, and the next pair begins `pair` such pairs later. Inputs are added up in parts, of which `ends` (parts,)
    are the ends in pairs, and then the parts: each in its order.
    """
    row = 0
    while row < rows:
        own, there, left = x + 2 * inputs * row, out + 2 * outputs * row, rows - row
        if left >= 12:
            _multiply_tile(12, own, tile, ends, parts, bias, there, inputs, pair, outputs)
            row += 12
        elif left >= 8:
            _multiply_tile(8, own, tile, ends, parts, bias, there, inputs, pair, outputs)
            row += 8
        elif left >= 6:
            _multiply_tile(6, own, tile, ends, parts, bias, there, inputs, pair, outputs)
            row += 6
        elif left >= 4:
            _multiply_tile(4, own, tile, ends, parts, bias, there, inputs, pair, outputs)
            row += 4
        elif left == 3:
            _multiply_tile(3, own, tile, ends, parts, bias, there, inputs, pair, outputs)
            row += 3
        elif left == 2:
            _multiply_tile(2, own, tile, ends, parts, bias, there, inputs, pair, outputs)
            row += 2
        else:
            _multiply_tile(1, own, tile, ends, parts, bias, there, inputs, pair, outputs)
            row += 1


def tiled_product(
    x: int, tiles: int, ends: int, bias: int, out: int, rows: int, inputs: int, outputs: int, parts: int
) -> None:
    """`out` (rows, outputs) = x (rows, inputs) times a matrix (outputs / 32, inputs / 2, 32, 2), plus bias."""
    for block in range(outputs // OUTPUTS):
        tile, own, there = tiles + 2 * OUTPUTS * inputs * block, bias + 4 * OUTPUTS * block, out + 2 * OUTPUTS * block
        multiply_rows(rows, x, tile, ends, parts, own, there, inputs, OUTPUTS, outputs)
