"""Whole PPO iterations against TRL's PPOTrainer: episodes a second, the time of each phase, and peak memory.

    python -m benchmarks.ppo workspace/bases/smollm2-135m-instruct              a TRL iteration takes minutes
    python -m benchmarks.ppo workspace/bases/smollm2-135m-instruct --prompts 8 --turns 2

Four models of one size on either side: policy, reference, reward model and critic, all from one base and one random
head. A prompt has 64 tokens and an answer 64, for nothing ends one early: TRL gets no stop token, and ours one that
is never sampled (padding). Same temperature, minibatches (4), epochs, clips; a minibatch is one pass on either side.
TRL takes one optimiser step for both models and ours one for each. Gradient checkpointing is off.

Ours keeps bfloat16 weights with float32 masters and moments of policy and critic; `benchmarks.training` says what TRL
keeps.
"""

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from benchmarks.paired import Work
from benchmarks.training import PEERS, main, prepare_ours, trl_settings

from accordant.config import PPOSection
from accordant.data.load import load_demonstrations
from accordant.model.hub import load_scalar_model, load_transformer, new_scalar_model, save_scalar_model
from accordant.progress import SILENT
from accordant.records import Message, Messages
from accordant.text import Renderer
from accordant.train.ppo import PPOStage, RewardModelReward
from accordant.train.ppo.critic import SeparateCritic
from accordant.train.ppo.rollout import Rollout

PROMPT_TOKENS = ANSWER_TOKENS = 64
MINIBATCHES = 4
RATE = 3e-6


class Phases:
    """Seconds of processor time spent in some functions since the last `begin`."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def begin(self) -> None:
        """Forget what was measured."""
        self.seconds = dict.fromkeys(self.seconds, 0.0)

    def watch(self, owner: Any, function: str, phase: str, only: Callable[[], bool] = lambda: True) -> None:
        """Add the time of `owner.function`, where `only` says so, to `phase`."""
        original = getattr(owner, function)
        self.seconds.setdefault(phase, 0.0)

        def timed(*args: Any, **named: Any) -> Any:
            counts, began = only(), time.process_time()
            try:
                return original(*args, **named)
            finally:
                self.seconds[phase] += (time.process_time() - began) * counts

        setattr(owner, function, timed)

    def figures(self) -> dict[str, float]:
        """For the result."""
        return {f"seconds_{phase}": seconds for phase, seconds in self.seconds.items()}


def conversations(renderer: Renderer, count: int) -> list[Messages]:
    """Questions of exactly `PROMPT_TOKENS` tokens: words of the starter's dialogues, as many as it takes."""
    found = []
    for demonstration in load_demonstrations(Path("data/starter/demonstrations.jsonl")).records:
        words = " ".join(message.content for message in demonstration.messages).split()
        for stop in range(1, min(len(words), PROMPT_TOKENS)):
            asked = (Message(role="user", content=" ".join(words[:stop])),)
            if len(renderer.prompt(asked)) >= PROMPT_TOKENS:
                found += [asked] if len(renderer.prompt(asked)) == PROMPT_TOKENS else []
                break
        if len(found) == count:
            return found
    raise SystemExit(f"only {len(found)} prompts of {PROMPT_TOKENS} tokens can be made")


def with_scalar_model(base: Path) -> Path:
    """A folder with the reward model and critic that both sides start from: the base with a random head."""
    folder = Path(tempfile.mkdtemp())
    save_scalar_model(new_scalar_model(base, torch.bfloat16), folder)
    Renderer.load(base).save(folder)
    return folder


class Ours:
    """`PPOStage`, an iteration a run."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        prepare_ours()
        renderer = Renderer.load(arguments.model)
        asked = conversations(renderer, arguments.prompts)
        tokenizer = dataclasses.replace(renderer.tokenizer, end_of_turn=renderer.tokenizer.pad)
        endless = dataclasses.replace(renderer, tokenizer=tokenizer)
        scalar = with_scalar_model(arguments.model)
        policy, reference = (load_transformer(arguments.model, torch.bfloat16) for _ in range(2))
        critic, rewarder = (load_scalar_model(scalar, torch.bfloat16) for _ in range(2))
        settings = PPOSection(
            iterations=1000,
            episodes=arguments.prompts,
            minibatches=MINIBATCHES,
            epochs=arguments.epochs,
            learning_rate=RATE,
            critic_learning_rate=RATE,
            warmup_iterations=0,
            critic_warmup_iterations=0,
            kl_coefficient_per_token=0.05,
            max_answer_tokens=ANSWER_TOKENS,
        )
        tokens = arguments.micro_batch_tokens
        reward = RewardModelReward(rewarder, endless, tokens)
        self.stage = PPOStage(policy, reference, critic, reward, endless, asked, settings, 0, tokens)
        self.phases, self.done = Phases(), 0
        self.phases.watch(self.stage.engine, "generate", "rollout")
        self.phases.watch(self.stage, "_score", "scoring")
        self.phases.watch(Rollout, "score", "scoring")
        self.phases.watch(SeparateCritic, "values", "scoring")
        self.phases.watch(self.stage, "_update", "policy_update")
        self.phases.watch(SeparateCritic, "learn", "critic_update")

    def __call__(self) -> float:
        """One iteration; its episodes."""
        self.phases.begin()
        metrics = self.stage.advance(self.done, SILENT)
        self.done += 1
        assert metrics["answer_tokens"] == ANSWER_TOKENS
        return self.stage.settings.episodes

    @property
    def figures(self) -> dict[str, float]:
        """Of the last iteration."""
        return self.phases.figures()


class TRL:
    """`PPOTrainer`, an iteration a run; what is neither rollout nor scoring updates both models at once."""

    def __init__(self, arguments: argparse.Namespace, dtype: torch.dtype) -> None:
        from datasets import Dataset
        from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
        from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer

        renderer = Renderer.load(arguments.model)
        prompts = [{"input_ids": renderer.prompt(asked)} for asked in conversations(renderer, arguments.prompts)]
        scalar = with_scalar_model(arguments.model)
        policy, reference = (AutoModelForCausalLM.from_pretrained(arguments.model, dtype=dtype) for _ in range(2))
        critic, rewarder = (
            AutoModelForSequenceClassification.from_pretrained(scalar, dtype=dtype, num_labels=1) for _ in range(2)
        )
        tokenizer = AutoTokenizer.from_pretrained(arguments.model, padding_side="left")
        # One optimiser step for each minibatch needs gradient_accumulation_steps = 1: TRL counts its accumulation over
        # all micro-batches of an epoch, so that with the batch made up by accumulation four minibatches are one step.
        config = PPOConfig(
            per_device_train_batch_size=arguments.prompts,
            gradient_accumulation_steps=1,
            num_mini_batches=MINIBATCHES,
            num_ppo_epochs=arguments.epochs,
            total_episodes=arguments.prompts,
            response_length=ANSWER_TOKENS,
            temperature=1.0,
            kl_coef=0.05,
            num_sample_generations=0,
            **trl_settings(dtype, RATE),
        )
        self.trainer = PPOTrainer(
            args=config,
            processing_class=tokenizer,
            model=policy,
            ref_model=reference,
            reward_model=rewarder,
            value_model=critic,
            train_dataset=Dataset.from_list(prompts),
            eval_dataset=Dataset.from_list(prompts),
        )
        self.phases, self.prompts, self.seconds = Phases(), arguments.prompts, 0.0
        self.phases.watch(ppo_trainer, "batch_generation", "rollout")
        self.phases.watch(ppo_trainer, "get_reward", "scoring")
        self.phases.watch(ppo_trainer, "forward", "scoring", only=lambda: not torch.is_grad_enabled())

    def __call__(self) -> float:
        """One iteration; its episodes."""
        self.phases.begin()
        began = time.process_time()
        self.trainer.train()
        self.seconds = time.process_time() - began
        return self.prompts

    @property
    def figures(self) -> dict[str, float]:
        """Of the last iteration."""
        return self.phases.figures() | {"seconds_update": self.seconds - sum(self.phases.seconds.values())}


def work_of(program: str, arguments: argparse.Namespace) -> Work:
    """A program by its name."""
    return Ours(arguments) if program == "ours" else TRL(arguments, PEERS[program])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of a base")
    parser.add_argument("--prompts", type=int, default=32, help="episodes of an iteration")
    parser.add_argument("--epochs", type=int, default=1, help="passes over them")
    parser.add_argument("--micro-batch-tokens", type=int, default=2048, help="of one pass of ours")
    main("ppo", parser, work_of)
