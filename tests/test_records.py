import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from accordant.records import Candidate, Comparison, Demonstration, EvaluationPrompt, Message, Role, check_turns

ROLES: list[Role] = ["system", "user", "assistant"]


def turns(*roles: Role) -> tuple[Message, ...]:
    return tuple(Message(role=role, content="x") for role in roles)


def comparison(ranking: tuple[tuple[int, ...], ...], shown: tuple[int, ...] = (), count: int = 3) -> Comparison:
    return Comparison(
        id="1",
        messages=turns("user"),
        candidates=tuple(Candidate(content=str(n)) for n in range(count)),
        ranking=ranking,
        shown_order=shown,
    )


@pytest.mark.parametrize("content", ["", " ", "\n\t", "\u3000", "\ud800"])
def test_a_message_says_something(content: str) -> None:
    with pytest.raises(ValidationError):
        Message(role="user", content=content)


def test_records_do_not_change_and_know_their_fields() -> None:
    message = Message(role="user", content=" kept as it is \n")
    assert message.content == " kept as it is \n"
    with pytest.raises(ValidationError, match="frozen"):
        message.content = "other"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="Extra inputs"):
        Message.model_validate({"role": "user", "content": "x", "name": "y"})
    with pytest.raises(ValidationError, match="role"):
        Message.model_validate({"role": "tool", "content": "x"})


@given(st.lists(st.sampled_from(ROLES), max_size=6), st.sampled_from(["user", "assistant"]))
def test_turns_alternate(roles: list[Role], last: Role) -> None:
    # Against a regular expression over the initials of the roles.
    pattern = {"user": "s?(ua)*u", "assistant": "s?(ua)+"}[last]
    if re.fullmatch(pattern, "".join(role[0] for role in roles)):
        check_turns(turns(*roles), last)
    else:
        with pytest.raises(ValueError, match="message"):
            check_turns(turns(*roles), last)


@pytest.mark.parametrize(
    ("roles", "number"),
    [(("assistant", "user"), 1), (("user", "user"), 2), (("system", "user", "system"), 3), (("system", "system"), 2)],
)
def test_the_fault_is_named_by_its_number(roles: tuple[Role, ...], number: int) -> None:
    with pytest.raises(ValueError, match=f"message {number} has role"):
        check_turns(turns(*roles), "assistant")


def test_a_demonstration_ends_with_the_assistant_and_a_prompt_with_the_user() -> None:
    Demonstration(id="1", messages=turns("system", "user", "assistant"))
    EvaluationPrompt(id="1", messages=turns("user"), expect="answer")
    with pytest.raises(ValidationError, match="last message must be from the assistant"):
        Demonstration(id="1", messages=turns("user"))
    with pytest.raises(ValidationError, match="last message must be from the user"):
        EvaluationPrompt(id="1", messages=turns("user", "assistant"), expect="answer")
    with pytest.raises(ValidationError, match="last message must be from the user"):
        Comparison(
            id="1",
            messages=turns("user", "assistant"),
            candidates=(Candidate(content="a"), Candidate(content="b")),
            ranking=((0,), (1,)),
        )


def test_tiers_and_ties() -> None:
    assert comparison(((2,), (0, 1))).tiers() == [1, 1, 0]
    assert comparison(((0, 1, 2),)).tiers() == [0, 0, 0]


@pytest.mark.parametrize("ranking", [(), ((0, 1),), ((0,), (1,), (3,)), ((0,), (0,), (1, 2)), ((-1,), (0,), (1,))])
def test_a_ranking_names_everyone_once(ranking: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ValidationError, match="ranking must name each of the 3 candidates once"):
        comparison(ranking)


def test_a_comparison_compares() -> None:
    with pytest.raises(ValidationError, match="at least 2 candidates"):
        comparison(((0,),), count=1)
    with pytest.raises(ValidationError, match="shown_order"):
        comparison(((0,), (1,), (2,)), shown=(0, 1, 1))


@given(st.permutations(range(5)), st.permutations(range(5)), st.sets(st.integers(1, 4)))
def test_records_go_through_json_unchanged(order: list[int], shown: list[int], cuts: set[int]) -> None:
    edges = [0, *sorted(cuts), 5]
    ranking = tuple(tuple(order[a:b]) for a, b in itertools.pairwise(edges))
    record = comparison(ranking, tuple(shown), count=5)
    assert Comparison.model_validate_json(record.model_dump_json()) == record
    for tier, members in enumerate(ranking):
        assert all(record.tiers()[member] == tier for member in members)
