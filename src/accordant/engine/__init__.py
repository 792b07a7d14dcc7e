"""Generation on the same module that trains: batches with a KV cache, log-probs of what was sampled, streaming.

Imports `model`, `text` and the base modules; never `train` or `serve`.
"""

from accordant.engine.generate import Engine, Generation, Progress
from accordant.engine.sampler import Sampling

__all__ = ["Engine", "Generation", "Progress", "Sampling"]
