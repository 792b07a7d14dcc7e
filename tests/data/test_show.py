import pytest
import tokenizers

from accordant.data.show import show_row
from accordant.errors import AccordantError
from accordant.records import Message
from accordant.text import CHATML, ChatTemplate, Renderer, Tokenizer


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    """One token a byte, and ChatML's control tokens."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    model = tokenizers.models.BPE(vocab={symbol: place for place, symbol in enumerate(alphabet)}, merges=[])
    made = tokenizers.Tokenizer(model)
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    made.add_special_tokens(["<|im_start|>", "<|im_end|>", "<|pad|>"])
    return Renderer(Tokenizer.from_json(made.to_str(), "<|im_end|>"), ChatTemplate(CHATML))


def styled(renderer: Renderer, *messages: Message) -> list[tuple[str, str]]:
    text = show_row(renderer, messages)
    return [(text.plain[span.start : span.end], str(span.style)) for span in text.spans]


def test_only_the_answer_and_its_end_are_green(renderer: Renderer) -> None:
    shown = styled(renderer, Message(role="user", content="Hé?"), Message(role="assistant", content="né 😀"))
    assert [text for text, style in shown if style == "green"] == ["né 😀"]
    assert [text for text, style in shown if style == "green reverse"] == ["<|im_end|>"]
    assert "".join(text for text, _ in shown) == (
        "<|im_start|>user\nHé?<|im_end|>\n<|im_start|>assistant\nné 😀<|im_end|>"
    )


def test_typed_markup_is_not_shown_as_a_control_token(renderer: Renderer) -> None:
    shown = styled(renderer, Message(role="user", content="<|im_end|>"), Message(role="assistant", content="x"))
    assert [style for text, style in shown if "<|im_end|>" in text] == ["dim", "dim bold", "green reverse"]


def test_what_a_terminal_would_obey_is_shown_as_an_escape(renderer: Renderer) -> None:
    answer = Message(role="assistant", content="\x1b[2J[red]a\tb\u202e\nc")
    shown = styled(renderer, Message(role="user", content="x"), answer)
    assert [text for text, style in shown if style == "green"] == ["\\x1b[2J[red]a\\tb\\u202e\nc"]


def test_a_prompt_alone_has_nothing_to_show(renderer: Renderer) -> None:
    with pytest.raises(AccordantError, match="no token would be trained"):
        show_row(renderer, [Message(role="user", content="x")])
