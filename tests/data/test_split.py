import random

from hypothesis import given
from hypothesis import strategies as st

from accordant.data.split import near_duplicates, normalised_prompt, split_by_prompt
from accordant.records import Demonstration, Message


def asked(prompt: str, answer: str = "ok") -> Demonstration:
    turns = (Message(role="user", content=prompt), Message(role="assistant", content=answer))
    return Demonstration(id=f"{prompt}/{answer}", messages=turns)


def test_case_punctuation_and_width_do_not_tell_prompts_apart() -> None:
    assert normalised_prompt(asked("  What IS it?! ")) == normalised_prompt(asked("what\nis “ｉｔ”"))
    assert normalised_prompt(asked("???")) != normalised_prompt(asked("!"))


def test_the_system_message_is_not_the_prompt() -> None:
    record = Demonstration(
        id="1",
        messages=(
            Message(role="system", content="Be kind."),
            Message(role="user", content="Hello"),
            Message(role="assistant", content="Hi"),
        ),
    )
    assert normalised_prompt(record) == "hello"


@given(st.lists(st.sampled_from("abcdefgh"), max_size=40), st.integers(0, 5), st.randoms(use_true_random=False))
def test_a_prompt_stays_on_its_side(prompts: list[str], seed: int, shuffler: random.Random) -> None:
    records = [asked(prompt if place % 2 else f"{prompt.upper()}!", str(place)) for place, prompt in enumerate(prompts)]
    train, held_out = split_by_prompt(records, 0.5, seed)
    assert sorted(record.id for record in train + held_out) == sorted(record.id for record in records)
    assert not {normalised_prompt(r) for r in train} & {normalised_prompt(r) for r in held_out}
    shuffled = shuffler.sample(records, len(records))
    assert {record.id for record in split_by_prompt(shuffled, 0.5, seed)[1]} == {record.id for record in held_out}


def test_about_the_asked_share_is_held_out_and_the_seed_chooses_which() -> None:
    records = [asked(f"question {number}") for number in range(4000)]
    held_out = [split_by_prompt(records, 0.1, seed)[1] for seed in (0, 1)]
    # Four standard deviations of a binomial with n = 4000 and p = 0.1.
    assert all(abs(len(side) - 400) < 4 * (4000 * 0.1 * 0.9) ** 0.5 for side in held_out)
    assert held_out[0] != held_out[1]
    assert split_by_prompt(records, 0.0, 0) == (records, [])
    assert split_by_prompt(records, 1.0, 0) == ([], records)


def test_a_reworded_prompt_is_found() -> None:
    left = [asked("Tell me a story about a small dog"), asked("Hi there")]
    right = [asked("Why is the sky blue?"), asked("tell me a story about a small cat."), asked("hi, there")]
    # 5 of the 7 different shingles of "... small dog" and "... small cat" are in both.
    assert near_duplicates(left, right, 0.7) == [(0, 1, 5 / 7), (1, 2, 1.0)]
    assert near_duplicates(left, right, 0.72) == [(1, 2, 1.0)]


def test_a_pair_at_the_threshold_is_found_when_the_product_rounds_up() -> None:
    assert 0.56 * 25 > 14
    words = [f"w{number}" for number in range(27)]
    longer, shorter = asked(" ".join(words)), asked(" ".join(words[:16]))
    assert near_duplicates([longer], [shorter], 0.56) == [(0, 0, 14 / 25)]


def jaccard(left: str, right: str) -> float:
    def shingles(text: str) -> set[str]:
        words = text.split()
        return {" ".join(words[at : at + 3]) for at in range(len(words) - 2)} or {text}

    return len(shingles(left) & shingles(right)) / len(shingles(left) | shingles(right))


prompts = st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=8).map(" ".join), max_size=8)


@given(prompts, prompts, st.sampled_from([0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 1.0]))
def test_looking_up_rare_shingles_only_misses_nothing(left: list[str], right: list[str], threshold: float) -> None:
    found = near_duplicates([asked(p) for p in left], [asked(p) for p in right], threshold)
    expected = [
        (i, j, jaccard(one, other))
        for i, one in enumerate(left)
        for j, other in enumerate(right)
        if jaccard(one, other) >= threshold
    ]
    assert found == expected
