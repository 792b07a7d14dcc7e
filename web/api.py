"""Write `src/api/schema.ts`, the types of the API, from the service's OpenAPI document: `python web/api.py`."""

import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from npm import FOLDER, WHEEL

from accordant.serve.access import Access
from accordant.serve.app import create_app
from accordant.store.database import Database
from accordant.testing.scripted import ScriptedEngine

SCHEMA = FOLDER / "src" / "api" / "schema.ts"


def document() -> dict[str, Any]:
    """What the page uses of the OpenAPI document of a whole service; nothing is opened or listened to."""
    with tempfile.TemporaryDirectory() as folder:
        found = create_app(ScriptedEngine([""]), access=Access(Database(f"sqlite:///{folder}/none.db"))).openapi()
    found["paths"] = {path: methods for path, methods in found["paths"].items() if path.startswith("/api/")}
    schemas = found["components"]["schemas"]
    named: set[str] = set()
    new = references(found["paths"])
    while new:
        named |= new
        new = set().union(*(references(schemas[name]) for name in new)) - named
    found["components"]["schemas"] = {name: schemas[name] for name in sorted(named)}
    return without_strings(found)


def without_strings(found: dict[str, Any]) -> dict[str, Any]:
    """A stream of events is text to FastAPI; to the page it is the events, by their schema alone."""
    for methods in found["paths"].values():
        for method in methods.values():
            stream = method["responses"].get("200", {}).get("content", {}).get("text/event-stream")
            if stream and "oneOf" in stream["schema"]:
                del stream["schema"]["type"]
    return found


def references(part: Any) -> set[str]:
    """The schemas that a part of the document names."""
    return set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(part)))


def schema() -> str:
    """The types as TypeScript."""
    program = [WHEEL / "bin" / "node", FOLDER / "node_modules" / "openapi-typescript" / "bin" / "cli.js"]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "openapi.json"
        place.write_text(json.dumps(document()))
        options = ["--root-types", "--root-types-no-schema-prefix", "--default-non-nullable", "false"]
        done = subprocess.run([*program, place, *options], capture_output=True, text=True, check=True)
    return done.stdout


if __name__ == "__main__":
    SCHEMA.write_text(schema())
