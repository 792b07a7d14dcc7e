"""Supervised fine-tuning against TRL's SFTTrainer: real tokens a second on dialogues of all lengths.

    python -m benchmarks.sft workspace/bases/smollm2-135m-instruct

Both learn the same dialogues in as many optimiser steps, with the loss on the assistant's tokens alone, and compute the
head for these alone. Ours packs without padding; TRL packs as well (`bfd`, which implies its padding-free batches) with
the attention that its models take on a CPU (`sdpa`). Every token of a dialogue counts once, padding never.
"""

import argparse
import math
from pathlib import Path

import torch
from benchmarks.paired import Work
from benchmarks.training import PEERS, Epochs, main, model_gflop, prepare_ours, trl_settings

from accordant.config import SFTSection
from accordant.data.load import load_demonstrations
from accordant.data.split import spread
from accordant.model.hub import load_transformer
from accordant.text import Example, Renderer
from accordant.train.sft import SFTStage, Weighted

MAX_TOKENS = 512
RATE = 1e-5


def dialogues(arguments: argparse.Namespace) -> list[Example]:
    """Some of the demonstrations that fit, spread evenly through the file."""
    renderer = Renderer.load(arguments.model)
    rendered = (renderer.dialogue(d.messages) for d in load_demonstrations(arguments.data).records)
    return spread([example for example in rendered if len(example.ids) <= MAX_TOKENS], arguments.dialogues)


def ours(arguments: argparse.Namespace) -> Epochs:
    """`SFTStage`, step by step, with the recipe's defaults."""
    prepare_ours()
    examples = dialogues(arguments)
    model = load_transformer(arguments.model, torch.bfloat16)
    batch = math.ceil(len(examples) / arguments.steps)
    settings = SFTSection(epochs=1000, learning_rate=RATE, batch_examples=batch)
    stage = SFTStage(model, [Weighted(examples, 1.0)], [], settings, 0, arguments.micro_batch_tokens)
    tokens = sum(len(example.ids) for example in examples)
    words = sum(sum(example.trained[1:]) for example in examples)
    figures = {"gflop": model_gflop(model.config, tokens, words), "tokens": tokens, "words": words}
    return Epochs(stage, arguments.steps, tokens, figures)


def trl(arguments: argparse.Namespace, dtype: torch.dtype) -> Work:
    """`SFTTrainer` on the same token ids, packed into rows of `arguments.row`, one row in each pass."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer
    from trl.data_utils import pack_dataset

    examples = dialogues(arguments)
    rows = [
        {"input_ids": e.ids, "labels": [i if t else -100 for i, t in zip(e.ids, e.trained, strict=True)]}
        for e in examples
    ]
    data = Dataset.from_list(rows)
    packed = len(pack_dataset(data, arguments.row, "bfd"))
    config = SFTConfig(
        packing=True,
        max_length=arguments.row,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=math.ceil(packed / arguments.steps),
        num_train_epochs=1,
        **trl_settings(dtype, RATE),
    )
    model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=dtype, attn_implementation="sdpa")
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    trainer = SFTTrainer(model=model, args=config, train_dataset=data, processing_class=tokenizer)

    def work() -> float:
        trainer.train()
        return sum(len(example.ids) for example in examples)

    return work


def work_of(program: str, arguments: argparse.Namespace) -> Work:
    """A program by its name."""
    return ours(arguments) if program == "ours" else trl(arguments, PEERS[program])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="folder of a base")
    parser.add_argument("--data", type=Path, default=Path("data/starter/demonstrations.jsonl"))
    parser.add_argument("--dialogues", type=int, default=32, help="how many an epoch has")
    parser.add_argument("--steps", type=int, default=2, help="optimiser steps of an epoch")
    parser.add_argument("--micro-batch-tokens", type=int, default=2048, help="of one pass of ours")
    parser.add_argument("--row", type=int, default=MAX_TOKENS, help="tokens of one pass of TRL")
    main("sft", parser, work_of)
