"""Where memory does not suffice for a pass, a stage ends as if it had begun with smaller ones."""

import pickle
import random
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from tests.train.test_sharing import STAGES, Steps, assert_same, make, scalar_model, two_steps
from torch import Tensor

from accordant.errors import AccordantError, Stopped
from accordant.journal import read_journal
from accordant.model import BranchedAttention, PackedAttention
from accordant.model.transformer import Block
from accordant.progress import SILENT, Watcher
from accordant.train.loop import run_stage
from accordant.train.micro_batches import MicroBatches, OutOfMemory, noticing_memory
from accordant.train.processes import together
from accordant.train.reward import score_groups
from accordant.train.workers import ALONE, Workers

SAID = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"
)


class Pass(NamedTuple):
    """Sequences and tokens of a pass through a decoder, and whether there is a way back."""

    sequences: int
    tokens: int
    learns: bool


@contextmanager
def memory(suffices: Callable[[int, Pass], bool]) -> Iterator[list[Pass]]:
    """A decoder for whose passes memory suffices or not, by number and size; gives the passes so far.

    One with gradients breaks half-way back: the last layer has its gradient already, the first has not.
    """
    passes: list[Pass] = []
    forward = Block.forward

    def refuse(*_: object) -> None:
        raise RuntimeError(SAID)

    def limited(self, x, layer, rotary, attend):  # type: ignore[no-untyped-def]
        out = forward(self, x, layer, rotary, attend)
        if layer == 0 and type(attend) in (PackedAttention, BranchedAttention):  # and not what generates
            own = Pass(len(attend.lengths), len(x), torch.is_grad_enabled())
            passes.append(own)
            if not suffices(len(passes) - 1, own):
                if torch.is_grad_enabled():
                    out = out if out.requires_grad else out.requires_grad_()
                    out.register_hook(refuse)
                else:
                    refuse()
        return out

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Block, "forward", limited)
        yield passes


def ample(number: int, own: Pass) -> bool:
    return True


def without_bound(found: Steps) -> Steps:
    return found[0], {name: t for name, t in found[1].items() if name != "micro_batch_tokens"}, found[2]


def make_with(name: str, most_tokens: int, workers: Workers = ALONE):  # type: ignore[no-untyped-def]
    """A stage that begins with exactly this bound."""
    return make(name, 4 * most_tokens if name.startswith("PPO") else most_tokens, workers)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", STAGES)
def test_a_failure_in_any_pass_ends_in_the_weights_of_smaller_ones(name: str, seed: int) -> None:
    with memory(ample) as passes:
        two_steps(make_with(name, 80))
    several = [number for number, own in enumerate(passes) if own.sequences > 1]
    failing = random.Random(f"{name} {seed}").choice(several)
    with memory(lambda number, own: number != failing):
        stage = make_with(name, 80)
        found = two_steps(stage)
    bound = min(80, passes[failing].tokens) // 2
    assert stage.micro_batches.most_tokens == bound
    assert_same(without_bound(found), two_steps(make_with(name, bound)))


@pytest.mark.parametrize("name", STAGES)
def test_a_failure_before_the_first_update_leaves_no_trace_at_all(name: str) -> None:
    with memory(ample) as passes:
        stage = make_with(name, 80)
        before = len(passes)  # DPO asks its reference when it is made
        stage.advance(0, SILENT)
    warms_up = name == "PPO on one trunk"  # its first passes with a way back come after updates of the head
    first = next(n for n, p in enumerate(passes) if n >= before and p.sequences > 1 and (p.learns or warms_up))
    with memory(lambda number, own: number != first):
        found = two_steps(make_with(name, 80))
    expected = two_steps(make_with(name, min(80, passes[first].tokens) // 2))
    if name == "DPO":  # whose reference was asked in passes of the other size
        assert_same(without_bound(found), expected)
    else:
        assert found[0] == expected[0]
        assert all(torch.equal(tensor, found[1][key]) for key, tensor in expected[1].items())


def test_with_less_memory_the_passes_are_halved_until_they_fit() -> None:
    with memory(lambda number, own: own.tokens <= 35) as passes:
        stage = make("SFT", 80)
        found = two_steps(stage)
    assert stage.micro_batches.most_tokens < 80
    assert max(own.tokens for own in passes[-5:]) <= 35
    assert_same(without_bound(found), two_steps(make("SFT", stage.micro_batches.most_tokens)))


@pytest.mark.parametrize("name", STAGES)
def test_too_little_for_one_sequence_is_one_line(name: str) -> None:
    with (
        memory(lambda number, own: False),
        pytest.raises(AccordantError, match="suffice for one sequence of") as caught,
    ):
        two_steps(make(name, 80))
    assert not isinstance(caught.value, OutOfMemory)
    assert "\n" not in str(caught.value)
    assert "can't allocate memory: you tried to allocate 9" in str(caught.value)


class Heard(Watcher):
    """Remembers warnings."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, str]] = []

    def warn(self, step: int, line: str) -> None:
        self.lines.append((step, line))


def test_a_warning_says_so_and_is_kept(tmp_path: Path) -> None:
    heard = Heard()
    failed: list[Pass] = []
    with memory(lambda number, own: own.sequences < 2 or bool(failed) or failed.append(own) is not None):
        stage = make("SFT", 80)
        run_stage(stage, tmp_path, heard)
    ((step, line),) = heard.lines
    assert step == 0
    assert "can't allocate memory" in line
    assert line.endswith(f"micro_batch_tokens is {stage.micro_batches.most_tokens} for the rest of the stage")
    (row,) = read_journal(tmp_path / "guards.jsonl")
    assert (row["step"], row["line"]) == (0, line)
    assert stage.micro_batches.to_json() == {"micro_batch_tokens": stage.micro_batches.most_tokens}


@pytest.mark.parametrize("name", STAGES)
def test_a_run_that_goes_on_keeps_the_smaller_passes(name: str) -> None:
    with memory(ample) as passes:
        make_with(name, 80)
    made = len(passes)
    with memory(lambda number, own: number < made or own.tokens <= 60 or own.sequences < 2):
        whole = make_with(name, 80)
        whole.advance(0, SILENT)
        state = {key: tensor.clone() for key, tensor in whole.tensors().items()}
        resumed = make_with(name, 80)
    resumed.restore(state)
    assert resumed.micro_batches.most_tokens == whole.micro_batches.most_tokens < 80
    assert whole.advance(1, SILENT) == resumed.advance(1, SILENT)
    expected = whole.tensors()
    assert all(torch.equal(expected[key], tensor) for key, tensor in resumed.tensors().items())


def test_an_earlier_state_does_not_make_passes_larger_again() -> None:
    bound = MicroBatches(64)
    before = bound.tensors()
    assert before == {}
    bound.restore({"micro_batch_tokens": torch.tensor(16)})
    bound.restore(before)
    assert bound.most_tokens == 16


def test_scores_are_taken_again_in_smaller_passes() -> None:
    groups = [[[1, 2, 3], [1, 2, 4, 5]], [[6, 7]], [[8, 9, 10]], [[2, 3]]]
    model, bound, lines = scalar_model(), MicroBatches(100), list[str]()
    bound.tell = lines.append
    with memory(lambda number, own: own.tokens < 8) as passes:
        found = score_groups(model, groups, bound)
    assert len(lines) == 1
    assert bound.most_tokens == 6
    assert passes[0].tokens == sum(len(part) for own in groups for part in own) - 2, "what a group shares counts once"
    assert found == score_groups(model, groups, 6)


def follow(folder: Path, name: str, workers: Workers) -> None:
    """Only in the second process memory does not suffice for two sequences at once."""
    torch.set_num_threads(1)
    with memory(lambda number, own: workers.rank == 0 or own.sequences < 2):
        stage = make_with(name, 400, workers)
        found = two_steps(stage)
    torch.save((found, stage.micro_batches.most_tokens), folder / f"rank-{workers.rank}.pt")


@pytest.mark.parametrize("name", ["reward model", "PPO"])
def test_what_one_process_lacks_all_do_without(name: str, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    try:
        with together(2, partial(follow, tmp_path, name)) as workers:
            follow(tmp_path, name, workers)
    finally:
        torch.set_num_threads(before)
    (first, bound), (second, bound_too) = (torch.load(tmp_path / f"rank-{rank}.pt") for rank in range(2))
    assert bound == bound_too < 400
    assert all(torch.equal(tensor, second[1][key]) for key, tensor in first[1].items())
    assert_same(without_bound(first), two_steps(make(name)))


def allocate(error: Exception) -> None:
    raise error


def test_what_the_allocators_say_is_noticed() -> None:
    with pytest.raises(OutOfMemory, match="can't allocate memory") as caught, noticing_memory([3, 4]):
        torch.empty(1 << 60, dtype=torch.uint8)
    assert caught.value.lengths == [3, 4]
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.cause, again.lengths) == (str(caught.value), caught.value.cause, [3, 4])
    for error in (MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried"), RuntimeError("std::bad_alloc")):
        with pytest.raises(OutOfMemory), noticing_memory():
            allocate(error)


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), ValueError("bad_alloc"), Stopped("memory")])
def test_other_errors_pass(error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)), noticing_memory():
        allocate(error)


def test_a_failed_pass_is_let_go_before_the_next_one() -> None:
    """Its activations hang on the frames of its error, and memory is what is missing."""
    seen: list[weakref.ref[Tensor]] = []

    def work() -> str:
        if seen:
            assert seen[0]() is None
            return "done"
        with noticing_memory([2, 2]):
            activations = torch.ones(8)
            seen.append(weakref.ref(activations))
            raise MemoryError

    assert MicroBatches(4).attempt(work) == "done"


def test_outside_of_passes_it_is_one_line_too(tmp_path: Path) -> None:
    stage = make("SFT")
    stage.optimizer.step = lambda rate: allocate(MemoryError("no room for moments"))  # type: ignore
    with pytest.raises(AccordantError, match=r"memory does not suffice \(no room for moments\)"):
        run_stage(stage, tmp_path, SILENT)
