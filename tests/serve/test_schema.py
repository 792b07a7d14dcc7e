"""Whatever is sent to any route of the OpenAPI document, the server does not fail."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from live import live
from schemathesis.checks import not_a_server_error

from accordant.engine import Engine
from accordant.serve.app import create_app
from accordant.testing import tiny_model, tiny_renderer
from accordant.testing.scripted import ScriptedEngine


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


def test_everything_is_documented() -> None:
    document = create_app(ScriptedEngine(["x"])).openapi()
    for path, methods in document["paths"].items():
        assert all(method["description"] for method in methods.values()), path
