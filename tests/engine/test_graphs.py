"""Recorded decode steps with the recording left out: the fixed buffers hold what a step of its own would be given."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from accordant.engine import Engine, Sampling, graphs
from accordant.engine import generate as engine
from accordant.engine.cache import DecodeAttention, KeyValueCache, PrefillAttention
from accordant.engine.graphs import DecodeGraphs
from accordant.model import Transformer
from accordant.testing import tiny_model, tiny_renderer

PROMPTS = [[5, 9, 30, 2, 8], [7], [11, 12, 13, 14, 15, 16, 17, 18, 19]]


class Counted:
    """Stands in for `record`: counts, and does the work each time on the same output."""

    def __init__(self) -> None:
        self.recordings = 0

    def __call__(self, work: Callable[[], Tensor]) -> Callable[[], Tensor]:
        self.recordings += 1
        result = work()
        return lambda: result.copy_(work())


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted = Counted()
    monkeypatch.setattr(graphs, "record", counted)
    monkeypatch.setattr(engine, "can_record", lambda device: True)
    return counted


def prefilled(model: Transformer, rows: int) -> KeyValueCache:
    cache = KeyValueCache(model.config, rows, 20, torch.float64, torch.device("cpu"))
    flat = torch.tensor([token for prompt in PROMPTS for token in prompt])
    model(flat, PrefillAttention(cache, [len(prompt) for prompt in PROMPTS]))
    return cache


@torch.inference_mode()
def test_a_recorded_step_is_a_step(recorder: Counted) -> None:
    """Five rows of room, three and then two in use: the fourth row of the recorded step must disturb nothing.

    In float64: products of three rows and of four round differently.
    """
    model = tiny_model().double()
    plain, recorded = prefilled(model, 5), prefilled(model, 5)
    steps = DecodeGraphs(model, recorded)
    for tokens in ([3, 4, 5], [6, 7, 8]):
        expected = model(torch.tensor(tokens), DecodeAttention(plain))
        torch.testing.assert_close(steps(torch.tensor(tokens)), expected, atol=1e-9, rtol=0)
    assert plain.keep([0, 2]) == recorded.keep([0, 2])
    for tokens in ([9, 10], [11, 12]):
        expected = model(torch.tensor(tokens), DecodeAttention(plain))
        torch.testing.assert_close(steps(torch.tensor(tokens)), expected, atol=1e-9, rtol=0)
    assert recorded.lengths.tolist() == plain.lengths.tolist()
    assert recorder.recordings == 2, "once for four rows, once for two"


def test_the_engine_says_the_same_with_recorded_steps(recorder: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    sampling = Sampling(max_tokens=12, seed=4)
    recording = Engine(tiny_model(), tiny_renderer(), rows=4)
    found = recording.generate(PROMPTS, sampling, samples=3)
    first = recorder.recordings
    assert first > 0
    again = recording.generate(PROMPTS[:2], sampling, samples=3)
    assert recorder.recordings == first, "what was recorded serves the next generation"
    monkeypatch.setattr(engine, "can_record", lambda device: False)
    expected = Engine(tiny_model(), tiny_renderer(), rows=4).generate(PROMPTS, sampling, samples=3)
    for own, wanted in zip([*found, *again], [*expected, *expected[:2]], strict=True):
        assert [answer.ids for answer in own] == [answer.ids for answer in wanted]
        for answer, other in zip(own, wanted, strict=True):
            assert answer.log_probs == pytest.approx(other.log_probs, abs=1e-5)


def test_two_streams_at_once_do_not_share_a_cache(recorder: Counted) -> None:
    engine = Engine(tiny_model(), tiny_renderer())
    sampling = Sampling(max_tokens=8, seed=1)
    alone = "".join(engine.stream(PROMPTS[0], sampling))
    one, other = engine.stream(PROMPTS[0], sampling), engine.stream(PROMPTS[2], sampling)
    together = [piece for pair in zip(one, other, strict=False) for piece in pair]
    assert "".join(together[0::2]) == alone[: len("".join(together[0::2]))]


def test_weights_in_other_places_are_recorded_anew(recorder: Counted) -> None:
    model = tiny_model()
    engine = Engine(model, tiny_renderer(), rows=4)
    engine.generate(PROMPTS, Sampling(max_tokens=4))
    before = recorder.recordings
    with torch.no_grad():
        model.model.norm.weight.mul_(0.5)
    engine.generate(PROMPTS, Sampling(max_tokens=4))
    assert recorder.recordings == before, "training changes weights in place"
    model.model.norm.weight = torch.nn.Parameter(torch.ones_like(model.model.norm.weight))
    engine.generate(PROMPTS, Sampling(max_tokens=4))
    assert recorder.recordings > before


def test_steps_are_recorded_on_a_gpu_alone() -> None:
    assert graphs.can_record(torch.device("cuda"))
    assert not graphs.can_record(torch.device("cpu"))
