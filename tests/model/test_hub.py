import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from accordant.errors import AccordantError
from accordant.model import PackedAttention, ScalarModel
from accordant.model.hub import (
    load_scalar_model,
    load_transformer,
    new_scalar_model,
    read_config,
    read_weights,
    save_scalar_model,
)
from accordant.testing import save_tiny_checkpoint, tiny_config, tiny_model

NAME = "model.layers.1.mlp.up_proj.weight"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_tiny_checkpoint(tmp_path / "tiny")


def change_config(folder: Path, **fields: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path)


def refused(folder: Path, *parts: str, load: Callable[..., object] = load_transformer) -> None:
    with pytest.raises(AccordantError) as caught:
        load(folder, torch.float32)
    line = str(caught.value)
    assert "\n" not in line
    assert all(part in line for part in parts), line


def test_a_missing_weight_is_named(folder: Path) -> None:
    change_weights(folder, lambda weights: weights.pop(NAME))
    refused(folder, str(folder), NAME, "missing", "(64, 32)")


def test_an_unknown_weight_is_named(folder: Path) -> None:
    change_weights(folder, lambda weights: weights.update({"model.layers.2.extra": torch.ones(1)}))
    refused(folder, str(folder), "unknown weight model.layers.2.extra")


def test_a_wrong_shape_is_named(folder: Path) -> None:
    change_weights(folder, lambda weights: weights.update({NAME: torch.ones(64, 31)}))
    refused(folder, NAME, "(64, 31)", "(64, 32)")


def test_an_untied_head_must_be_there(folder: Path) -> None:
    change_config(folder, tie_word_embeddings=False)
    refused(folder, "lm_head.weight", "missing")


def test_missing_embeddings_are_named_where_the_head_is_tied(folder: Path) -> None:
    change_weights(folder, lambda weights: weights.pop("model.embed_tokens.weight"))
    refused(folder, "embed_tokens", "missing")


def test_old_files_with_rotary_frequencies_are_read(folder: Path) -> None:
    change_weights(
        folder, lambda weights: weights.update({"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)})
    )
    load_transformer(folder, torch.float32)


@pytest.mark.parametrize("size", [0, 4, 100, -1])
def test_damaged_weights_are_one_line(folder: Path, size: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    refused(folder, str(path), "is damaged")


def test_missing_files_are_one_line(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    refused(folder, "model.safetensors is missing")
    (folder / "config.json").unlink()
    refused(folder, "no checkpoint: it has no config.json")


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"architectures": ["GPT2LMHeadModel"]}, "architecture 'GPT2LMHeadModel' is not supported; these are: Llama"),
        ({"architectures": None}, "architecture 'unnamed' is not supported"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu' is not supported"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope scaling 'linear' is not supported"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, "rope scaling 'yarn' is not supported"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "lacks the field 'low_freq_factor'"),
        ({"architectures": ["MistralForCausalLM"], "sliding_window": 64}, "sliding_window = 64 is not supported"),
        (
            {"architectures": ["Qwen2ForCausalLM"], "sliding_window": 64, "use_sliding_window": True},
            "sliding_window = 64 is not supported",
        ),
        ({"hidden_size": "many"}, "has a field of the wrong kind"),
        ({"num_attention_heads": 0, "head_dim": None}, "has a field of the wrong kind"),
    ],
)
def test_what_this_decoder_is_not_is_refused_by_name(folder: Path, fields: dict[str, Any], line: str) -> None:
    change_config(folder, **fields)
    refused(folder, line)


def test_a_window_that_is_switched_off_is_none(folder: Path) -> None:
    change_config(folder, architectures=["Qwen3ForCausalLM"], sliding_window=64, use_sliding_window=False)
    assert read_config(folder).qk_norm == "head"


@pytest.mark.parametrize("field", ["vocab_size", "hidden_size", "num_hidden_layers", "max_position_embeddings"])
def test_a_missing_field_is_named(folder: Path, field: str) -> None:
    raw = json.loads((folder / "config.json").read_text())
    del raw[field]
    (folder / "config.json").write_text(json.dumps(raw))
    refused(folder, "config.json lacks the field", field)


@pytest.mark.parametrize("content", ["{", "[1]", '"text"', ""])
def test_a_damaged_config_is_one_line(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    refused(folder, str(folder / "config.json"))


def test_shards_are_read_by_their_index(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    shards: dict[str, dict[str, torch.Tensor]] = {"a.safetensors": {}, "b.safetensors": {}}
    for place, (name, weight) in enumerate(weights.items()):
        shards["ab"[place % 2] + ".safetensors"][name] = weight
    for shard, part in shards.items():
        save_file(part, folder / shard)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {name: shard for shard in shards for name in shards[shard]}}))
    found = read_weights(folder)
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], weights[name]) for name in weights)
    load_transformer(folder, torch.float32)

    (folder / "b.safetensors").unlink()
    refused(folder, "b.safetensors is missing")
    for content in ("{}", "[]", '{"weight_map": 3}', '{"weight_map": {"a": ["b"]}}'):
        index.write_text(content)
        refused(folder, "has no weight_map")


def test_precision_is_the_one_asked_for(folder: Path) -> None:
    model = load_transformer(folder, torch.bfloat16)
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert all(weight.requires_grad for weight in model.parameters())


def scalar_model() -> ScalarModel:
    model = ScalarModel(tiny_config())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        for weight in model.parameters():
            torch.nn.init.normal_(weight, std=0.3)
    model.mean, model.deviation = -1.25, 3.0
    return model


def test_a_scalar_model_comes_back_with_its_normalisation(tmp_path: Path) -> None:
    model = scalar_model()
    save_scalar_model(model, tmp_path)
    loaded = load_scalar_model(tmp_path, torch.float32)
    assert (loaded.mean, loaded.deviation) == (-1.25, 3.0)
    expected = model.state_dict()
    assert all(torch.equal(weight, expected[name]) for name, weight in loaded.state_dict().items())
    ids = torch.tensor([5, 6, 7])
    assert torch.equal(loaded(ids, PackedAttention([3])), model(ids, PackedAttention([3])))
    raw = loaded.raw(ids, PackedAttention([3]))
    torch.testing.assert_close(loaded(ids, PackedAttention([3])), (raw + 1.25) / 3.0)


def test_a_head_is_never_made_up(tmp_path: Path, folder: Path) -> None:
    refused(folder, "no reward model or critic of ours", load=load_scalar_model)
    save_scalar_model(scalar_model(), tmp_path)
    change_weights(tmp_path, lambda weights: weights.pop("score.weight"))
    refused(tmp_path, "has no score.weight", load=load_scalar_model)


def test_a_new_scalar_model_has_the_trunk_and_a_head_that_its_seed_decides(folder: Path) -> None:
    model = new_scalar_model(folder, torch.float32, seed=1)
    trunk = tiny_model().model.state_dict()
    assert all(torch.equal(weight, trunk[name]) for name, weight in model.model.state_dict().items())
    assert torch.equal(model.score.weight, new_scalar_model(folder, torch.float32, seed=1).score.weight)
    assert not torch.equal(model.score.weight, new_scalar_model(folder, torch.float32, seed=2).score.weight)
    heads = torch.cat([new_scalar_model(folder, torch.float32, seed=seed).score.weight for seed in range(20)])
    # 640 draws: the standard error of their deviation is 1 / sqrt(2 * 640) of it.
    assert heads.std().item() * 33**0.5 == pytest.approx(1, abs=4 / 1280**0.5)
    assert (model.mean, model.deviation) == (0.0, 1.0)


def test_a_language_model_is_not_read_from_a_reward_model(tmp_path: Path) -> None:
    save_scalar_model(scalar_model(), tmp_path)
    refused(tmp_path, "unknown weight score.weight")
