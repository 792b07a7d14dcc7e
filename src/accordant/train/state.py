"""The state of a stage on disk: whole or absent, checked by digest, enough to go on bit for bit.

No random generator is saved because none lives across steps: every draw comes from (seed, purpose, step).
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import load_file, save_file
from torch import Tensor

from accordant.errors import AccordantError
from accordant.files import explain_os_errors, new_directory, read_json, sha256, write_json
from accordant.progress import Watcher

_KEPT = 2


class State(NamedTuple):
    """What a stage needs to go on after `step` finished steps."""

    step: int
    tensors: dict[str, Tensor]


def save_state(folder: Path, state: State) -> None:
    """Write `state` as a new folder under `folder` and drop all but the last two."""
    with new_directory(folder / f"step-{state.step:06d}") as new:
        with explain_os_errors(f"saving step {state.step}"):
            try:
                save_file({k: t.contiguous() for k, t in state.tensors.items()}, new / "tensors.safetensors")
            except Exception as error:
                if "No space left" in str(error):
                    raise AccordantError(f"disk full while saving step {state.step}; earlier state is intact") from None
                raise
        write_json(
            new / "state.json",
            {"step": state.step, "sha256": sha256(new / "tensors.safetensors")},
        )
    for old in sorted(folder.glob("step-*"))[:-_KEPT]:
        shutil.rmtree(old)


def load_state(folder: Path, watcher: Watcher) -> State | None:
    """The newest undamaged state, or None; a damaged one is skipped with a note."""
    for path in sorted(folder.glob("step-*"), reverse=True):
        try:
            record: Mapping[str, Any] = read_json(path / "state.json")
            if sha256(path / "tensors.safetensors") != record["sha256"]:
                raise AccordantError("its digest differs")
            return State(record["step"], load_file(path / "tensors.safetensors"))
        except (AccordantError, OSError, KeyError, ValueError) as error:
            watcher.note(f"{path} is damaged ({error}) and skipped")
    return None
