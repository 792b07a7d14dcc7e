"""A policy's checkpoint as one GGUF file, which llama.cpp and what is built on it open."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from accordant.errors import AccordantError
from accordant.files import new_file
from accordant.model.config import FAMILIES, ModelConfig
from accordant.model.gguf import CONTROL, LAYER_NAMES, PRE_TOKENIZERS, TOP_NAMES, USER_DEFINED
from accordant.model.hub import load_transformer, read_config
from accordant.text import Renderer, Tokenizer

DTYPES = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32}
_FAMILIES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2"}
"""What llama.cpp calls the families that `convert_gguf` reads, too."""
_NORMAL, _UNUSED = 1, 5
_GGUF_LAYER_NAMES = {ours: theirs for theirs, ours in LAYER_NAMES.items()}
_GGUF_TOP_NAMES = {ours: theirs for theirs, ours in TOP_NAMES.items()}


def export_gguf(checkpoint: Path, file: Path, dtype: str = "f16") -> None:
    """Write the policy in `checkpoint` (a folder in the hub's format) to `file`, with its tokenizer and chat template.

    Args:
        checkpoint: what `load_transformer` and `Renderer.load` read.
        file: its name ends in `.gguf`; it appears whole or not at all.
        dtype: of the matrices: `f16`, `bf16` or `f32`. Vectors stay in float32, as llama.cpp wants them.

    Raises:
        AccordantError: where the checkpoint is a reward model, or of a kind that has no form in GGUF here, by its name.
    """
    import gguf

    if dtype not in DTYPES:
        raise AccordantError(f"dtype {dtype!r} is none of {', '.join(DTYPES)}")
    if file.suffix != ".gguf":
        raise AccordantError(f"{file}: the name of a GGUF file must end in .gguf")
    config = read_config(checkpoint)
    _check(config, checkpoint)
    renderer = Renderer.load(checkpoint)
    weights = load_transformer(checkpoint, torch.float32).state_dict()
    if config.tied_embeddings:
        del weights["lm_head.weight"]
    with new_file(file) as path:
        writer = gguf.GGUFWriter(path, _FAMILIES[FAMILIES[config.architecture]])
        writer.add_name(checkpoint.resolve().name)
        writer.add_file_type(gguf.LlamaFileType[f"{'ALL' if dtype == 'f32' else 'MOSTLY'}_{dtype.upper()}"])
        _add_shape(writer, config)
        _add_tokenizer(writer, renderer.tokenizer, config.vocab_size, checkpoint)
        writer.add_chat_template(renderer.template.source)
        for name, weight in weights.items():
            kind = dtype if weight.dim() > 1 else "f32"
            stored = _side_by_side(weight, name, config).to(DTYPES[kind])
            if not bool(stored.isfinite().all()):
                raise AccordantError(f"{checkpoint}: {name} has values outside the range of {kind}; take bf16 or f32")
            raw = stored.contiguous().view(torch.uint8).numpy()
            writer.add_tensor(_gguf_name(name), raw, raw_dtype=gguf.GGMLQuantizationType[kind.upper()])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def _check(config: ModelConfig, checkpoint: Path) -> None:
    if "accordant" in config.raw:
        raise AccordantError(f"{checkpoint} is a reward model or critic; only policies go into a GGUF file")
    family = FAMILIES[config.architecture]
    if family not in _FAMILIES:
        raise AccordantError(f"{checkpoint}: {family} cannot be exported to GGUF; {', '.join(_FAMILIES)} can")
    if config.rope_scaling:
        raise AccordantError(f"{checkpoint}: scaled rotary positions cannot be exported to GGUF")


def _add_shape(writer: Any, config: ModelConfig) -> None:
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.mlp_size)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_key_length(config.head_size)
    writer.add_value_length(config.head_size)
    writer.add_rope_dimension_count(config.head_size)
    writer.add_rope_freq_base(config.rope_base)
    writer.add_layer_norm_rms_eps(config.norm_epsilon)


def _add_tokenizer(writer: Any, tokenizer: Tokenizer, vocab_size: int, checkpoint: Path) -> None:
    description = json.loads(tokenizer.markup.to_str())
    model = description["model"]
    if model["type"] != "BPE":
        raise AccordantError(f"{checkpoint}: a tokenizer of type {model['type']} cannot be exported to GGUF; BPE can")
    texts = {number: text for text, number in model["vocab"].items()}
    kinds = dict.fromkeys(texts, _NORMAL)
    for token in description["added_tokens"]:
        texts[token["id"]] = token["content"]
        kinds[token["id"]] = CONTROL if token["special"] else USER_DEFINED
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_pre_tokenizer(description["pre_tokenizer"], checkpoint))
    # A model may have more rows than its tokenizer has words; the names of the rest are those of llama.cpp's script.
    writer.add_token_list([texts.get(number, f"[PAD{number}]") for number in range(vocab_size)])
    writer.add_token_types([kinds.get(number, _UNUSED) for number in range(vocab_size)])
    writer.add_token_merges([pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]])
    if tokenizer.bos:
        writer.add_bos_token_id(tokenizer.markup.token_to_id(tokenizer.bos))
    writer.add_eos_token_id(tokenizer.end_of_turn)
    writer.add_pad_token_id(tokenizer.pad)
    writer.add_add_bos_token(False)  # the template writes it where it belongs


def _pre_tokenizer(found: dict[str, Any] | None, checkpoint: Path) -> str:
    """The name under which llama.cpp knows how text is cut before merging."""
    steps = (found or {}).get("pretokenizers", [found or {}])

    def deciding(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{key: value for key, value in step.items() if key != "trim_offsets"} for step in steps]

    for name, known in PRE_TOKENIZERS.items():
        if deciding(steps) == deciding(known):
            return name
    cuts = ", ".join(str(step.get("type", "none")) for step in steps)
    raise AccordantError(
        f"{checkpoint}: a tokenizer that cuts text by {cuts} cannot be exported to GGUF; "
        f"those of {', '.join(PRE_TOKENIZERS)} can"
    )


def _gguf_name(name: str) -> str:
    if name in _GGUF_TOP_NAMES:
        return _GGUF_TOP_NAMES[name]
    _, _, number, part = name.split(".", 3)
    stem, kind = part.rsplit(".", 1)
    return f"blk.{number}.{_GGUF_LAYER_NAMES[stem]}.{kind}"


def _side_by_side(weight: Tensor, name: str, config: ModelConfig) -> Tensor:
    """Llama's queries and keys with the two of each rotary pair beside each other, as GGUF has them."""
    if _FAMILIES[FAMILIES[config.architecture]] != "llama" or not any(f".{p}_proj." in name for p in "qk"):
        return weight
    heads = config.heads if ".q_proj." in name else config.kv_heads
    return weight.reshape(heads, 2, -1, *weight.shape[1:]).transpose(1, 2).reshape(weight.shape)
