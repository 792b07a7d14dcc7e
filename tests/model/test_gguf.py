import json
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accordant.errors import AccordantError
from accordant.model import ModelConfig, PackedAttention, Transformer
from accordant.model.gguf import convert_gguf
from accordant.model.hub import load_transformer
from accordant.records import Message
from accordant.testing import tiny_config, tiny_renderer
from accordant.text import CHATML, Renderer

NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
CONVERSATION = [Message(role="user", content="Où? <|im_end|> 12"), Message(role="assistant", content="Là 😀.")]


def gguf_name(name: str) -> str:
    stem, kind = name.rsplit(".", 1)
    if stem.startswith("model.layers."):
        _, _, number, part = stem.split(".", 3)
        return f"blk.{number}.{NAMES[part]}.{kind}"
    return f"{NAMES[stem]}.{kind}"


def side_by_side(weight: np.ndarray, heads: int) -> np.ndarray:
    """The order of rows that GGUF wants of Llama's queries and keys: 0, n/2, 1, n/2 + 1, ... within each head."""
    size = len(weight) // heads
    order = [
        head * size + half * size // 2 + pair for head in range(heads) for pair in range(size // 2) for half in (0, 1)
    ]
    return weight[order]


@cache
def source(kind: str = "llama", **changes: Any) -> Transformer:
    shape = vars(tiny_config()) | {"rope_base": 500.0, "norm_epsilon": 1e-3} | changes
    if kind == "qwen2":
        shape |= {"architecture": "Qwen2ForCausalLM", "attention_bias": True}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = Transformer(ModelConfig(**shape))
        for weight in model.parameters():
            torch.nn.init.normal_(weight, std=0.3)
    return model


def write(
    path: Path,
    model: Transformer,
    kind: str = "llama",
    tokenizer: str | None = "gpt2",
    pre: str | None = "gpt-2",
    template: str | None = CHATML,
    architecture: str | None = None,
    quantised: bool = False,
    rope_scaling: str | None = None,
    extra_tensor: str | None = None,
    leave_out: str | None = None,
) -> Path:
    config, description = model.config, json.loads(tiny_renderer().tokenizer.markup.to_str())
    writer = gguf.GGUFWriter(path, architecture or kind)
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.hidden_size)
    if leave_out != "block_count":
        writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.mlp_size)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_key_length(config.head_size)
    writer.add_layer_norm_rms_eps(config.norm_epsilon)
    writer.add_rope_freq_base(config.rope_base)
    if rope_scaling:
        writer.add_string(f"{kind}.rope.scaling.type", rope_scaling)
    if tokenizer:
        writer.add_tokenizer_model(tokenizer)
    if pre:
        writer.add_tokenizer_pre(pre)
    vocabulary = description["model"]["vocab"]
    control = {token["content"] for token in description["added_tokens"]}
    tokens = sorted(vocabulary, key=vocabulary.get)
    writer.add_token_list(tokens)
    if leave_out != "token_type":
        writer.add_token_types(
            [gguf.TokenType.CONTROL if token in control else gguf.TokenType.NORMAL for token in tokens]
        )
    writer.add_token_merges([" ".join(merge) for merge in description["model"]["merges"]])
    writer.add_bos_token_id(vocabulary["<|im_start|>"])
    writer.add_eos_token_id(10**6 if leave_out == "end" else vocabulary["<|im_end|>"])
    if template:
        writer.add_chat_template(template)
    weights = dict(model.state_dict())
    if config.tied_embeddings:
        del weights["lm_head.weight"]
    for name, weight in weights.items():
        values = weight.float().numpy()
        if kind == "llama" and (".q_proj." in name or ".k_proj." in name):
            values = side_by_side(values, config.heads if ".q_proj." in name else config.kv_heads)
        if quantised and values.ndim == 2:
            q8 = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(gguf_name(name), gguf.quants.quantize(values, q8), raw_dtype=q8)
        else:
            writer.add_tensor(gguf_name(name), np.ascontiguousarray(values))
    if extra_tensor:
        writer.add_tensor(extra_tensor, np.ones(4, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def logits(model: Transformer) -> torch.Tensor:
    with torch.inference_mode():
        return model(torch.arange(30), PackedAttention([20, 10]))


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("llama", {}),
        ("llama", {"tied_embeddings": False, "head_size": 16}),
        ("llama", {"attention_bias": True, "output_bias": True}),
        ("llama", {"kv_heads": 4, "rope_base": 10_000.0}),
        ("qwen2", {}),
    ],
)
def test_a_converted_model_has_the_logits_of_its_source(tmp_path: Path, kind: str, changes: dict[str, Any]) -> None:
    model = source(kind, **changes)
    convert_gguf(write(tmp_path / "a.gguf", model, kind), tmp_path / "out")
    converted = load_transformer(tmp_path / "out", torch.float32)
    assert torch.equal(logits(converted), logits(model))
    assert converted.config.norm_epsilon == pytest.approx(1e-3, rel=1e-6)


def test_a_converted_model_opens_in_transformers(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    convert_gguf(write(tmp_path / "a.gguf", source()), tmp_path / "out")
    opened = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    with torch.inference_mode():
        theirs = opened(torch.arange(20)[None]).logits[0]
    torch.testing.assert_close(theirs, logits(source())[:20], atol=1e-4, rtol=0)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    plain = [Message(role="user", content="Où est 12?"), Message(role="assistant", content="Là.")]
    ids = tokenizer.apply_chat_template([message.model_dump() for message in plain])["input_ids"]
    ours = Renderer.load(tmp_path / "out").dialogue(plain).ids
    assert ids[: len(ours)] == ours


def test_quantised_weights_are_off_by_their_rounding_alone(tmp_path: Path) -> None:
    convert_gguf(write(tmp_path / "a.gguf", source(), quantised=True), tmp_path / "out")
    found, wanted = load_transformer(tmp_path / "out", torch.float32).state_dict(), source().state_dict()
    for name, weight in wanted.items():
        gap = (found[name] - weight).abs()
        if weight.dim() == 1:
            assert not gap.any()
            continue
        blocks = weight.reshape(-1, 32)
        # Q8_0 rounds blocks of 32 to 1/127 of their largest value, a step that is kept in float16.
        bound = blocks.abs().amax(1, keepdim=True) / 127 * (0.5 + 127 * 2.0**-11)
        assert bool((gap.reshape(-1, 32) <= bound).all()), name
        assert bool(gap.any()), name


@pytest.mark.parametrize("pre", ["gpt-2", "smollm", "qwen2", None])
def test_the_tokenizer_comes_along(tmp_path: Path, pre: str | None) -> None:
    convert_gguf(write(tmp_path / "a.gguf", source(), pre=pre), tmp_path / "out")
    renderer = Renderer.load(tmp_path / "out")
    assert renderer.tokenizer.text_of(renderer.tokenizer.end_of_turn) == "<|im_end|>"
    assert renderer.tokenizer.text_of(renderer.tokenizer.pad) == "<|pad|>"
    assert renderer.tokenizer.bos == "<|im_start|>"
    rendered = renderer.dialogue(CONVERSATION)
    if pre in (None, "gpt-2"):
        assert rendered == tiny_renderer().dialogue(CONVERSATION)
    assert renderer.tokenizer.markup.decode(rendered.ids, skip_special_tokens=False) == (
        "<|im_start|>user\nOù? <|im_end|> 12<|im_end|>\n<|im_start|>assistant\nLà 😀.<|im_end|>"
    )


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"architecture": "gpt2"}, "GGUF architecture 'gpt2' is not supported"),
        ({"tokenizer": "llama"}, "tokenizer model 'llama' is not supported"),
        ({"tokenizer": None}, "tokenizer model None is not supported"),
        ({"pre": "deepseek-llm"}, "pre-tokenizer 'deepseek-llm' is not supported"),
        ({"template": None}, "has no chat template"),
        ({"rope_scaling": "yarn"}, "rope scaling 'yarn' is not supported"),
        ({"extra_tensor": "rope_freqs.weight"}, "tensor 'rope_freqs.weight' is of a kind that is not supported"),
        ({"extra_tensor": "blk.0.ffn_gate_exps.weight"}, "tensor 'blk.0.ffn_gate_exps.weight'"),
        ({"leave_out": "block_count"}, "llama.block_count"),
        ({"leave_out": "token_type"}, "tokenizer.ggml.token_type"),
        ({"leave_out": "end"}, "is damaged"),
    ],
)
def test_what_cannot_be_converted_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], line: str) -> None:
    path = write(tmp_path / "a.gguf", source(), **changes)
    with pytest.raises(AccordantError) as caught:
        convert_gguf(path, tmp_path / "out")
    assert line in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists(), "nothing is written of a file that is refused"


@cache
def whole_file() -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return write(Path(folder) / "a.gguf", source()).read_bytes()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.05, 0.3, 0.5, 0.9, 0.9999])
def test_a_cut_file_is_one_line(tmp_path: Path, share: float) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(whole_file()[: int(len(whole_file()) * share)])
    with pytest.raises(AccordantError, match="is damaged or no GGUF file") as caught:
        convert_gguf(path, tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_no_gguf_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    path.write_text("a text that somebody called .gguf" * 100)
    with pytest.raises(AccordantError, match="is damaged or no GGUF file"):
        convert_gguf(path, tmp_path / "out")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 400), value=st.integers(0, 255))
def test_a_flipped_byte_of_the_header_is_one_line_or_nothing(tmp_path: Path, place: int, value: int) -> None:
    damaged = bytearray(whole_file())
    damaged[place] = value
    path = tmp_path / "a.gguf"
    path.write_bytes(damaged)
    try:
        convert_gguf(path, tmp_path / "out")
    except AccordantError as error:
        assert "\n" not in str(error)  # noqa: PT017
