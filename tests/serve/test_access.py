"""One way in for all routes: cookies with CSRF tokens, API keys, roles; and what gets nobody in."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from people import PASSWORD, log_in

from accordant.errors import AccordantError
from accordant.serve.access import Access, is_loopback, make_access
from accordant.serve.app import create_app
from accordant.serve.deps import principal
from accordant.store import audit, keys, logins, users
from accordant.store.database import Database
from accordant.testing.scripted import ScriptedEngine

PUBLIC = {
    ("GET", "/health"),
    ("GET", "/ready"),
    ("GET", "/api/about"),
    ("POST", "/api/login"),
    ("POST", "/api/signup"),
}
"""What somebody may ask who is nobody. Anything else without a `Principal` is a fault."""

Serve = Callable[..., TestClient]


def dependencies(dependant: Any) -> Iterator[Any]:
    for one in dependant.dependencies:
        yield one.call
        yield from dependencies(one)


def routes(app: FastAPI) -> list[APIRoute]:
    """All routes, those of included routers as well; anything else is the page and the document of the API."""
    found = []
    for route in app.routes:
        if isinstance(route, APIRoute):
            found.append(route)
        elif router := getattr(route, "original_router", None):
            found += router.routes
        else:
            assert route.path in ("", "/openapi.json")  # type: ignore[attr-defined]
    return found


def test_every_route_asks_who_it_is(database: Database) -> None:
    app = create_app(ScriptedEngine(["x"]), access=Access(database, True, "s" * 32))
    asked = app.openapi()["paths"]
    found = {(method, route.path.replace(":path", "")): route for route in routes(app) for method in route.methods}
    # The document knows every route; the walk must have seen all of them.
    assert {(method.upper(), path) for path, methods in asked.items() for method in methods} <= set(found)
    assert len(found) > 20
    for (method, path), route in found.items():
        assert ((method, path) in PUBLIC) != (principal in set(dependencies(route.dependant))), f"{method} {path}"


def test_nobody_gets_nothing_from_any_route(serve: Serve, people: dict[str, str]) -> None:
    """The same as a client sees it, with every kind of wrong proof."""
    client = serve(accounts=True)
    proofs: list[dict[str, str]] = [
        {},
        {"Authorization": "Bearer acc-000000000000-secret"},
        {"Authorization": "Basic YWRhOmNvcnJlY3QgaG9yc2U="},
        {"Cookie": "accordant=nonsense"},
    ]
    for path, methods in client.app.openapi()["paths"].items():  # type: ignore[attr-defined]
        for method in methods:
            if (method.upper(), path) in PUBLIC:
                continue
            for proof in proofs:
                answer = client.request(method, path.replace("{", "").replace("}", ""), headers=proof, json={})
                assert answer.status_code == 401, (method, path, proof)
                assert answer.headers["www-authenticate"] == "Bearer"
                assert set(answer.json()["error"]) >= {"message"}


def filled(schema: dict[str, Any], document: dict[str, Any]) -> Any:
    """A value whose every text has a NUL."""
    if "$ref" in schema:
        return filled(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document)
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return filled(schema[several][0], document)
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    match schema.get("type"):
        case "string":
            return "long enough \x00 for any password"
        case "object":
            return {name: filled(one, document) for name, one in schema.get("properties", {}).items()}
        case "array":
            return [filled(schema.get("items", {}), document)]
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return False
    return None


def test_a_nul_in_any_address_is_refused(serve: Serve) -> None:
    """PostgreSQL stores none, so it could not even be looked for."""
    client = serve()
    document = client.app.openapi()  # type: ignore[attr-defined]
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            asked = [(place["in"], place["name"]) for place in route.get("parameters", []) if place["in"] != "header"]
            for place, name in [("query", "unknown"), *asked]:
                there = path.replace(f"{{{name}}}", "a%00b") + (f"?{name}=a%00b" if place == "query" else "")
                answer = client.request(method, there.replace("{", "").replace("}", ""), json={})
                assert answer.status_code == 400, (method, there)
                assert "NUL" in answer.json()["error"]["message"]


def test_a_nul_in_any_field_is_no_failure(serve: Serve, people: dict[str, str]) -> None:
    client = serve(accounts=True)
    for path, fields in {
        "/api/login": {"name": "a\x00", "password": "b\x00"},
        "/api/signup": {"name": "a\x00", "password": PASSWORD, "invitation": "a\x00"},
    }.items():
        answer = client.post(path, json=fields)
        assert 400 <= answer.status_code < 500, (path, answer.text)
    root = log_in(client, "root")
    document = client.app.openapi()  # type: ignore[attr-defined]
    seen = 0
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            if "requestBody" in route and path not in ("/api/logout", "/api/me"):
                body = filled(route["requestBody"]["content"]["application/json"]["schema"], document)
                seen += r"\u0000" in json.dumps(body)
                answer = root.request(method, path.replace("{", "").replace("}", ""), json=body)
                assert answer.status_code < 500, (method, path, body, answer.text)
    assert seen


def test_without_accounts_all_of_it_opens_with_no_login(serve: Serve) -> None:
    client = serve(accounts=False)
    me = client.get("/api/me").json()
    assert me == {"id": "user_local", "name": "local", "roles": ["admin", "user"], "accounts": False, "csrf": None}
    assert client.post("/api/conversations", json={}).status_code == 201
    assert client.get("/api/users").status_code == 200
    assert client.post("/v1/completions", json={"model": "tiny", "prompt": "hi"}).status_code == 200
    for path in ("/api/login", "/api/signup"):
        refused = client.post(path, json={"name": "ada", "password": PASSWORD})
        assert (refused.status_code, refused.json()["error"]["message"]) == (404, "this server has no accounts")


def test_without_a_store_there_is_the_api_alone() -> None:
    client = TestClient(create_app(ScriptedEngine(["x"])), base_url="http://127.0.0.1")
    assert client.post("/v1/completions", json={"model": "model", "prompt": "hi"}).status_code == 200
    assert client.get("/api/conversations").status_code == 404


@pytest.mark.parametrize("secure", [False, True])
def test_the_cookie_is_for_this_site_and_for_no_script(serve: Serve, people: dict[str, str], secure: bool) -> None:
    client = serve(accounts=True, secure=secure)
    response = client.post("/api/login", json={"name": "ADA ", "password": PASSWORD})
    cookie = response.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Path=/" in cookie
    assert "Domain" not in cookie
    assert ("Secure" in cookie) == secure
    assert cookie.startswith("__Host-accordant=" if secure else "accordant=")
    assert PASSWORD not in response.text
    assert client.get("/api/me").json()["name"] == "ada"


def test_a_change_by_cookie_needs_the_csrf_token(serve: Serve, people: dict[str, str]) -> None:
    client = log_in(serve(accounts=True), "ada")
    token = client.headers.pop("X-CSRF-Token")
    other = log_in(client, "eve").headers["X-CSRF-Token"]
    assert token == client.get("/api/me").json()["csrf"]
    for wrong in (None, "", "x", token[:-1], token.upper() + "x", other, "ü"):
        headers = {} if wrong is None else {"X-CSRF-Token": wrong.encode()}
        assert client.post("/api/conversations", json={}, headers=headers).status_code == 403  # type: ignore[arg-type]
    assert client.get("/api/conversations").json()["conversations"] == []
    assert client.post("/api/conversations", json={}, headers={"X-CSRF-Token": token}).status_code == 201


def test_pages_of_other_sites_change_nothing_even_without_accounts(serve: Serve) -> None:
    client = serve(accounts=False)
    for origin in ("https://evil.example", "null", "http://127.0.0.1:9", "http://127.0.0.1.evil.example", "127.0.0.1"):
        assert client.post("/api/conversations", json={}, headers={"Origin": origin}).status_code == 403
    assert client.get("/api/conversations").json()["conversations"] == []
    assert client.post("/api/conversations", json={}, headers={"Origin": "http://127.0.0.1"}).status_code == 201


def test_a_key_works_in_its_one_header_and_without_csrf(
    serve: Serve, database: Database, people: dict[str, str]
) -> None:
    client = serve(accounts=True)
    with database.write() as session:
        text = keys.add(session, people["ada"], "").text
    assert client.post("/api/conversations", json={}, headers={"Authorization": f"Bearer {text}"}).status_code == 201
    assert client.get("/api/me", headers={"Authorization": f"bearer {text}"}).json()["name"] == "ada"
    for header in ({"X-API-Key": text}, {"Authorization": text}, {"Cookie": f"accordant={text}"}, {"Api-Key": text}):
        assert client.get("/api/me", headers=header).status_code == 401
    assert client.get(f"/api/me?key={text}&api_key={text}").status_code == 401


def test_a_wrong_key_is_not_saved_by_a_right_cookie(serve: Serve, people: dict[str, str]) -> None:
    client = log_in(serve(accounts=True), "ada")
    assert client.get("/api/me", headers={"Authorization": "Bearer nonsense"}).status_code == 401


def test_a_key_cannot_make_keys_nor_touch_the_account(serve: Serve, people: dict[str, str]) -> None:
    browser = log_in(serve(accounts=True), "ada")
    made = browser.post("/api/keys", json={"name": "laptop"}).json()
    program = {"Authorization": f"Bearer {made['key']}"}
    client = TestClient(browser.app, base_url="http://127.0.0.1", headers=program)
    assert client.post("/api/keys", json={"name": "more"}).status_code == 403
    assert client.put("/api/me/password", json={"old": PASSWORD, "new": "x" * 12}).status_code == 403
    assert client.request("DELETE", "/api/me", json={"password": PASSWORD}).status_code == 403
    assert client.get("/api/me/export").status_code == 403
    # Shown once: no later answer has the secret.
    listed = browser.get("/api/keys")
    assert [key["name"] for key in listed.json()] == ["laptop"]
    assert made["key"].split("-", 2)[2] not in listed.text
    eve = log_in(browser, "eve")
    assert eve.delete(f"/api/keys/{made['about']['id']}").status_code == 404
    assert browser.delete(f"/api/keys/{made['about']['id']}").status_code == 204
    assert client.get("/api/me").status_code == 401
    assert browser.get("/api/keys").json()[0]["revoked"]


def test_roles_open_what_is_theirs(serve: Serve, people: dict[str, str], database: Database) -> None:
    ada, root = (log_in(serve(accounts=True), name) for name in ("ada", "root"))
    admins = [("GET", "/api/users"), ("PUT", f"/api/users/{people['eve']}/roles"), ("POST", "/api/invitations")]
    for method, path in [*admins, ("GET", "/api/settings/accounts"), ("PUT", "/api/settings/accounts")]:
        assert ada.request(method, path, json={"roles": ["admin"]}).status_code == 403
    assert root.put(f"/api/users/{people['eve']}/roles", json={"roles": ["reviewer"]}).json()["roles"] == [
        "user",
        "reviewer",
    ]
    assert root.put(f"/api/users/{people['eve']}/roles", json={"roles": ["god"]}).status_code == 422
    assert root.put("/api/users/user_nobody/roles", json={"roles": []}).status_code == 404
    last = root.put(f"/api/users/{people['root']}/roles", json={"roles": []})
    assert (last.status_code, last.json()["error"]["message"][:22]) == (400, "root is the only admin")
    assert [person["name"] for person in root.get("/api/users").json()] == ["ada", "eve", "local", "root"]
    with database.read() as session:
        found = [(entry.actor, entry.subject) for entry in audit.latest(session) if entry.action == "user.roles"]
    assert found == [(people["root"], people["eve"])]


def test_sign_up_by_invitation_then_open(serve: Serve, people: dict[str, str]) -> None:
    root = log_in(serve(accounts=True), "root")
    code = root.post("/api/invitations", json={"roles": ["trainer"]}).json()["code"]
    client = TestClient(root.app, base_url="http://127.0.0.1")
    wish = {"name": "Grace", "password": "battery staple"}
    assert client.post("/api/signup", json=wish).status_code == 403
    assert client.post("/api/signup", json=wish | {"invitation": "x"}).status_code == 400
    short = client.post("/api/signup", json=wish | {"invitation": code, "password": "short"})
    assert short.status_code == 400
    assert client.post("/api/signup", json=wish | {"invitation": code, "name": "ada"}).status_code == 400
    made = client.post("/api/signup", json=wish | {"invitation": code})
    assert (made.status_code, made.json()["roles"]) == (201, ["user", "trainer"])
    assert client.get("/api/me").json()["name"] == "grace"
    again = client.post("/api/signup", json=wish | {"invitation": code, "name": "x"})
    assert again.status_code == 400
    assert root.put("/api/settings/accounts", json={"sign_up": "open"}).status_code == 200
    assert client.post("/api/signup", json=wish | {"name": "joan"}).json()["roles"] == ["user"]


def test_guessing_is_slowed_down_and_says_for_how_long(
    serve: Serve, people: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    monkeypatch.setattr(logins, "now", lambda: now)
    client = serve(accounts=True)
    codes = [client.post("/api/login", json={"name": "ada", "password": f"guess {n}"}) for n in range(8)]
    assert [answer.status_code for answer in codes] == [401] * 6 + [429] * 2
    assert codes[-1].headers["retry-after"] == "2"
    # The right password is not let through either, and an unknown name is slowed down alike.
    assert client.post("/api/login", json={"name": "ada", "password": PASSWORD}).status_code == 429
    nobody = [client.post("/api/login", json={"name": "nobody", "password": "x"}) for _ in range(7)]
    assert [answer.status_code for answer in nobody] == [401] * 6 + [429]
    assert nobody[0].json() == codes[0].json()
    now += timedelta(seconds=3)
    assert client.post("/api/login", json={"name": "ada", "password": PASSWORD}).status_code == 200
    assert client.post("/api/login", json={"name": "ada", "password": "wrong"}).status_code == 401


def test_a_new_password_ends_other_logins_and_logging_out_ends_this_one(serve: Serve, people: dict[str, str]) -> None:
    here = log_in(serve(accounts=True), "ada")
    there = log_in(here, "ada")
    assert here.put("/api/me/password", json={"old": "wrong", "new": "battery staple"}).status_code == 403
    assert here.put("/api/me/password", json={"old": PASSWORD, "new": "battery staple"}).status_code == 204
    assert there.get("/api/me").status_code == 401
    assert here.get("/api/me").status_code == 200
    cookie = dict(here.cookies)
    assert here.post("/api/logout").status_code == 204
    assert here.get("/api/me").status_code == 401
    stolen = TestClient(here.app, base_url="http://127.0.0.1", cookies=cookie)
    assert stolen.get("/api/me").status_code == 401
    assert here.post("/api/login", json={"name": "ada", "password": PASSWORD}).status_code == 401


def test_an_account_is_deleted_with_the_password_alone(
    serve: Serve, people: dict[str, str], database: Database
) -> None:
    ada = log_in(serve(accounts=True), "ada")
    ada.post("/api/conversations", json={})
    assert ada.request("DELETE", "/api/me", json={"password": "wrong"}).status_code == 403
    assert ada.request("DELETE", "/api/me", json={"password": PASSWORD}).status_code == 204
    assert ada.get("/api/me").status_code == 401
    with database.read() as session:
        assert users.find(session, "ada") is None


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("::1", True), ("LOCALHOST", True), ("0.0.0.0", False), ("::", False), ("box.lan", False)],
)
def test_what_only_this_machine_reaches(host: str, expected: bool) -> None:
    assert is_loopback(host) == expected


def test_other_machines_need_accounts_and_a_secret(database: Database) -> None:
    alone = make_access(database, "127.0.0.1", None, None)
    assert (alone.accounts, alone.secure) == (False, False)
    assert len(alone.secret) >= 32
    assert make_access(database, "127.0.0.1", True, None).accounts
    wide = make_access(database, "0.0.0.0", None, "s" * 32)
    assert (wide.accounts, wide.secure, wide.secret) == (True, True, "s" * 32)
    with pytest.raises(AccordantError, match="needs accounts"):
        make_access(database, "0.0.0.0", False, "s" * 32)
    for secret in (None, "", "s" * 31):
        with pytest.raises(AccordantError, match="set ACCORDANT_SECRET"):
            make_access(database, "0.0.0.0", None, secret)
