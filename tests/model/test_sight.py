import math

import pytest
import torch

from accordant import kernels
from accordant.model import BranchedAttention
from accordant.model.sight import Sight

BOUNDS = torch.tensor([[(0, 0, 1), (0, 0, 2), (2, 2, 3)], [(1, 1, 2), (1, 2, 3), (0, 0, 5)]])
SEEN = [[{0}, {0, 1}, {0, 1, 2}], [{0, 1}, {0, 2}, {0, 1, 2, 3, 4}]]


def test_hidden_is_what_is_not_seen() -> None:
    hidden = Sight(BOUNDS, 5).hidden
    assert hidden.shape == (2, 1, 3, 5)
    for row, token, slot in [(r, t, s) for r in range(2) for t in range(3) for s in range(5)]:
        assert bool(hidden[row, 0, token, slot]) == (slot not in SEEN[row][token])


def test_up_to_a_place_of_each_token() -> None:
    hidden = Sight.up_to(torch.tensor([[0], [2]]), 4).hidden
    assert (~hidden).flatten(1).tolist() == [[True, False, False, False], [True, True, True, False]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("loops", [True, False])
def test_weights(dtype: torch.dtype, loops: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "suits", lambda *tensors, **named: loops and dtype != torch.float64)
    scores = torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
    found = Sight(BOUNDS, 5).weights(scores.clone())
    assert found.dtype == dtype
    for row, head, token in [(r, h, t) for r in range(2) for h in range(4) for t in range(3)]:
        powers = [
            math.exp(score) if slot in SEEN[row][token] else 0.0
            for slot, score in enumerate(scores[row, head, token].tolist())
        ]
        for slot, power in enumerate(powers):
            expected = power / sum(powers)
            assert found[row, head, token, slot].item() == pytest.approx(expected, rel=2**-8, abs=0)


def test_a_branch_sees_its_stem_and_itself() -> None:
    """Rows of a stem of two with branches of two and one, and of no stem with a branch of three."""
    visible = BranchedAttention([2, 0], [[2, 1], [3]])._visible
    assert visible is not None
    seen = [[{i for i, sees in enumerate(line) if sees} for line in row] for row in visible[:, 0].tolist()]
    assert seen[0] == [{0}, {0, 1}, {0, 1, 2}, {0, 1, 2, 3}, {0, 1, 4}]
    assert seen[1][:3] == [{0}, {0, 1}, {0, 1, 2}]
