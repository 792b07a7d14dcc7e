"""On a GPU: answer tokens a second against its usual engines, trained tokens a second, and the share of it in use.

    python -m benchmarks.gpu [CHECKPOINT] [--turns 3] [--batch 1 32 256]

Prompts of 128 random tokens, answers of 256 that nothing ends, drawn at temperature 1 from the whole vocabulary, all in
bfloat16; transformers with its key-value cache, vLLM where it is installed. Training: forward and backward passes and
the optimiser's step on sequences of 512 tokens. Model FLOPs utilisation is the arithmetic that the model needs (2
operations per weight and token forward, 6 with the way back, and attention's) over the matmul rate that `accordant
doctor` measures. CHECKPOINT is the starter base unless it is named; it is small for a GPU, so name a larger one, too.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from benchmarks.paired import Work, compare, publish, say

from accordant.data.packing import pack_all
from accordant.engine import Engine, Sampling
from accordant.errors import AccordantError
from accordant.files import workspace
from accordant.machine import Machine, measure
from accordant.model import Transformer
from accordant.model.base import bring_base
from accordant.model.hub import load_transformer
from accordant.text import Example, Renderer
from accordant.train.optimizer import Optimizer
from accordant.train.sft import add_gradient

PROMPT, ANSWER, SEQUENCE = 128, 256, 512
TRAINED_TOKENS = 32768
"""Of one optimiser step, in passes of half as many."""


def random_ids(model: Transformer, rows: int, length: int) -> list[list[int]]:
    """`rows` sequences of `length` tokens."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(100, model.config.vocab_size, (rows, length), generator=generator).tolist()


def by_engine(model: Transformer, renderer: Renderer, prompts: Sequence[list[int]]) -> Work:
    """Ours. No token is the end of a turn, so that every answer is as long as it may be."""
    endless = Renderer(replace(renderer.tokenizer, end_of_turn=-1), renderer.template)
    engine = Engine(model, endless, rows=len(prompts))

    def work() -> float:
        return sum(len(answer.ids) for (answer,) in engine.generate(prompts, Sampling(max_tokens=ANSWER)))

    return work


def by_transformers(folder: Path, prompts: Sequence[list[int]]) -> Work:
    """Hugging Face's `generate`."""
    from transformers import AutoModelForCausalLM, GenerationConfig

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).cuda().eval()
    drawing = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "use_cache": True}
    model.generation_config = GenerationConfig(max_new_tokens=ANSWER, eos_token_id=None, pad_token_id=0, **drawing)
    ids = torch.tensor(prompts, device="cuda")

    def work() -> float:
        answers = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids))[:, PROMPT:].numel()
        torch.cuda.synchronize()
        return answers

    return work


def by_vllm(folder: Path, prompts: Sequence[list[int]], cache: dict[str, Any]) -> Work:
    """vLLM, one engine for all batches: its set-up takes minutes and a third of the memory."""
    from vllm import LLM, SamplingParams

    if "vllm" not in cache:
        cache["vllm"] = LLM(str(folder), dtype="bfloat16", gpu_memory_utilization=0.3, enable_prefix_caching=False)
    drawing = SamplingParams(temperature=1.0, max_tokens=ANSWER, ignore_eos=True)

    def work() -> float:
        answers = cache["vllm"].generate([{"prompt_token_ids": ids} for ids in prompts], drawing, use_tqdm=False)
        return sum(len(answer.outputs[0].token_ids) for answer in answers)

    return work


def training(model: Transformer) -> Work:
    """Ours: one optimiser step."""
    optimizer = Optimizer(model.parameters())
    sequences = random_ids(model, TRAINED_TOKENS // SEQUENCE, SEQUENCE)
    examples = [Example(ids, [True] * SEQUENCE) for ids in sequences]

    def work() -> float:
        add_gradient(model, pack_all(examples, TRAINED_TOKENS // 2, model.device))
        optimizer.step(1e-6)
        torch.cuda.synchronize()
        return TRAINED_TOKENS

    return work


def operations(model: Transformer, context: float) -> float:
    """Of one token's way forward, with `context` tokens before it on average."""
    config = model.config
    weights = sum(weight.numel() for weight in model.parameters())
    if not config.tied_embeddings:
        weights -= config.vocab_size * config.hidden_size  # looking an embedding up is no product
    return 2 * weights + 4 * config.layers * config.heads * config.head_size * context


def share(rate: dict[str, float], operations_per_token: float, machine: Machine) -> dict[str, float]:
    """Trillions of operations a second that a median rate needs, and their share of what the machine multiplies."""
    per_second = rate["median"] * operations_per_token
    return {"tflops": round(per_second / 1e12, 2), "utilisation": round(per_second / 1e9 / machine.bfloat16_gflops, 4)}


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, nargs="?")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32, 256])
    chosen = parser.parse_args()
    if not torch.cuda.is_available():
        raise AccordantError("torch finds no GPU here")
    folder = chosen.checkpoint or bring_base("starter", workspace() / "bases")
    machine = measure()
    model, renderer = load_transformer(folder, torch.bfloat16, "cuda"), Renderer.load(folder)
    found: dict[str, Any] = {}
    kept: dict[str, Any] = {}
    for batch in chosen.batch:
        prompts = random_ids(model, batch, PROMPT)
        peers = {"transformers": by_transformers(folder, prompts)}
        if find_spec("vllm"):
            peers["vllm"] = by_vllm(folder, prompts, kept)
        say(f"batch {batch}")
        result = compare(by_engine(model, renderer, prompts), peers, chosen.turns)
        # An answer's share of reading its prompt counts as part of its tokens' cost.
        needed = operations(model, PROMPT + ANSWER / 2) + operations(model, PROMPT / 2) * PROMPT / ANSWER
        found[f"batch {batch}"] = result | share(result["rate"]["ours"], needed, machine)
    trained = compare(training(model), {}, chosen.turns)
    trained |= share(trained["rate"]["ours"], 3 * operations(model, SEQUENCE / 2), machine)
    shape = {"prompt_tokens": PROMPT, "answer_tokens": ANSWER, "sequence_tokens": SEQUENCE}
    publish("gpu", {"model": folder.name, "generation": found, "training": trained, **shape}, machine)


if __name__ == "__main__":
    main()
