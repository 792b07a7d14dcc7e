"""The table of token vectors."""

from torch import nn


class Embedding(nn.Embedding):
    """`nn.Embedding` that draws no values where there is room for none: torch would load its compiler for that."""

    def reset_parameters(self) -> None:
        """Draw, except on the meta device."""
        if not self.weight.is_meta:
            super().reset_parameters()
