"""From a checkpoint folder to an engine that can talk."""

from pathlib import Path

import torch

from accordant.config import METHOD_NAMES
from accordant.engine import Engine
from accordant.files import read_json
from accordant.machine import default_device, keep_freed_memory, resolve_dtype
from accordant.model.hub import load_transformer
from accordant.serve.moderation import Moderation, Moderator
from accordant.serve.requests import Figure
from accordant.serve.settings import ModerationSettings
from accordant.text import Renderer

LONGEST = 2048
"""Most tokens of prompt and answer together: beyond this, reading a prompt takes several seconds of a processor."""


def load_engine(checkpoint: Path, rows: int = 1) -> Engine:
    """Read a checkpoint in the hub's format, for `rows` answers at once.

    It runs on the GPU where there is one, in the number format that pays.
    """
    keep_freed_memory()
    renderer = Renderer.load(checkpoint)
    return Engine(load_transformer(checkpoint, resolve_dtype("auto"), default_device()), renderer, rows)


def load_moderation(settings: ModerationSettings, engine: Engine) -> Moderation | None:
    """The classifier, which is read in the background; None where it is off.

    It runs on the processor, in the number format of an engine that runs there, too: the one that is faster.
    """
    if settings.mode == "off":
        return None

    head = engine.model.lm_head.weight
    dtype = head.dtype if head.device.type == "cpu" else torch.float32

    def load() -> Moderator:
        from accordant.moderation import moderator  # not before the server listens

        return moderator.Moderator.load(policy=settings.policy, dtype=dtype)

    return Moderation(load, settings.mode)


def context_of(engine: Engine) -> int:
    """Most tokens of prompt and answer together when talking with this engine."""
    return min(engine.model.config.context, LONGEST)


def facts_of(engine: Engine) -> dict[str, str]:
    """What the page tells of the model, label to text."""
    millions = sum(weight.numel() for weight in engine.model.parameters()) / 1e6
    size = f"{millions / 1e3:.1f}B" if millions >= 1e3 else f"{millions:.3g}M"
    return {
        "Parameters": size,
        "Remembers": f"{context_of(engine):,} tokens of the conversation",
        "Runs on": "this machine" if engine.model.device.type == "cpu" else "this machine's accelerator",
    }


def measured_of(checkpoint: Path) -> dict[str, Figure]:
    """Figures of `evaluation.json`, where a round made and measured this checkpoint; else none."""
    stage = checkpoint.resolve().parent
    path = stage.parent / "evaluation.json"
    if checkpoint.resolve().name != "checkpoint" or not path.exists():
        return {}
    names = {"sft": "SFT"} | {str(method): name for method, name in METHOD_NAMES.items()}
    figures = read_json(path)["systems"].get(names.get(stage.name), {})
    return {name: Figure(**figure) for name, figure in figures.items()}
