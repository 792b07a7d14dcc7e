from pathlib import Path

import torch
from hypothesis import given
from hypothesis import strategies as st

from accordant.model.hub import load_transformer
from accordant.records import Message
from accordant.testing import save_tiny_checkpoint, tiny_model, tiny_renderer
from accordant.text import Renderer


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    folder = save_tiny_checkpoint(tmp_path / "tiny", seed=3)
    loaded = load_transformer(folder, torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), tiny_model(3).parameters(), strict=True))
    messages = [Message(role="user", content="Where?"), Message(role="assistant", content="Here.")]
    assert Renderer.load(folder).dialogue(messages) == tiny_renderer().dialogue(messages)


def test_the_seed_decides_the_weights_and_nothing_else() -> None:
    state = torch.get_rng_state()
    one, two = tiny_model(1).lm_head.weight, tiny_model(2).lm_head.weight
    assert not torch.equal(one, two)
    assert torch.equal(one, tiny_model(1).lm_head.weight)
    assert torch.equal(state, torch.get_rng_state())


@given(st.text())
def test_the_tokenizer_knows_any_text(text: str) -> None:
    tokenizer = tiny_renderer().tokenizer
    text = text.encode(errors="replace").decode()
    assert tokenizer.decode(tokenizer.encode(text)) == text
