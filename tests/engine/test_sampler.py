import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from accordant.engine import Sampling
from accordant.engine.sampler import choose, uniforms
from accordant.errors import AccordantError

ALMOST_ONE = 1 - 2.0**-53
"""The largest number that a uniform in [0, 1) can be."""


def nucleus_by_loops(logits: list[float], temperature: float, top_p: float) -> np.ndarray:
    """Probabilities after temperature and top_p, token by token in float64."""
    scaled = np.array(logits, dtype=np.float64) / temperature
    probabilities = np.exp(scaled - scaled.max())
    probabilities /= probabilities.sum()
    kept, mass = np.zeros_like(probabilities), 0.0
    for token in sorted(range(len(logits)), key=lambda t: -probabilities[t]):
        if mass >= top_p:
            break
        kept[token] = probabilities[token]
        mass += probabilities[token]
    return kept / kept.sum()


def every_draw(logits: list[float], sampling: Sampling, draws: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    """Share of each token over evenly spread uniforms, and the log-prob that was returned for it."""
    spread = (torch.arange(draws, dtype=torch.float64) + 0.5) / draws
    tokens, log_probs = choose(torch.tensor([logits]).expand(draws, -1), spread, sampling)
    shares = np.bincount(tokens.numpy(), minlength=len(logits)) / draws
    returned = np.full(len(logits), -np.inf)
    returned[tokens.numpy()] = log_probs.numpy()
    return shares, returned


@given(
    st.lists(st.integers(-64, 64).map(lambda eighths: eighths / 8), min_size=2, max_size=20, unique=True),
    st.sampled_from([0.3, 0.7, 1.0, 1.7]),
    st.sampled_from([1.0, 0.95, 0.6, 0.05]),
)
def test_the_distribution_and_its_log_probs(logits: list[float], temperature: float, top_p: float) -> None:
    expected = nucleus_by_loops(logits, temperature, top_p)
    cut = np.cumsum(np.sort(nucleus_by_loops(logits, temperature, 1.0))[::-1])
    if np.any(np.abs(cut[:-1] - top_p) < 1e-5):
        return  # whether a token on the very edge belongs is decided by rounding
    shares, returned = every_draw(logits, Sampling(temperature=temperature, top_p=top_p))
    # Evenly spread uniforms hit an interval of length p between p * draws - 1 and p * draws + 1 times.
    assert np.all(np.abs(shares - expected) <= 1.01 / 2000)
    drawn = shares > 0
    np.testing.assert_allclose(returned[drawn], np.log(expected[drawn]), atol=2e-5)


def test_log_probs_are_those_of_a_log_softmax_at_temperature() -> None:
    logits = torch.randn(64, 50, generator=torch.Generator().manual_seed(0)) * 3
    draws = torch.rand(64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    tokens, log_probs = choose(logits, draws, Sampling(temperature=0.7))
    expected = torch.log_softmax(logits / 0.7, -1)[torch.arange(64), tokens]
    torch.testing.assert_close(log_probs, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("top_p", [1.0, 0.8])
def test_draws_follow_the_distribution(top_p: float) -> None:
    logits = [1.2, -0.4, 0.3, 2.0, -1.5, 0.0, 0.9]
    expected = nucleus_by_loops(logits, 0.9, top_p)
    count = 20_000
    draws = uniforms(seed=7, row=0, count=count)
    tokens, _ = choose(torch.tensor([logits]).expand(count, -1), draws, Sampling(temperature=0.9, top_p=top_p))
    seen = np.bincount(tokens.numpy(), minlength=len(logits))
    assert seen[expected == 0].sum() == 0
    possible = expected > 0
    chi_square = (((seen - count * expected) ** 2)[possible] / (count * expected[possible])).sum()
    # 0.999 quantiles of chi-square with 6 and, for the three tokens that top_p = 0.8 keeps, 2 degrees of freedom.
    assert possible.sum() == (7 if top_p == 1 else 3)
    assert chi_square < (22.46 if top_p == 1 else 13.82)


@pytest.mark.parametrize("step", [0, 1, 40])
def test_rows_of_one_seed_are_independent(step: int) -> None:
    rows = 4000
    first = torch.stack([uniforms(3, row, step + 1)[step] for row in range(rows)]).numpy()
    # A chi-square test of 20 equal bins has 19 degrees of freedom; 43.82 is its 0.999 quantile.
    seen = np.histogram(first, bins=20, range=(0, 1))[0]
    assert ((seen - rows / 20) ** 2 / (rows / 20)).sum() < 43.82
    assert abs(np.corrcoef(first[:-1], first[1:])[0, 1]) < 4 / rows**0.5
    other = torch.stack([uniforms(4, row, step + 1)[step] for row in range(rows)]).numpy()
    assert abs(np.corrcoef(first, other)[0, 1]) < 4 / rows**0.5


def test_a_row_has_its_own_numbers_whatever_their_count() -> None:
    assert torch.equal(uniforms(5, 2, 10), uniforms(5, 2, 30)[:10])
    assert not torch.equal(uniforms(5, 2, 10), uniforms(5, 3, 10))
    assert not torch.equal(uniforms(5, 2, 10), uniforms(6, 2, 10))
    assert bool((uniforms(-1, 0, 10) < 1).all())
    state = torch.get_rng_state()
    uniforms(5, 2, 10)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("top_p", [1.0, 0.9, 0.5])
@pytest.mark.parametrize("uniform", [0.0, ALMOST_ONE])
def test_the_edges_of_the_unit_interval_draw_a_possible_token(top_p: float, uniform: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(200, 300, generator=generator) * 4
    logits[:, :3] = logits[:, -3:] = -torch.inf
    draws = torch.full((200,), uniform, dtype=torch.float64)
    tokens, log_probs = choose(logits, draws, Sampling(top_p=top_p))
    assert bool(torch.isfinite(log_probs).all())
    assert bool(((tokens >= 3) & (tokens < 297)).all())


def test_rare_tokens_of_a_large_vocabulary_are_drawn() -> None:
    logits = torch.zeros(1, 150_001)
    logits[0, 0] = 28.0
    # All but the first together have a mass of 150 000 / e^28 = 1.04e-7, spread over the top of the unit interval.
    rest = 150_000 / (150_000 + float(torch.tensor(28.0, dtype=torch.float64).exp()))
    draws = 1 - rest * torch.tensor([0.9, 0.5, 0.1], dtype=torch.float64)
    tokens, _ = choose(logits.expand(3, -1), draws, Sampling())
    torch.testing.assert_close(tokens, torch.tensor([15_000, 75_000, 135_000]), atol=20, rtol=0)


@pytest.mark.parametrize("words", [255, 256, 257, 1000])
def test_a_draw_is_the_first_word_whose_running_sum_passes_it(words: int) -> None:
    """Sums of blocks and sums within a block, of which the last may be short, find what one running sum finds."""
    logits = torch.randn(1, words, generator=torch.Generator().manual_seed(words)) * 2
    draws = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    tokens, log_probs = choose(logits.expand(4000, -1), draws, Sampling())
    ends = np.cumsum(np.exp(logits[0].double().numpy()))
    ends /= ends[-1]
    expected = np.searchsorted(ends, draws.numpy(), side="right")
    near = np.abs(ends[:, None] - draws.numpy()).min(0) < 1e-6  # float32 weights may put these on either side
    assert near.mean() < 0.02
    np.testing.assert_array_equal(tokens.numpy()[~near], expected[~near])
    widths = np.diff(ends, prepend=0.0)
    np.testing.assert_allclose(log_probs.numpy(), np.log(widths[tokens.numpy()]), atol=1e-5)


def test_a_nucleus_wider_than_the_likely_words_is_the_sorted_one() -> None:
    """One row's nucleus is narrow and one's holds 2,700 of 3,000 words: each is what it would be alone."""
    flat, peaked = torch.linspace(0, 1e-3, 3000), torch.linspace(0, 30, 3000)
    logits = torch.stack([flat, peaked])
    draws = torch.tensor([1e-9, 1e-9], dtype=torch.float64)
    tokens, log_probs = choose(logits, draws, Sampling(top_p=0.9))
    for row in range(2):
        kept = nucleus_by_loops(logits[row].tolist(), 1.0, 0.9)
        first = int(np.flatnonzero(kept)[0])
        assert abs(int(tokens[row]) - first) <= 1  # on the very edge rounding decides
        assert log_probs[row].item() == pytest.approx(np.log(kept[kept > 0][0]), abs=2e-3)
    assert (nucleus_by_loops(flat.tolist(), 1.0, 0.9) > 0).sum() > 2600


def test_greedy_takes_the_largest_and_is_certain() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0], [5.0, 3.0, 1.0]])
    for uniform in (0.0, ALMOST_ONE):
        draws = torch.full((2,), uniform, dtype=torch.float64)
        tokens, log_probs = choose(logits, draws, Sampling(temperature=0))
        assert tokens.tolist() == [1, 0]
        assert log_probs.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("temperature", [1e-3, 1e-30, 1e-45, 5e-324])
def test_a_tiny_temperature_is_nearly_greedy(temperature: float) -> None:
    logits = torch.tensor([[-50.0, 30.0, 29.0]])
    tokens, log_probs = choose(
        logits, torch.tensor([ALMOST_ONE], dtype=torch.float64), Sampling(temperature=temperature)
    )
    assert tokens.tolist() == [1]
    assert log_probs.tolist() == [0.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_log_probs_are_float32_whatever_the_logits(dtype: torch.dtype) -> None:
    logits = torch.tensor([[0.5, 1.5, -1.0]], dtype=dtype)
    tokens, log_probs = choose(logits, torch.tensor([0.5], dtype=torch.float64), Sampling())
    assert log_probs.dtype == torch.float32
    expected = torch.log_softmax(logits.float(), -1)[0, tokens[0]]
    torch.testing.assert_close(log_probs[0], expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_not_finite_are_one_line(value: float, temperature: float) -> None:
    logits = torch.zeros(3, 5)
    logits[1, 2] = value
    with pytest.raises(AccordantError, match="logits are not finite"):
        choose(logits, torch.full((3,), 0.5).double(), Sampling(temperature=temperature))
    with pytest.raises(AccordantError, match="logits are not finite"):
        choose(torch.full((1, 5), -torch.inf), torch.tensor([0.5]).double(), Sampling(temperature=temperature))


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"temperature": -0.1}, "temperature = -0.1"),
        ({"temperature": float("nan")}, "temperature = nan"),
        ({"temperature": float("inf")}, "temperature = inf"),
        ({"top_p": 0.0}, "top_p = 0.0"),
        ({"top_p": 1.1}, "top_p = 1.1"),
        ({"top_p": float("nan")}, "top_p = nan"),
        ({"max_tokens": 0}, "max_tokens = 0"),
        ({"stop": ("a", "")}, "stop has an empty text"),
    ],
)
def test_settings_out_of_range_are_one_line(settings: dict[str, object], line: str) -> None:
    with pytest.raises(AccordantError, match=line):
        Sampling(**settings)  # type: ignore[arg-type]
