"""The engine: prompts in, answers with log-probs out, in batches or as a stream.

One loop (`_steps`) serves all: one token per row and step; rows that ended leave the batch, and a source says which
requests take their places, and when. Each row is drawn by its own sampling.
"""

import math
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence

import torch
from torch import Tensor

from accordant.engine.ask import Ask, Generation
from accordant.engine.cache import DecodeAttention, KeyValueCache
from accordant.engine.grammar import Grammars
from accordant.engine.graphs import DecodeGraphs, can_record
from accordant.engine.prompts import PromptReader
from accordant.engine.row import Request, Row
from accordant.engine.sampler import Sampling, choose_each
from accordant.engine.shaping import Shaper
from accordant.errors import AccordantError
from accordant.model import Transformer
from accordant.model.linear import pack_linear_layers
from accordant.text import Renderer

Progress = Callable[[int, int], None]
"""Called with (answers done, answers in all)."""

Source = Callable[[int], list[Request]]
"""The next requests for so many free rows, asked for before each step; none, with no row in use, ends the steps."""


class Engine:
    """Generates with the weights as they are now: a policy in training needs no copy and no synchronisation.

    Args:
        model: the decoder; it is used in inference mode, its weights are not touched.
        renderer: tokenizer and template of the same checkpoint.
        rows: most rows that decode together; bounds the memory of the cache.
        piece: most tokens of prompts that `serve` reads between two tokens of its answers.
    """

    def __init__(self, model: Transformer, renderer: Renderer, rows: int = 64, piece: int = 128) -> None:
        self.model, self.renderer, self.rows, self.piece = model, renderer, rows, piece
        self._recorded: DecodeGraphs | None = None
        self._grammars = Grammars(renderer.tokenizer, model.config.vocab_size)

    def generate(
        self,
        prompts: Sequence[list[int]],
        sampling: Sampling,
        samples: int = 1,
        progress: Progress | None = None,
        numbers: Sequence[int] | None = None,
    ) -> list[list[Generation]]:
        """`samples` answers to each prompt, in the order of the prompts.

        Row r (counted over prompts, then samples) draws from random numbers of its own, so the result does not
        depend on `rows` or on the other prompts; on a GPU, with float32 weights or with more than three threads, up to
        the rounding of the kernels. `numbers` count the prompts
        where they are a part of more: each answer is then what it would be among all.
        """
        self._check(prompts, sampling)
        answers = [Generation() for _ in range(len(prompts) * samples)]
        together = max(1, min(samples, self.rows))
        requests: deque[Request] = deque()
        for i in sorted(range(len(prompts)), key=lambda i: len(prompts[i])):
            first = (numbers[i] if numbers else i) * samples
            own = enumerate(answers[i * samples : (i + 1) * samples], start=first)
            rows = [Row(self.renderer, sampling, answer, number) for number, answer in own]
            requests += [Request(prompts[i], rows[start : start + together]) for start in range(0, samples, together)]
        done = 0
        for live, tokens, log_probs in self._all(requests, sampling.max_tokens):
            for row, token, log_prob in zip(live, tokens, log_probs, strict=True):
                row.push(token, log_prob)
                if row.over:
                    done += 1
                    if progress:
                        progress(done, len(answers))
        return [answers[i * samples : (i + 1) * samples] for i in range(len(prompts))]

    def stream(self, prompt: list[int], sampling: Sampling) -> Generator[str, None, Generation]:
        """Text of one answer as it becomes certain, a piece for each token; together they are `generate(...)`'s text.

        A piece is empty where a token settled nothing, so that whoever listens can stop at every token by closing the
        generator. Its return value is the whole answer.
        """
        self._check([prompt], sampling)
        answer = Generation()
        row = Row(self.renderer, sampling, answer, 0)
        sent = 0
        for _, tokens, log_probs in self._all(deque([Request(prompt, [row])]), sampling.max_tokens):
            row.push(tokens[0], log_probs[0])
            yield answer.text[sent : row.certain]
            sent = row.certain
        return answer

    def request(self, ask: Ask) -> Request:
        """What `serve` takes: may be called in any thread.

        Raises:
            AccordantError: when the answer cannot fit in the context, or the schema cannot be followed.
        """
        self._check([ask.prompt], ask.sampling)
        rows = []
        for number in range(ask.samples):
            shapers: list[Shaper] = [] if ask.nudges is None else [ask.nudges]
            if ask.schema is not None:
                shapers.append(self._grammars.follow(ask.schema))
            row = Row(self.renderer, ask.sampling, Generation(), number)
            row.shapers, row.alternatives = tuple(shapers), ask.alternatives
            rows.append(row)
        return Request(ask.prompt, rows)

    def serve(self, source: Source) -> Generator[list[Row], None, None]:
        """Answer whatever comes from `source`; yields after each step the rows that have one more token.

        Requests join between two steps, which read at most `piece` tokens of prompts: nobody waits longer for the next
        token, however long a new prompt is. While there is no answer to go on with, a step has no rows. Whoever
        iterates may set `over` of a row, which then leaves before the next step. An answer is what it would be alone,
        up to the rounding of the kernels.
        """
        for live, tokens, log_probs in self._steps(source, self.rows, None, self.piece):
            for row, token, log_prob in zip(live, tokens, log_probs, strict=True):
                row.push(token, log_prob)
            yield live

    @property
    def vocabulary(self) -> int:
        """How many tokens the model has."""
        return self.model.config.vocab_size

    def spell(self, token: int) -> bytes:
        """The bytes that a token stands for; a character may take several tokens."""
        return self._grammars.spell(token)

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

    def _all(self, requests: deque[Request], max_tokens: int) -> Iterator[tuple[list[Row], list[int], list[float]]]:
        """`_steps` over requests that are all known; `requests` is emptied from the left.

        Prompts enter only when a quarter of the rows is free: read together they cost less.
        """
        most = min(self.rows, sum(len(request.rows) for request in requests))
        capacity = max((len(request.prompt) for request in requests), default=0) + max_tokens

        def source(room: int) -> list[Request]:
            return _fitting(requests, room) if 4 * room >= most else []

        return self._steps(source, most, capacity)

    @torch.inference_mode()  # as a decorator: entered for each step and left between them, where others compute
    def _steps(
        self, source: Source, most: int, capacity: int | None, piece: float = math.inf
    ) -> Iterator[tuple[list[Row], list[int], list[float]]]:
        """Yield (rows, their next tokens, their log-probs) until `source` has nothing more; `most` rows at once.

        Whoever iterates pushes the tokens to the rows. `capacity` is what the longest row will take; where it is not
        known (None), no step is recorded. `piece` tokens of prompts at most are read in a step.
        """
        pack_linear_layers(self.model)
        dtype, device = self.model.lm_head.weight.dtype, self.model.device
        graphs = self._take_graphs(most, capacity) if capacity is not None and can_record(device) else None
        cache = graphs.cache if graphs else KeyValueCache(self.model.config, most, 0, dtype, device)
        prompts = PromptReader(self.model, cache, piece)
        live: list[Row] = []
        logits = torch.empty(0, self.model.config.vocab_size, dtype=dtype, device=device)
        while True:
            prompts.add(source(most - len(live) - prompts.rows))
            if entering := prompts.read():
                live = live + entering.rows
                logits = torch.cat((logits, entering.logits))
            if not live and not prompts.rows:
                break
            draws = torch.tensor([row.draw for row in live], dtype=torch.float64, device=device)
            tokens, log_probs = choose_each(_shaped(logits, live), draws, [row.sampling for row in live])
            for place, row in enumerate(live):
                if row.alternatives is not None:
                    row.note(logits[place], int(tokens[place]), row.alternatives)
            yield live, tokens.tolist(), log_probs.tolist()
            staying = [place for place, row in enumerate(live) if not row.over]
            if len(staying) < len(live):
                order = cache.keep(staying)
                tokens, live = tokens[order], [live[place] for place in order]
            if not live:
                logits = logits[:0]
            else:
                logits = graphs(tokens) if graphs else self.model(tokens, DecodeAttention(cache))
        self._recorded = graphs

    def _take_graphs(self, rows: int, capacity: int) -> DecodeGraphs:
        """Those of the generation before, where they fit; nobody else has them until they are given back."""
        taken, self._recorded = self._recorded, None
        if taken is None or not taken.fits(rows, capacity):
            dtype, device = self.model.lm_head.weight.dtype, self.model.device
            del taken  # its memory, before more is asked for
            taken = DecodeGraphs(self.model, KeyValueCache(self.model.config, rows, capacity, dtype, device))
        taken.cache.clear()
        return taken


def _fitting(requests: deque[Request], room: int) -> list[Request]:
    """Take from the left as many as fit in `room` rows."""
    entering: list[Request] = []
    while requests and len(requests[0].rows) <= room:
        room -= len(requests[0].rows)
        entering.append(requests.popleft())
    return entering


def _shaped(logits: Tensor, rows: list[Row]) -> Tensor:
    """The logits to draw from; a copy where a row has shapers."""
    if not any(row.shapers for row in rows):
        return logits
    shaped = logits.float()
    if shaped is logits:
        shaped = logits.clone()
    for place, row in enumerate(rows):
        for shaper in row.shapers:
            shaper.shape(shaped[place], row.answer.ids)
    return shaped
