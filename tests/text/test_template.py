import json
from pathlib import Path

import pytest

from accordant.errors import AccordantError
from accordant.records import Message
from accordant.text import CHATML, ChatTemplate

HELLO = [Message(role="user", content="Hello")]


def test_chatml() -> None:
    assert ChatTemplate(CHATML).render(HELLO) == "<|im_start|>user\nHello<|im_end|>\n"
    assert ChatTemplate(CHATML).render(HELLO, add_generation_prompt=True) == (
        "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
    )


def test_the_file_goes_before_the_entry(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": "entry"}))
    assert ChatTemplate.load(tmp_path).source == "entry"
    (tmp_path / "chat_template.jinja").write_text("file é")
    assert ChatTemplate.load(tmp_path).source == "file é"


@pytest.mark.parametrize("settings", [None, {}, {"chat_template": [{"name": "default"}]}])
def test_no_template_is_one_line_with_a_way_out(tmp_path: Path, settings: object) -> None:
    if settings is not None:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(AccordantError, match="has no chat template"):
        ChatTemplate.load(tmp_path)


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("{% for %}", "cannot be read"),
        ("{{ raise_exception('only users may speak') }}", "only users may speak"),
        ("{{ messages + 1 }}", "refused this conversation"),
        ("{{ 1 // 0 }}", "refused this conversation"),
        ("{{ messages.append(1) }}", "refused this conversation"),
        ("{{ ''.__class__.__base__.__subclasses__() }}", "refused this conversation"),
        ("{{ missing.field }}", "refused this conversation"),
    ],
)
def test_a_bad_template_is_one_line(source: str, line: str) -> None:
    with pytest.raises(AccordantError, match=line) as caught:
        ChatTemplate(source).render(HELLO)
    assert "\n" not in str(caught.value)


def test_what_the_hubs_templates_use_is_there() -> None:
    source = "{% for m in messages %}{% if loop.index > 1 %}{% break %}{% endif %}{{ m['content'] }}{% endfor %}"
    assert ChatTemplate(source).render(HELLO * 2) == "Hello"
    assert len(ChatTemplate("{{ strftime_now('%Y') }}").render(HELLO)) == 4
    assert ChatTemplate("{% if tools %}a{% endif %}\n    {% if true %}\nb{% endif %}").render(HELLO) == "b"
