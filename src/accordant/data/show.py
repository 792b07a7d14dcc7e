"""A conversation as the model will see it, with what is trained on set off by colour."""

from collections.abc import Sequence
from itertools import groupby

from rich.text import Text

from accordant.records import Message
from accordant.text import Renderer


def show_row(renderer: Renderer, messages: Sequence[Message]) -> Text:
    """Render as in training: what is trained green, its end-of-turn tokens reversed, the rest dim.

    Control tokens are written out, and invisible characters as escapes, since data from elsewhere may hold
    sequences that a terminal obeys.

    Raises:
        AccordantError: when the conversation cannot be trained on, see `Renderer.dialogue`.
    """
    tokenizer = renderer.tokenizer
    control = {id for id, token in tokenizer.markup.get_added_tokens_decoder().items() if token.special}
    rendered = renderer.dialogue(messages)
    shown = Text()
    # A run of like tokens is decoded as a whole: one token may be only part of a character.
    pairs = zip(rendered.ids, rendered.trained, strict=True)
    for (trained, is_control), run in groupby(pairs, key=lambda pair: (pair[1], pair[0] in control)):
        ids = [id for id, _ in run]
        style = "green" if trained else "dim"
        if is_control:
            text = "".join(map(tokenizer.text_of, ids))
            style += " reverse" if trained else " bold"
        else:
            text = tokenizer.decode(ids)
        shown.append("".join(map(_visible, text)), style)
    return shown


def _visible(character: str) -> str:
    if character.isprintable() or character == "\n":
        return character
    return character.encode("unicode_escape").decode()
