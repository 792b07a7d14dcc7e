"""Products of 8-bit integers, for models that are only read: faster than bfloat16 where the processor has them.

Weights are rounded by row, and inputs, at each call, by tensor (Jacob et al. 2018, arXiv:1712.05877, section 2.1). Sums
are exact in 32 bits, so that only the rounding of weights and inputs costs precision.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_STEPS = 254
"""Between an input's ends: one less than eight bits hold, as rounding may move both ends up by a half."""


def int8_is_fast() -> bool:
    """Whether this processor adds up products of 8-bit integers in one instruction, and without overflow."""
    return bool(torch._C._has_mkldnn and torch.cpu._is_vnni_supported())


class Int8Product:
    """In the place of `linear.Fused`: layers of the same input, with their weights as they are now.

    Args:
        layers: the layers; no adapter of theirs is looked at.
    """

    def __init__(self, *layers: nn.Linear) -> None:
        weight = torch.cat([layer.weight.detach() for layer in layers]).float()
        self._scales = weight.abs().amax(1).clamp_min(1e-12) / 127
        self._packed = torch.ops.onednn.qlinear_prepack((weight / self._scales[:, None]).round().to(torch.int8), None)
        self._bias = torch.cat([layer.bias.detach() for layer in layers]).float()
        self._zeros = torch.zeros(len(weight), dtype=torch.int32)
        self._widths = [layer.out_features for layer in layers]

    def __call__(self, x: Tensor) -> Sequence[Tensor]:
        """(rows, in) to (rows, out) of each layer, in the number format of `x`."""
        ends = torch.aminmax(x)
        lowest, highest = min(float(ends.min), 0.0), max(float(ends.max), 0.0)
        scale = (highest - lowest) / _STEPS or 1.0
        zero = round(-lowest / scale)
        # None is below 0 after the half is added, so cutting off is rounding. In float32, whatever `x` is.
        small = torch.add(torch.tensor([zero + 0.5]), x, alpha=1 / scale).to(torch.uint8)
        weights = self._packed, self._scales, self._zeros, self._bias
        product = torch.ops.onednn.qlinear_pointwise(small, scale, zero, *weights, 1.0, 0, x.dtype, "none", [], "")
        return product.split(self._widths, -1)  # type: ignore[no-any-return]
