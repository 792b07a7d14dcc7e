import itertools

import pytest
import torch

from accordant.engine.cache import DecodeAttention, KeyValueCache, PrefillAttention
from accordant.engine.prompts import PartOfPrompt, PieceAttention
from accordant.model import ModelConfig, PackedAttention, Transformer
from accordant.testing import tiny_config, tiny_model

PROMPTS = [[5, 9, 30, 2, 8], [7], [11, 12, 13, 14, 15, 16, 17, 18, 19]]
FLAT = torch.tensor(list(itertools.chain(*PROMPTS)))
CONTINUATIONS = [[21, 22, 23, 24], [31, 32, 33, 34], [41, 42, 43, 44]]


def model_with(heads: int, kv_heads: int) -> Transformer:
    shape = tiny_config().__dict__ | {"heads": heads, "kv_heads": kv_heads, "layers": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = Transformer(ModelConfig(**shape))
        for weight in model.parameters():
            if weight.dim() > 1:
                torch.nn.init.normal_(weight, std=0.2)
    return model


def full_log_probs(model: Transformer, ids: list[int]) -> torch.Tensor:
    return torch.log_softmax(model(torch.tensor(ids), PackedAttention([len(ids)])), -1)


def cache_for(model: Transformer, rows: int, capacity: int) -> KeyValueCache:
    return KeyValueCache(model.config, rows, capacity, torch.float32, torch.device("cpu"))


@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (4, 2), (4, 1)])
def test_token_by_token_equals_all_at_once(heads: int, kv_heads: int) -> None:
    model = model_with(heads, kv_heads)
    with torch.inference_mode():
        cache = cache_for(model, 3, 13)
        lengths = [len(prompt) for prompt in PROMPTS]
        prefilled = model(FLAT, PrefillAttention(cache, lengths))
        last = torch.tensor(lengths).cumsum(0) - 1
        found = [torch.log_softmax(prefilled[last], -1)]
        for step in range(4):
            tokens = torch.tensor([row[step] for row in CONTINUATIONS])
            found.append(torch.log_softmax(model(tokens, DecodeAttention(cache)), -1))
        for row, (prompt, more) in enumerate(zip(PROMPTS, CONTINUATIONS, strict=True)):
            expected = full_log_probs(model, prompt + more)[len(prompt) - 1 :]
            torch.testing.assert_close(torch.stack([step[row] for step in found]), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("piece", [1, 4, 5, 23])
@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (4, 2), (4, 1)])
def test_piece_by_piece_equals_all_at_once(heads: int, kv_heads: int, piece: int) -> None:
    model = model_with(heads, kv_heads)
    prompt = [5 + 3 * place % 50 for place in range(23)]
    with torch.inference_mode():
        part = PartOfPrompt(model, len(prompt))
        found = []
        while part.tokens < len(prompt):
            ids = torch.tensor(prompt[part.tokens :][:piece])
            found.append(model(ids, PieceAttention(part, len(ids))))
        cache = cache_for(model, 3, 2)
        part.enter(cache, 2)
        assert cache.lengths.tolist() == [23, 23, 0]
        found.append(model(torch.tensor([21, 31]), DecodeAttention(cache)))
        whole = torch.log_softmax(torch.cat(found), -1)
        torch.testing.assert_close(whole[:24], full_log_probs(model, [*prompt, 21]), atol=1e-5, rtol=0)
        torch.testing.assert_close(whole[24], full_log_probs(model, [*prompt, 31])[-1], atol=1e-5, rtol=0)


def test_rows_may_be_dropped_doubled_and_joined() -> None:
    model = tiny_model()
    with torch.inference_mode():
        cache = cache_for(model, 5, 13)
        attention = PrefillAttention(cache, [len(prompt) for prompt in PROMPTS], [2, 1, 1])
        model(FLAT, attention)
        assert attention.prompt_of_row.tolist() == [0, 0, 1, 2]
        assert cache.lengths.tolist() == [5, 5, 1, 9, 0]
        assert cache.keep([0, 1, 3]) == [0, 1, 3]
        found = [model(torch.tensor([50, 51, 52]), DecodeAttention(cache))]
        assert cache.keep([1, 2]) == [2, 1]
        assert cache.lengths[:2].tolist() == [10, 6]
        model(torch.tensor(PROMPTS[1]), PrefillAttention(cache, [len(PROMPTS[1])]))
        found.append(model(torch.tensor([60, 61, 62]), DecodeAttention(cache)))
        for log_probs, ids in [
            (found[0][0], [*PROMPTS[0], 50]),
            (found[0][1], [*PROMPTS[0], 51]),
            (found[0][2], [*PROMPTS[2], 52]),
            (found[1][0], [*PROMPTS[2], 52, 60]),
            (found[1][1], [*PROMPTS[0], 51, 61]),
            (found[1][2], [*PROMPTS[1], 62]),
        ]:
            expected = full_log_probs(model, ids)[-1]
            torch.testing.assert_close(torch.log_softmax(log_probs, -1), expected, atol=1e-5, rtol=0)
