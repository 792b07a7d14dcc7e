import pytest
from fastapi.testclient import TestClient

from accordant.serve.app import create_app
from accordant.testing.scripted import ScriptedEngine


def status(bound: str, host: str) -> int:
    app = create_app(ScriptedEngine(["x"]), host=bound)
    return TestClient(app).get("/health", headers={"Host": host}).status_code


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:8000", "[::1]:8000", "[::1]", "box.lan:80"])
def test_own_names_are_answered(host: str) -> None:
    assert status("box.lan", host) == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "127.0.0.2", "", "[::1", "a@localhost:x["],
)
def test_other_names_are_not(host: str) -> None:
    assert status("127.0.0.1", host) == 400


@pytest.mark.parametrize(
    ("host", "expected"), [("192.168.1.20:8000", 200), ("[fe80::1]:8000", 200), ("evil.example", 400)]
)
def test_bound_to_all_addresses_any_address_is_answered_but_no_name(host: str, expected: int) -> None:
    assert status("0.0.0.0", host) == expected


def test_refusals_carry_the_security_headers_too() -> None:
    client = TestClient(create_app(ScriptedEngine(["x"])))
    response = client.get("/", headers={"Host": "evil.example"})
    assert "default-src 'none'" in response.headers["content-security-policy"]


def test_large_and_unmeasured_bodies_are_refused_before_they_are_read() -> None:
    client = TestClient(create_app(ScriptedEngine(["x"])), base_url="http://localhost")
    large = client.post("/v1/completions", content=b" " * 1_000_001, headers={"Content-Type": "application/json"})
    assert large.status_code == 413
    unmeasured = client.post("/v1/completions", content=iter([b"{}"]), headers={"Content-Type": "application/json"})
    assert unmeasured.status_code == 411
