"""The rounds of the workspace over HTTP: for admins alone, only what is new, and no way out of the folder."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from people import log_in

from accordant.files import only_one
from accordant.progress import SILENT
from accordant.rounds.status import StatusKeeper

Serve = Callable[..., TestClient]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ACCORDANT_HOME", str(tmp_path))
    folder = tmp_path / "runs" / "first"
    (folder / "sft").mkdir(parents=True)
    (tmp_path / "secret.json").write_text("{}")
    return folder


def add(folder: Path, *steps: int, end: str = "\n") -> None:
    with (folder / "sft" / "metrics.jsonl").open("a") as file:
        for step in steps:
            file.write(json.dumps({"step": step, "loss": 1 / (step + 1)}) + end)


def test_rounds_are_for_admins(serve: Serve, people: dict[str, str], run: Path) -> None:
    client = serve(accounts=True)
    addresses = ["/api/runs", "/api/runs/first", "/api/runs/first/metrics/sft", "/api/runs/first/samples"]
    for name, status in (("ada", 403), ("root", 200)):
        person = log_in(client, name)
        assert [person.get(address).status_code for address in addresses] == [status] * len(addresses)
    assert serve().get("/api/runs").json()["runs"][0]["name"] == "first"  # without accounts everybody is the admin


def test_only_what_is_new_comes(serve: Serve, run: Path) -> None:
    client = serve()

    def read(after: str) -> tuple[list[int], str, bool]:
        found = client.get("/api/runs/first/metrics/sft", params={"after": after}).json()
        return [row["step"] for row in found["rows"]], found["place"], found["anew"]

    steps, place, anew = read("")
    assert (steps, anew) == ([], True)
    add(run, 0, 1)
    steps, place, anew = read(place)
    assert (steps, anew) == ([0, 1], True)
    add(run, 2)
    add(run, 3, end="")
    with (run / "sft" / "metrics.jsonl").open("a") as file:
        file.write('\n{"step": 4, "lo')
    steps, place, anew = read(place)
    assert (steps, anew) == ([2, 3], False)
    with (run / "sft" / "metrics.jsonl").open("a") as file:
        file.write('ss": 1.0}\n')
    assert read(place)[0] == [4]
    for wrong in ("x", "1-2", "-1-00000000", "1" * 99 + "-00000000"):
        assert client.get("/api/runs/first/metrics/sft", params={"after": wrong}).status_code == 422


def test_a_running_round_says_where_it_is(serve: Serve, run: Path) -> None:
    client = serve()
    with only_one(run):
        keeper = StatusKeeper(run, ["ppo"], SILENT)
        keeper.enter("sft")
        keeper.begin("SFT", 10)
        found = client.get("/api/runs/first").json()
        assert found["state"] == "running"
        assert found["progress"] == {"stage": "sft", "part": "SFT", "done": 0, "total": 10, "seconds_left": None}
        assert [stage["name"] for stage in found["stages"]] == ["sft", "reward", "gate", "ppo", "judge", "evaluation"]
        keeper.end()
        found = client.get("/api/runs/first").json()["progress"]
        assert (found["stage"], found["total"]) == ("sft", 0)  # it measures, and nobody counts that
        keeper.close("failed", "no more disk")
    found = client.get("/api/runs/first").json()
    assert (found["state"], found["why"], found["progress"]) == ("failed", "no more disk", None)


def test_what_is_not_there_is_not_found(serve: Serve, run: Path) -> None:
    client = serve()
    for address in (
        "/api/runs/none",
        "/api/runs/none/metrics/sft",
        "/api/runs/first/evaluation",
        "/api/runs/first/report",
    ):
        assert client.get(address).status_code == 404, address
    assert client.get("/api/runs/first/metrics/base").status_code == 422


@pytest.mark.parametrize(
    "name", ["..", "%2e%2e", "..%2F..", "%2e%2e%2fsecret.json", "first%2F..", "first%2Fsft", ".lock"]
)
def test_no_address_leads_out_of_the_runs(serve: Serve, run: Path, name: str) -> None:
    (run.parent / ".lock").mkdir()
    client = serve()
    for rest in ("", "/metrics/sft", "/samples", "/evaluation", "/report"):
        request = client.build_request("GET", "/")
        raw = f"/api/runs/{name}{rest}".encode()
        request.url = request.url.copy_with(raw_path=raw)  # or the client would tidy it up
        answer = client.send(request)
        # What leads above /api is the page's, if that is built.
        assert answer.status_code == 404 or answer.text == client.get("/").text, raw


def test_a_report_is_handed_out_whole(serve: Serve, run: Path) -> None:
    (run / "report.html").write_text("<html></html>")
    answer = serve().get("/api/runs/first/report")
    assert answer.text == "<html></html>"
    # A document of our own origin would run with the page's rights.
    assert answer.headers["content-disposition"].startswith("attachment")
