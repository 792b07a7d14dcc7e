"""How fast answers are sampled: our engine, transformers, llama.cpp, and what this machine could do at most.

    python -m benchmarks.rollout [--turns 3] [BATCH ...]

Batches of 1, 8, 32 and 64 unless others are named: prompts of 64 tokens, answers of 64 that nobody may end, drawn at
temperature 0.7 from the whole vocabulary. One thread on one core for all, in this process, by the processor's time:
what others have of the core does not count. The starter base; ours and transformers in bfloat16, llama.cpp in
float16. transformers with `sdpa` attention and its key-value cache; llama.cpp by its server, one slot for each row,
all prompts in one request, flash attention; its prebuilt wheel is compiled for AVX2. Ours also returns the log-prob of
each token.

The roofline is the time in which the core could move the bytes, or do the arithmetic, whichever takes longer:

    step with c tokens in the cache    max((W + B c K) / bandwidth, B (2 P + 4 L H c) / rate)
    reading the prompts, T tokens each max(W / bandwidth, B T (2 (P - V) + 2 L H T) / rate + 2 B V / rate)

B rows, P weights of which V are the output head, W their bytes, K bytes of keys and values per token, L layers, H heads
times their size. Rate: a bfloat16 product of (1024 x 576) @ (576 x 1536). Bandwidth: adding up 512 MB.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from benchmarks.paired import Work, compare, publish, say, timed

from accordant.data.load import load_demonstrations
from accordant.engine import Engine, Sampling
from accordant.files import workspace
from accordant.machine import keep_freed_memory
from accordant.model import ModelConfig, Transformer
from accordant.model.base import bring_base
from accordant.model.gguf_export import export_gguf
from accordant.model.hub import load_transformer
from accordant.text import Renderer

BATCHES = (1, 8, 32, 64)
PROMPT, ANSWER = 64, 64
TEMPERATURE = 0.7
DEMONSTRATIONS = Path(__file__).parent.parent / "data" / "starter" / "demonstrations.jsonl"


def prompts_of(renderer: Renderer, count: int) -> list[list[int]]:
    """`count` different prompts of `PROMPT` tokens, cut from the demonstrations laid end to end."""
    ids: list[int] = []
    for record in load_demonstrations(DEMONSTRATIONS).records:
        ids += renderer.dialogue(record.messages).ids
        if len(ids) >= count * PROMPT:
            break
    return [ids[start : start + PROMPT] for start in range(0, count * PROMPT, PROMPT)]


def by_engine(model: Transformer, renderer: Renderer, prompts: list[list[int]]) -> Work:
    """Ours. No token is the end of a turn, so that every answer is as long as it may be."""
    endless = Renderer(replace(renderer.tokenizer, end_of_turn=-1), renderer.template)
    engine = Engine(model, endless, rows=len(prompts))
    sampling = Sampling(temperature=TEMPERATURE, max_tokens=ANSWER, seed=0)

    def work() -> float:
        return sum(len(answer.ids) for (answer,) in engine.generate(prompts, sampling))

    return work


def by_transformers(folder: Path, prompts: list[list[int]]) -> Work:
    """Hugging Face's `generate`."""
    from transformers import AutoModelForCausalLM, GenerationConfig

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, attn_implementation="sdpa").eval()
    drawing = {"do_sample": True, "temperature": TEMPERATURE, "top_k": 0, "top_p": 1.0, "use_cache": True}
    model.generation_config = GenerationConfig(max_new_tokens=ANSWER, eos_token_id=None, pad_token_id=0, **drawing)
    ids = torch.tensor(prompts)

    def work() -> float:
        return model.generate(input_ids=ids, attention_mask=torch.ones_like(ids))[:, PROMPT:].numel()

    return work


@contextmanager
def by_llama_cpp(file: Path, prompts: list[list[int]]) -> Iterator[Work]:
    """llama.cpp's server, called in this process."""
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path = str(file)
    settings.n_parallel = len(prompts)
    settings.n_ctx = len(prompts) * (PROMPT + ANSWER)
    settings.n_batch = settings.n_ubatch = max(512, len(prompts) * PROMPT)
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
    settings.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_ENABLED
    settings.cache_prompt = False
    settings.cache_ram_mib = 0
    settings.verbosity = 0
    server = xllamacpp.Server(settings)
    drawing = {"temperature": TEMPERATURE, "samplers": ["temperature"], "ignore_eos": True, "cache_prompt": False}

    def work() -> float:
        choices = server.handle_completions({"prompt": prompts, "max_tokens": ANSWER, **drawing})["choices"]
        return float(ANSWER * sum(choice["finish_reason"] == "length" for choice in choices))

    yield work


def roofline(config: ModelConfig, weights: int, batch: int, rate: float, bytes_per_second: float) -> float:
    """Tokens/s that this core cannot exceed; the formula stands above."""
    head = config.vocab_size * config.hidden_size
    width = config.layers * config.heads * config.head_size
    kept = 2 * 2 * config.layers * config.kv_heads * config.head_size
    reading = batch * PROMPT * (2 * (weights - head) + 2 * width * PROMPT) + 2 * batch * head
    seconds = max(2 * weights / bytes_per_second, reading / rate)
    for cached in range(PROMPT + 1, PROMPT + ANSWER):
        moving = (2 * weights + batch * cached * kept) / bytes_per_second
        seconds += max(moving, batch * (2 * weights + 4 * width * cached) / rate)
    return batch * ANSWER / seconds


def reading_rate() -> float:
    """Bytes/s at which one core reads memory that is in no cache."""
    numbers = torch.ones(128 * 1024 * 1024)

    def work() -> float:
        numbers.sum()
        return 4.0 * numbers.numel()

    return max(timed(work, time.process_time)[0] for _ in range(5))


def product_rate() -> float:
    """Operations/s of a bfloat16 product."""
    left, right = torch.randn(1024, 576, dtype=torch.bfloat16), torch.randn(1536, 576, dtype=torch.bfloat16)

    def work() -> float:
        for _ in range(100):
            torch.nn.functional.linear(left, right)
        return 100 * 2.0 * left.numel() * len(right)

    return max(timed(work, time.process_time)[0] for _ in range(5))


def main() -> None:
    """Measure the batches that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("batches", type=int, nargs="*", metavar="BATCH")
    parser.add_argument("--turns", type=int, default=3)
    chosen = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    keep_freed_memory()
    torch.set_num_threads(1)
    rate, bandwidth = product_rate(), reading_rate()
    folder = bring_base("starter", workspace() / "bases")
    renderer = Renderer.load(folder)
    model = load_transformer(folder, torch.bfloat16)
    weights = sum(weight.numel() for weight in model.parameters())
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "starter.gguf"
        export_gguf(folder, file, "f16")
        for batch in chosen.batches or BATCHES:
            prompts = prompts_of(renderer, batch)
            most = roofline(model.config, weights, batch, rate, bandwidth)
            say(f"batch {batch}: at most {most:.0f}/s")
            with by_llama_cpp(file, prompts) as llama_cpp:
                peers = {"transformers": by_transformers(folder, prompts), "llama.cpp": llama_cpp}
                result = compare(by_engine(model, renderer, prompts), peers, chosen.turns, clock=time.process_time)
            share = result["rate"]["ours"]["median"] / most
            found[str(batch)] = result | {"roofline": round(most, 1), "share_of_roofline": round(share, 3)}
            say(f"  {json.dumps(found[str(batch)])}")
    lengths = {"prompt_tokens": PROMPT, "answer_tokens": ANSWER, "temperature": TEMPERATURE}
    core = {"bfloat16_gflops": round(rate / 1e9, 1), "read_gb_per_s": round(bandwidth / 1e9, 1)}
    publish("rollout", {"batch": found, **lengths, **core})


if __name__ == "__main__":
    main()
