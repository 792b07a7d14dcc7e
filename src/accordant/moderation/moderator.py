"""Text in, verdict out."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from accordant.files import workspace
from accordant.model.int8 import int8_is_fast
from accordant.moderation.encoder import Encoder, bring_encoder
from accordant.moderation.heads import Heads
from accordant.moderation.minors import names_a_minor
from accordant.moderation.policy import DEFAULT_POLICY, Policy, Side, Verdict
from accordant.records import CATEGORIES, Category

SHIPPED = Path(__file__).parent / "shipped"
"""The heads that come with Accordant; their model card lies beside them."""


def heads_folder() -> Path:
    """The heads in use: those trained in the workspace, else the shipped ones."""
    own = workspace() / "moderation"
    return own if own.exists() else SHIPPED


def encoder_folder() -> Path:
    """Where the encoder is kept."""
    return workspace() / "encoders" / "all-minilm-l6-v2"


class Moderator:
    """Encoder, heads and policy; may be used from several threads at once.

    Args:
        encoder: texts to vectors.
        heads: vectors to probabilities.
        policy: probabilities to actions.
    """

    name = "accordant-moderation"

    def __init__(self, encoder: Encoder, heads: Heads, policy: Policy = DEFAULT_POLICY) -> None:
        self.encoder, self.heads, self.policy = encoder, heads, policy

    @classmethod
    def load(
        cls,
        heads: Path | None = None,
        policy: Policy = DEFAULT_POLICY,
        dtype: torch.dtype = torch.float32,
        int8: bool | None = None,
    ) -> "Moderator":
        """The heads in `heads` (without it, those of `heads_folder`) on the encoder, which is fetched where needed.

        `dtype` and `int8` are as in `load_bert`; without it, 8-bit integers are used where they are fast.

        Raises:
            AccordantError: when either cannot be had or read.
        """
        encoder = Encoder.load(bring_encoder(encoder_folder()), dtype, int8_is_fast() if int8 is None else int8)
        return cls(encoder, Heads.load(heads or heads_folder(), encoder.digest, encoder.size), policy)

    def scores(self, texts: Sequence[str]) -> list[dict[Category, float]]:
        """The probability of each category for each text; of a long text, that of its worst window."""
        logits = self.heads.logits(self.encoder.embed(texts), len(texts))
        return [probabilities(text, row) for text, row in zip(texts, logits, strict=True)]

    def judge(self, text: str, side: Side = "model") -> Verdict:
        """What the policy makes of a text that the user or the model wrote."""
        return self.policy.verdict(self.scores([text])[0], side)


def probabilities(text: str, logits: np.ndarray) -> dict[Category, float]:
    """Logits (categories,) of a text as probabilities; sexual/minors, where it has no head, by the rule of `minors`."""
    found = dict(zip(CATEGORIES, (1 / (1 + np.exp(-logits))).tolist(), strict=True))
    if np.isnan(found["sexual/minors"]):
        found["sexual/minors"] = found["sexual"] if names_a_minor(text) else 0.0
    return {category: 0.0 if np.isnan(score) else score for category, score in found.items()}
