"""Recipes: one TOML file is one run. Typed, documented per field, and checked before any model loads."""

import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from accordant.errors import AccordantError

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
_OffIsNone = BeforeValidator(lambda value: None if value == "off" else value)
Limit = Annotated[float | None, _OffIsNone]
"""A number, or "off" in the recipe (TOML has no null)."""
PositiveLimit = Annotated[Positive | None, _OffIsNone]
ShareLimit = Annotated[Share | None, _OffIsNone]


Method = Literal["ppo", "dpo", "best_of_n"]
METHOD_NAMES: dict[Method, str] = {"ppo": "PPO", "dpo": "DPO", "best_of_n": "SFT on best"}
"""What a way to tune a policy, and the policy itself, are called in the terminal and in the report."""


class Section(BaseModel):
    """Base of all sections: immutable, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(Section):
    """A data file and how often its rows are seen."""

    path: Path = Field(description="File of records, or of a public format that is recognised.")
    weight: Positive = Field(1.0, description="How many times an epoch sees each row; 0.5 sees every other one.")


class RunSection(Section):
    """The run as a whole."""

    name: str = Field(description="Folder of the run in the workspace.", pattern=r"^[A-Za-z0-9._-]+$")
    seed: int = Field(0, ge=0, description="Decides every random draw of the run.")
    base: str = Field("starter", description="`starter`, a folder in the hub's format, a .gguf file, or a hub id.")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Arithmetic of models; auto takes bfloat16 where it is measured to be faster."
    )
    template: Literal["chatml", "base"] = Field(
        "chatml", description="Chat template of what is trained: plain ChatML, or the base's own."
    )
    micro_batch_tokens: Count = Field(2048, description="Most tokens in one forward and backward pass.")
    processes: Count = Field(1, description="Processes that share each step's work; one for each GPU, where there are.")
    save_every_seconds: Positive = Field(120.0, description="How often the state of a stage is written.")


class DataSection(Section):
    """What is learned from and measured on."""

    demonstrations: tuple[Source, ...] = Field(description="Dialogues for SFT.", min_length=1)
    comparisons: tuple[Path, ...] = Field(description="Rankings for the reward models.", min_length=1)
    judge_share: Share = Field(
        0.5, description="Share of the rankings, by prompt, that PPO's reward model never sees: they train the judge."
    )
    evaluation: Path = Field(description="Held-out prompts; none may occur in the training parts.")
    labelled_answers: Path | None = Field(None, description="Answers labelled by reading, to check the scorers on.")
    built: str | None = Field(
        None, description="Data of `accordant data build --name`, learned besides.", pattern=r"^[A-Za-z0-9._-]+$"
    )
    extra_prompts: tuple[Path, ...] = Field((), description="More prompts for PPO, in a format of evaluation prompts.")


class SFTSection(Section):
    """Supervised fine-tuning on demonstrations."""

    epochs: Positive = Field(3.0, description="Passes over the weighted demonstrations.")
    learning_rate: Positive = Field(5e-5, description="Peak, after warm-up; it falls linearly to 0.")
    batch_examples: Count = Field(16, description="Dialogues per optimiser step.")
    warmup_share: Share = Field(0.05, description="Share of the steps in which the learning rate rises.")
    weight_decay: float = Field(0.0, ge=0, description="Decoupled weight decay of matrices.")
    max_tokens: Count = Field(512, description="A longer dialogue is left out, with a note.")
    holdout_share: Share = Field(0.04, description="Share of dialogues kept out, to watch the loss on.")


class RewardSection(Section):
    """The reward model."""

    epochs: Positive = Field(2.0, description="Passes over the rankings.")
    learning_rate: Positive = Field(2e-5, description="Peak, after warm-up; it falls linearly to 0.")
    batch_rankings: Count = Field(8, description="Rankings per optimiser step; all pairs of one stay together.")
    warmup_share: Share = Field(0.1, description="Share of the steps in which the learning rate rises.")
    weight_decay: float = Field(0.0, ge=0, description="Decoupled weight decay of matrices.")
    max_tokens: Count = Field(512, description="A ranking with a longer answer is left out, with a note.")
    most_measured: Count = Field(
        1000, description="At most so many unseen rankings measure the accuracy; as many texts set the scale of scores."
    )


CheckName = Literal[
    "accuracy",
    "calibration",
    "length",
    "repetition",
    "empty",
    "truncated",
    "broken_off",
    "flattery",
    "refusal",
]


class GateSection(Section):
    """What the reward model must show before PPO; a check passes when its whole 95% interval is within the limit."""

    least_accuracy: Share = Field(0.6, description="Least share of held-out pairs in the right order.")
    most_calibration_error: Share = Field(
        0.1, description="Most that stated confidence may differ from the share of right pairs, mean over ten bins."
    )
    most_length_bias: Share = Field(
        0.3, description="Most that reward may go with length, either way, beyond what people's ranks do (Spearman)."
    )
    least_adversarial_share: Share = Field(
        0.7, description="Least share of good answers that beat their adversarial twin, for each kind of twin."
    )
    adversarial_prompts: Count = Field(40, description="Held-out prompts for which such twins are made.")
    overrule: tuple[CheckName, ...] = Field((), description="Checks that may fail without stopping the round.")


class PolicySection(Section):
    """Which policies are made of the SFT model."""

    methods: tuple[Method, ...] = Field(
        ("ppo",), min_length=1, description="ppo, dpo and best_of_n: each tunes the SFT model apart from the others."
    )

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len(set(self.methods)) < len(self.methods):
            raise ValueError("a method stands twice in methods; name each once")
        return self


class RewardPart(Section):
    """One of the rewards whose weighted sum PPO raises and best-of-n chooses by."""

    name: str = Field(description="Its mean is the metric reward_NAME.", pattern=r"^[a-z0-9_]+$")
    source: str = Field(
        description="`model` (the round's reward model), `length` (1 for each token), `module:function` (see "
        "accordant.train.ppo.function_reward), or the folder of another reward model.",
        min_length=1,
    )
    weight: float = Field(1.0, allow_inf_nan=False, description="What its values are multiplied by; may be negative.")

    @property
    def kind(self) -> Literal["model", "length", "function", "folder"]:
        """What `source` names."""
        if self.source in ("model", "length"):
            return cast(Literal["model", "length"], self.source)
        return "function" if re.fullmatch(r"[\w.]+:[\w.]+", self.source) else "folder"


class PPOSection(Section):
    """Reinforcement learning against the reward model (Ouyang et al. 2022, appendix C.4)."""

    iterations: Count = Field(16, description="Rounds of sampling and updating.")
    episodes: Count = Field(64, description="Answers sampled per iteration.")
    answers_per_prompt: Count = Field(1, description="Answers to each drawn prompt; episodes counts all of them.")
    baseline: Literal["critic", "value_head", "group_mean"] = Field(
        "critic",
        description="What advantages are measured from: a critic of its own, a value head on the policy's trunk, "
        "or the other answers to the prompt.",
    )
    value_coefficient: Positive = Field(
        0.1, description="Weight of a value head's loss beside the policy's; they share the trunk's gradient."
    )
    lora_rank: int = Field(
        0, ge=0, description="Rank of the policy's adapters, which then alone are trained; 0 trains every weight."
    )
    lora_alpha: Positive = Field(32.0, description="What the adapters add is scaled by this over the rank.")
    minibatches: Count = Field(4, description="Optimiser steps per pass over an iteration's answers.")
    epochs: Count = Field(1, description="Passes over an iteration's answers.")
    learning_rate: Positive = Field(3e-6, description="Of the policy, after its warm-up; adapters bear ten times more.")
    critic_learning_rate: Positive = Field(
        1e-5, description="Of the critic or the value head; a head starts at zero and bears a hundred times more."
    )
    warmup_iterations: int = Field(2, ge=0, description="Updating iterations in which the policy's rate rises to that.")
    last_rate_share: Share = Field(
        1.0, description="Share of both learning rates that is left at the end of a straight line; 1 keeps them."
    )
    critic_warmup_iterations: int = Field(1, ge=0, description="First iterations in which only the critic learns.")
    critic_warmup_epochs: Count = Field(4, description="Passes over the answers of each of those iterations.")
    kl_coefficient_per_token: float = Field(
        0.02, ge=0, description="Weight of log(policy / reference), nats, subtracted from each token's reward."
    )
    kl_target_per_sequence: Positive | None = Field(
        None,
        description="Nats per answer that the KL weight steers towards; absent: it stays.",
    )
    kl_horizon_sequences: Count = Field(10_000, description="Answers in which it changes by about a fifth at most.")
    rewards: tuple[RewardPart, ...] = Field(
        (RewardPart(name="model", source="model"),), min_length=1, description="What is raised: a weighted sum."
    )
    normalise_reward: bool = Field(False, description="Scores as deviations from the mean of all scores of the run.")
    largest_reward: Positive | None = Field(None, description="Scores are cut to plus or minus this; absent: not cut.")
    clip: Positive = Field(0.2, description="Clip range of the probability ratio.")
    value_clip: Positive = Field(0.2, description="Clip range of a value around its value at sampling.")
    discount: Share = Field(1.0, description="Gamma.")
    gae_lambda: Share = Field(0.95, description="Lambda of generalised advantage estimation.")
    temperature: Positive = Field(1.0, description="Of sampling and of every log-prob alike.")
    max_answer_tokens: Count = Field(96, description="Longest answer; one cut here counts as not ended.")
    missing_end_score: float = Field(-1.0, description="Replaces the reward of an answer that does not end.")
    ptx_coefficient: float = Field(
        0.0, ge=0, description="Weight of the loss on demonstrations in the same gradient (InstructGPT: 27.8 on text)."
    )
    ptx_examples: Count = Field(8, description="Demonstrations per minibatch for that loss.")
    weight_average: Share = Field(0.0, description="Decay per step of the averaged weights that are kept; 0 is off.")

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.episodes % self.minibatches:
            raise ValueError(f"episodes = {self.episodes} must be a multiple of minibatches = {self.minibatches}")
        if self.episodes % self.answers_per_prompt:
            raise ValueError(
                f"episodes = {self.episodes} must be a multiple of answers_per_prompt = {self.answers_per_prompt}"
            )
        if self.baseline == "group_mean" and self.answers_per_prompt < 2:
            raise ValueError('baseline = "group_mean" needs answers_per_prompt of at least 2')
        names = [part.name for part in self.rewards]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two of the rewards have the name {twice!r}; give each its own")
        if self.critic_warmup_iterations >= self.iterations:
            raise ValueError(
                f"critic_warmup_iterations = {self.critic_warmup_iterations} leaves the policy no iteration "
                f"of iterations = {self.iterations}; lower it"
            )
        return self


class GuardsSection(Section):
    """What of an iteration of PPO is too much or too little; "off" switches a threshold off.

    A figure past its threshold is a warning; past it for more than `patience` iterations in a row, the run goes back to
    the last good state, or stops. Values that are not finite and ratios that should be 1 act at once.
    """

    most_kl_per_sequence: PositiveLimit = Field(15.0, description="Nats per answer between policy and SFT model.")
    least_entropy_per_token: PositiveLimit = Field(0.2, description="Nats per sampled token.")
    most_length_drift: PositiveLimit = Field(
        2.0, description="Factor, either way, between the mean length of answers now and in the first two iterations."
    )
    least_ended_share: ShareLimit = Field(0.5, description="Share of answers that end by themselves.")
    least_distinct_2: ShareLimit = Field(
        0.2, description="Share of different ones among all pairs of neighbouring words of an iteration's answers."
    )
    most_clip_fraction: ShareLimit = Field(0.3, description="Share of tokens whose ratio is clipped.")
    least_explained_variance: Limit = Field(
        -1.0, description="Of the returns by the critic, once the policy learns from it; 0 is a constant critic."
    )
    largest_ratio_gap: Positive = Field(
        1e-4,
        description="Most that the first minibatch's ratio of new to old probabilities, and in float32 that of scored "
        "to sampled ones, may differ from 1.",
    )
    patience: int = Field(3, ge=0, description="Iterations in a row past a threshold that only warn.")
    most_roll_backs: int = Field(
        0, ge=0, description="How often to go on from the last good state with halved learning rates; then it stops."
    )


class DPOSection(Section):
    """Direct preference optimisation on the reward model's rankings (Rafailov et al. 2023)."""

    beta: Positive = Field(
        0.1, description="Weight of the KL to the SFT model in what is optimised; the reward is beta * log-ratio."
    )
    epochs: Positive = Field(1.0, description="Passes over the rankings.")
    learning_rate: Positive = Field(5e-6, description="Peak, after warm-up; it falls linearly to 0.")
    batch_rankings: Count = Field(8, description="Rankings per optimiser step; all pairs of one stay together.")
    warmup_share: Share = Field(0.1, description="Share of the steps in which the learning rate rises.")
    max_tokens: Count = Field(512, description="A ranking with a longer answer is left out, with a note.")
    most_measured: Count = Field(200, description="At most so many unseen rankings are used to measure the accuracy.")


class BestOfNSection(Section):
    """Fine-tuning on the best of n sampled answers (Touvron et al. 2023, Llama 2, section 3.2.3)."""

    iterations: Count = Field(8, description="Rounds of sampling, choosing and fine-tuning.")
    prompts: Count = Field(32, description="Prompts per iteration.")
    samples: Count = Field(4, description="Answers per prompt, of which the best by ppo.rewards is kept.")
    temperature: Positive = Field(1.0, description="Of the answers.")
    max_answer_tokens: Count = Field(96, description="Longest answer.")
    epochs: Count = Field(1, description="Passes over an iteration's chosen answers.")
    batch_examples: Count = Field(16, description="Chosen answers per optimiser step.")
    learning_rate: Positive = Field(1e-5, description="Peak, after warm-up; it falls linearly to 0.")
    warmup_share: Share = Field(0.1, description="Share of all steps in which the learning rate rises.")


class EvaluationSection(Section):
    """Measuring base, SFT, best-of-n and the tuned policies on held-out prompts."""

    max_answer_tokens: Count = Field(96, description="Longest answer.")
    most_prompts: Count = Field(1000, description="At most so many prompts, spread evenly through the file.")
    best_of: Count = Field(4, description="Answers per prompt from which the reward model picks the best.")
    temperature: float = Field(0.7, ge=0, description="Of the answers to choose from; the others are greedy.")
    side_by_side: Count = Field(12, description="Prompts whose answers the report shows side by side.")


class Recipe(Section):
    """A whole round: one TOML file."""

    run: RunSection
    data: DataSection
    sft: SFTSection = SFTSection()
    reward: RewardSection = RewardSection()
    gate: GateSection = GateSection()
    policy: PolicySection = PolicySection()
    ppo: PPOSection = PPOSection()
    guards: GuardsSection = GuardsSection()
    dpo: DPOSection = DPOSection()
    best_of_n: BestOfNSection = BestOfNSection()
    evaluation: EvaluationSection = EvaluationSection()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        longest_of = {"sft": self.sft.max_tokens, "reward": self.reward.max_tokens, "dpo": self.dpo.max_tokens}
        for section, longest in longest_of.items():
            if longest > self.run.micro_batch_tokens:
                raise ValueError(
                    f"{section}.max_tokens = {longest} exceeds run.micro_batch_tokens = {self.run.micro_batch_tokens}; "
                    "raise the latter"
                )
        return self


def load_recipe(path: Path, overrides: dict[str, Any] | None = None) -> Recipe:
    """Read a recipe; relative paths in it are taken from its own folder, `$NAME` is replaced from the environment.

    Args:
        path: the TOML file.
        overrides: values by dotted name (`run.seed`) that replace those of the file.

    Raises:
        AccordantError: one line with file, field, value and what to do, for the first fault.
    """
    try:
        raw = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise AccordantError(f"recipe {path} does not exist") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise AccordantError(f"recipe {path} is not valid TOML: {error}") from None
    for name, value in (overrides or {}).items():
        section, _, key = name.partition(".")
        raw.setdefault(section, {})[key] = value
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as error:
        raise AccordantError(f"recipe {path}: {explain(error)}") from None
    return _anchor(recipe, path.parent)


def explain(error: ValidationError) -> str:
    """The first fault of a pydantic error as one line: field, value, what was expected."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown field {field}; remove it or mend its spelling"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "missing":
        return f"field {field} is missing"
    if isinstance(first["input"], dict):
        return f"{field}: {message}" if field else message
    return f"{field} = {first['input']!r}: {message}"


def _anchor(recipe: Recipe, folder: Path) -> Recipe:
    """Make the paths absolute."""

    def place(path: Path) -> Path:
        found = (folder / os.path.expandvars(path.expanduser())).resolve()
        if not found.exists():
            raise AccordantError(f"{found} does not exist; mend the path in the recipe")
        return found

    data = recipe.data
    anchored = data.model_copy(
        update={
            "demonstrations": tuple(s.model_copy(update={"path": place(s.path)}) for s in data.demonstrations),
            "comparisons": tuple(place(p) for p in data.comparisons),
            "evaluation": place(data.evaluation),
            "labelled_answers": place(data.labelled_answers) if data.labelled_answers else None,
            "extra_prompts": tuple(place(p) for p in data.extra_prompts),
        }
    )
    rewards = tuple(
        part.model_copy(update={"source": str(place(Path(part.source)))}) if part.kind == "folder" else part
        for part in recipe.ppo.rewards
    )
    return recipe.model_copy(update={"data": anchored, "ppo": recipe.ppo.model_copy(update={"rewards": rewards})})
