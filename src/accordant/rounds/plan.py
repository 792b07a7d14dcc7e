"""What a round will take here, before any model loads: memory by role and phase of each stage, steps and minutes."""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from accordant.config import METHOD_NAMES, Recipe
from accordant.data.packing import micro_batches
from accordant.data.split import split_by_prompt, spread
from accordant.machine import Machine
from accordant.model import ModelConfig
from accordant.progress import SILENT
from accordant.records import Comparison
from accordant.rounds.data import RoundData, load_round_data
from accordant.rounds.estimate import ANSWER_SHARE, estimate, text_tokens, tokens
from accordant.rounds.memory import Shape
from accordant.train.draws import drawn_in_turn, shuffled

_LIBRARIES = 0.45e9
"""The interpreter with torch and the rest, and a round's data (docs/log.md)."""
_KEPT_SHARE = 0.6
"""What the allocator keeps beyond what passes hold at once, as a share of that: freed pieces of other sizes."""
_STATE_PART = 128 * 2**20
"""A state is written in files of this size (`train.state`), each copied once."""
_LOOKED_AT = 300
"""Steps that are cut in passes to find the largest; later ones draw from the same data."""
_ENGINE_ROWS = 64
"""Answers in the making at once, where the recipe does not say (`engine.Engine`)."""

Roles = dict[str, float]
"""Bytes by what holds them."""


@dataclass(frozen=True)
class Phase:
    """A part of each step, and the bytes that each role holds in it."""

    name: str
    roles: Roles

    @property
    def total(self) -> float:
        """Bytes of all roles."""
        return sum(self.roles.values())


@dataclass(frozen=True)
class StagePlan:
    """What one stage will take; memory is that of one process."""

    name: str
    steps: int
    minutes: float
    phases: tuple[Phase, ...]

    @property
    def peak(self) -> Phase:
        """The phase that holds most."""
        return max(self.phases, key=lambda phase: phase.total)

    @property
    def seconds_per_step(self) -> float:
        """Of wall time."""
        return 60 * self.minutes / self.steps


@dataclass(frozen=True)
class Plan:
    """What a round will take; each of its processes holds whole models."""

    stages: tuple[StagePlan, ...]
    processes: int

    @property
    def minutes(self) -> float:
        """In all."""
        return sum(stage.minutes for stage in self.stages)

    @property
    def largest(self) -> StagePlan:
        """The stage that holds most."""
        return max(self.stages, key=lambda stage: stage.peak.total)

    @property
    def peak_gb(self) -> float:
        """The most memory that all processes hold together, GB."""
        return self.processes * self.largest.peak.total / 1e9

    def to_json(self) -> dict[str, Any]:
        """All figures; memory in GB."""
        return {"minutes": self.minutes, "peak_gb": self.peak_gb, "processes": self.processes} | {
            "stages": {
                stage.name: {
                    "steps": stage.steps,
                    "minutes": stage.minutes,
                    "seconds_per_step": stage.seconds_per_step,
                    "peak_gb": stage.peak.total / 1e9,
                    "phases": {p.name: {role: held / 1e9 for role, held in p.roles.items()} for p in stage.phases},
                }
                for stage in self.stages
            }
        }


Planned = tuple[int, tuple[Phase, ...]]
"""A stage's steps and phases."""
Passes = list[list[list[int]]]
"""Of each optimiser step the passes with gradients, of each pass the sequence lengths."""


def make_plan(recipe: Recipe, machine: Machine, config: ModelConfig, data: RoundData | None = None) -> Plan:
    """Plan a round of `recipe` for a base of the shape `config`; `data` are the recipe's, where they are read."""
    data = data or load_round_data(recipe.data, SILENT)
    minutes = estimate(recipe, machine, config, data).minutes
    shape = Shape(config, machine.dtype(recipe.run.precision).itemsize)
    own, others = split_by_prompt(data.comparisons, recipe.data.judge_share, recipe.run.seed)
    scorer: Roles = {"reward model": shape.weights(shape.scalar_parameters)}
    planned: dict[str, Callable[[], Planned]] = {
        "SFT": lambda: _sft(recipe, data, shape),
        "reward model": lambda: _reward(recipe, own, shape),
        "gate": lambda: (1, (_scoring(shape, scorer, recipe.run.micro_batch_tokens),)),
        METHOD_NAMES["ppo"]: lambda: _ppo(recipe, data, shape),
        METHOD_NAMES["dpo"]: lambda: _dpo(recipe, own, shape),
        METHOD_NAMES["best_of_n"]: lambda: _best_of_n(recipe, data, shape),
        "judge": lambda: _reward(recipe, others, shape),
        "evaluation": lambda: _evaluation(recipe, data, shape),
    }
    stages = []
    for name, took in minutes.items():
        steps, phases = planned[name]()
        stages.append(StagePlan(name, steps, took, phases))
    return Plan(tuple(stages), recipe.run.processes)


def advice(recipe: Recipe, machine: Machine, config: ModelConfig) -> str | None:
    """One line where the memory of `machine` does not suffice: what to change so that it does; None where it does."""
    data = load_round_data(recipe.data, SILENT)
    plan = make_plan(recipe, machine, config, data)
    if plan.peak_gb <= machine.memory_gb:
        return None
    stage = plan.largest
    line = (
        f"{stage.name} needs {plan.peak_gb:.1f} GB in its {stage.peak.name} phase and this machine has "
        f"{machine.memory_gb:.1f} GB"
    )
    for change in _changes(recipe):
        changed = make_plan(_changed(recipe, change), machine, config, data)
        if changed.peak_gb <= machine.memory_gb:
            fields = " ".join(f"--set {name}={value}" for name, value in change.items())
            return f"{line}; {fields} brings it to {changed.peak_gb:.1f} GB"
    return f"{line}; take a smaller base or a machine with more memory"


def _changes(recipe: Recipe) -> Iterable[dict[str, Any]]:
    """What takes less memory, the mildest first: smaller passes, fewer processes, adapters, no critic of its own."""
    longest = max(recipe.sft.max_tokens, recipe.reward.max_tokens, recipe.dpo.max_tokens)
    smaller = [recipe.run.micro_batch_tokens]
    while smaller[-1] // 2 >= longest:
        smaller.append(smaller[-1] // 2)
    milder: dict[str, Any] = {}
    for more in ({}, {"run.processes": 1}, {"ppo.lora_rank": 16}, {"ppo.baseline": "value_head"}):
        milder = milder | more
        for most_tokens in smaller:
            yield ({"run.micro_batch_tokens": most_tokens} if most_tokens < smaller[0] else {}) | milder


def _changed(recipe: Recipe, change: dict[str, Any]) -> Recipe:
    for name, value in change.items():
        section, _, key = name.partition(".")
        recipe = recipe.model_copy(update={section: getattr(recipe, section).model_copy(update={key: value})})
    return recipe


def _sft(recipe: Recipe, data: RoundData, shape: Shape) -> Planned:
    sft, lengths = recipe.sft, []
    for source in data.demonstrations:
        train, _ = split_by_prompt(source.records, sft.holdout_share, recipe.run.seed)
        own = [length for d in train if (length := math.ceil(tokens(d.messages))) <= sft.max_tokens]
        whole, rest = divmod(source.weight, 1)
        lengths += int(whole) * own + spread(own, round(rest * len(own)))
    steps = max(1, round(math.ceil(len(lengths) / sft.batch_examples) * sft.epochs))
    passes = _passes(recipe, lengths, sft.batch_examples, steps)
    return steps, _training(recipe, shape, _whole(shape, shape.parameters), passes)


def _reward(recipe: Recipe, comparisons: Sequence[Comparison], shape: Shape) -> Planned:
    steps, passes = _of_rankings(recipe, comparisons, recipe.reward.batch_rankings, recipe.reward.epochs)
    return steps, _training(recipe, shape, _whole(shape, shape.scalar_parameters), passes, head=False, branched=True)


def _dpo(recipe: Recipe, comparisons: Sequence[Comparison], shape: Shape) -> Planned:
    steps, passes = _of_rankings(recipe, comparisons, recipe.dpo.batch_rankings, recipe.dpo.epochs)
    return steps, _training(recipe, shape, _whole(shape, shape.parameters), passes, branched=True)


def _ppo(recipe: Recipe, data: RoundData, shape: Shape) -> Planned:
    ppo, seed = recipe.ppo, recipe.run.seed
    rank = ppo.lora_rank
    models = _adapted(shape, rank) if rank else _whole(shape, shape.parameters)
    if ppo.weight_average:
        models["averaged weights"] = 4 * (shape.adapters(rank) if rank else shape.parameters)
    if not rank:
        models["reference"] = shape.weights(shape.parameters)
    if ppo.baseline == "critic":
        models["critic, trained"] = sum(_whole(shape, shape.scalar_parameters).values())
    models |= _reward_models(recipe, shape)
    answer = ANSWER_SHARE * ppo.max_answer_tokens
    prompts = [math.ceil(tokens(messages)) for messages in data.prompts]
    passes, longest, size = [], 0, ppo.episodes // ppo.minibatches
    for step in range(min(ppo.iterations, _LOOKED_AT)):
        drawn = drawn_in_turn(prompts, ppo.episodes // ppo.answers_per_prompt, seed, step)
        lengths = [length + math.ceil(answer) for length in drawn for _ in range(ppo.answers_per_prompt)]
        order = shuffled(len(lengths), seed, 2 * step + 1)
        longest = max(longest, *drawn)
        for start in range(0, len(order), size):
            passes.append(_cut(recipe, [lengths[i] for i in order[start : start + size]]))
    rows = math.ceil(ppo.episodes / recipe.run.processes)
    rollout = _sampling(shape, models, rows, longest, ppo.max_answer_tokens)
    return ppo.iterations, (rollout, *_training(recipe, shape, models, passes, rank))


def _best_of_n(recipe: Recipe, data: RoundData, shape: Shape) -> Planned:
    best = recipe.best_of_n
    models = _whole(shape, shape.parameters) | _reward_models(recipe, shape)
    prompts = [math.ceil(tokens(messages)) for messages in data.prompts]
    lengths = [length + math.ceil(ANSWER_SHARE * best.max_answer_tokens) for length in prompts]
    passes = _passes(recipe, lengths, best.batch_examples, math.ceil(len(lengths) / best.batch_examples))
    rows = min(_ENGINE_ROWS, math.ceil(best.prompts * best.samples / recipe.run.processes))
    rollout = _sampling(shape, models, rows, max(prompts), best.max_answer_tokens)
    return best.iterations, (rollout, *_training(recipe, shape, models, passes))


def _evaluation(recipe: Recipe, data: RoundData, shape: Shape) -> Planned:
    settings = recipe.evaluation
    scalar = shape.weights(shape.scalar_parameters)
    models: Roles = {"policy": shape.weights(shape.parameters), "judge and reward model": 2 * scalar}
    longest = max(math.ceil(tokens(prompt.messages)) for prompt in data.evaluation)
    asked = min(settings.most_prompts, len(data.evaluation)) * settings.best_of
    rollout = _sampling(shape, models, min(_ENGINE_ROWS, asked), longest, settings.max_answer_tokens)
    return 1, (rollout, _scoring(shape, models, recipe.run.micro_batch_tokens))


def _whole(shape: Shape, parameters: int) -> Roles:
    """A model of which every weight is trained."""
    return {
        "weights": shape.weights(parameters),
        "float32 masters": shape.masters(parameters),
        "moments": shape.moments(parameters),
    }


def _adapted(shape: Shape, rank: int) -> Roles:
    """A language model of which only adapters are trained."""
    adapters = shape.adapters(rank)
    return _whole(shape, adapters) | {"weights": shape.weights(shape.parameters + adapters)}


def _reward_models(recipe: Recipe, shape: Shape) -> Roles:
    """Those that score what is sampled, all taken to be of the base's shape."""
    count = sum(part.kind in ("model", "folder") for part in recipe.ppo.rewards)
    return {"reward model": count * shape.weights(shape.scalar_parameters)}


def _training(
    recipe: Recipe,
    shape: Shape,
    models: Roles,
    passes: Passes,
    rank: int = 0,
    head: bool = True,
    branched: bool = False,
) -> tuple[Phase, ...]:
    """The phases in which a stage scores, updates and saves.

    Args:
        recipe: bounds the passes.
        shape: of all its models.
        models: what stays in memory throughout.
        passes: of its steps.
        rank: of the policy's adapters.
        head: whether a language model is trained, with its output head.
        branched: whether its sequences are rankings.
    """
    largest = max(itertools.chain(*passes), key=lambda lengths: shape.activations(lengths, rank, branched))
    working: Roles = {"activations": shape.activations(largest, rank, branched)}
    if head:
        working["logits"] = shape.logits(sum(largest)) + (0 if rank else shape.weights(shape.embedding))
    gathered: Roles = {}
    if any(len(step) > recipe.run.processes for step in passes):  # those of a single pass come as its activations go
        gathered["gradients"] = shape.gradients(shape.adapters(rank) if rank else shape.parameters)
    state = sum(held for role, held in models.items() if role in ("float32 masters", "moments", "critic, trained"))
    return (
        _scoring(shape, models, recipe.run.micro_batch_tokens),
        _phase("update", models | gathered, working),
        _phase("save", models, {"part of the state": min(state, _STATE_PART + 4 * shape.embedding)}),
    )


_SCORED_TOKENS = 128
"""Of a common sequence."""


def _scoring(shape: Shape, models: Roles, most_tokens: int) -> Phase:
    """A pass without gradients over as many tokens as one may have, in sequences of a common length."""
    lengths = [_SCORED_TOKENS] * math.ceil(most_tokens / _SCORED_TOKENS)
    working: Roles = {"a pass without gradients": shape.passing(lengths), "logits": shape.logits(most_tokens)}
    return _phase("scoring", models, working)


def _sampling(shape: Shape, models: Roles, rows: int, longest: int, most: int) -> Phase:
    """Answers of at most `most` tokens in the making, `rows` at once, to prompts of at most `longest` tokens."""
    working: Roles = {
        "packed weights": shape.packed(),
        "KV cache": shape.cache(rows, longest + most),
        "a pass over the prompts": shape.passing([longest] * rows),
        "logits": shape.sampled_logits(rows),
    }
    return _phase("rollout", models, working)


def _phase(name: str, models: Roles, working: Roles) -> Phase:
    """What stays, what comes and goes, and what is beside both."""
    kept = _KEPT_SHARE * sum(working.values())
    beside = {"kept by the allocator": kept, "interpreter and libraries": _LIBRARIES}
    return Phase(name, models | working | beside)


def _passes(recipe: Recipe, lengths: Sequence[int], batch: int, steps: int) -> Passes:
    """Those of so many steps over shuffled epochs."""
    passes = []
    per_epoch = math.ceil(len(lengths) / batch)
    for step in range(min(steps, _LOOKED_AT)):
        epoch, place = divmod(step, per_epoch)
        order = shuffled(len(lengths), recipe.run.seed, epoch)
        passes.append(_cut(recipe, [lengths[i] for i in order[place * batch : (place + 1) * batch]]))
    return passes


def _cut(recipe: Recipe, lengths: Sequence[int]) -> list[list[int]]:
    groups = micro_batches(lengths, recipe.run.micro_batch_tokens, recipe.run.processes)
    return [[lengths[i] for i in group] for group in groups]


def _of_rankings(recipe: Recipe, comparisons: Sequence[Comparison], batch: int, epochs: float) -> tuple[int, Passes]:
    """Steps and passes over rankings, each of which is one sequence: what its answers share is computed once."""
    lengths = [
        math.ceil(tokens(c.messages) + sum(text_tokens(one.content) for one in c.candidates)) for c in comparisons
    ]
    steps = max(1, round(math.ceil(len(lengths) / batch) * epochs))
    return steps, _passes(recipe, lengths, batch, steps)
