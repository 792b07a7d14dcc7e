"""A tiny random encoder, and a judge that knows what is bad: what tests of moderation and of its callers need."""

import json
from collections.abc import Sequence
from pathlib import Path

import tokenizers
import torch
from safetensors.torch import save_file
from tokenizers import models, normalizers, pre_tokenizers, processors

from accordant.files import sha256, write_json
from accordant.model.bert import Bert, BertConfig
from accordant.model.kept import DIGESTS
from accordant.moderation.policy import DEFAULT_POLICY, Policy, Side, Verdict
from accordant.records import CATEGORIES, Category
from accordant.testing.tiny import random_model

_SENTENCES = (
    "the river begins in the hills and meets the sea near the old harbour",
    "you are a horrible fool and everyone of your kind should go away",
    "please write two lines about the rain . the moon is made of rock , not of cheese !",
)
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def save_tiny_encoder(folder: Path, seed: int = 0) -> Path:
    """Write a random encoder of a few thousand weights, as `bring_encoder` leaves the real one; returns `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    pieces = tokenizers.Tokenizer(models.WordPiece(vocabulary(), unk_token="[UNK]"))
    pieces.normalizer = normalizers.BertNormalizer(lowercase=True)
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pieces.post_processor = processors.BertProcessing(
        ("[SEP]", _SPECIAL.index("[SEP]")), ("[CLS]", _SPECIAL.index("[CLS]"))
    )
    pieces.enable_truncation(8)
    pieces.enable_padding(length=8)
    pieces.save(str(folder / "tokenizer.json"))
    config = BertConfig(pieces.get_vocab_size(), 32, 2, 4, 64, 64, 2, 1e-12)
    model = random_model(lambda: Bert(config), seed, embedding_std=0.5, std=0.2)
    save_file({name: w.contiguous() for name, w in hub_names(model).items()}, folder / "model.safetensors")
    raw = {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "hidden_act": "gelu",
        "vocab_size": config.vocabulary,
        "hidden_size": config.hidden,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.mlp,
        "max_position_embeddings": config.positions,
        "type_vocab_size": config.types,
        "layer_norm_eps": config.epsilon,
    }
    (folder / "config.json").write_text(json.dumps(raw))
    write_json(folder / DIGESTS, {"model.safetensors": sha256(folder / "model.safetensors")})
    return folder


def vocabulary() -> dict[str, int]:
    """The sentences' words and, for others, their letters; a trained one is numbered otherwise in each process."""
    words = " ".join(_SENTENCES).split()
    letters = sorted(set("".join(words)))
    pieces = dict.fromkeys([*_SPECIAL, *words, *letters, *(f"##{letter}" for letter in letters)])
    return {piece: number for number, piece in enumerate(pieces)}


def hub_names(model: Bert) -> dict[str, torch.Tensor]:
    """The weights of an encoder under the hub's names."""
    tops = {
        "words": "embeddings.word_embeddings",
        "positions": "embeddings.position_embeddings",
        "types": "embeddings.token_type_embeddings",
        "norm": "embeddings.LayerNorm",
    }
    parts = {part: f"attention.self.{part}" for part in ("query", "key", "value")} | {
        "mixed": "attention.output.dense",
        "mixed_norm": "attention.output.LayerNorm",
        "widen": "intermediate.dense",
        "narrow": "output.dense",
        "narrow_norm": "output.LayerNorm",
    }
    found = {}
    for name, weight in model.state_dict().items():
        top, *rest = name.split(".")
        if top == "layers":
            number, part, kind = rest
            found[f"encoder.layer.{number}.{parts[part]}.{kind}"] = weight
        else:
            found[f"{tops[top]}.{rest[0]}"] = weight
    return found


class WordModerator:
    """Judges by words: a text with one of `blocked` scores 1 in `category`, with one of `warned` 0.5, else 0.

    It has the members of `accordant.moderation.moderator.Moderator` that others use.
    """

    name = "words"

    def __init__(
        self,
        blocked: Sequence[str],
        warned: Sequence[str] = (),
        category: Category = "violence",
        policy: Policy = DEFAULT_POLICY,
    ) -> None:
        self.blocked, self.warned, self.category, self.policy = blocked, warned, category, policy

    def scores(self, texts: Sequence[str]) -> list[dict[Category, float]]:
        """The score of each category for each text."""
        return [dict.fromkeys(CATEGORIES, 0.0) | {self.category: self._score(text)} for text in texts]

    def judge(self, text: str, side: Side = "model") -> Verdict:
        """What the policy makes of a text."""
        return self.policy.verdict(self.scores([text])[0], side)

    def _score(self, text: str) -> float:
        if any(word in text for word in self.blocked):
            return 1.0
        return 0.5 if any(word in text for word in self.warned) else 0.0
