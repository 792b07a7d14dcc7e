"""The shape of a decoder, read from and written to the hub's `config.json`."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from accordant.errors import AccordantError

FAMILIES = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "mistral",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
    "Olmo2ForCausalLM": "olmo2",
}
"""Architectures that this decoder is, under the names of the hub."""


@dataclass(frozen=True)
class RopeScaling:
    """Stretching of rotary positions as in Llama 3.1 (`rope_type: llama3`)."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_context: int

    def to_hub(self) -> dict[str, Any]:
        """The `rope_scaling` entry of a `config.json`."""
        return {
            "rope_type": "llama3",
            "factor": self.factor,
            "low_freq_factor": self.low_freq_factor,
            "high_freq_factor": self.high_freq_factor,
            "original_max_position_embeddings": self.original_context,
        }

    def apply(self, frequency: float) -> float:
        """Frequency of one rotary pair after stretching (long waves slowed down, short ones kept, linear between)."""
        wavelength = 2 * math.pi / frequency
        if wavelength < self.original_context / self.high_freq_factor:
            return frequency
        if wavelength > self.original_context / self.low_freq_factor:
            return frequency / self.factor
        low, high = self.low_freq_factor, self.high_freq_factor
        blend = (self.original_context / wavelength - low) / (high - low)
        return (1 - blend) * frequency / self.factor + blend * frequency


@dataclass(frozen=True)
class ModelConfig:
    """Everything that decides the shape and the arithmetic of the decoder."""

    architecture: str
    vocab_size: int
    hidden_size: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    mlp_size: int
    context: int
    norm_epsilon: float = 1e-5
    rope_base: float = 10_000.0
    rope_scaling: RopeScaling | None = None
    tied_embeddings: bool = True
    attention_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    qk_norm: Literal["none", "head", "all"] = "none"
    norm_after: bool = False
    raw: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def from_hub(cls, raw: dict[str, Any]) -> "ModelConfig":
        """Read a `config.json`.

        Raises:
            AccordantError: for an architecture, activation or position scheme outside the family, by its name.
        """
        name = (raw.get("architectures") or [""])[0].replace("ForSequenceClassification", "ForCausalLM")
        name = name.replace("ForTokenClassification", "ForCausalLM")
        if name not in FAMILIES:
            supported = ", ".join(sorted(FAMILIES))
            raise AccordantError(f"architecture {name or 'unnamed'!r} is not supported; these are: {supported}")
        if (activation := raw.get("hidden_act", "silu")) != "silu":
            raise AccordantError(f"hidden_act {activation!r} is not supported; this family uses 'silu'")
        sliding = raw.get("sliding_window")
        if sliding and raw.get("use_sliding_window", name == "MistralForCausalLM"):
            raise AccordantError(f"sliding_window = {sliding} is not supported; only full attention is")
        family = FAMILIES[name]
        heads, hidden = int(raw["num_attention_heads"]), int(raw["hidden_size"])
        rope = raw.get("rope_parameters") or {}
        return cls(
            architecture=name,
            vocab_size=int(raw["vocab_size"]),
            hidden_size=hidden,
            layers=int(raw["num_hidden_layers"]),
            heads=heads,
            kv_heads=int(raw.get("num_key_value_heads") or heads),
            head_size=int(raw.get("head_dim") or hidden // heads),
            mlp_size=int(raw["intermediate_size"]),
            context=int(raw["max_position_embeddings"]),
            norm_epsilon=float(raw.get("rms_norm_eps", 1e-6)),
            rope_base=float(raw.get("rope_theta") or rope.get("rope_theta") or 10_000.0),
            rope_scaling=_rope_scaling(raw.get("rope_scaling") or rope),
            tied_embeddings=raw.get("tie_word_embeddings", False),
            attention_bias=family == "qwen2" or raw.get("attention_bias", False),
            output_bias=raw.get("attention_bias", False) and family != "qwen2",
            mlp_bias=raw.get("mlp_bias", False),
            qk_norm={"qwen3": "head", "olmo2": "all"}.get(family, "none"),  # type: ignore[arg-type]
            norm_after=family == "olmo2",
            raw=raw,
        )

    def to_hub(self) -> dict[str, Any]:
        """A `config.json`: what was read, or, for a model made here, the Llama form of this shape."""
        if self.raw:
            return dict(self.raw)
        return {
            "architectures": [self.architecture],
            "model_type": FAMILIES[self.architecture],
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_size,
            "intermediate_size": self.mlp_size,
            "max_position_embeddings": self.context,
            "rms_norm_eps": self.norm_epsilon,
            "rope_theta": self.rope_base,
            "rope_scaling": self.rope_scaling.to_hub() if self.rope_scaling else None,
            "sliding_window": None,
            "tie_word_embeddings": self.tied_embeddings,
            "attention_bias": self.attention_bias,
            "mlp_bias": self.mlp_bias,
            "hidden_act": "silu",
            "initializer_range": 0.02,
        }


def _rope_scaling(raw: dict[str, Any]) -> RopeScaling | None:
    kind = raw.get("rope_type") or raw.get("type") or "default"
    if kind == "default":
        return None
    if kind != "llama3":
        raise AccordantError(f"rope scaling {kind!r} is not supported; 'default' and 'llama3' are")
    return RopeScaling(
        factor=float(raw["factor"]),
        low_freq_factor=float(raw["low_freq_factor"]),
        high_freq_factor=float(raw["high_freq_factor"]),
        original_context=int(raw["original_max_position_embeddings"]),
    )
