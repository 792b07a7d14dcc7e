"""The page as files: what a browser gets where, and what is said when there is no page."""

import json
import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from accordant.serve import page_files
from accordant.serve.app import create_app
from accordant.serve.load import measured_of
from accordant.serve.page_files import UNBUILT, is_built
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
