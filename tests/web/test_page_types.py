"""The page's types are those of the service as it is."""

import json
import runpy
import sys
from pathlib import Path

import pytest

WEB = Path(__file__).parent.parent.parent / "web"


@pytest.mark.skipif(
    not (WEB / "node_modules" / "installed").exists(), reason="the page's tools are not installed (make web)"
)
def test_the_types_are_those_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(WEB), *sys.path])
    made = runpy.run_path(str(WEB / "api.py"))["schema"]()
    assert made == (WEB / "src" / "api" / "schema.ts").read_text(), "run `make api`"


def test_the_lock_file_names_no_host() -> None:
    lock = (WEB / "package-lock.json").read_text()
    assert "resolved" not in lock
    assert "registry" not in lock


def test_the_lock_file_is_whole_for_every_platform() -> None:
    """npm leaves out what its index did not have that day, and then refuses to install from the file."""
    packages = json.loads((WEB / "package-lock.json").read_text())["packages"]
    locked = {place.rpartition("node_modules/")[2] for place in packages}
    wanted = {name for package in packages.values() for name in package.get("optionalDependencies", {})}
    assert wanted
    assert wanted <= locked, wanted - locked
