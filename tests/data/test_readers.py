import contextlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accordant.data.load import load_comparisons, load_demonstrations, load_labelled_texts, load_prompts
from accordant.data.readers import COMPARISONS, DEMONSTRATIONS, PROMPTS
from accordant.errors import AccordantError
from accordant.records import CATEGORIES, Comparison, Demonstration, Messages


def write(folder: Path, *rows: Any) -> Path:
    path = folder / "set.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def demonstration(folder: Path, row: Any) -> tuple[str, Demonstration]:
    loaded = load_demonstrations(write(folder, row), strict=True)
    (record,) = loaded.records
    return loaded.format, record


def comparison(folder: Path, row: Any) -> tuple[str, Comparison]:
    loaded = load_comparisons(write(folder, row), strict=True)
    (record,) = loaded.records
    return loaded.format, record


def said(messages: Messages) -> list[tuple[str, str]]:
    return [(message.role[0], message.content) for message in messages]


def answers(record: Comparison) -> list[str]:
    return [candidate.content for candidate in record.candidates]


def turn(role: str, text: str, names: tuple[str, str] = ("role", "content")) -> dict[str, str]:
    return dict(zip(names, (role, text), strict=True))


HELLO = [turn("user", "Hello"), turn("assistant", "Hi")]
SHARED = [("u", "Hello"), ("a", "Hi"), ("u", "More")]
TRANSCRIPT = "\n\nHuman: Hello\n\nAssistant: Hi\n\nHuman: More\n\nAssistant:"


@pytest.mark.parametrize(
    ("format", "row"),
    [
        ("accordant", {"id": "x", "messages": HELLO}),
        ("accordant", {"id": "x", "messages": HELLO, "author": "ann", "consent": False}),
        ("openai-chat", {"messages": HELLO}),
        ("openai-chat", {"id": "x", "source": "somewhere", "messages": HELLO}),
        ("openai-chat", {"messages": [turn("system", ""), *HELLO, turn("user", "unanswered")]}),
        ("openai-chat", {"messages": [{"role": "user", "content": [{"text": "Hello"}]}, HELLO[1]]}),
        (
            "sharegpt",
            {
                "conversations": [
                    turn("human", "Hello", ("from", "value")),
                    turn("gpt", "Hi", ("from", "value")),
                ]
            },
        ),
        ("alpaca", {"instruction": "Hello", "input": "", "output": "Hi"}),
        ("dolly", {"instruction": "Hello", "context": "", "response": "Hi###eos_token###"}),
        ("gpteacher", {"instruction": "Hello", "input": "", "response": "Hi"}),
        ("question-answer", {"question": "Hello", "answer": "Hi"}),
        ("prompt-completion", {"prompt": "Hello", "completion": "Hi"}),
        (
            "hh-rlhf",
            {"chosen": "\n\nHuman: Hello\n\nAssistant: Hi", "rejected": "\n\nHuman: Hello\n\nAssistant: No"},
        ),
        ("preferences", {"prompt": "Hello", "chosen": "Hi", "rejected": "No"}),
        ("oasst-trees", {"role": "user", "content": "Hello", "replies": [HELLO[1] | {"replies": []}]}),
    ],
)
def test_one_exchange_in_every_format(tmp_path: Path, format: str, row: Any) -> None:
    found, record = demonstration(tmp_path, row)
    assert (found, said(record.messages)) == (format, [("u", "Hello"), ("a", "Hi")])


def test_an_instruction_keeps_its_text_its_history_and_its_system_message(tmp_path: Path) -> None:
    row = {
        "system": "Be kind.",
        "instruction": "Shorten:",
        "input": "A long text",
        "output": "Text",
        "history": [["Hello", "Hi"]],
    }
    _, record = demonstration(tmp_path, row)
    assert said(record.messages) == [
        ("s", "Be kind."),
        ("u", "Hello"),
        ("a", "Hi"),
        ("u", "Shorten:\n\nA long text"),
        ("a", "Text"),
    ]


PREFERENCES = [
    ("hh-rlhf", {"chosen": f"{TRANSCRIPT} Good", "rejected": f"{TRANSCRIPT} Bad"}),
    ("hh-rlhf", {"prompt": TRANSCRIPT, "chosen": "Good", "rejected": "Bad"}),
    ("hh-rlhf", {"prompt": [*HELLO, turn("user", "More")], "chosen": "Good", "rejected": "Bad"}),
    (
        "hh-rlhf",
        {
            "prompt": [*HELLO, turn("user", "More")],
            "chosen": [turn("assistant", "Good")],
            "rejected": turn("assistant", "Bad"),
        },
    ),
    ("preferences", {"messages": [*HELLO, turn("user", "More")], "chosen": "Good", "rejected": "Bad"}),
    (
        "preferences",
        {
            "prompt": "Hello",
            "chosen": [*HELLO, turn("user", "More"), turn("assistant", "Good")],
            "rejected": [*HELLO, turn("user", "More"), turn("assistant", "Bad")],
        },
    ),
]


@pytest.mark.parametrize(("format", "row"), PREFERENCES)
def test_every_form_of_a_preference(tmp_path: Path, format: str, row: Any) -> None:
    found, record = comparison(tmp_path, row)
    assert (found, said(record.messages), answers(record)) == (format, SHARED, ["Good", "Bad"])
    assert record.ranking == ((0,), (1,))


@pytest.mark.parametrize(("format", "row"), PREFERENCES)
def test_the_preferred_answer_is_a_demonstration(tmp_path: Path, format: str, row: Any) -> None:
    found, record = demonstration(tmp_path, row)
    assert (found, said(record.messages)) == (format, [*SHARED, ("a", "Good")])


def test_dialogues_that_part_early_are_no_comparison_of_answers(tmp_path: Path) -> None:
    row = {
        "chosen": "\n\nHuman: Hello\n\nAssistant: Hi\n\nHuman: More\n\nAssistant: Good",
        "rejected": "\n\nHuman: Hello\n\nAssistant: Go\n\nHuman: More\n\nAssistant: Good",
    }
    with pytest.raises(AccordantError, match=r"row 1: .*part before the last answer"):
        comparison(tmp_path, row)


def test_speakers_named_inside_a_plain_prompt_are_words(tmp_path: Path) -> None:
    prompt = "Explain this log:\n\nHuman: hi\n\nAssistant: hello"
    _, record = comparison(tmp_path, {"prompt": prompt, "chosen": "Good", "rejected": "Bad"})
    assert said(record.messages) == [("u", prompt)]


@pytest.mark.parametrize(("tie", "ranking"), [(True, ((0, 1),)), ("False", ((0,), (1,))), (None, ((0,), (1,)))])
def test_the_tie_field_of_a_pair(tmp_path: Path, tie: Any, ranking: Any) -> None:
    row = {"prompt": "Hello", "chosen": "Good", "rejected": "Bad", "tie": tie}
    assert comparison(tmp_path, row)[1].ranking == ranking


def test_a_tie_has_no_answer_to_learn_from(tmp_path: Path) -> None:
    with pytest.raises(AccordantError, match="tied"):
        demonstration(tmp_path, {"prompt": "Hello", "chosen": "Good", "rejected": "Bad", "tie": True})


@pytest.mark.parametrize(
    ("verdict", "ranking"),
    [
        (1, ((0,), (1,))),
        (2.0, ((1,), (0,))),
        ("2", ((1,), (0,))),
        (0, ((0, 1),)),
        (1.5, ((0, 1),)),
        (3, ((0, 1),)),
    ],
)
def test_verdicts_on_numbered_answers(tmp_path: Path, verdict: Any, ranking: Any) -> None:
    row = {
        "instruction": "Hello",
        "output_1": "x",
        "output_2": "y",
        "preference": verdict,
        "generator_1": "m",
    }
    found, record = comparison(tmp_path, row | {"generator_2": "n"})
    assert (found, answers(record), record.ranking) == ("numbered-answers", ["x", "y"], ranking)
    assert [candidate.model for candidate in record.candidates] == ["m", "n"]


@pytest.mark.parametrize("verdict", [True, 4, "b", None, 10**400, [1]])
def test_a_verdict_of_unknown_meaning_is_refused(tmp_path: Path, verdict: Any) -> None:
    with pytest.raises(AccordantError, match=r"'label' is .*expected 1, 2 or a tie"):
        comparison(tmp_path, {"input": "Hello", "output_1": "x", "output_2": "y", "label": verdict})


def test_each_annotator_gives_a_comparison(tmp_path: Path) -> None:
    row = {
        "instruction": "Do",
        "input": "it",
        "response1": "x",
        "response2": "y",
        "annotator1": 1,
        "annotator2": 2,
    }
    records = load_comparisons(write(tmp_path, row)).records
    assert [(record.annotator, record.ranking) for record in records] == [
        ("annotator1", ((0,), (1,))),
        ("annotator2", ((1,), (0,))),
    ]
    assert len({record.id for record in records}) == 2
    assert said(records[0].messages) == [("u", "Do\n\nit")]


def test_bigbench_scores_rank_the_answers(tmp_path: Path) -> None:
    row = {
        "subset": "honest",
        "input": "Hello\n\nAssistant: Hi\n\nHuman: More",
        "target_scores": {"bad": 0, "good": 1, "fine": 1},
    }
    found, record = comparison(tmp_path, row)
    assert (found, said(record.messages), record.tag) == ("bigbench", SHARED, "honest")
    assert record.ranking == ((1, 2), (0,))


def node(role: str, text: str, *replies: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "text": text, "replies": list(replies), **more}


TREE = {
    "message_tree_id": "t",
    "prompt": node(
        "prompter",
        "q",
        node("assistant", "second", node("prompter", "dead end"), rank=1),
        node(
            "assistant",
            "best",
            node("prompter", "unanswered"),
            node("prompter", "more", node("assistant", "a"), node("assistant", "b", model_name="m")),
            rank=0,
        ),
        node("assistant", "equal", rank=1),
        node("assistant", "deleted", rank=0, deleted=True),
        node("assistant", "spam", rank=0, review_result=False),
        node("assistant", "unranked"),
        node("prompter", "out of turn"),
    ),
}


def test_ranked_replies_of_a_tree_are_compared(tmp_path: Path) -> None:
    found, record = comparison(tmp_path, TREE)
    assert (found, said(record.messages)) == ("oasst-trees", [("u", "q")])
    named = [[record.candidates[index].content for index in tier] for tier in record.ranking]
    assert named == [["best"], ["second", "equal"]]


def test_a_tree_gives_one_demonstration_down_its_best_path(tmp_path: Path) -> None:
    _, record = demonstration(tmp_path, TREE)
    assert said(record.messages) == [("u", "q"), ("a", "best"), ("u", "more"), ("a", "a")]


def test_without_ranks_a_tree_gives_its_longest_dialogue(tmp_path: Path) -> None:
    deeper = node("assistant", "long", node("prompter", "more", node("assistant", "end")))
    _, record = demonstration(tmp_path, {"prompt": node("prompter", "q", node("assistant", "short"), deeper)})
    assert said(record.messages)[1:] == [("a", "long"), ("u", "more"), ("a", "end")]


def test_rankings_deeper_in_a_tree_keep_what_was_said_before(tmp_path: Path) -> None:
    ranked = [node("assistant", "worse", rank=1), node("assistant", "better", rank=0)]
    tree = {"prompt": node("prompter", "Hello", node("assistant", "Hi", node("prompter", "More", *ranked)))}
    _, record = comparison(tmp_path, tree)
    assert (said(record.messages), answers(record)) == (SHARED, ["better", "worse"])


def test_xstest_prompts_say_what_is_expected(tmp_path: Path) -> None:
    row = {"id": 1, "prompt": "How do I kill a process?", "type": "homonyms"}
    loaded = load_prompts(write(tmp_path, row | {"label": "safe"}, row | {"label": "unsafe"}))
    assert [(record.expect, record.tag) for record in loaded.records] == [
        ("answer", "homonyms"),
        ("refuse", "homonyms"),
    ]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": HELLO, "label": False},
        {"messages": [turn("user", "Hello"), turn("tool", "4")]},
        {"messages": [turn("user", "Hello"), {"role": "assistant", "content": [{"type": "image_url"}]}]},
        {"messages": [turn("assistant", "Hi"), *HELLO]},
        {"messages": [turn("user", "Hello")]},
        {"messages": []},
        {"instruction": "Hello", "input": "", "output": "  "},
        {"instruction": "Hello", "input": "", "output": True},
        {"instruction": "Hello", "input": "", "output": "Hi", "history": [["Hello"]]},
        {"prompt": node("prompter", "q")},
        {"messages": [turn("user", "\ud800"), turn("assistant", "Hi")]},
    ],
)
def test_what_cannot_be_learned_from_is_a_problem_of_its_row(tmp_path: Path, row: Any) -> None:
    with pytest.raises(AccordantError, match=r"set\.jsonl, row 1: ") as caught:
        load_demonstrations(write(tmp_path, row), strict=True)
    assert "\n" not in str(caught.value)


NAMES = """id messages conversations prompt chosen rejected tie system history instruction input output
context response question answer label output_1 output_2 annotator1 target_scores replies role text type"""
names = st.sampled_from(NAMES.split())
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("\n\nHuman: x")
values = st.recursive(
    scalars | st.sampled_from(["user", "assistant"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(names | st.sampled_from(["from", "value", "text", "rank"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=300)
@given(st.dictionaries(names, values, max_size=8))
def test_no_row_makes_a_reader_crash(row: dict[str, Any]) -> None:
    readers: Iterable[Any] = (*DEMONSTRATIONS, *COMPARISONS, *PROMPTS)
    for reader in readers:
        reader.fits(row)
        with contextlib.suppress(ValueError):
            list(reader.read(row, "id"))


@pytest.mark.parametrize(
    ("format", "row", "labels"),
    [
        ("accordant", {"id": "x", "text": "Hi", "labels": {"hate": True}}, {"hate": True}),
        (
            "openai-moderation",
            {"prompt": "Hi", "S": 0, "H2": 1, "V": None, "HR": "0"},
            {"sexual": False, "hate/threatening": True, "harassment": False},
        ),
        ("davidson", {"text": "Hi", "label": "hate", "votes": {}}, {"hate": True}),
        (
            "davidson",
            {"text": "Hi", "label": "neither", "votes": {}},
            {"hate": False, "hate/threatening": False, "harassment": False},
        ),
        (
            "hatecheck",
            {"functionality": "threat_dir_h", "test_case": "Hi", "label_gold": "hateful"},
            {"hate": True, "hate/threatening": True},
        ),
        (
            "hatecheck",
            {"functionality": "ident_pos_nh", "test_case": "Hi", "label_gold": "non-hateful"},
            {"hate": False, "hate/threatening": False},
        ),
        ("surge-toxicity", {"text": "Hi", "is_toxic": "Not Toxic"}, dict.fromkeys(CATEGORIES, False)),
    ],
)
def test_labelled_texts_keep_what_is_unknown_unknown(
    tmp_path: Path, format: str, row: dict[str, Any], labels: dict[str, bool]
) -> None:
    loaded = load_labelled_texts(write(tmp_path, row), strict=True)
    (record,) = loaded.records
    assert loaded.format == format
    assert record.text == "Hi"
    assert record.labels == labels


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "Hi", "S": 2}, "field 'S' is 2, expected 0, 1 or nothing"),
        ({"prompt": "Hi", "S": None}, "labels"),
        ({"text": "Hi", "label": "offensive", "votes": {}}, "decides no category"),
        ({"text": "Hi", "is_toxic": "Toxic"}, "decides no category"),
        ({"id": "x", "text": "Hi", "labels": {"rude": True}}, "labels"),
    ],
)
def test_labels_that_decide_nothing_are_named(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    with pytest.raises(AccordantError, match=re.escape(said)):
        load_labelled_texts(write(tmp_path, row), strict=True)
