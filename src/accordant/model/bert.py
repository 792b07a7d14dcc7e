"""The encoder: BERT (Devlin et al. 2019) as sentence embeddings use it, token ids in, one vector a text out."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from accordant.errors import AccordantError
from accordant.files import read_json
from accordant.model.embedding import Embedding
from accordant.model.hub import read_weights
from accordant.model.int8 import Int8Product
from accordant.model.linear import Fused, Linear, pack_linear_layers

_NAMES = {
    "embeddings.word_embeddings": "words",
    "embeddings.position_embeddings": "positions",
    "embeddings.token_type_embeddings": "types",
    "embeddings.LayerNorm": "norm",
    "encoder.layer": "layers",
    "attention.self.": "",
    "attention.output.dense": "mixed",
    "attention.output.LayerNorm": "mixed_norm",
    "intermediate.dense": "widen",
    "output.dense": "narrow",
    "output.LayerNorm": "narrow_norm",
}
"""The hub's names of parts and ours, in the order in which they are replaced."""
_UNUSED = ("pooler.", "embeddings.position_ids")
_STEP = 16
"""Rows; a window of 256 tokens is 16 of them."""
_LARGEST_SCORE = 80.0
"""Of attention; e to it is still a float, and so is a sum of thousands of them."""


class BertConfig(NamedTuple):
    """Shape of an encoder."""

    vocabulary: int
    hidden: int
    layers: int
    heads: int
    mlp: int
    positions: int
    types: int
    epsilon: float

    @classmethod
    def read(cls, folder: Path) -> "BertConfig":
        """The shape in `config.json`; another kind of model is an AccordantError."""
        raw = read_json(folder / "config.json")
        if raw.get("model_type") != "bert" or raw.get("hidden_act") != "gelu":
            raise AccordantError(f"{folder}/config.json is not that of a BERT encoder with GELU")
        names = ["vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"]
        names += ["max_position_embeddings", "type_vocab_size", "layer_norm_eps"]
        if missing := [name for name in names if name not in raw]:
            raise AccordantError(f"{folder}/config.json lacks the field {missing[0]!r}")
        return cls(*(raw[name] for name in names))


class Layer(nn.Module):
    """Attention to all tokens of the text, then a two-layer MLP; the norms come after each."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.query, self.key, self.value, self.mixed = (Linear(config.hidden, config.hidden) for _ in range(4))
        self.inputs: Fused | Int8Product = Fused(self.query, self.key, self.value)
        self.mixed_norm = nn.LayerNorm(config.hidden, config.epsilon)
        self.widen, self.narrow = Linear(config.hidden, config.mlp), Linear(config.mlp, config.hidden)
        self.narrow_norm = nn.LayerNorm(config.hidden, config.epsilon)

    def quantise(self) -> None:
        """Let products be of 8-bit integers from now on, of the weights as they are."""
        self.inputs = Int8Product(self.query, self.key, self.value)
        for layer in (self.mixed, self.widen, self.narrow):
            layer.alone = Int8Product(layer)

    def forward(self, x: Tensor, tokens: int) -> Tensor:
        """(rows, hidden) to the same; rows after the first `tokens` are padding, which no token sees."""
        query, key, value = (part.view(len(x), self.heads, -1).transpose(0, 1) for part in self.inputs(x))
        scores = torch.bmm(query * query.shape[-1] ** -0.5, key.transpose(1, 2))
        # The softmax without its search for the largest: within these ends, far beyond what occurs, no sum overflows
        # or is 0. It halves the softmax's time, which is as long as that of both products together.
        weights = scores.clamp_(-_LARGEST_SCORE, _LARGEST_SCORE).exp_()
        weights[..., tokens:] = 0
        mixed = torch.bmm(weights, value) / weights.sum(-1, keepdim=True)
        x = self.mixed_norm(x + self.mixed(mixed.transpose(0, 1).flatten(1)))
        return self.narrow_norm(x + self.narrow(F.gelu(self.widen(x))))  # type: ignore[no-any-return]


class Bert(nn.Module):
    """Embeddings and layers."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.words = Embedding(config.vocabulary, config.hidden)
        self.positions = Embedding(config.positions, config.hidden)
        self.types = Embedding(config.types, config.hidden)
        self.norm = nn.LayerNorm(config.hidden, config.epsilon)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))

    def forward(self, ids: Sequence[int]) -> list[Tensor]:
        """Token ids of one text to its hidden states (tokens, hidden) after each layer.

        The text is padded to whole steps of rows, so that few numbers of rows occur: oneDNN compiles kernels for each.
        """
        tokens = len(ids)
        padded = torch.zeros(-(-tokens // _STEP) * _STEP, dtype=torch.long)
        padded[:tokens] = torch.tensor(ids)
        x = self.norm(self.words(padded) + self.positions.weight[: len(padded)] + self.types.weight[0])
        states = []
        for layer in self.layers:
            x = layer(x, tokens)
            states.append(x[:tokens])
        return states


def pool(hidden: Tensor) -> Tensor:
    """The mean of the tokens' states (tokens, hidden), at length 1 (Reimers & Gurevych 2019): (hidden,) in float32."""
    return F.normalize(hidden.float().sum(0), dim=-1)


def load_bert(folder: Path, dtype: torch.dtype, int8: bool = False) -> Bert:
    """Read an encoder in the hub's format.

    Args:
        folder: with `config.json` and the weights.
        dtype: the number format to compute in.
        int8: whether the layers' products are of 8-bit integers; all else stays in `dtype`.

    Raises:
        AccordantError: when a weight is missing, unknown or of another shape.
    """
    with torch.device("meta"):
        model = Bert(BertConfig.read(folder))
    weights = {}
    for name, weight in read_weights(folder).items():
        short = name.removeprefix("bert.")
        if not short.startswith(_UNUSED):
            for theirs, ours in _NAMES.items():
                short = short.replace(theirs, ours)
            weights[short] = weight.to(dtype)
    try:
        model.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        raise AccordantError(f"{folder}: {str(error).splitlines()[1].strip()}") from None
    if int8:
        for layer in model.layers:
            cast(Layer, layer).quantise()
    else:
        pack_linear_layers(model)
    return model.requires_grad_(False).eval()
