"""Text from a model or a file, made safe to print: a terminal acts on escape sequences, so none may reach it."""


def visible(text: str) -> str:
    """`text` with each character that a terminal would act on shown as a symbol; newline and tab stay."""
    return text.translate(_SYMBOLS)


_CONTROLS = [*range(0x20), *range(0x7F, 0xA0)]
_DIRECTION_AND_LINES = [0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)]
"""Marks that reorder what is shown after them, and Unicode's own line separators."""

_SYMBOLS = (
    dict.fromkeys(_CONTROLS + _DIRECTION_AND_LINES, "\N{REPLACEMENT CHARACTER}")
    | {code: chr(0x2400 + code) for code in range(0x20)}
    | {0x7F: "\N{SYMBOL FOR DELETE}", 0x0A: "\n", 0x09: "\t"}
)
