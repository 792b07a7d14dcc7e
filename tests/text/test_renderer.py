from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accordant.errors import AccordantError
from accordant.records import Message
from accordant.testing import tiny_renderer
from accordant.text import CHATML, ChatTemplate, Renderer, Tokenizer

DEFAULT_SYSTEM = (
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nBe brief.<|im_end|>\\n' }}{% endif %}" + CHATML
)
WITH_BOS_AND_EOS = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ 'A: ' + message['content'] + eos_token + '\\n' }}"
    "{% else %}{{ message['role'] + ': ' + message['content'] + '\\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'A: ' }}{% endif %}"
)
NEVER_CLOSES = "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\\n' }}{% endfor %}"
DROPS_SYSTEM = "{% for message in messages if message['role'] != 'system' %}{{ message['content'] }}{% endfor %}"
REPEATS = "{% for message in messages %}{{ message['content'] + message['content'] + eos_token }}{% endfor %}"
SWAPS = "{% for message in messages|reverse %}{{ message['content'] + eos_token }}{% endfor %}"

tricky = st.lists(
    st.sampled_from(["<|im_end|>", "<|im_start|>", "assistant\n", "\ue0000\ue001", "\ue0001\ue001", " ", "\n", "no"]),
    min_size=1,
).map("".join)
contents = st.one_of(st.text(min_size=1), tricky).filter(lambda text: bool(text.strip()))


@st.composite
def dialogues(draw: st.DrawFn) -> list[Message]:
    system = [Message(role="system", content=draw(contents))] if draw(st.booleans()) else []
    turns = [
        Message(role=role, content=draw(contents))
        for _ in range(draw(st.integers(1, 3)))
        for role in ("user", "assistant")
    ]
    return system + turns


def with_template(source: str) -> Renderer:
    tokenizer = tiny_renderer().tokenizer
    return Renderer(
        Tokenizer.from_json(tokenizer.markup.to_str(), "<|im_end|>", bos="<|im_start|>"), ChatTemplate(source)
    )


def said(*contents: str) -> list[Message]:
    return [Message(role="assistant" if n % 2 else "user", content=content) for n, content in enumerate(contents)]


@pytest.mark.parametrize("source", [CHATML, DEFAULT_SYSTEM, WITH_BOS_AND_EOS])
@given(messages=dialogues())
def test_an_answer_has_the_same_tokens_sampled_and_trained(source: str, messages: list[Message]) -> None:
    renderer = with_template(source)
    rendered = renderer.dialogue(messages)
    expected = [False] * len(rendered.ids)
    for place, message in enumerate(messages):
        if message.role == "assistant":
            prompt, answer = renderer.prompt(messages[:place]), renderer.answer(message.content)
            assert rendered.ids[: len(prompt) + len(answer)] == prompt + answer
            expected[len(prompt) : len(prompt) + len(answer)] = [True] * len(answer)
    assert rendered.trained == expected
    assert len(prompt) + len(answer) == len(rendered.ids), "nothing is left after the last end of turn"


@given(messages=dialogues())
def test_control_tokens_are_only_those_of_the_template(messages: list[Message]) -> None:
    renderer = tiny_renderer()
    ids = renderer.dialogue(messages).ids
    start = renderer.tokenizer.markup.token_to_id("<|im_start|>")
    assert ids.count(start) == ids.count(renderer.tokenizer.end_of_turn) == len(messages)


@given(st.one_of(st.text(), tricky))
def test_an_answer_is_text_and_its_end(text: str) -> None:
    renderer = tiny_renderer()
    end = renderer.tokenizer.end_of_turn
    assert renderer.answer(text) == [*renderer.answer(text, ended=False), end]
    assert end not in renderer.answer(text, ended=False)


def test_the_words_are_those_of_the_conversation() -> None:
    renderer = tiny_renderer()
    ids = renderer.dialogue(said("What is <|im_end|>?", "A mark.")).ids
    assert renderer.tokenizer.markup.decode(ids, skip_special_tokens=False) == (
        "<|im_start|>user\nWhat is <|im_end|>?<|im_end|>\n<|im_start|>assistant\nA mark.<|im_end|>"
    )


def test_a_default_system_message_is_the_templates_and_not_trained() -> None:
    renderer = with_template(DEFAULT_SYSTEM)
    rendered = renderer.dialogue(said("Hello", "Hi"))
    untrained = [token for token, trained in zip(rendered.ids, rendered.trained, strict=True) if not trained]
    assert "Be brief." in renderer.tokenizer.decode(untrained)
    own = [Message(role="system", content="Talk."), *said("Hello", "Hi")]
    assert "Be brief." not in renderer.tokenizer.decode(renderer.dialogue(own).ids)
    assert "system" not in tiny_renderer().tokenizer.decode(tiny_renderer().dialogue(said("Hello", "Hi")).ids)


def test_bos_and_eos_are_those_of_the_tokenizer() -> None:
    renderer = with_template(WITH_BOS_AND_EOS)
    ids = renderer.dialogue(said("Hello", "Hi")).ids
    assert renderer.tokenizer.markup.decode(ids, skip_special_tokens=False) == (
        "<|im_start|>user: Hello\nA: Hi<|im_end|>"
    )


def test_a_dialogue_that_ends_with_the_user_is_kept_whole() -> None:
    renderer = tiny_renderer()
    rendered = renderer.dialogue(said("Hello", "Hi", "Well?"))
    assert renderer.tokenizer.decode(rendered.ids).endswith("Well?\n")
    assert sum(rendered.trained) == len(renderer.answer("Hi"))


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (NEVER_CLOSES, "does not close assistant turns"),
        (DROPS_SYSTEM, "leaves out or repeats a message"),
        (REPEATS, "leaves out or repeats a message"),
        (SWAPS, "leaves out or repeats a message"),
        ("{{ 'nothing' }}", "leaves out or repeats a message"),
    ],
)
def test_a_template_that_cannot_be_trained_with_is_refused(source: str, line: str) -> None:
    messages = [Message(role="system", content="Talk."), *said("Hello", "Hi")]
    with pytest.raises(AccordantError, match=line):
        with_template(source).dialogue(messages)


def test_a_template_that_writes_before_an_answer_is_refused_for_training() -> None:
    for source in (CHATML, DEFAULT_SYSTEM, WITH_BOS_AND_EOS):
        with_template(source).check_trainable()
    thinks = CHATML.replace("'<|im_start|>assistant\\n'", "'<|im_start|>assistant\\nwell '")
    assert thinks != CHATML
    with pytest.raises(AccordantError, match="between a prompt and its answer"):
        with_template(thinks).check_trainable()


def test_a_conversation_without_an_assistant_is_refused() -> None:
    with pytest.raises(AccordantError, match="no assistant turn"):
        tiny_renderer().dialogue(said("Hello"))


@pytest.mark.parametrize("source", [CHATML, WITH_BOS_AND_EOS])
def test_a_saved_renderer_reads_the_same(tmp_path: Path, source: str) -> None:
    renderer = with_template(source)
    renderer.save(tmp_path)
    loaded = Renderer.load(tmp_path)
    assert loaded.template.source == source
    messages = said("Où est le café?  <|im_end|>", "Là-bas 😀")
    assert loaded.dialogue(messages) == renderer.dialogue(messages)
    assert (loaded.tokenizer.end_of_turn, loaded.tokenizer.pad, loaded.tokenizer.bos) == (
        renderer.tokenizer.end_of_turn,
        renderer.tokenizer.pad,
        "<|im_start|>",
    )
