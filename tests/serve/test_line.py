from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accordant.serve.line import Full, Line

People = st.lists(st.sampled_from("abcd"), max_size=40)


def filled(people: list[str]) -> Line[tuple[str, int]]:
    line: Line[tuple[str, int]] = Line(100, 100)
    for number, who in enumerate(people):
        line.add(who, (who, number))
    return line


@given(People)
def test_the_order_is_told_as_it_will_be(people: list[str]) -> None:
    line = filled(people)
    foretold = list(line)
    assert [line.pop() for _ in foretold] == foretold
    assert not len(line)


@given(People)
def test_everybody_gets_a_turn_before_anybody_gets_two(people: list[str]) -> None:
    taken = [who for who, _ in filled(people)]
    for place, who in enumerate(taken):
        earlier = taken[:place].count(who)
        for other in set(taken[place:]):
            assert taken[:place].count(other) >= earlier, "nobody waits while another is served twice"


@given(People)
def test_each_persons_own_come_in_their_order(people: list[str]) -> None:
    line = filled(people)
    last: dict[str, int] = {}
    while len(line):
        first, item = line.first(), line.pop()
        assert first == item
        assert item[1] > last.get(item[0], -1)
        last[item[0]] = item[1]


@given(People, st.data())
def test_who_leaves_is_gone_and_nobody_else(people: list[str], data: st.DataObject) -> None:
    line = filled(people)
    everyone = [(who, number) for number, who in enumerate(people)]
    leaving = data.draw(st.lists(st.sampled_from(everyone), unique=True)) if everyone else []
    assert all(line.remove(item) for item in leaving)
    assert not any(line.remove(item) for item in leaving)
    assert sorted(line) == sorted(set(everyone) - set(leaving))


def test_it_has_an_end_for_all_and_for_each() -> None:
    line: Line[int] = Line(3, 2)
    waiting = deque([("a", 1), ("a", 2), ("b", 3)])
    for who, item in waiting:
        line.add(who, item)
    for who in ("a", "b", "c"):
        with pytest.raises(Full):
            line.add(who, 9)
    line.pop()
    with pytest.raises(Full):
        line.add("b", 4) or line.add("b", 5)
    assert line.clear()
    assert line.first() is None
