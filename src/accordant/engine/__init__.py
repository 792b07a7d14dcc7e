"""Generation on the same module that trains: batches with a KV cache, log-probs of what was sampled, streaming.

Imports `model`, `text` and the base modules; never `train` or `serve`.
"""

from accordant.engine.ask import Ask, Generation
from accordant.engine.generate import Engine, Progress, Source
from accordant.engine.row import Request, Row
from accordant.engine.sampler import Sampling
from accordant.engine.shaping import Nudges, TokenChoice

__all__ = ["Ask", "Engine", "Generation", "Nudges", "Progress", "Request", "Row", "Sampling", "Source", "TokenChoice"]
