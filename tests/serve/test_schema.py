"""Whatever is sent to any route of the OpenAPI document, the server does not fail; and no route forgets who asks."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from live import live
from schemathesis.checks import not_a_server_error

from accordant.engine import Engine
from accordant.serve.app import create_app
from accordant.serve.principal import principal
from accordant.testing import tiny_model, tiny_renderer
from accordant.testing.scripted import ScriptedEngine

PUBLIC = {"/health", "/ready"}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    app = create_app(Engine(tiny_model(), tiny_renderer(), 4), checkpoint_name="tiny", context=64)
    with live(app) as address:
        yield address


SCHEMA = schemathesis.openapi.from_dict(create_app(ScriptedEngine(["x"])).openapi())


def check(case: Any, address: str) -> None:
    response = case.call(base_url=address)
    case.validate_response(response, checks=[not_a_server_error])
    if response.status_code >= 400 and case.path.startswith("/v1/"):
        assert set(response.json()["error"]) == {"message", "type", "param", "code"}


@SCHEMA.parametrize()
@settings(max_examples=10, suppress_health_check=list(HealthCheck))
def test_nothing_makes_it_fail(case: Any, address: str) -> None:
    check(case, address)


@pytest.mark.slow
@SCHEMA.parametrize()
@settings(max_examples=400, suppress_health_check=list(HealthCheck))
def test_nothing_at_all_makes_it_fail(case: Any, address: str) -> None:
    check(case, address)


def dependencies(dependant: Any) -> set[Any]:
    found = {dependant.call}
    for inner in dependant.dependencies:
        found |= dependencies(inner)
    return found


def routes() -> dict[str, Any]:
    app = create_app(ScriptedEngine(["x"]))
    parts = [part.original_router for part in app.routes if hasattr(part, "original_router")]
    found = {route.path: route for part in parts for route in part.routes}
    documented = set(app.openapi()["paths"])
    assert {path.replace(":path", "") for path in found} == documented, "the walk sees every route of the document"
    return found


def test_every_route_knows_who_asks() -> None:
    for path, route in routes().items():
        assert (principal in dependencies(route.dependant)) != (path in PUBLIC), path


def test_everything_is_documented() -> None:
    assert all(route.description for route in routes().values())
