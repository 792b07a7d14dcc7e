import asyncio
import http.client
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from accordant.errors import AccordantError
from accordant.moderation.moderator import Moderator
from accordant.moderation.policy import Policy, Thresholds
from accordant.serve.load import context_of, facts_of, load_engine, load_moderation
from accordant.serve.run import address, bind, serve
from accordant.serve.settings import ModerationSettings
from accordant.testing import save_tiny_checkpoint, tiny_model
from accordant.testing.moderation import WordModerator, save_tiny_encoder

SERVER = """
from accordant.serve.app import create_app
from accordant.serve.run import address, bind, run
from accordant.testing.scripted import ScriptedEngine

listener = bind("127.0.0.1", 0)
print(address(listener), flush=True)
run(create_app(ScriptedEngine(["word " * 1000], delay=0.05)), listener)
print("over", flush=True)
"""


def test_a_taken_port_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AccordantError, match=f"port {port} on 127.0.0.1 is taken"):
            bind("127.0.0.1", port)


def test_port_0_takes_the_next_free_one() -> None:
    with bind("127.0.0.1", 0) as first, bind("127.0.0.1", 0) as second:
        assert 8000 <= first.getsockname()[1] < second.getsockname()[1]
        assert address(first) == f"http://127.0.0.1:{first.getsockname()[1]}"


@pytest.mark.parametrize(("host", "port"), [("no.such.host.invalid", 8000), ("192.0.2.1", 8000), ("127.0.0.1", 70_000)])
def test_an_address_that_cannot_be_bound_is_one_line(host: str, port: int) -> None:
    with pytest.raises(AccordantError, match="cannot listen"):
        bind(host, port)


def test_beyond_this_machine_it_needs_a_secret_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCORDANT_HOME", str(tmp_path))
    monkeypatch.delenv("ACCORDANT_SECRET", raising=False)
    with pytest.raises(AccordantError, match="set ACCORDANT_SECRET"):
        serve(tmp_path / "no checkpoint", host="0.0.0.0", port=0)
    with pytest.raises(AccordantError, match="it needs accounts"):
        serve(tmp_path / "no checkpoint", host="0.0.0.0", port=0, accounts=False)


def test_a_checkpoint_becomes_an_engine(tmp_path: Path) -> None:
    engine = load_engine(save_tiny_checkpoint(tmp_path / "tiny"))
    assert context_of(engine) == 512
    count = sum(weight.numel() for weight in tiny_model().parameters())
    assert facts_of(engine)["Parameters"] == f"{count / 1e6:.3g}M"


def test_the_classifier_has_the_policy_of_the_settings_and_the_format_of_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = load_engine(save_tiny_checkpoint(tmp_path / "tiny"))
    found: dict[str, Any] = {}

    def load(**given: Any) -> WordModerator:
        found.update(given)
        return WordModerator(["bad"])

    monkeypatch.setattr(Moderator, "load", load)
    policy = Policy(user={"hate": Thresholds(warn=0.1)})
    moderation = load_moderation(ModerationSettings(mode="window", policy=policy), engine)
    assert moderation
    assert moderation.mode == "window"
    assert asyncio.run(moderation.moderator()).name == "words"
    assert found == {"policy": policy, "dtype": engine.model.lm_head.weight.dtype}
    assert load_moderation(ModerationSettings(mode="off"), engine) is None


@pytest.mark.parametrize("streaming", [False, True])
def test_ctrl_c_ends_the_server_without_a_traceback(streaming: bool) -> None:
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert server.stdout is not None
    place = server.stdout.readline().strip().removeprefix("http://")
    client = http.client.HTTPConnection(place, timeout=60)
    rest = b""
    try:
        client.request("GET", "/health")
        assert client.getresponse().read()
        if streaming:
            messages = [{"role": "user", "content": "go on"}]
            body = json.dumps({"model": "model", "messages": messages, "max_tokens": 1000, "stream": True})
            client.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
            response = client.getresponse()
            assert response.readline().startswith(b"data: ")
        server.send_signal(signal.SIGINT)
        rest = response.read() if streaming else b""
    finally:
        try:
            out, errors = server.communicate(timeout=60)
        finally:
            server.kill()
    assert out == "over\n"
    assert errors == ""
    assert server.returncode == 0
    assert (b"shutting down" in rest) == streaming


def test_a_server_starts_without_what_it_does_not_need(tmp_path: Path) -> None:
    """Each of these takes from half a second to several; an answer needs none of them either."""
    code = "import sys\nfrom pathlib import Path\nfrom accordant.cli import commands\n"
    code += "from accordant.engine import Sampling\nfrom accordant.serve import load, run\n"
    code += "engine = load.load_engine(Path(sys.argv[1]))\n"
    code += "engine.generate([[5, 6, 7]], Sampling(max_tokens=3))\n"
    code += "from accordant.model.bert import load_bert\n"
    code += "load_bert(Path(sys.argv[2]), engine.model.lm_head.weight.dtype)\n"
    code += "unwanted = ('torch._dynamo', 'matplotlib', 'transformers', 'alembic', 'accordant.train')\n"
    code += "print([module for module in unwanted if module in sys.modules])"
    folders = save_tiny_checkpoint(tmp_path / "tiny"), save_tiny_encoder(tmp_path / "encoder")
    command = [sys.executable, "-c", code, *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
