"""Requests that come and go while others are answered: each answer is what it would be alone."""

import json
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from accordant.engine import Ask, Engine, Nudges, Request, Row, Sampling
from accordant.engine import cache as cache_module
from accordant.engine.cache import DecodeAttention, KeyValueCache, PrefillAttention
from accordant.engine.sampler import choose, choose_each, uniforms
from accordant.errors import AccordantError
from accordant.model import Attention, Transformer
from accordant.records import Message
from accordant.testing import tiny_config, tiny_model, tiny_renderer

RENDERER = tiny_renderer()
PROMPTS = [
    RENDERER.prompt([Message(role="user", content=question)])
    for question in ("Where?", "Please write two lines about the rain.", "?")
]
LONG_PROMPT = [5 + place % 40 for place in range(100)]
MODEL = tiny_model()

asks = st.builds(
    Ask,
    st.sampled_from([*PROMPTS, LONG_PROMPT]),
    st.builds(
        Sampling,
        temperature=st.sampled_from([0.0, 0.7, 1.0]),
        top_p=st.sampled_from([0.5, 1.0]),
        max_tokens=st.integers(1, 9),
        seed=st.integers(0, 3),
    ),
    samples=st.integers(1, 2),
    nudges=st.sampled_from([None, Nudges({3: 2.0}, 0.5, 0.25)]),
    alternatives=st.sampled_from([None, 2]),
    schema=st.none(),
)


def served(engine: Engine, asked: list[Ask], waits: list[int]) -> list[list[Row]]:
    """Each request joins when so many steps have gone by since the one before, and there is room."""
    requests = [engine.request(ask) for ask in asked]
    coming = list(zip(waits, requests, strict=True))
    since = 0

    def source(room: int) -> list[Request]:
        nonlocal since
        since += 1
        if coming and room >= len(coming[0][1].rows) and (since > coming[0][0] or room == engine.rows):
            since = 0
            return [coming.pop(0)[1]]
        return []

    for rows in engine.serve(source):
        assert len(rows) <= engine.rows
    return [request.rows for request in requests]


@settings(max_examples=12)
@given(st.lists(st.tuples(asks, st.integers(0, 4)), min_size=1, max_size=6), st.sampled_from([7, 50, 256]))
def test_an_answer_does_not_depend_on_who_joins_or_leaves(asked: list[tuple[Ask, int]], piece: int) -> None:
    own = [ask for ask, _ in asked]
    together = served(Engine(MODEL, RENDERER, 3, piece), own, [wait for _, wait in asked])
    for ask, rows in zip(own, together, strict=True):
        [alone] = served(Engine(MODEL, RENDERER, 2), [ask], [0])
        for row, other in zip(rows, alone, strict=True):
            found, expected = row.answer, other.answer
            assert (found.ids, found.text, found.finish) == (expected.ids, expected.text, expected.finish)
        if ask.nudges is None:
            [plain] = Engine(MODEL, RENDERER).generate([ask.prompt], ask.sampling, ask.samples)
            assert [row.answer.ids for row in rows] == [answer.ids for answer in plain]


def test_a_row_that_is_let_go_takes_no_further_step() -> None:
    engine = Engine(MODEL, RENDERER, 4)
    requests = [engine.request(Ask(PROMPTS[0], Sampling(max_tokens=20, seed=seed))) for seed in range(2)]
    waiting = [requests]
    for step, rows in enumerate(engine.serve(lambda room: waiting.pop() if waiting else []), start=1):
        if step == 3:
            rows[0].over = True
    [gone], [stayed] = (request.rows for request in requests)
    assert len(gone.answer.ids) == 3
    assert len(stayed.answer.ids) > 3


class Noting(Transformer):
    """Notes how many tokens it computes at a time."""

    def __init__(self) -> None:
        super().__init__(tiny_config())
        self.load_state_dict(MODEL.state_dict())
        self.tokens: list[int] = []

    def hidden(self, ids: torch.Tensor, attend: Attention) -> torch.Tensor:
        self.tokens.append(len(ids))
        return super().hidden(ids, attend)


def test_nobody_waits_longer_than_a_piece_of_a_long_prompt() -> None:
    model = Noting()
    engine = Engine(model, RENDERER, 4, piece=16)
    running = engine.request(Ask(PROMPTS[2][:9], Sampling(max_tokens=30, seed=1)))
    long = [engine.request(Ask(LONG_PROMPT, Sampling(max_tokens=3, seed=seed))) for seed in range(2)]
    short = engine.request(Ask(PROMPTS[2][:9], Sampling(max_tokens=3)))
    coming = [[running], [*long, short]]
    computed: list[int] = []
    for rows in engine.serve(lambda room: coming.pop(0) if coming else []):
        [row] = running.rows
        if not row.over:
            assert row in rows, "every step has a token for who is answered"
        computed.append(sum(model.tokens) - sum(computed))
    assert len(running.rows[0].answer.ids) == 30, "it was answered all the while"
    assert max(computed) <= 16 + 4, "between two tokens lie the step of at most four rows, and one piece"
    assert len(short.rows[0].answer.ids) == 3
    for request in (running, *long, short):
        [row] = request.rows
        [[alone]] = engine.generate([request.prompt], row.sampling)
        assert row.answer.ids == alone.ids


def test_a_short_prompt_passes_a_long_one_and_does_not_stop_it() -> None:
    engine = Engine(MODEL, RENDERER, 40, piece=16)
    long = engine.request(Ask(LONG_PROMPT, Sampling(max_tokens=2)))
    firsts: list[int] = []

    def source(room: int) -> list[Request]:
        """One short prompt more in each step, without end while the long one waits."""
        if long.rows[0].answer.ids:
            return []
        shorts = engine.request(Ask(PROMPTS[2][:9], Sampling(max_tokens=1)))
        firsts.append(len(firsts))
        return [long, shorts] if len(firsts) == 1 else [shorts] if room else []

    begun: list[int] = []
    for step, rows in enumerate(engine.serve(source)):
        if rows and not begun:
            begun.append(step)
    assert begun == [1], "the short one was read after one piece of the long one"
    assert len(firsts) <= 2 * -(-len(LONG_PROMPT) // 16)


def test_who_leaves_while_the_prompt_is_read_is_not_answered() -> None:
    model = Noting()
    engine = Engine(model, RENDERER, 2, piece=16)
    requests = [engine.request(Ask(LONG_PROMPT, Sampling(max_tokens=2), samples=2)) for _ in range(2)]
    coming = [[request] for request in requests]
    steps = engine.serve(lambda room: coming.pop(0) if coming and room >= 2 else [])
    assert next(steps) == []
    for row in requests[0].rows:
        row.over = True
    assert [len(rows) for rows in steps] == [0] * 6 + [2, 2]
    assert model.tokens[:2] == [16, 16]
    assert [row.answer.ids for row in requests[0].rows] == [[], []]


@pytest.mark.parametrize("pair", [1, 2])
def test_the_cache_grows_and_shrinks_and_keeps_what_it_has(pair: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "suits_decoding", lambda *asked: pair == 2)
    cache = KeyValueCache(tiny_config(), 2, 3, torch.bfloat16, torch.device("cpu"))
    cache.take(torch.tensor([3, 3]))
    cache.keys.fill_(1.0)
    cache.values.fill_(1.0)
    made = cache.capacity
    cache.reserve(2)
    assert made == cache.capacity == cache.keys.shape[4] == cache.values.shape[3] * pair == 32
    assert cache.keys.shape[5] == cache.values.shape[5] == pair
    cache.fit(40)
    grown = cache.capacity
    assert grown == cache.keys.shape[4] == cache.values.shape[3] * pair == 64
    assert cache.keys[..., :3, :].eq(1).all()
    assert cache.values[:, :, :, :2].eq(1).all()
    assert cache.values[:, :, :, 32 // pair :].eq(0).all()  # what was never written must not spread a NaN
    cache.reserve(1000)
    cache.fit(500)
    assert cache.capacity == 1024
    cache.fit(40)
    assert cache.capacity == cache.keys.shape[4] == cache.values.shape[3] * pair == grown
    assert cache.keys[..., :3, :].eq(1).all()
    assert cache.keys.is_contiguous()
    assert cache.values.is_contiguous()


def test_what_a_cache_held_before_spreads_no_nan() -> None:
    with torch.inference_mode():
        cache = KeyValueCache(tiny_config(), 3, 40, torch.float32, torch.device("cpu"))
        cache.keys.fill_(torch.nan)
        cache.values.fill_(torch.nan)
        MODEL(torch.tensor(PROMPTS[0] + [7]), PrefillAttention(cache, [len(PROMPTS[0]), 1]))
        cache.keys[:, 2].fill_(torch.nan)
        cache.values[:, 2].fill_(torch.nan)
        assert MODEL(torch.tensor([3, 4]), DecodeAttention(cache)).isfinite().all()


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.3, 1.0])), min_size=1, max_size=8))
def test_each_row_is_drawn_by_its_own_sampling(kinds: list[tuple[float, float]]) -> None:
    logits = torch.randn(len(kinds), 50, generator=torch.Generator().manual_seed(len(kinds)))
    draws = uniforms(1, 2, len(kinds))
    samplings = [Sampling(temperature, top_p) for temperature, top_p in kinds]
    tokens, log_probs = choose_each(logits, draws, samplings)
    for row, sampling in enumerate(samplings):
        token, log_prob = choose(logits[row : row + 1], draws[row : row + 1], sampling)
        assert int(tokens[row]) == int(token)
        assert float(log_probs[row]) == pytest.approx(float(log_prob), abs=1e-6)


def test_nudges_are_a_sum_over_what_was_said() -> None:
    logits = torch.zeros(6)
    Nudges({0: 1.5, 2: -2.0}, presence=0.5, frequency=0.25).shape(logits, [2, 2, 5])
    assert logits.tolist() == pytest.approx([1.5, 0, -2.0 - 0.5 - 0.5, 0, 0, -0.75])


class Stubborn(Transformer):
    """Wants to say the same thing whatever is allowed."""

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        logits = super().logits(hidden)
        logits[:, RENDERER.tokenizer.encode("x")[0]] += 50
        return logits


def json_answers(schema: dict[str, object], seeds: range) -> Iterator[Row]:
    model = Stubborn(tiny_config())
    model.load_state_dict(MODEL.state_dict())
    engine = Engine(model, RENDERER, 4)
    for seed in seeds:
        request = engine.request(Ask(PROMPTS[0], Sampling(max_tokens=120, seed=seed), 2, schema=schema))
        waiting = [[request]]
        for _ in engine.serve(lambda room, waiting=waiting: waiting.pop() if waiting else []):  # type: ignore[misc]
            pass
        yield from request.rows


def test_only_what_a_schema_allows_can_be_drawn() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "boolean"}, "b": {"type": "array", "items": {"type": "integer"}, "maxItems": 2}},
        "required": ["a", "b"],
        "additionalProperties": False,
    }
    ended = 0
    for row in json_answers(schema, range(4)):
        if row.answer.ended:
            value = json.loads(row.answer.text)
            assert isinstance(value["a"], bool)
            assert all(type(item) is int for item in value["b"])
            ended += 1
    assert ended


def test_a_schema_that_cannot_be_followed_is_one_line() -> None:
    engine = Engine(MODEL, RENDERER)
    for schema in ({"type": "nonsense"}, {"not": {}}, {"$ref": "#/nowhere"}):
        with pytest.raises(AccordantError, match=r"this JSON schema cannot be followed: .+") as refusal:
            engine.request(Ask(PROMPTS[0], Sampling(), schema=schema))
        assert "\n" not in str(refusal.value)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_tokens_spell_their_text(text: str) -> None:
    engine = Engine(MODEL, RENDERER)
    assert b"".join(map(engine.spell, RENDERER.tokenizer.encode(text))) == text.encode()
    assert engine.spell(RENDERER.tokenizer.end_of_turn) == b""
