"""Masters that share their bits with a bfloat16 weight, against float64 arithmetic on both."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from accordant.train import masters
from accordant.train.masters import Master, places


def values() -> Tensor:
    """Of all sizes and both signs; every eighth lies in the middle between two bfloat16 numbers."""
    generator = torch.Generator().manual_seed(0)
    exponents = torch.randint(-40, 30, (5, 1000), generator=generator)
    found = torch.randn(5, 1000, generator=generator) * torch.exp2(exponents.float())
    bits = found.view(torch.int32)[:, ::8]
    bits.bitwise_and_(-(2**16)).bitwise_or_(2**15)
    found[0, :5] = torch.tensor([0.0, -0.0, 1.0, -1.0, 1e-40])
    return found


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masters, "_PIECE", 700)


def test_nothing_of_a_master_is_lost() -> None:
    for dtype in (torch.bfloat16, torch.float32):
        master = Master(nn.Parameter(torch.zeros(5, 1000, dtype=dtype)))
        master.set(values())
        assert torch.equal(master.value().view(torch.int32), values().view(torch.int32))


def test_a_master_starts_as_its_weight() -> None:
    for dtype in (torch.bfloat16, torch.float32):
        weight = nn.Parameter(values().to(dtype))
        assert torch.equal(Master(weight).value(), weight.float())


def test_the_weight_is_the_nearest_bfloat16_number() -> None:
    weight = nn.Parameter(torch.zeros(5, 1000, dtype=torch.bfloat16))
    Master(weight).set(values())
    wanted, found = values().double().numpy(), weight.detach().double().numpy()
    bits = weight.detach().view(torch.int16)
    neighbours = [(bits + step).view(torch.bfloat16).double().numpy() for step in (-1, 1)]
    distance = np.abs(found - wanted)
    for neighbour in neighbours:
        usual = wanted != 0  # the bits next to those of 0 are not its neighbours
        nearer, as_near = np.abs(neighbour - wanted) < distance, np.abs(neighbour - wanted) == distance
        assert not (nearer & usual).any()
        assert (np.abs(found) > np.abs(neighbour))[as_near & usual].all()
    assert (distance > 0).mean() > 0.9


def test_a_change_of_the_master_is_a_change_of_the_weight() -> None:
    """Packed copies of a weight, for one, are told from its version that they are stale."""
    for dtype in (torch.bfloat16, torch.float32):
        weight = nn.Parameter(torch.zeros(5, 1000, dtype=dtype))
        before = weight._version
        Master(weight).set(values())
        assert weight._version > before


def test_pieces_cover_a_tensor_once() -> None:
    for count in (1, 699, 700, 701, 2100):
        covered = [number for place in places(count) for number in range(count)[place]]
        assert covered == list(range(count))
