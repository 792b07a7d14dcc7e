"""From a checkpoint folder to an engine that can talk."""

from pathlib import Path
from typing import Any

import torch

from accordant.config import METHOD_NAMES
from accordant.engine import Engine
from accordant.files import read_json
from accordant.machine import default_device, keep_freed_memory, resolve_dtype
from accordant.model.hub import load_transformer
from accordant.serve.moderation import Moderation, Moderator
from accordant.serve.requests import Figure, Sample
from accordant.serve.settings import ModerationSettings
from accordant.text import Renderer

LONGEST = 2048
"""Most tokens of prompt and answer together: beyond this, reading a prompt takes several seconds of a processor."""


MOST_SAMPLES = 4
HEAVY = ("harmful", "lookalike", "distress")
"""Kinds of evaluation prompts that are about harm."""


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
    found, system = _evaluation_of(checkpoint)
    return {name: Figure(**figure) for name, figure in found.get("systems", {}).get(system, {}).items()}


def samples_of(checkpoint: Path) -> list[Sample]:
    """What this checkpoint answered in its round's evaluation, where there was one.

    They are the first of each kind, by place in the evaluation, never by how the answer looks; without those that are
    about harm, which nobody should meet on a first page.
    """
    found, system = _evaluation_of(checkpoint)
    by_kind: dict[str, Sample] = {}
    for one in found.get("samples", []):
        if len(one["messages"]) == 1 and system in one["answers"] and one["tag"] not in HEAVY:
            sample = Sample(question=one["messages"][0]["content"], answer=one["answers"][system]["text"])
            by_kind.setdefault(one["tag"], sample)
    return list(by_kind.values())[:MOST_SAMPLES]


def _evaluation_of(checkpoint: Path) -> tuple[dict[str, Any], str | None]:
    """`evaluation.json` of the round that made a checkpoint, and what it is called there."""
    stage = checkpoint.resolve().parent
    path = stage.parent / "evaluation.json"
    if checkpoint.resolve().name != "checkpoint" or not path.exists():
        return {}, None
    names = {"sft": "SFT"} | {str(method): name for method, name in METHOD_NAMES.items()}
    return read_json(path), names.get(stage.name)
