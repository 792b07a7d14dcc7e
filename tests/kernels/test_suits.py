"""Where the loops are used."""

import pytest
import torch
from torch import Tensor

from accordant import kernels

FEW, MANY = 1 << 18, (1 << 18) + 1


@pytest.fixture(params=[1, 3, 4, 64])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    count: int = request.param
    monkeypatch.setattr(torch, "get_num_threads", lambda: count)
    return count


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_few_numbers_suit_and_many_suit_few_threads(threads: int, dtype: torch.dtype) -> None:
    few, many = torch.empty(FEW, dtype=dtype), torch.empty(MANY, dtype=dtype)
    assert kernels.suits(few)
    assert kernels.suits(few, few[:1], few.view(4, -1))
    assert kernels.suits(many, few) == kernels.suits(many) == (threads <= 3)
    assert kernels.suits(few, of_any_size=True) == kernels.suits(many, of_any_size=True) == (threads <= 3)


@pytest.mark.parametrize(
    "tensors",
    [
        (torch.empty(4, dtype=torch.float64),),
        (torch.empty(4, dtype=torch.float16),),
        (torch.empty(4, dtype=torch.int64),),
        (torch.empty(4, dtype=torch.bool),),
        (torch.empty(4, device="meta"),),
        (torch.empty(4), torch.empty(4, device="meta")),
        (torch.empty(4), torch.empty(4, dtype=torch.bfloat16)),
        (torch.empty(4, dtype=torch.bfloat16), torch.empty(4)),
        (torch.empty(4), torch.empty(4), torch.empty(4, dtype=torch.float64)),
    ],
    ids=lambda tensors: " ".join(f"{t.device}:{t.dtype}" for t in tensors),
)
def test_what_does_not_suit(threads: int, tensors: tuple[Tensor, ...]) -> None:
    assert not kernels.suits(*tensors)
