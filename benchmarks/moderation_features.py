"""Which vectors tell moderation's categories apart best: the small encoder's layers, or a language model's own states?

    python -m benchmarks.moderation_features DATA CHECKPOINT [CHARACTERS]

DATA is a file of labelled texts, CHECKPOINT a language model in the hub's format, CHARACTERS how much of each text is
read (600). Every candidate is the mean of its states over the text, at length 1; heads with penalty 0.3, scored out of
fold (5 folds, seed 0). Prints a row of areas under the precision-recall curve for each, and last one JSON document.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

from accordant.data.load import load_labelled_texts
from accordant.data.split import normalised
from accordant.model.attention import PackedAttention
from accordant.model.hub import load_transformer
from accordant.moderation.encoder import Embedded, Encoder, bring_encoder
from accordant.moderation.evaluation import any_label
from accordant.moderation.fitting import Examples, out_of_fold
from accordant.moderation.heads import label_matrix
from accordant.moderation.moderator import encoder_folder
from accordant.records import CATEGORIES
from accordant.stats import average_precision
from accordant.text import Renderer

PENALTY = 0.3
TOKENS, BATCH = 160, 16


def unit(vectors: torch.Tensor) -> np.ndarray:
    """Rows at length 1, float64."""
    return torch.nn.functional.normalize(vectors, dim=-1).double().numpy()


def encoder_states(texts: list[str]) -> dict[str, np.ndarray]:
    """Pooled states after each layer of the encoder, of the first window."""
    encoder = Encoder.load(bring_encoder(encoder_folder()), torch.bfloat16)
    with torch.inference_mode():
        states = [encoder.model(encoder.windows(text)[0]) for text in texts]
    layers = range(len(encoder.model.layers))
    pooled = {n: unit(torch.stack([s[n].float().mean(0) for s in states])) for n in layers}
    middle, last = pooled[round(len(layers) * 2 / 3) - 1], pooled[len(layers) - 1]
    named = {f"encoder, layer {n + 1}": vectors for n, vectors in pooled.items()}
    return named | {"encoder, two thirds and last": np.concatenate((middle, last), axis=1)}


def decoder_states(texts: list[str], checkpoint: Path) -> dict[str, np.ndarray]:
    """Pooled states after every fifth layer of the language model."""
    model = load_transformer(checkpoint, torch.bfloat16)
    tokenizer = Renderer.load(checkpoint).tokenizer
    states: dict[int, torch.Tensor] = {}
    depths = range(5, len(model.model.layers) + 1, 5)
    for depth in depths:
        model.model.layers[depth - 1].register_forward_hook(lambda *call, depth=depth: states.update({depth: call[2]}))
    ids = [(tokenizer.encode(text) or [0])[:TOKENS] for text in texts]
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    pooled = {depth: torch.zeros(len(ids), model.config.hidden_size) for depth in depths}
    with torch.inference_mode():
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            lengths = [len(ids[i]) for i in batch]
            model.hidden(torch.tensor([token for i in batch for token in ids[i]]), PackedAttention(lengths))
            for depth in depths:
                for i, own in zip(batch, states[depth].float().split(lengths), strict=True):
                    pooled[depth][i] = own.mean(0)
    return {f"language model, layer {depth}": unit(vectors) for depth, vectors in pooled.items()}


def areas(vectors: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> list[float]:
    """Of each category with a positive text, and of all together."""
    examples = Examples(Embedded(vectors, np.arange(len(vectors))), labels, groups, np.ones(len(vectors)))
    penalties = np.full((1, len(CATEGORIES)), PENALTY)
    logits = out_of_fold(examples, 5, 0, lambda training, rest: rest.logits(training.fit(penalties)[0]))
    columns = [(logits[:, c], labels[:, c]) for c in range(len(CATEGORIES)) if (labels[:, c] == 1).any()]
    columns.append((np.nan_to_num(logits, nan=-np.inf).max(axis=1), any_label(labels)))
    return [average_precision(z[~np.isnan(y)], y[~np.isnan(y)]) for z, y in columns]


def main() -> None:
    """Run and print."""
    data, checkpoint = Path(sys.argv[1]), Path(sys.argv[2])
    characters = int(sys.argv[3]) if len(sys.argv) > 3 else 600
    rows = load_labelled_texts(data).records
    texts, labels = [row.text[:characters] for row in rows], label_matrix(rows)
    groups = np.array([normalised(text) for text in texts])
    found = {}
    for states in (encoder_states, lambda texts: decoder_states(texts, checkpoint)):
        began = time.process_time()
        candidates = states(texts)
        print(f"{(time.process_time() - began) / len(texts) * 1e3:.1f} ms of CPU a text")
        for name, vectors in candidates.items():
            found[name] = areas(vectors, labels, groups)
            mean = np.mean(found[name][:-1])
            print(f"{name:32}", *(f"{area:.3f}" for area in found[name]), f"mean {mean:.3f}", flush=True)
    print(json.dumps({"texts": len(texts), "areas": found}))


if __name__ == "__main__":
    main()
