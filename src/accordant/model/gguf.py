"""A GGUF file of the Llama family as a checkpoint in the hub's format, dequantised once."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from accordant.errors import AccordantError
from accordant.files import write_json
from accordant.text import ChatTemplate, Renderer, Tokenizer

ARCHITECTURES = {"llama": ("LlamaForCausalLM", "llama"), "qwen2": ("Qwen2ForCausalLM", "qwen2")}
LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
TOP_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
PRE_TOKENIZERS: dict[str, list[dict[str, Any]]] = {
    "smollm": [
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    ],
    "gpt-2": [{"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}],
    "qwen2": [
        {
            "type": "Split",
            "pattern": {
                "Regex": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
                r"\s*[\r\n]+|\s+(?!\S)|\s+"
            },
            "behavior": "Isolated",
            "invert": False,
        },
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
    ],
}
CONTROL, USER_DEFINED = 3, 4


def convert_gguf(path: Path, target: Path) -> None:
    """Write the model in `path` to `target` (config.json, model.safetensors in float32, tokenizer, template).

    Raises:
        AccordantError: for a damaged file, or an architecture or tokenizer that is not supported, by its name.
    """
    import gguf

    try:
        reader = gguf.GGUFReader(path)
        fields = {name: field.contents() for name, field in reader.fields.items()}
        kind = fields["general.architecture"]
        if kind not in ARCHITECTURES:
            raise AccordantError(f"GGUF architecture {kind!r} is not supported; {sorted(ARCHITECTURES)} are")
        names = {tensor.name for tensor in reader.tensors}
        config = _config(fields, kind, names)
        weights = {}
        for tensor in reader.tensors:
            values = np.array(gguf.quants.dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
            name = _hub_name(tensor.name)
            if kind == "llama" and (".q_proj." in name or ".k_proj." in name):
                heads = config["num_attention_heads" if "q_proj" in name else "num_key_value_heads"]
                values = _unpermute(values, heads)
            weights[name] = torch.from_numpy(np.ascontiguousarray(values))
        renderer = _renderer(fields)
    except AccordantError as error:
        raise AccordantError(f"{path}: {error}") from None
    except Exception as error:
        raise AccordantError(f"{path} is damaged or no GGUF file ({type(error).__name__}: {error})") from error
    target.mkdir(parents=True, exist_ok=True)
    write_json(target / "config.json", config)
    save_file(weights, target / "model.safetensors", {"format": "pt"})
    renderer.save(target)


def _hub_name(name: str) -> str:
    if name in TOP_NAMES:
        return TOP_NAMES[name]
    match name.split("."):
        case ["blk", number, part, kind] if part in LAYER_NAMES:
            return f"model.layers.{number}.{LAYER_NAMES[part]}.{kind}"
    raise AccordantError(f"tensor {name!r} is of a kind that is not supported")


def _unpermute(weight: np.ndarray, heads: int) -> np.ndarray:
    """GGUF stores rotary pairs of Llama side by side; the hub stores halves (see llama.cpp's convert script)."""
    return weight.reshape(heads, len(weight) // heads // 2, 2, -1).swapaxes(1, 2).reshape(weight.shape)


def _config(fields: dict[str, Any], kind: str, names: set[str]) -> dict[str, Any]:
    architecture, model_type = ARCHITECTURES[kind]
    if (scaling := fields.get(f"{kind}.rope.scaling.type", "none")) != "none":
        raise AccordantError(f"rope scaling {scaling!r} is not supported in a GGUF file")
    heads = int(fields[f"{kind}.attention.head_count"])
    hidden = int(fields[f"{kind}.embedding_length"])
    return {
        "architectures": [architecture],
        "model_type": model_type,
        "vocab_size": len(fields["tokenizer.ggml.tokens"]),
        "hidden_size": hidden,
        "num_hidden_layers": int(fields[f"{kind}.block_count"]),
        "num_attention_heads": heads,
        "num_key_value_heads": int(fields.get(f"{kind}.attention.head_count_kv", heads)),
        "head_dim": int(fields.get(f"{kind}.attention.key_length", hidden // heads)),
        "intermediate_size": int(fields[f"{kind}.feed_forward_length"]),
        "max_position_embeddings": int(fields[f"{kind}.context_length"]),
        "rms_norm_eps": round(float(fields[f"{kind}.attention.layer_norm_rms_epsilon"]), 9),
        "rope_theta": float(fields.get(f"{kind}.rope.freq_base", 10_000.0)),
        "tie_word_embeddings": "output.weight" not in names,
        "hidden_act": "silu",
        "attention_bias": "blk.0.attn_q.bias" in names,
        "mlp_bias": "blk.0.ffn_gate.bias" in names,
        "bos_token_id": int(fields.get("tokenizer.ggml.bos_token_id", fields["tokenizer.ggml.eos_token_id"])),
        "eos_token_id": int(fields["tokenizer.ggml.eos_token_id"]),
        "initializer_range": 0.02,
    }


def _renderer(fields: dict[str, Any]) -> Renderer:
    if fields.get("tokenizer.ggml.model") != "gpt2":
        found = fields.get("tokenizer.ggml.model")
        raise AccordantError(f"tokenizer model {found!r} is not supported; 'gpt2' (byte-level BPE) is")
    pre = fields.get("tokenizer.ggml.pre", "gpt-2")
    if pre not in PRE_TOKENIZERS:
        raise AccordantError(f"pre-tokenizer {pre!r} is not supported; {sorted(PRE_TOKENIZERS)} are")
    tokens = fields["tokenizer.ggml.tokens"]
    kinds = fields["tokenizer.ggml.token_type"]
    description = {
        "version": "1.0",
        "added_tokens": [
            {
                "id": i,
                "content": tokens[i],
                "special": kind == CONTROL,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
            }
            for i, kind in enumerate(kinds)
            if kind in (CONTROL, USER_DEFINED)
        ],
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": PRE_TOKENIZERS[pre]},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": fields["tokenizer.ggml.merges"],
        },
    }
    end = tokens[int(fields["tokenizer.ggml.eos_token_id"])]
    template = fields.get("tokenizer.chat_template")
    if template is None:
        raise AccordantError("the file has no chat template")
    bos, pad = (fields.get(f"tokenizer.ggml.{name}_token_id") for name in ("bos", "padding"))
    tokenizer = Tokenizer.from_json(
        json.dumps(description),
        end,
        pad=None if pad is None else tokens[int(pad)],
        bos="" if bos is None else tokens[int(bos)],
    )
    return Renderer(tokenizer, ChatTemplate(template))
