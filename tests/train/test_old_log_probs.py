"""Old log-probs are those of sampling where a pass over the first minibatch gives the same, else those of a pass."""

import pytest
import torch
from tests.reference import small_language as language
from torch import Tensor

from accordant.engine import Engine, Sampling
from accordant.model import PackedAttention, Transformer
from accordant.train.ppo.old_log_probs import OldLogProbs, old_log_probs
from accordant.train.ppo.reward import Scored
from accordant.train.ppo.rollout import Rollout, build_rollout

TEMPERATURE, LARGEST = 0.7, 1e-4
ORDER = [5, 2, 7, 0, 3, 6, 1, 4]


def sampled(policy: Transformer, minibatches: int = 4, micro_batch_tokens: int = 30) -> Rollout:
    renderer = language.renderer()
    prompt = renderer.prompt(language.QUESTION)
    sampling = Sampling(temperature=TEMPERATURE, max_tokens=language.MOST_TOKENS, seed=1)
    (answers,) = Engine(policy, renderer).generate([prompt], sampling, len(ORDER))
    scores = [Scored([0.0] * len(answer.ids), {}) for answer in answers]
    prompts = [prompt] * len(answers)
    return build_rollout(prompts, answers, scored=scores, minibatches=minibatches, order=ORDER,
                         micro_batch_tokens=micro_batch_tokens, device="cpu")  # fmt: skip


def shift(rollout: Rollout, answers: list[int], by: float) -> None:
    """Another engine, whose log-probs of some answers are off."""
    rollout.sampled_log_probs[answers] += by


def found_and_passes(policy: Transformer, rollout: Rollout) -> tuple[OldLogProbs, list[int]]:
    """And the answers that passes were made over."""
    passed: list[int] = []
    with_slices = rollout.score

    def score(*given, **named):  # type: ignore[no-untyped-def]
        passed.extend(row for part in named["slices"] for row in part.rows)
        return with_slices(*given, **named)

    rollout.score = score  # type: ignore[method-assign]
    return old_log_probs(policy, rollout, TEMPERATURE, LARGEST), passed


def exactly(policy: Transformer, rollout: Rollout) -> tuple[Tensor, Tensor]:
    """Log-probs and entropies of each answer by itself, in float64, from the logits."""
    wide = language.policy(0).double()
    wide.load_state_dict({name: weight.double() for name, weight in policy.state_dict().items()})
    log_probs, entropy = (torch.zeros(rollout.mask.shape, dtype=torch.float64) for _ in range(2))
    for row, example in enumerate(rollout.examples):
        ids, count = torch.tensor(example.ids), len(rollout.answers[row].ids)
        with torch.no_grad():
            logits = wide(ids, PackedAttention([len(ids)]))[-count - 1 : -1] / TEMPERATURE
        every = torch.log_softmax(logits, -1)
        log_probs[row, :count] = every[torch.arange(count), ids[-count:]]
        entropy[row, :count] = -(every.exp() * every).sum(-1)
    return log_probs, entropy


@pytest.fixture
def policy() -> Transformer:
    return language.policy(0)


def test_one_minibatch_is_scored_and_vouches_for_the_others(policy: Transformer) -> None:
    rollout = sampled(policy)
    found, passed = found_and_passes(policy, rollout)
    assert sorted(passed) == sorted(ORDER[:2])
    log_probs, entropy = exactly(policy, rollout)
    torch.testing.assert_close(found.log_probs[rollout.mask].double(), log_probs[rollout.mask], atol=1e-5, rtol=0)
    first = rollout.within(rollout.minibatches[0])
    assert torch.equal(found.scored, first)
    torch.testing.assert_close(found.entropy[first].double(), entropy[first], atol=1e-5, rtol=0)
    others = rollout.mask & ~first
    assert torch.equal(found.log_probs[others], rollout.sampled_log_probs[others])
    assert 0 < found.gaps.max() < LARGEST
    assert not found.gaps[~first].any()


def test_the_first_minibatch_has_what_its_first_update_gives(policy: Transformer) -> None:
    """To the last bit, though sampling's differ within what is allowed."""
    rollout = sampled(policy)
    shift(rollout, ORDER, LARGEST / 4)
    found, passed = found_and_passes(policy, rollout)
    assert len(passed) == 2
    again = rollout.score(policy, TEMPERATURE, slices=rollout.minibatches[0]).log_probs
    assert torch.equal(found.log_probs[found.scored], again[found.scored])


@pytest.mark.parametrize("minibatches", [1, 2, 4])
@pytest.mark.parametrize("by", [0.01, -0.01, float("nan")])
def test_where_sampling_differs_all_are_scored(policy: Transformer, minibatches: int, by: float) -> None:
    rollout = sampled(policy, minibatches)
    shift(rollout, ORDER[:1], by)
    found, passed = found_and_passes(policy, rollout)
    assert sorted(passed) == sorted(ORDER), "and no answer twice"
    assert torch.equal(found.scored, rollout.mask)
    log_probs, entropy = exactly(policy, rollout)
    torch.testing.assert_close(found.log_probs[rollout.mask].double(), log_probs[rollout.mask], atol=1e-5, rtol=0)
    torch.testing.assert_close(found.entropy[rollout.mask].double(), entropy[rollout.mask], atol=1e-5, rtol=0)
    own = found.gaps[ORDER[0]][rollout.mask[ORDER[0]]]
    assert own.isnan().all() if by != by else (own - abs(1 - torch.tensor(-by).exp())).abs().max() < 1e-5


def test_in_bfloat16_sampling_is_taken_too(policy: Transformer) -> None:
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("a CPU without bfloat16 products")
    narrow = policy.bfloat16()
    rollout = sampled(narrow)
    _, passed = found_and_passes(narrow, rollout)
    assert len(passed) == 2
