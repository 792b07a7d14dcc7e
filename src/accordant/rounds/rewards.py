"""The rewards that a recipe names: found, checked and told apart by digest before anything is trained, then built."""

import importlib
import inspect
from collections.abc import Callable, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch

from accordant.config import RewardPart
from accordant.errors import AccordantError
from accordant.files import digest, sha256
from accordant.model.hub import load_scalar_model, read_config
from accordant.text import Renderer
from accordant.train.micro_batches import MicroBatches
from accordant.train.ppo import CombinedReward, Reward, RewardModelReward, function_reward, length_reward


def outside_sources(parts: Sequence[RewardPart]) -> dict[str, str]:
    """By `ppo.rewards.NAME`, the digest of what comes from outside the round: a checkpoint, or a function's source.

    What a function's own file imports is not part of its digest.

    Raises:
        AccordantError: for a folder that is no checkpoint, or a function that cannot be imported or has no source.
    """
    found = {}
    for part in parts:
        if part.kind == "function":
            found[f"ppo.rewards.{part.name}"] = sha256(_source_file(part.source))
        elif part.kind == "folder":
            found[f"ppo.rewards.{part.name}"] = _checkpoint_digest(Path(part.source))
    return found


def build_reward(
    parts: Sequence[RewardPart],
    own_folder: Path,
    policy_renderer: Renderer,
    micro_batches: MicroBatches,
    dtype: torch.dtype,
    device: torch.device | str,
) -> CombinedReward:
    """The weighted sum of `parts`.

    Args:
        parts: the recipe's.
        own_folder: checkpoint of the round's reward model.
        policy_renderer: whose tokens are sampled.
        micro_batches: bound of one forward pass of a reward model.
        dtype: of reward models.
        device: of reward models.
    """

    def reward_model(folder: Path) -> Reward:
        renderer = Renderer.load(folder)
        same = _identity(renderer) == _identity(policy_renderer)
        return RewardModelReward(load_scalar_model(folder, dtype, device), renderer, micro_batches, same)

    def build(part: RewardPart) -> Reward:
        match part.kind:
            case "model":
                return reward_model(own_folder)
            case "folder":
                return reward_model(Path(part.source))
            case "function":
                return function_reward(import_function(part.source))
            case "length":
                return length_reward

    return CombinedReward([(part.name, part.weight, build(part)) for part in parts])


def import_function(source: str) -> Callable[..., Any]:
    """The function that `module:function` names, from what is installed or on PYTHONPATH.

    Raises:
        AccordantError: when it cannot be imported, for whatever reason, or cannot be called.
    """
    module, _, name = source.partition(":")
    try:
        found = attrgetter(name)(importlib.import_module(module))
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise AccordantError(
            f"reward function {source} cannot be imported ({reason:.160}); install its module or put its folder on "
            "PYTHONPATH"
        ) from error
    if not callable(found):
        raise AccordantError(f"reward function {source} is a {type(found).__name__}, which cannot be called")
    return found  # type: ignore[no-any-return]


def _source_file(source: str) -> Path:
    try:
        file = inspect.getsourcefile(inspect.unwrap(import_function(source)))
    except TypeError:
        file = None
    if file is None:
        raise AccordantError(
            f"reward function {source} has no source file, so a run with it could not be told from another; "
            "write a function around it"
        )
    return Path(file)


def _checkpoint_digest(folder: Path) -> str:
    if "score_mean" not in read_config(folder).raw.get("accordant", {}):
        raise AccordantError(f"ppo.rewards: {folder} is no reward model of ours; its config.json has no score_mean")
    names = ("*.safetensors", "config.json", "tokenizer.json", "chat_template.jinja")
    return digest([(path.name, sha256(path)) for name in names for path in sorted(folder.glob(name))])


def _identity(renderer: Renderer) -> tuple[str, str]:
    return renderer.tokenizer.markup.to_str(), renderer.template.source
