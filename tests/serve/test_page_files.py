"""The page as files: what a browser gets where, and what is said when there is no page."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from accordant.serve import page_files
from accordant.serve.app import create_app
from accordant.serve.load import MOST_SAMPLES, measured_of, samples_of
from accordant.serve.moderation import Moderation
from accordant.serve.page_files import UNBUILT, is_built
from accordant.serve.requests import Sample
from accordant.testing.moderation import WordModerator
from accordant.testing.scripted import ScriptedEngine

BROWSER = {"Accept": "text/html,application/xhtml+xml"}


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(page_files, "PAGE", tmp_path)
    return tmp_path


def client() -> TestClient:
    return TestClient(create_app(ScriptedEngine(["x"])), base_url="http://127.0.0.1")


@pytest.mark.parametrize("folder", [True, False])
def test_without_a_page_it_says_what_to_run(page: Path, folder: bool) -> None:
    if not folder:
        page.rmdir()
    assert client().get("/v1/assistants").status_code == 404
    answer = client().get("/", headers=BROWSER)
    assert (answer.status_code, answer.json()) == (404, {"error": {"message": UNBUILT}})
    assert client().get("/health").status_code == 200


def test_places_within_the_page_are_the_page_and_others_are_not_found(page: Path) -> None:
    (page / "index.html").write_text("<title>here</title>")
    assert client().get("/", headers=BROWSER).text == "<title>here</title>"
    assert client().get("/chat/conv_1", headers=BROWSER).text == "<title>here</title>"
    assert client().get("/chat/conv_1").json() == {"error": {"message": "Not Found"}}
    assert client().get("/../pyproject.toml").status_code == 404


def test_files_with_their_digest_in_the_name_are_kept_and_the_page_is_not(page: Path) -> None:
    (page / "index.html").write_text("")
    (page / "assets").mkdir()
    (page / "assets" / "a-1.js").write_text("")
    assert "immutable" in client().get("/assets/a-1.js").headers["cache-control"]
    assert client().get("/").headers["cache-control"] == "no-cache"


@pytest.mark.skipif(not is_built(), reason="the page is not built (make web)")
def test_the_built_page_has_nothing_that_its_policy_forbids() -> None:
    served = client().get("/")
    policy = served.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert not re.search(r"unsafe|http|\*", policy)
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|https?://", served.text)
    wanted = re.findall(r'(?:src|href)="([^"]+)"', served.text)
    assert wanted
    for name in wanted:
        assert client().get(name).status_code == 200


def test_the_figures_of_a_round_are_those_of_the_checkpoint_that_is_served(tmp_path: Path) -> None:
    figure = {"value": 0.25, "low": 0.1, "high": 0.5, "n": 8}
    systems = {"SFT": {}, "PPO": {"clarified": figure}}
    (tmp_path / "evaluation.json").write_text(json.dumps({"systems": systems}))
    [(name, found)] = measured_of(tmp_path / "ppo" / "checkpoint").items()
    assert (name, found.model_dump()) == ("clarified", figure)
    assert measured_of(tmp_path / "sft" / "checkpoint") == {}
    assert measured_of(tmp_path / "base") == {}


def test_sample_conversations_are_what_the_served_checkpoint_answered(tmp_path: Path) -> None:
    def sample(number: int, tag: str, turns: int = 1) -> dict[str, Any]:
        answers = {name: {"text": f"{name} says {number}", "reward": 0.0, "ended": True} for name in ("SFT", "PPO")}
        messages = [{"role": "user", "content": f"question {number}"}] * turns
        return {"id": f"e{number}", "tag": tag, "messages": messages, "answers": answers}

    kinds = ["harmful", "code", "chitchat", "code", "distress", "long", "lookalike", *map(str, range(9))]
    samples = [sample(number, tag, turns=3 if tag == "long" else 1) for number, tag in enumerate(kinds)]
    (tmp_path / "evaluation.json").write_text(json.dumps({"systems": {}, "samples": samples}))
    shown = samples_of(tmp_path / "ppo" / "checkpoint")
    assert [(one.question, one.answer) for one in shown] == [
        (f"question {number}", f"PPO says {number}") for number in (1, 2, 7, 8)
    ]
    assert len(shown) == MOST_SAMPLES
    assert samples_of(tmp_path / "sft" / "checkpoint")[0].answer == "SFT says 1"
    assert samples_of(tmp_path / "dpo" / "checkpoint") == samples_of(tmp_path / "base") == []


def test_samples_are_judged_like_all_words_of_the_model() -> None:
    given = [Sample(question=asked, answer=said) for asked, said in (("a", "fine"), ("a bomb", "no"), ("b", "a bomb"))]
    for judge, shown in ((Moderation(lambda: WordModerator(["bomb"])), given[:1]), (None, given)):
        app = create_app(ScriptedEngine(["x"]), samples=given, moderation=judge)
        found = TestClient(app, base_url="http://127.0.0.1").get("/api/about/samples").json()
        assert found == [one.model_dump() for one in shown]
