"""The decoder: RMSNorm, rotary positions, grouped-query attention, gated MLP (Touvron et al. 2023, section 2.2).

Parameters carry the hub's names, so a checkpoint is read and written without renaming. All inputs are flat: one
token after another, without padding; an `Attention` says which tokens belong together.
"""

import torch
from torch import Tensor, nn

from accordant.model.attention import Attention
from accordant.model.config import ModelConfig
from accordant.model.embedding import Embedding
from accordant.model.linear import Fused, Linear
from accordant.model.norm import RMSNorm
from accordant.model.rotary import RotaryPositions, rotate
from accordant.model.swiglu import swiglu


class SelfAttention(nn.Module):
    """Projections around an `Attention`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        query, shared = config.heads * config.head_size, config.kv_heads * config.head_size
        self.q_proj = Linear(config.hidden_size, query, bias=config.attention_bias)
        self.k_proj = Linear(config.hidden_size, shared, bias=config.attention_bias)
        self.v_proj = Linear(config.hidden_size, shared, bias=config.attention_bias)
        self.o_proj = Linear(query, config.hidden_size, bias=config.output_bias)
        self.qkv = Fused(self.q_proj, self.k_proj, self.v_proj)
        if config.qk_norm != "none":
            whole = config.qk_norm == "all"
            self.q_norm = RMSNorm(query if whole else config.head_size, config.norm_epsilon)
            self.k_norm = RMSNorm(shared if whole else config.head_size, config.norm_epsilon)

    def forward(self, x: Tensor, layer: int, rotary: tuple[Tensor, Tensor], attend: Attention) -> Tensor:
        """(tokens, hidden) to (tokens, hidden)."""
        size = self.config.head_size
        query, key, value = self.qkv(x)
        if self.config.qk_norm == "all":
            query, key = self.q_norm(query), self.k_norm(key)
        query, key, value = (t.view(len(x), -1, size) for t in (query, key, value))
        if self.config.qk_norm == "head":
            query, key = self.q_norm(query), self.k_norm(key)
        mixed = attend(layer, rotate(query, *rotary), rotate(key, *rotary), value)
        return self.o_proj(mixed.reshape(len(x), -1))  # type: ignore[no-any-return]


class GatedMLP(nn.Module):
    """SwiGLU (Shazeer 2020)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = Linear(config.hidden_size, config.mlp_size, bias=config.mlp_bias)
        self.up_proj = Linear(config.hidden_size, config.mlp_size, bias=config.mlp_bias)
        self.down_proj = Linear(config.mlp_size, config.hidden_size, bias=config.mlp_bias)

    def forward(self, x: Tensor) -> Tensor:
        """(tokens, hidden) to (tokens, hidden)."""
        return self.down_proj(swiglu(self.gate_proj(x), self.up_proj(x)))  # type: ignore[no-any-return]


class Block(nn.Module):
    """One layer; the norms stand before each part, or (OLMo 2) after it."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.norm_after = config.norm_after
        self.self_attn = SelfAttention(config)
        self.mlp = GatedMLP(config)
        if not config.norm_after:
            self.input_layernorm = RMSNorm(config.hidden_size, config.norm_epsilon)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.norm_epsilon)
        if config.norm_after:
            self.post_feedforward_layernorm = RMSNorm(config.hidden_size, config.norm_epsilon)

    def forward(self, x: Tensor, layer: int, rotary: tuple[Tensor, Tensor], attend: Attention) -> Tensor:
        """(tokens, hidden) to (tokens, hidden)."""
        if self.norm_after:
            x = x + self.post_attention_layernorm(self.self_attn(x, layer, rotary, attend))
            return x + self.post_feedforward_layernorm(self.mlp(x))  # type: ignore[no-any-return]
        x = x + self.self_attn(self.input_layernorm(x), layer, rotary, attend)
        return x + self.mlp(self.post_attention_layernorm(x))  # type: ignore[no-any-return]


class Trunk(nn.Module):
    """Embeddings, layers and the last norm: ids in, hidden states out."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embed_tokens = Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.hidden_size, config.norm_epsilon)
        self.rotary = RotaryPositions(config)

    def forward(self, ids: Tensor, attend: Attention) -> Tensor:
        """Ids (tokens,) to hidden states (tokens, hidden)."""
        x = self.embed_tokens(ids)
        rotary = self.rotary.at(attend.positions, x.dtype)
        for number, layer in enumerate(self.layers):
            x = layer(x, number, rotary, attend)
        return self.norm(x)  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """The language model: trunk and output head (the embeddings again, where they are tied)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Trunk(config)
        self.lm_head = Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.tied_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight

    def hidden(self, ids: Tensor, attend: Attention) -> Tensor:
        """Ids (tokens,) to hidden states (tokens, hidden); take logits of the rows that are needed."""
        return self.model(ids, attend)  # type: ignore[no-any-return]

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden states (..., hidden) to logits (..., vocabulary)."""
        return self.lm_head(hidden)  # type: ignore[no-any-return]

    def forward(self, ids: Tensor, attend: Attention) -> Tensor:
        """Ids (tokens,) to logits (tokens, vocabulary)."""
        return self.logits(self.hidden(ids, attend))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.lm_head.weight.device
