"""One decoder for the Llama family, its scalar heads, and checkpoints in the hub's format.

The same module trains and generates. Imports `text` and the base modules; knows nothing of training or serving.
"""

from accordant.model.attention import Attention, BranchedAttention, PackedAttention
from accordant.model.config import ModelConfig
from accordant.model.heads import ScalarModel
from accordant.model.transformer import Transformer

__all__ = ["Attention", "BranchedAttention", "ModelConfig", "PackedAttention", "ScalarModel", "Transformer"]
