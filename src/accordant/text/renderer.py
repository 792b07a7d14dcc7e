"""Messages to token ids and loss mask: the only place where a conversation becomes tokens.

The template is rendered with a stand-in for each message's words, and the words are tokenised apart from the
markup. So a user who types a control token types plain text, and the tokens of an answer do not depend on
whether the answer was sampled, trained on or scored.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from accordant.errors import AccordantError
from accordant.records import Message
from accordant.text.template import ChatTemplate
from accordant.text.tokenizer import Tokenizer

_STAND_IN = "\ue000{}\ue001"
_FIND = re.compile("\ue000(\\d+)\ue001")


@dataclass(frozen=True)
class Example:
    """Token ids of a conversation and, for each, whether it is trained (said by the assistant, or its end)."""

    ids: list[int]
    trained: list[bool]

    @classmethod
    def of_answer(cls, prompt: list[int], answer: list[int]) -> "Example":
        """An answer, trained, after a prompt that is not."""
        return cls(prompt + answer, [False] * len(prompt) + [True] * len(answer))


@dataclass(frozen=True)
class Renderer:
    """Tokenizer and template of one checkpoint."""

    tokenizer: Tokenizer
    template: ChatTemplate

    @classmethod
    def load(cls, folder: Path) -> "Renderer":
        """Read both from a checkpoint folder in the hub's format."""
        return cls(Tokenizer.load(folder), ChatTemplate.load(folder))

    def save(self, folder: Path) -> None:
        """Write both into a checkpoint folder in the hub's format."""
        self.tokenizer.save(folder, self.template.source)

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Ids of a conversation up to where the assistant's next answer begins."""
        return self._tokens(self._markup(messages, add_generation_prompt=True), messages).ids

    def words(self, text: str) -> list[int]:
        """Ids of text by itself, in which no control token is meant."""
        return self.tokenizer.encode(text)

    def answer(self, text: str, ended: bool = True) -> list[int]:
        """Ids of an answer after `prompt(...)`; with `ended` the end-of-turn token closes it."""
        return self.tokenizer.encode(text) + ([self.tokenizer.end_of_turn] if ended else [])

    def dialogue(self, messages: Sequence[Message]) -> Example:
        """Ids of a whole conversation; each assistant turn and its end-of-turn token are marked as trained.

        What the template writes after the last end-of-turn token is left off: nothing is predicted from it.

        Raises:
            AccordantError: when no token would be trained, or the template does not close the assistant's turns.
        """
        rendered = self._tokens(self._markup(messages, add_generation_prompt=False), messages)
        turns = sum(message.role == "assistant" for message in messages)
        ends = sum(
            trained and token == self.tokenizer.end_of_turn
            for token, trained in zip(rendered.ids, rendered.trained, strict=True)
        )
        if not turns:
            raise AccordantError("no token would be trained: the conversation has no assistant turn")
        if ends != turns:
            raise AccordantError("the chat template does not close assistant turns with the end-of-turn token")
        if messages[-1].role != "assistant":
            return rendered
        last = len(rendered.ids) - rendered.trained[::-1].index(True)
        return Example(rendered.ids[:last], rendered.trained[:last])

    def check_trainable(self) -> None:
        """Refuse a template under which a trained answer and a sampled one would be different tokens.

        Raises:
            AccordantError: when the template writes something between the prompt and the answer of a finished dialogue.
        """
        asked, said = Message(role="user", content="a"), Message(role="assistant", content="b")
        if self.dialogue([asked, said]).ids != self.prompt([asked]) + self.answer(said.content):
            raise AccordantError(
                "this chat template writes between a prompt and its answer, so answers would be sampled otherwise "
                'than they are trained; set run.template = "chatml" in the recipe'
            )

    def _markup(self, messages: Sequence[Message], add_generation_prompt: bool) -> str:
        stand_ins = [
            Message(role=message.role, content=_STAND_IN.format(index)) for index, message in enumerate(messages)
        ]
        tokenizer = self.tokenizer
        return self.template.render(
            stand_ins, add_generation_prompt, tokenizer.bos, tokenizer.text_of(tokenizer.end_of_turn)
        )

    def _tokens(self, markup: str, messages: Sequence[Message]) -> Example:
        """Tokenise markup and words apart; the first end-of-turn token after an assistant's words is trained."""
        ids: list[int] = []
        trained: list[bool] = []
        awaiting_end = False
        pieces = _FIND.split(markup)
        seen = [int(number) for number in pieces[1::2]]
        if seen != list(range(len(messages))):
            raise AccordantError("the chat template leaves out or repeats a message")
        for place, piece in enumerate(pieces):
            if place % 2:
                message = messages[int(piece)]
                words = self.tokenizer.encode(message.content)
                said = message.role == "assistant"
                ids += words
                trained += [said] * len(words)
                awaiting_end = said
                continue
            for token in self.tokenizer.encode_markup(piece):
                ends = awaiting_end and token == self.tokenizer.end_of_turn
                ids.append(token)
                trained.append(ends)
                awaiting_end = awaiting_end and not ends
        return Example(ids, trained)
