"""From messages to token ids and back: tokenizer, chat template, and the one renderer.

Training, scoring, evaluating and serving all go through `Renderer`, so that they see the same tokens.
Imports `records` and the base modules only.
"""

from accordant.text.renderer import Example, Renderer
from accordant.text.template import CHATML, ChatTemplate
from accordant.text.tokenizer import TextStream, Tokenizer

__all__ = ["CHATML", "ChatTemplate", "Example", "Renderer", "TextStream", "Tokenizer"]
