"""Guards of PPO: each is provoked, warns, and then stops the run or sends it back to its last good state."""

import dataclasses
import itertools
import json
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.killed import killed_before_each_operation

from accordant.config import GuardsSection, PPOSection, load_recipe
from accordant.engine import Engine, Generation, Sampling
from accordant.errors import AccordantError, NotFinite, Stopped
from accordant.journal import read_journal
from accordant.model import Transformer
from accordant.model.hub import new_scalar_model
from accordant.progress import SILENT, Watcher
from accordant.records import Message
from accordant.testing.tiny import save_tiny_checkpoint, tiny_model, tiny_renderer
from accordant.text.variety import distinct_2
from accordant.train.alarm import Alarm
from accordant.train.loop import read_metrics, run_stage
from accordant.train.optimizer import Optimizer
from accordant.train.ppo import PPOStage, function_reward
from accordant.train.ppo.guards import RULES, Evidence, Guards, Rule, Tripped
from accordant.train.processes import together
from accordant.train.state import State, go_back_to, good_states, load_state, mark_good, recover_states, save_state
from accordant.train.workers import ALONE, Workers

HEALTHY = {
    "kl_per_sequence": 5.1, "entropy": 1.39, "answer_tokens": 37.0, "ended": 0.98, "distinct_2": 0.7,
    "clip_fraction": 0.02, "explained_variance": 0.7, "policy_loss": -0.01, "gradient_norm": 3.6,
}  # fmt: skip
"""What an iteration of the starter recipe looks like."""
NAN = float("nan")
ITERATIONS = 6


class Notes(Watcher):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, line: str) -> None:
        self.lines.append(line)


class StageAtStep(PPOStage):
    """Knows which step it does, so that a fault can be put in a certain one; remembers the policy's learning rates."""

    at = -1

    def advance(self, step: int, watcher: Watcher) -> dict[str, float]:
        self.at = step
        return super().advance(step, watcher)


def make_stage(
    folder: Path,
    guards: dict[str, object],
    policy: Transformer | None = None,
    workers: Workers = ALONE,
    **changes: object,
) -> StageAtStep:
    values: dict[str, object] = {
        "iterations": ITERATIONS,
        "episodes": 8,
        "minibatches": 2,
        "learning_rate": 1e-3,
        "critic_learning_rate": 3e-3,
        "warmup_iterations": 0,
        "max_answer_tokens": 8,
        "critic_warmup_iterations": 1,
        "missing_end_score": 0.0,
        "weight_average": 0.9,
        "normalise_reward": True,
    }
    off = dict.fromkeys((rule.threshold for rule in RULES), "off")
    critic = new_scalar_model(save_tiny_checkpoint(folder / "tiny"), torch.float32)
    prompts = [(Message(role="user", content=f"where {i}?"),) for i in range(5)]
    return StageAtStep(
        policy or tiny_model(), tiny_model(), critic, function_reward(likes_river), tiny_renderer(), prompts,
        PPOSection.model_validate(values | changes), 3, 512, workers=workers,
        guards=GuardsSection.model_validate(off | guards),
    )  # fmt: skip


def likes_river(messages: Sequence[Message], answer: str) -> float:
    return answer.count("r") / max(1, len(answer))


def run(stage: StageAtStep, folder: Path, watcher: Watcher = SILENT) -> list[dict[str, float]]:
    """Run to the end with a state after each step; the metrics."""
    folder.mkdir(exist_ok=True)
    run_stage(stage, folder, watcher, save_every_seconds=0, keep_start=True)
    return read_metrics(folder / "metrics.jsonl")


def fail_in(stage: StageAtStep, step: int, most_failures: int) -> None:
    """The reward of one answer is not a number in `step`, until the run has gone back `most_failures` times."""
    reward = stage.reward

    def tampered(conversations: Any, answers: Any) -> list[float]:
        scores = reward(conversations, answers)
        return [NAN, *scores[1:]] if stage.at == step and stage.guards.roll_backs < most_failures else scores

    stage.reward = tampered


def tamper_sampling(stage: StageAtStep, change: Callable[[Sampling], Sampling]) -> None:
    """The engine draws otherwise than it is told."""
    generate = stage.engine.generate

    def tampered(prompts: Any, sampling: Sampling, *more: Any, **named: Any) -> list[list[Generation]]:
        return generate(prompts, change(sampling), *more, **named)

    stage.engine.generate = tampered  # type: ignore[method-assign, assignment]


def look(guards: Guards, **changes: float) -> list[str]:
    notes = Notes()
    guards.look(0, HEALTHY | changes, notes)
    return notes.lines


def past(rule: Rule) -> dict[str, float]:
    """A metric just past the default threshold."""
    limit = getattr(GuardsSection(), rule.threshold)
    if rule.metric == "length_drift":
        return {"answer_tokens": HEALTHY["answer_tokens"] / (1.01 * limit)}
    return {rule.metric: limit + (1e-3 if rule.threshold.startswith("most") else -1e-3)}


def test_a_healthy_run_touches_no_threshold() -> None:
    guards = Guards(GuardsSection())
    for kl, drift, variance in ((0.0, 1.0, -0.3), (-0.05, 0.9, -0.6), (4.0, 0.65, 0.3), (8.0, 1.4, 0.7)):
        changes = {"kl_per_sequence": kl, "explained_variance": variance, "answer_tokens": 37 * drift, "ended": 0.9}
        assert look(guards, **changes) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.threshold)
def test_each_guard_warns_and_then_acts(rule: Rule) -> None:
    guards = Guards(GuardsSection(patience=2))
    for _ in range(2):
        assert look(guards) == []
    for _ in range(2):
        (line,) = look(guards, **past(rule))
        assert line.startswith(f"step 1: {rule.metric} = ")
        assert f"guards.{rule.threshold} = " in line
    assert look(guards) == [], "a healthy iteration begins the count anew"
    for _ in range(2):
        assert len(look(guards, **past(rule))) == 1
    with pytest.raises(Tripped, match=f"{rule.threshold}.*3 iterations in a row; {rule.advice}"):
        look(guards, **past(rule))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.threshold)
def test_a_guard_that_is_off_says_nothing(rule: Rule) -> None:
    guards = Guards(GuardsSection.model_validate({"patience": 0, rule.threshold: "off"}))
    for _ in range(3):
        assert look(guards) == []
    assert look(guards, **past(rule)) == []


def test_length_drift_is_a_factor_either_way_from_the_first_two_iterations() -> None:
    guards = Guards(GuardsSection())
    drifts = [
        guards.look(0, HEALTHY | {"answer_tokens": tokens}, SILENT)["length_drift"] for tokens in (20, 40, 60, 10)
    ]
    assert drifts == pytest.approx([1, 1, 2, 3])


def test_the_critic_is_not_judged_before_the_policy_learns_from_it() -> None:
    guards = Guards(GuardsSection(patience=0))
    warming_up = {name: value for name, value in HEALTHY.items() if name != "clip_fraction"}
    added = guards.look(0, warming_up | {"explained_variance": -2.0}, SILENT)
    assert added["warnings"] == 0


def test_what_guards_remember_survives_a_resume() -> None:
    guards, resumed = Guards(GuardsSection(patience=2)), Guards(GuardsSection(patience=2))
    look(guards)
    for _ in range(2):
        look(guards, kl_per_sequence=99.0, answer_tokens=60.0)
    guards.roll_backs = 1
    resumed.restore(torch.tensor(guards.numbers(), dtype=torch.float64).tolist())
    assert resumed.numbers() == guards.numbers()
    for each in (guards, resumed):
        with pytest.raises(Tripped, match="3 iterations in a row"):
            look(each, kl_per_sequence=99.0)


@pytest.mark.parametrize("value", [math.inf, -math.inf, NAN])
def test_a_metric_that_is_not_finite_acts_at_once(value: float) -> None:
    with pytest.raises(NotFinite, match="value_loss is"):
        look(Guards(GuardsSection(patience=9)), value_loss=value)


def test_distinct_2_counts_pairs_of_words() -> None:
    assert distinct_2(["a b a b", "a b c"]) == 3 / 5
    assert distinct_2(["one", ""]) is None


def test_thresholds_can_be_switched_off_in_a_recipe() -> None:
    starter = Path(__file__).parents[2] / "recipes" / "starter.toml"
    assert load_recipe(starter, {"guards.most_clip_fraction": "off"}).guards.most_clip_fraction is None
    with pytest.raises(AccordantError, match=r"guards\.most_clip_fraction = 'of'"):
        load_recipe(starter, {"guards.most_clip_fraction": "of"})


def make_policy_far(stage: StageAtStep) -> None:
    stage.reference.load_state_dict(tiny_model(seed=1).state_dict())


def shorten_answers(stage: StageAtStep) -> None:
    tamper_sampling(stage, lambda sampling: dataclasses.replace(sampling, max_tokens=1 if stage.at >= 3 else 8))


def answer_always_the_same(stage: StageAtStep) -> None:
    generate = stage.engine.generate

    def tampered(*arguments: Any, **named: Any) -> list[list[Generation]]:
        answers = generate(*arguments, **named)
        for group in answers:
            for answer in group:
                answer.text = "the sea the sea"
        return answers

    stage.engine.generate = tampered  # type: ignore[method-assign, assignment]


@pytest.mark.parametrize(
    ("guards", "changes", "tamper"),
    [
        ({"most_kl_per_sequence": 2.0}, {}, make_policy_far),
        ({"least_entropy_per_token": 1.2}, {"temperature": 0.1}, None),
        ({"most_length_drift": 2.0}, {}, shorten_answers),
        ({"least_ended_share": 0.5}, {}, None),
        ({"least_distinct_2": 0.2}, {}, answer_always_the_same),
        ({"most_clip_fraction": 0.01}, {"learning_rate": 0.03, "epochs": 3}, None),
        ({"least_explained_variance": 0.99}, {}, None),
    ],
    ids=[rule.threshold for rule in RULES],
)
def test_each_guard_stops_a_run(
    guards: dict[str, object],
    changes: dict[str, object],
    tamper: Callable[[StageAtStep], None] | None,
    tmp_path: Path,
) -> None:
    stage = make_stage(tmp_path, {"patience": 1} | guards, **changes)
    if tamper:
        tamper(stage)
    (threshold,) = guards
    rule = next(rule for rule in RULES if rule.threshold == threshold)
    notes = Notes()
    with pytest.raises(AccordantError) as caught:
        run(stage, tmp_path / "run", notes)
    message = str(caught.value)
    assert f"guards.{threshold} = {guards[threshold]:g}" in message
    assert rule.advice in message
    assert "\n" not in message
    said = read_journal(tmp_path / "run" / "guards.jsonl")
    assert [row["done"] for row in said] == ["warned", "stopped"]
    assert [row["step"] for row in said] == [stage.at - 1, stage.at]
    assert any(f"guards.{threshold}" in line for line in notes.lines)
    (batch,) = (tmp_path / "run" / "alarms").iterdir()
    assert str(batch) in message
    rows = [json.loads(line) for line in batch.read_text().splitlines()]
    assert len(rows) == stage.settings.episodes
    for row in rows:
        assert row["messages"][0]["content"].startswith("where")
        assert len(row["ids"]) == len(row["log_probs"])
        assert set(row) == {"messages", "answer", "ended", "ids", "log_probs", "score"}


def test_a_reward_that_is_not_a_number_stops_at_once_and_leaves_the_last_good_state(tmp_path: Path) -> None:
    stage = make_stage(tmp_path, {})
    fail_in(stage, step=3, most_failures=99)
    with pytest.raises(AccordantError, match=r"step 4 of 6: the reward is not finite.*last good state: .*step-000002"):
        run(stage, tmp_path / "run")
    assert [row["step"] for row in read_metrics(tmp_path / "run" / "metrics.jsonl")] == [0, 1, 2]
    (batch,) = (tmp_path / "run" / "alarms").iterdir()
    scores = [json.loads(line)["score"] for line in batch.read_text().splitlines()]
    assert scores[0] == "nan"
    assert all(isinstance(score, float) for score in scores[1:])
    assert (tmp_path / "run" / "state" / "step-000002" / "good").exists()


def spoil_policy(stage: StageAtStep) -> None:
    with torch.no_grad():
        stage.policy.lm_head.weight[5] = math.inf


def spoil_reference(stage: StageAtStep) -> None:
    with torch.no_grad():
        stage.reference.lm_head.weight.fill_(NAN)


def spoil_critic(stage: StageAtStep) -> None:
    assert stage.critic
    with torch.no_grad():
        stage.critic.model.score.weight.fill_(NAN)


def spoil_gradient(stage: StageAtStep) -> None:
    stage.optimizer.parameters[0].register_hook(lambda gradient: gradient * NAN)


@pytest.mark.parametrize(
    ("spoil", "message", "reached"),
    [
        (spoil_policy, "logits are not finite", {"messages"}),
        (spoil_reference, "log-probs are not finite", {"messages", "score"}),
        (spoil_critic, "critic's values are not finite", {"messages", "score"}),
        (spoil_gradient, "gradient is not finite", {"messages", "score"}),
    ],
)
def test_values_that_are_not_finite_act_at_once(
    spoil: Callable[[StageAtStep], None], message: str, reached: set[str], tmp_path: Path
) -> None:
    stage = make_stage(tmp_path, {"patience": 9}, critic_warmup_iterations=0)
    spoil(stage)
    before = [weight.detach().clone() for weight in stage.policy.parameters()]
    with pytest.raises(Alarm, match=message) as caught:
        stage.advance(0, SILENT)
    assert len(caught.value.batch) == 8
    assert reached <= set(caught.value.batch[0])
    for old, new in zip(before, stage.policy.parameters(), strict=True):
        assert torch.equal(old, new)


def test_a_gradient_that_is_not_finite_changes_nothing() -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = Optimizer([weight])
    weight.grad = torch.ones(3)
    optimizer.step(0.1)
    before = {name: tensor.clone() for name, tensor in optimizer.tensors().items()}
    weight.grad = torch.tensor([1.0, math.inf, 0.0])
    with pytest.raises(NotFinite):
        optimizer.step(0.1)
    assert all(torch.equal(before[name], tensor) for name, tensor in optimizer.tensors().items())


def test_going_back_to_the_start_forgets_moments_and_gradients() -> None:
    fresh, used = (Optimizer([torch.nn.Parameter(torch.ones(3))]) for _ in range(2))
    start = {name: tensor.clone() for name, tensor in used.tensors().items()}
    used.parameters[0].grad = torch.ones(3)
    used.step(0.1)
    used.parameters[0].grad = torch.full((3,), 7.0)
    used.restore(start)
    for optimizer in (fresh, used):
        parameter = optimizer.parameters[0]
        (parameter * torch.tensor([1.0, -2.0, 0.5])).sum().backward()
        optimizer.step(0.1)
    assert torch.equal(fresh.parameters[0], used.parameters[0])


def test_sampled_and_scored_probabilities_must_agree_in_float32(tmp_path: Path) -> None:
    honest = make_stage(tmp_path, {})
    assert honest.advance(0, SILENT)["largest_sampling_gap"] < 1e-4
    for change in (
        lambda sampling: dataclasses.replace(sampling, temperature=0.99),
        lambda sampling: dataclasses.replace(sampling, top_p=0.9),
    ):
        stage = make_stage(tmp_path, {})
        tamper_sampling(stage, change)
        with pytest.raises(Alarm, match=r"scored to sampled.*guards.largest_ratio_gap = 0.0001: engine and training.*"):
            stage.advance(0, SILENT)


def test_the_engine_must_not_sample_from_other_weights(tmp_path: Path) -> None:
    stage = make_stage(tmp_path, {})
    stage.engine = Engine(tiny_model(seed=1), tiny_renderer())
    with pytest.raises(AccordantError, match="scored to sampled"):
        run(stage, tmp_path / "run")


def test_in_bfloat16_the_gap_is_measured_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gap that would stop a float32 run: log-probs as the engine gives them, each 0.01 nats too high."""
    stage = make_stage(tmp_path, {}, tiny_model().to(torch.bfloat16))
    generate = stage.engine.generate

    def off(*given: Any, **named: Any) -> list[list[Generation]]:
        groups = generate(*given, **named)
        for answer in itertools.chain(*groups):
            answer.log_probs = [log_prob + 0.01 for log_prob in answer.log_probs]
        return groups

    monkeypatch.setattr(stage.engine, "generate", off)
    metrics = stage.advance(0, SILENT)
    rounding = 2e-3
    assert metrics["largest_sampling_gap"] == pytest.approx(1 - math.exp(-0.01), abs=rounding)
    assert metrics["sampling_gap"] == pytest.approx(0.01, abs=rounding)


def test_a_roll_back_halves_the_rates_draws_other_answers_and_keeps_one_line_a_step(tmp_path: Path) -> None:
    stage = make_stage(tmp_path, {"most_roll_backs": 2})
    fail_in(stage, step=3, most_failures=1)
    rates: list[tuple[int, float, float]] = []
    answers: dict[tuple[int, int], list[str]] = {}
    policy_step = stage.optimizer.step
    assert stage.critic
    critic_step, sample = stage.critic.optimizer.step, stage._sample

    def recorded(kind: float, apply: Callable[[float], float]) -> Callable[[float], float]:
        def step(rate: float) -> float:
            rates.append((stage.at, kind, rate))
            return apply(rate)

        return step

    def sampled(drawn: Any, step: int) -> Any:
        rollout = sample(drawn, step)
        answers[stage.guards.roll_backs, step] = [answer.text for answer in rollout.answers]
        return rollout

    stage.optimizer.step = recorded(0, policy_step)  # type: ignore[method-assign]
    stage.critic.optimizer.step = recorded(1, critic_step)  # type: ignore[method-assign]
    stage._sample = sampled  # type: ignore[method-assign]
    notes = Notes()
    metrics = run(stage, tmp_path / "run", notes)
    assert [row["step"] for row in metrics] == list(range(ITERATIONS))
    assert stage.guards.roll_backs == 1
    # The state before step 2 is the last from which a step went without a warning, so step 2 is done twice.
    assert any("going on from step 2, otherwise" in line for line in notes.lines)
    for kind in (0, 1):
        in_step_2 = [rate for at, of, rate in rates if (at, of) == (2, kind)]
        half = len(in_step_2) // 2
        assert in_step_2[half:] == pytest.approx([0.5 * rate for rate in in_step_2[:half]])
    assert answers[0, 2] != answers[1, 2]
    assert read_journal(tmp_path / "run" / "guards.jsonl")[-1]["done"] == "roll-back 1, to step 2"


def test_a_fault_that_comes_again_ends_the_run_after_the_allowed_roll_backs(tmp_path: Path) -> None:
    stage = make_stage(tmp_path, {"most_roll_backs": 2})
    fail_in(stage, step=3, most_failures=99)
    with pytest.raises(AccordantError, match="stopped after 2 roll-backs"):
        run(stage, tmp_path / "run")
    said = read_journal(tmp_path / "run" / "guards.jsonl")
    assert [row["done"] for row in said] == ["roll-back 1, to step 2", "roll-back 2, to step 2", "stopped"]
    assert len(list((tmp_path / "run" / "alarms").iterdir())) == 3
    again = make_stage(tmp_path, {"most_roll_backs": 2})
    fail_in(again, step=3, most_failures=99)
    with pytest.raises(AccordantError, match="stopped after 2 roll-backs"):
        run(again, tmp_path / "run")


def test_a_fault_in_the_first_step_has_nothing_to_go_back_to(tmp_path: Path) -> None:
    stage = make_stage(tmp_path, {"most_roll_backs": 2})
    fail_in(stage, step=0, most_failures=1)
    with pytest.raises(AccordantError, match="last good state: none"):
        run(stage, tmp_path / "run")


def test_the_start_is_kept_to_go_back_to(tmp_path: Path) -> None:
    stage = make_stage(tmp_path, {"most_roll_backs": 1})
    fail_in(stage, step=1, most_failures=1)
    (tmp_path / "run").mkdir()
    run_stage(stage, tmp_path / "run", SILENT, save_every_seconds=1e9, keep_start=True)
    assert read_journal(tmp_path / "run" / "guards.jsonl")[0]["done"] == "roll-back 1, to step 0"


class Cut(Watcher):
    """Ends the process after some steps, or as soon as the run has gone back."""

    def __init__(self, steps: int = 99, begins: int = 99) -> None:
        self.steps, self.begins = steps, begins

    def begin(self, stage: str, total: int, done: int = 0) -> None:
        self.begins -= 1
        if self.begins == 0:
            raise KeyboardInterrupt

    def step(self, done: int, metrics: object) -> None:
        self.steps -= 1
        if self.steps == 0:
            import signal

            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("cut", [{"steps": 2}, {"steps": 3}, {"begins": 2}, {"steps": 5}], ids=str)
def test_a_run_that_went_back_resumes_bit_for_bit(cut: dict[str, int], tmp_path: Path) -> None:
    """Cut before the fault, in the first steps after going back, and right between going back and going on."""

    def stage() -> StageAtStep:
        made = make_stage(tmp_path, {"most_roll_backs": 2, "most_kl_per_sequence": 1e-6, "patience": ITERATIONS})
        fail_in(made, step=3, most_failures=1)
        return made

    whole, resumed = stage(), stage()
    one = run(whole, tmp_path / "whole")
    with pytest.raises((Stopped, KeyboardInterrupt)):
        run(stage(), tmp_path / "cut", Cut(**cut))
    two = run(resumed, tmp_path / "cut")
    assert whole.guards.roll_backs == 1
    assert set(whole.tensors()) == set(resumed.tensors())
    for name, tensor in whole.tensors().items():
        assert torch.equal(tensor, resumed.tensors()[name]), name
    for a, b in zip(one, two, strict=True):
        assert {k: v for k, v in a.items() if k != "seconds"} == {k: v for k, v in b.items() if k != "seconds"}
    journals = [read_journal(tmp_path / folder / "guards.jsonl") for folder in ("whole", "cut")]
    assert journals[0] == journals[1]


def go_back_together(folder: Path, workers: Workers) -> None:
    """A run in which the answers of one process, the last, fail in step 3."""
    stage = make_stage(folder / f"rank-{workers.rank}", {"most_roll_backs": 1}, workers=workers)
    generate = stage.engine.generate

    def tampered(*arguments: Any, **named: Any) -> list[list[Generation]]:
        if stage.at == 3 and stage.guards.roll_backs == 0 and workers.rank + 1 == workers.size:
            raise NotFinite("the model's logits are not finite")
        return generate(*arguments, **named)

    stage.engine.generate = tampered  # type: ignore[method-assign]
    run_stage(stage, folder, SILENT, save_every_seconds=0, workers=workers, keep_start=True)
    torch.save(stage.tensors(), folder / f"rank-{workers.rank}.pt")
    workers.sum([0.0])  # so that none ends before all have written


def test_processes_go_back_together(tmp_path: Path) -> None:
    for folder in ("alone", "two"):
        (tmp_path / folder).mkdir()
    go_back_together(tmp_path / "alone", ALONE)
    with together(2, partial(go_back_together, tmp_path / "two")) as workers:
        go_back_together(tmp_path / "two", workers)
    alone, one, two = (torch.load(tmp_path / name) for name in ("alone/rank-0.pt", "two/rank-0.pt", "two/rank-1.pt"))
    for name, tensor in alone.items():
        assert torch.equal(one[name], two[name]), name
        torch.testing.assert_close(one[name], tensor, atol=1e-3, rtol=1e-3)
    for folder in ("alone", "two"):
        (said,) = read_journal(tmp_path / folder / "guards.jsonl")
        assert said["done"] == "roll-back 1, to step 2"
        assert [row["step"] for row in read_metrics(tmp_path / folder / "metrics.jsonl")] == list(range(ITERATIONS))


def test_the_last_state_without_a_warning_stays_however_many_follow(tmp_path: Path) -> None:
    stage = make_stage(tmp_path, {"most_kl_per_sequence": 50.0, "patience": ITERATIONS})
    iterate = stage._iterate

    def far_from_step_2(step: int, watcher: Watcher) -> dict[str, float]:
        return iterate(step, watcher) | ({"kl_per_sequence": 99.0} if step >= 2 else {})

    stage._iterate = far_from_step_2  # type: ignore[method-assign]
    metrics = run(stage, tmp_path / "run")
    assert [row["warnings"] for row in metrics] == [0, 0, 1, 1, 1, 1]
    states = tmp_path / "run" / "state"
    assert [path.name for path in good_states(states)] == ["step-000001"]
    assert sorted(path.name for path in states.glob("step-*")) == ["step-000001", "step-000005", "step-000006"]


def test_only_good_states_are_gone_back_to_and_damaged_ones_skipped(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save_state(tmp_path, State(step, {"a": torch.tensor(float(step))}))
        if step < 3:
            mark_good(tmp_path, step)
    mark_good(tmp_path, 7)
    found = load_state(tmp_path, SILENT, only_good=True)
    assert found is not None
    assert found.step == 2
    (tmp_path / "step-000002" / "tensors-00.safetensors").write_bytes(b"")
    assert load_state(tmp_path, SILENT, only_good=True) is None


def test_a_state_that_was_being_replaced_when_the_process_died_is_found(tmp_path: Path) -> None:
    save_state(tmp_path, State(4, {"a": torch.ones(2)}))
    (tmp_path / "step-000004").rename(tmp_path / ".step-000004.old")
    recover_states(tmp_path)
    found = load_state(tmp_path, SILENT)
    assert found is not None
    assert found.step == 4


def go_back_to_two(folder: Path) -> None:
    go_back_to(folder, State(2, {"roll_backs": torch.ones(1)}))


def test_a_kill_while_going_back_leaves_a_state_to_go_on_from(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    for step in (1, 2, 3, 4):
        save_state(folder, State(step, {"roll_backs": torch.zeros(1)}))
        mark_good(folder, min(step, 2))
    codes = []
    for code in killed_before_each_operation(go_back_to_two, folder, within=folder):
        codes.append(code)
        recover_states(folder)
        found = load_state(folder, SILENT)
        assert found is not None
        assert found.step >= 2
    assert codes[-1] == 0
    assert len(codes) > 10
    assert (found.step, found.tensors["roll_backs"].item()) == (2, 1)
    assert [path.name for path in good_states(folder)] == ["step-000002"]


def test_evidence_holds_what_was_reached() -> None:
    conversation = (Message(role="user", content="where?"),)
    reached = Evidence([conversation, conversation], [Generation([7], [-0.5], "a", "stop")])
    assert reached.rows() == [
        {
            "messages": [{"role": "user", "content": "where?"}],
            "answer": "a", "ended": True, "ids": [7], "log_probs": [-0.5],
        },
        {"messages": [{"role": "user", "content": "where?"}]},
    ]  # fmt: skip
