import json
import os
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import tokenizers
import torch

from accordant.errors import AccordantError
from accordant.files import read_json
from accordant.model import ModelConfig, PackedAttention, ScalarModel, Transformer
from accordant.model.base import bring_base
from accordant.model.gguf import convert_gguf
from accordant.model.gguf_export import export_gguf
from accordant.model.hub import load_transformer, save_scalar_model, save_transformer
from accordant.records import Message
from accordant.testing import tiny_config, tiny_renderer
from accordant.text import CHATML, ChatTemplate, Renderer, Tokenizer

CONVERSATION = [Message(role="user", content="Où? <|im_end|> 12"), Message(role="assistant", content="Là 😀.")]


def model_of(**changes: Any) -> Transformer:
    shape = vars(tiny_config()) | {"rope_base": 500.0, "norm_epsilon": 1e-3} | changes
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = Transformer(ModelConfig(**shape))
        for weight in model.parameters():
            torch.nn.init.normal_(weight, std=0.3)
    return model


def checkpoint(folder: Path, renderer: Renderer | None = None, **changes: Any) -> Path:
    folder.mkdir()
    save_transformer(model_of(**changes), folder)
    (renderer or tiny_renderer()).save(folder)
    return folder


def there_and_back(folder: Path, scratch: Path, dtype: str) -> Path:
    export_gguf(folder, scratch / "a.gguf", dtype)
    convert_gguf(scratch / "a.gguf", scratch / "back")
    return scratch / "back"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tied_embeddings": False, "head_size": 16},
        {"attention_bias": True, "output_bias": True, "mlp_bias": True},
        {"kv_heads": 4, "rope_base": 10_000.0},
        {"architecture": "MistralForCausalLM"},
        {"architecture": "Qwen2ForCausalLM", "attention_bias": True},
        {"vocab_size": 331},
    ],
)
def test_every_weight_comes_back_bit_by_bit(tmp_path: Path, changes: dict[str, Any]) -> None:
    source = load_transformer(checkpoint(tmp_path / "source", **changes), torch.float32)
    back = load_transformer(there_and_back(tmp_path / "source", tmp_path, "f32"), torch.float32)
    expected, found = source.state_dict(), back.state_dict()
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], weight) for name, weight in expected.items())
    ids, attention = torch.arange(30), PackedAttention([20, 10])
    with torch.inference_mode():
        assert torch.equal(back(ids, attention), source(ids, attention)), "the shape came along, too"


@pytest.mark.parametrize(("dtype", "bits"), [("f16", 11), ("bf16", 8)])
def test_matrices_are_rounded_to_the_nearest_and_vectors_are_not(tmp_path: Path, dtype: str, bits: int) -> None:
    source = load_transformer(checkpoint(tmp_path / "source"), torch.float32).state_dict()
    back = load_transformer(there_and_back(tmp_path / "source", tmp_path, dtype), torch.float32).state_dict()
    for name, weight in source.items():
        gap = (back[name] - weight).abs()
        if weight.dim() == 1:
            assert not gap.any()
            continue
        # Half a unit in the last place; below 2^-14 the places of float16 no longer move.
        assert bool((gap <= weight.abs().clamp_min(2.0**-14) * 2.0**-bits).all())
        assert bool(gap.any())


def test_tokenizer_and_template_come_back(tmp_path: Path) -> None:
    checkpoint(tmp_path / "source")
    renderer = Renderer.load(there_and_back(tmp_path / "source", tmp_path, "f16"))
    assert renderer.dialogue(CONVERSATION) == tiny_renderer().dialogue(CONVERSATION)
    assert renderer.template.source == CHATML
    for name in ("end_of_turn", "pad"):
        assert getattr(renderer.tokenizer, name) == getattr(tiny_renderer().tokenizer, name)


def test_words_that_are_added_but_no_markup_stay_whole(tmp_path: Path) -> None:
    description = json.loads(tiny_renderer().tokenizer.markup.to_str())
    number = len(description["model"]["vocab"])
    markup = description["added_tokens"][0]
    description["added_tokens"].append(markup | {"id": number, "content": "<tool>", "special": False})
    tokenizer = Tokenizer.from_json(json.dumps(description), "<|im_end|>", "<|pad|>", "<|im_start|>")
    renderer = Renderer(tokenizer, ChatTemplate(CHATML))
    checkpoint(tmp_path / "source", renderer, vocab_size=number + 1)
    back = Renderer.load(there_and_back(tmp_path / "source", tmp_path, "f16"))
    assert back.tokenizer.encode("a<tool>b") == tokenizer.encode("a<tool>b")
    assert number in back.tokenizer.encode("a<tool>b")
    assert back.tokenizer.decode([number]) == "<tool>"
    assert back.tokenizer.bos == "<|im_start|>"


def test_what_llama_cpp_reads_of_the_header(tmp_path: Path) -> None:
    export_gguf(checkpoint(tmp_path / "source", head_size=16), tmp_path / "a.gguf", "bf16")
    reader = gguf.GGUFReader(tmp_path / "a.gguf")
    fields = {name: field.contents() for name, field in reader.fields.items()}
    tokenizer = tiny_renderer().tokenizer
    assert fields["general.architecture"] == "llama"
    assert fields["general.file_type"] == gguf.LlamaFileType.MOSTLY_BF16
    assert fields["llama.rope.dimension_count"] == fields["llama.attention.value_length"] == 16
    assert fields["llama.vocab_size"] == len(fields["tokenizer.ggml.tokens"]) == tiny_config().vocab_size
    assert fields["tokenizer.ggml.eos_token_id"] == tokenizer.end_of_turn
    assert fields["tokenizer.ggml.padding_token_id"] == tokenizer.pad
    assert fields["tokenizer.ggml.add_bos_token"] is False
    kinds = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    assert kinds["blk.1.attn_norm.weight"] == kinds["output_norm.weight"] == "F32"
    assert kinds["blk.1.attn_q.weight"] == kinds["token_embd.weight"] == "BF16"
    # The file's rows of queries: 0, n/2, 1, n/2 + 1, ... within each head.
    stored = next(t for t in reader.tensors if t.name == "blk.0.attn_q.weight")
    values = gguf.quants.dequantize(stored.data, stored.tensor_type)
    ours = model_of(head_size=16).model.layers[0].self_attn.q_proj.weight.detach().bfloat16().float().numpy()
    order = [16 * head + 8 * half + pair for head in range(4) for pair in range(8) for half in (0, 1)]
    np.testing.assert_array_equal(values, ours[order])


def word_level(folder: Path) -> None:
    model = tokenizers.models.WordLevel({"<|im_end|>": 0, "<|pad|>": 1}, unk_token="<|pad|>")
    (folder / "tokenizer.json").write_text(tokenizers.Tokenizer(model).to_str())


def other_cuts(folder: Path) -> None:
    description = read_json(folder / "tokenizer.json")
    description["pre_tokenizer"] = {"type": "Whitespace"}
    (folder / "tokenizer.json").write_text(json.dumps(description))


def large(folder: Path) -> None:
    model = load_transformer(folder, torch.float32)
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[0, 0] = 1e5
    save_transformer(model, folder)


def stretched(folder: Path) -> None:
    scaling = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    raw = read_json(folder / "config.json") | {"rope_scaling": scaling | {"original_max_position_embeddings": 64}}
    (folder / "config.json").write_text(json.dumps(raw))


def rewarding(folder: Path) -> None:
    save_scalar_model(ScalarModel(tiny_config()), folder)


@pytest.mark.parametrize(
    ("changes", "spoil", "line"),
    [
        ({"architecture": "Qwen3ForCausalLM", "qk_norm": "head"}, None, "qwen3 cannot be exported to GGUF"),
        ({}, stretched, "scaled rotary positions"),
        ({}, rewarding, "is a reward model or critic"),
        ({}, word_level, "a tokenizer of type WordLevel"),
        ({}, other_cuts, "cuts text by Whitespace"),
        ({}, large, "model.layers.1.mlp.up_proj.weight has values outside the range of f16"),
    ],
)
def test_what_cannot_be_exported_is_refused_by_name(
    tmp_path: Path, changes: dict[str, Any], spoil: Any, line: str
) -> None:
    folder = checkpoint(tmp_path / "source", **changes)
    if spoil:
        spoil(folder)
    (tmp_path / "a.gguf").write_text("an older one")
    with pytest.raises(AccordantError) as caught:
        export_gguf(folder, tmp_path / "a.gguf", "f16")
    assert line in str(caught.value)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "a.gguf").read_text() == "an older one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.gguf", "source"], "nothing half-done is left"


@pytest.mark.parametrize(
    ("name", "dtype", "line"),
    [("a.gguf", "q4_0", "dtype 'q4_0' is none of f16, bf16, f32"), ("a.bin", "f16", "must end in .gguf")],
)
def test_wrong_wishes_are_one_line(tmp_path: Path, name: str, dtype: str, line: str) -> None:
    with pytest.raises(AccordantError, match=line):
        export_gguf(checkpoint(tmp_path / "source"), tmp_path / name, dtype)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


@pytest.mark.slow
def test_llama_cpp_gives_the_same_probabilities(tmp_path: Path) -> None:
    """The starter base, exported in float32: the first token's likeliest words, theirs against ours."""
    xllamacpp = pytest.importorskip("xllamacpp")
    home = os.environ.get("ACCORDANT_HOME")
    folder = bring_base("starter", Path(home).absolute() / "bases" if home else tmp_path / "bases")
    export_gguf(folder, tmp_path / "a.gguf", "f32")
    settings = xllamacpp.CommonParams()
    settings.model.path, settings.n_ctx, settings.cpuparams.n_threads = str(tmp_path / "a.gguf"), 512, 1
    server = xllamacpp.Server(settings)
    model, renderer = load_transformer(folder, torch.float32), Renderer.load(folder)
    for content in ("What is the capital of France?", "Où est le café? 日本語 😀 12", "Write a haiku about 2024."):
        ids = renderer.prompt([Message(role="user", content=content)])
        with torch.inference_mode():
            ours = torch.log_softmax(model(torch.tensor(ids), PackedAttention([len(ids)]))[-1], -1)
        asked = {"messages": [{"role": "user", "content": content}], "max_tokens": 1, "temperature": 0}
        answer = server.handle_chat_completions(asked | {"logprobs": True, "top_logprobs": 20})
        assert answer["usage"]["prompt_tokens"] == len(ids), "template and tokenizer came along"
        theirs = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        assert len(theirs) == 20
        for word in theirs:
            # llama.cpp multiplies float32 in other orders and keeps keys and values in float16.
            assert word["logprob"] == pytest.approx(float(ours[word["id"]]), abs=0.02)
