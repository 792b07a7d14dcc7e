"""Somebody who is logged in."""

from fastapi.testclient import TestClient

PASSWORD = "correct horse"


def log_in(client: TestClient, name: str) -> TestClient:
    """Another client of the same app, logged in, that sends its CSRF token along."""
    other = TestClient(client.app, base_url=str(client.base_url))
    other.portal = client.portal  # the same event loop: an answer goes on in the background
    response = other.post("/api/login", json={"name": name, "password": PASSWORD})
    assert response.status_code == 200, response.text
    other.headers["X-CSRF-Token"] = response.json()["csrf"]
    return other
