"""The engine: prompts in, answers with log-probs out, in batches or as a stream.

One loop (`_steps`) serves both: prefill all prompts, then one token per row and step; rows that ended leave the
batch.
"""

import itertools
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from accordant.engine.cache import DecodeAttention, KeyValueCache, PrefillAttention
from accordant.engine.sampler import Sampling, choose, uniforms
from accordant.errors import AccordantError
from accordant.model import Transformer
from accordant.text import Renderer, TextStream

Progress = Callable[[int, int], None]
"""Called with (answers done, answers in all)."""


@dataclass
class Generation:
    """One answer: `ids` with the end-of-turn token where it ended, and the log-prob of each as it was sampled."""

    ids: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    text: str = ""
    finish: Literal["stop", "length"] = "length"

    @property
    def ended(self) -> bool:
        """Whether the model closed its turn (or a stop text did)."""
        return self.finish == "stop"


class Engine:
    """Generates with the weights as they are now: a policy in training needs no copy and no synchronisation.

    Args:
        model: the decoder; it is used in inference mode, its weights are not touched.
        renderer: tokenizer and template of the same checkpoint.
        rows: most rows that decode together; bounds the memory of the cache.
    """

    def __init__(self, model: Transformer, renderer: Renderer, rows: int = 64) -> None:
        self.model, self.renderer, self.rows = model, renderer, rows

    def generate(
        self, prompts: Sequence[list[int]], sampling: Sampling, samples: int = 1, progress: Progress | None = None
    ) -> list[list[Generation]]:
        """`samples` answers to each prompt, in the order of the prompts.

        Row r (counted over prompts, then samples) draws from random numbers of its own, so the result does not
        depend on `rows` or on the other prompts, up to the rounding of the kernels.
        """
        self._check(prompts, sampling)
        answers = [Generation() for _ in range(len(prompts) * samples)]
        shortest_first = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        together = max(1, min(samples, self.rows))
        at_once = max(1, self.rows // together)
        done = 0
        for start, first in itertools.product(range(0, len(prompts), at_once), range(0, samples, together)):
            group, part = shortest_first[start : start + at_once], range(samples)[first : first + together]
            numbers = [i * samples + s for i in group for s in part]
            writers = [AnswerWriter(self.renderer, sampling, answers[n]) for n in numbers]
            for live, tokens, log_probs in self._steps(
                [prompts[i] for i in group], sampling, len(part), numbers, writers
            ):
                for row, token, log_prob in zip(live, tokens, log_probs, strict=True):
                    writers[row].push(token, log_prob)
                    if progress and writers[row].done:
                        done += 1
                        progress(done, len(answers))
            for writer in writers:
                if progress and not writer.done:
                    done += 1
                    progress(done, len(answers))
                writer.finish()
        return [answers[i * samples : (i + 1) * samples] for i in range(len(prompts))]

    def stream(self, prompt: list[int], sampling: Sampling) -> Generator[str, None, Generation]:
        """Text of one answer as it becomes certain; the concatenation equals `generate(...)`'s text.

        The generator's return value is the whole answer. It may be closed between two pieces.
        """
        self._check([prompt], sampling)
        answer = Generation()
        writer = AnswerWriter(self.renderer, sampling, answer)
        sent = 0
        for _, tokens, log_probs in self._steps([prompt], sampling, 1, [0], [writer]):
            writer.push(tokens[0], log_probs[0])
            certain = len(answer.text) if writer.done else writer.certain
            if certain > sent:
                yield answer.text[sent:certain]
                sent = certain
        writer.finish()
        if len(answer.text) > sent:
            yield answer.text[sent:]
        return answer

    def _check(self, prompts: Sequence[list[int]], sampling: Sampling) -> None:
        """Refuse before any work is done what cannot be answered."""
        longest = max(map(len, prompts), default=1)
        if min(map(len, prompts), default=1) == 0:
            raise AccordantError("an empty prompt cannot be continued")
        if longest + sampling.max_tokens > self.model.config.context:
            raise AccordantError(
                f"prompt of {longest} tokens and max_tokens = {sampling.max_tokens} exceed the context of "
                f"{self.model.config.context}"
            )

    @torch.inference_mode()  # as a decorator: entered for each step and left between them, where others compute
    def _steps(
        self,
        prompts: list[list[int]],
        sampling: Sampling,
        samples: int,
        numbers: list[int],
        writers: "list[AnswerWriter]",
    ) -> Iterator[tuple[list[int], list[int], list[float]]]:
        """Yield (rows, their tokens, their log-probs) per step until all `writers` are done or out of tokens."""
        draws = torch.stack([uniforms(sampling.seed, n, sampling.max_tokens) for n in numbers])
        live = list(range(len(numbers)))
        cache, logits = self._prefill(prompts, samples, max(map(len, prompts)) + sampling.max_tokens)
        for step in range(sampling.max_tokens):
            tokens, log_probs = choose(logits, draws[live, step], sampling)
            yield live, tokens.tolist(), log_probs.tolist()
            staying = [place for place, row in enumerate(live) if not writers[row].done]
            if not staying or step + 1 == sampling.max_tokens:
                return
            if len(staying) < len(live):
                rows = torch.tensor(staying, device=tokens.device)
                cache.select(rows)
                tokens, live = tokens[rows], [live[place] for place in staying]
            logits = self.model(tokens, DecodeAttention(cache))

    def _prefill(self, prompts: list[list[int]], samples: int, capacity: int) -> tuple[KeyValueCache, Tensor]:
        """Fill a cache with each prompt once, then give every sample its row; logits are those after the prompt."""
        model = self.model
        dtype = model.lm_head.weight.dtype
        cache = KeyValueCache(model.config, len(prompts), capacity, dtype, model.device)
        lengths = [len(prompt) for prompt in prompts]
        ids = torch.tensor([token for prompt in prompts for token in prompt], device=model.device)
        hidden = model.hidden(ids, PrefillAttention(cache, lengths))
        last = torch.tensor(lengths, device=model.device).cumsum(0) - 1
        logits = model.logits(hidden[last])
        if samples > 1:
            rows = torch.arange(len(prompts), device=model.device).repeat_interleave(samples)
            cache.select(rows)
            logits = logits[rows]
        return cache, logits


class AnswerWriter:
    """Collects the tokens of one answer and knows when it is over."""

    def __init__(self, renderer: Renderer, sampling: Sampling, answer: Generation) -> None:
        self._end = renderer.tokenizer.end_of_turn
        self._stream = TextStream(renderer.tokenizer)
        self._stop = sampling.stop
        self.answer = answer
        self.done = False

    def push(self, token: int, log_prob: float) -> None:
        """Add one token; sets `done` at the end of the turn or at a stop text (which is cut off)."""
        answer = self.answer
        answer.ids.append(token)
        answer.log_probs.append(log_prob)
        if token == self._end:
            answer.text += self._stream.flush()
            self._close()
            return
        answer.text += self._stream.push(token)
        cuts = [place for stop in self._stop if (place := answer.text.find(stop)) >= 0]
        if cuts:
            answer.text = answer.text[: min(cuts)]
            self._close()

    def finish(self) -> None:
        """Out of tokens: release what was held back of the last character."""
        if not self.done:
            self.answer.text += self._stream.flush()

    @property
    def certain(self) -> int:
        """Characters that no stop text can still take back."""
        text = self.answer.text
        held = max((n for stop in self._stop for n in range(1, len(stop)) if text.endswith(stop[:n])), default=0)
        return len(text) - held

    def _close(self) -> None:
        self.answer.finish = "stop"
        self.done = True
