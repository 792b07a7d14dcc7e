"""Chat templates in the hub's format: Jinja2 in a sandbox, because a template comes with a downloaded model."""

from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path

import jinja2
import jinja2.sandbox

from accordant.errors import AccordantError
from accordant.files import read_json
from accordant.records import Message

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""ChatML without a default system message: what is trained is what a conversation says and no more."""


class ChatTemplate:
    """A Jinja2 chat template; `source` is kept word for word for the checkpoint."""

    def __init__(self, source: str) -> None:
        self.source = source

    @classmethod
    def load(cls, folder: Path) -> "ChatTemplate":
        """Read `chat_template.jinja`, or the `chat_template` entry of `tokenizer_config.json`."""
        path = folder / "chat_template.jinja"
        if path.exists():
            return cls(path.read_text(encoding="utf-8"))
        config = folder / "tokenizer_config.json"
        source = read_json(config).get("chat_template") if config.exists() else None
        if not isinstance(source, str):
            raise AccordantError(f'{folder} has no chat template; set run.template = "chatml" in the recipe')
        return cls(source)

    @cached_property
    def _compiled(self) -> jinja2.Template:
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.globals["raise_exception"] = _raise
        environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
        try:
            return environment.from_string(self.source)
        except jinja2.TemplateError as error:
            raise AccordantError(f"the chat template cannot be read: {error}") from error

    def render(
        self, messages: Sequence[Message], add_generation_prompt: bool = False, bos: str = "", eos: str = ""
    ) -> str:
        """The text of a conversation; with `add_generation_prompt` it ends where the assistant begins to speak.

        `bos` and `eos` are what the template calls `bos_token` and `eos_token`.
        """
        try:
            return self._compiled.render(
                messages=[{"role": m.role, "content": m.content} for m in messages],
                add_generation_prompt=add_generation_prompt,
                bos_token=bos,
                eos_token=eos,
            )
        except Exception as error:  # a template is a program, which may fail in any way
            raise AccordantError(f"the chat template refused this conversation: {error}") from error


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)
