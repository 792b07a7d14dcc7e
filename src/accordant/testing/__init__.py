"""Tiny models and tokenizers: real code paths in milliseconds, for tests, demos and whoever builds on the library.

Imports `model`, `text` and the base modules.
"""

from accordant.testing.tiny import save_tiny_checkpoint, tiny_config, tiny_model, tiny_renderer

__all__ = ["save_tiny_checkpoint", "tiny_config", "tiny_model", "tiny_renderer"]
