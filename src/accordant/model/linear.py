"""The decoder's linear layers: packed copies of weights as the CPU's kernels like them, and low-rank adapters."""

import operator
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from accordant.kernels.tiles import Tiles, suits_tiles
from accordant.model.int8 import Int8Product

_ROWS = 64
"""Rows for which the order is chosen; within 1 to 64 it made no difference (docs/log.md)."""


class Linear(nn.Linear):
    """`nn.Linear` that can be packed, see `Fused`.

    What `adapter` gives for the same input is added to the output (`model.lora`). It is not folded into the packed
    copy: in bfloat16 a small change of a weight would be rounded away, and another policy sampled than is trained.
    """

    adapter: nn.Module | None

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__(in_features, out_features, bias)
        self.register_module("adapter", None)
        self.alone: Fused | Int8Product = Fused(self)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        (product,) = self.alone(x)
        return product

    def unpacked(self, x: Tensor) -> Tensor:
        """What `nn.Linear` gives."""
        return super().forward(x)


class Fused:
    """One or more `Linear` of the same input, which are one product while they are packed.

    Otherwise each weight is brought into another order at every call, and small products cost more than large ones.
    Results are those of `nn.Linear`, bit for bit in bfloat16. A packed copy is used only without gradients and only
    while no weight has changed since. This is no module: the layers keep their names in the model's state.
    """

    def __init__(self, *layers: Linear) -> None:
        self.layers = layers
        self._widths = [layer.out_features for layer in layers]
        self._packed: Tiles | _OneDNN | None = None
        self._sources: list[Tensor] = []
        self._versions: list[int] = []

    def __call__(self, x: Tensor) -> Sequence[Tensor]:
        """(..., in) to (..., out) of each layer."""
        products: Sequence[Tensor]
        if torch.is_grad_enabled() or not self._packed or self._versions != [p._version for p in self._sources]:
            products = [layer.unpacked(x) for layer in self.layers]
        else:
            product = self._packed(x)
            products = product.split_with_sizes(self._widths, -1) if len(self._widths) > 1 else (product,)
        return [y if layer.adapter is None else y + layer.adapter(x) for y, layer in zip(products, self.layers)]  # noqa: B905

    def pack(self) -> None:
        """Pack the weights as they are now; does nothing where that is done already or cannot be."""
        sources = [p for layer in self.layers for p in (layer.weight, layer.bias) if p is not None]
        versions = [p._version for p in sources]
        same = len(sources) == len(self._sources) and all(map(operator.is_, sources, self._sources))
        if (same and versions == self._versions) or not all(_can_pack(layer.weight) for layer in self.layers):
            return
        weight = torch.cat([layer.weight.detach() for layer in self.layers])
        biases = [layer.bias.detach() for layer in self.layers if layer.bias is not None]
        packed = Tiles if suits_tiles(weight) else _OneDNN
        self._packed = packed(weight, torch.cat(biases) if biases else None)
        self._sources, self._versions = sources, versions

    def unpack(self) -> None:
        """Give the packed copy's memory back."""
        self._packed, self._sources, self._versions = None, [], []


class _OneDNN:
    """A weight in the order that oneDNN likes for products of few rows."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._weight, self._bias = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS), bias

    def __call__(self, x: Tensor) -> Tensor:
        if x.numel() == x.shape[-1] and x.dtype == torch.bfloat16:
            # Several threads cut the sums of a single row otherwise than those of a pass; two rows cost no more.
            return self(x.reshape(1, -1).expand(2, -1))[0].view(*x.shape[:-1], -1)
        return torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, "none", [], "")  # type: ignore[no-any-return]


def pack_linear_layers(model: nn.Module) -> None:
    """Pack what has changed in `model` since it was packed: its `Fused` groups, and the layers that are in none."""
    groups = _groups(model)
    fused = {layer for group in groups if len(group.layers) > 1 for layer in group.layers}
    for group in groups:
        if len(group.layers) > 1 or group.layers[0] not in fused:
            group.pack()


def unpack_linear_layers(model: nn.Module) -> None:
    """Undo `pack_linear_layers`."""
    for group in _groups(model):
        group.unpack()


def _groups(model: nn.Module) -> list[Fused]:
    return [part for module in model.modules() for part in vars(module).values() if isinstance(part, Fused)]


def _can_pack(weight: Tensor) -> bool:
    if weight.device.type != "cpu" or not torch._C._has_mkldnn:
        return False
    if weight.dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return weight.dtype == torch.float32
