"""The engine: prompts in, answers with log-probs out, in batches or as a stream.

One loop (`_steps`) serves both: one token per row and step; rows that ended leave the batch, and once enough of them
have left, the next prompts take their places.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from accordant.engine.cache import DecodeAttention, KeyValueCache, PrefillAttention
from accordant.engine.graphs import DecodeGraphs, can_record
from accordant.engine.sampler import Sampling, choose, uniforms
from accordant.errors import AccordantError
from accordant.model import Transformer
from accordant.model.linear import pack_linear_layers
from accordant.text import Renderer, TextStream

Progress = Callable[[int, int], None]
"""Called with (answers done, answers in all)."""


@dataclass
class Generation:
    """One answer: `ids` with the end-of-turn token where it ended, and the log-prob of each as it was sampled.

    `pieces` are the text that each token added; together they are `text`, unless a stop text was cut off it.
    """

    ids: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    text: str = ""
    finish: Literal["stop", "length"] = "length"
    pieces: list[str] = field(default_factory=list)

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
        self._recorded: DecodeGraphs | None = None

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
        depend on `rows` or on the other prompts, up to the rounding of the kernels. `numbers` count the prompts
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
        for live, tokens, log_probs in self._steps(requests, sampling):
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
        for _, tokens, log_probs in self._steps(deque([Request(prompt, [row])]), sampling):
            row.push(tokens[0], log_probs[0])
            yield answer.text[sent : row.certain]
            sent = row.certain
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
        self, requests: "deque[Request]", sampling: Sampling
    ) -> Iterator[tuple[list["Row"], list[int], list[float]]]:
        """Yield (rows, their next tokens, their log-probs) until every row of `requests` is over.

        Whoever iterates pushes the tokens to the rows. `requests` is emptied from the left.
        """
        pack_linear_layers(self.model)
        most = min(self.rows, sum(len(request.rows) for request in requests))
        capacity = max((len(request.prompt) for request in requests), default=0) + sampling.max_tokens
        dtype, device = self.model.lm_head.weight.dtype, self.model.device
        graphs = self._take_graphs(most, capacity) if can_record(device) else None
        cache = graphs.cache if graphs else KeyValueCache(self.model.config, most, capacity, dtype, device)
        live: list[Row] = []
        logits = torch.empty(0, self.model.config.vocab_size, dtype=dtype, device=device)
        while live or requests:
            if entering := self._entering(requests, self.rows - len(live)):
                logits = torch.cat((logits, self._prefill(entering, cache)))
                live = live + [row for request in entering for row in request.rows]
            draws = torch.tensor([row.draw for row in live], dtype=torch.float64, device=device)
            tokens, log_probs = choose(logits, draws, sampling)
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

    def _entering(self, requests: "deque[Request]", room: int) -> list["Request"]:
        """The next requests that fit in `room` rows; none while less than a quarter of all rows is free."""
        entering: list[Request] = []
        if 4 * room < self.rows:
            return entering
        while requests and len(requests[0].rows) <= room:
            room -= len(requests[0].rows)
            entering.append(requests.popleft())
        return entering

    def _prefill(self, requests: "list[Request]", cache: KeyValueCache) -> Tensor:
        """Compute each prompt once and give it to all its rows; returns the logits after it, (rows, vocabulary)."""
        lengths = [len(request.prompt) for request in requests]
        ids = torch.tensor([token for request in requests for token in request.prompt], device=self.model.device)
        attention = PrefillAttention(cache, lengths, [len(request.rows) for request in requests])
        last = torch.tensor(lengths, device=self.model.device).cumsum(0) - 1
        hidden = self.model.hidden(ids, attention)[last]
        return self.model.logits(hidden)[attention.prompt_of_row]


@dataclass(frozen=True)
class Request:
    """A prompt and the rows that answer it."""

    prompt: list[int]
    rows: "list[Row]"


class Row:
    """Collects the tokens of one answer and knows when it is over.

    Args:
        renderer: of the checkpoint that answers.
        sampling: how the answer is drawn.
        answer: filled token by token.
        number: decides, with the seed, the row's random numbers.
    """

    def __init__(self, renderer: Renderer, sampling: Sampling, answer: Generation, number: int) -> None:
        self._end = renderer.tokenizer.end_of_turn
        self._stream = TextStream(renderer.tokenizer)
        self._stop = sampling.stop
        self._most = sampling.max_tokens
        self._uniforms: list[float] = uniforms(sampling.seed, number, sampling.max_tokens).tolist()
        self.answer = answer
        self.over = False

    def push(self, token: int, log_prob: float) -> None:
        """Add one token; the row is over at the end of the turn, at a stop text (cut off), or out of tokens."""
        answer = self.answer
        answer.ids.append(token)
        answer.log_probs.append(log_prob)
        ends = token == self._end
        self.over = ends or len(answer.ids) == self._most
        piece = "" if ends else self._stream.push(token)
        if self.over:
            piece += self._stream.flush()  # what was held back of the last character
        answer.pieces.append(piece)
        answer.text += piece
        cuts = [] if ends else [place for stop in self._stop if (place := answer.text.find(stop)) >= 0]
        if cuts:
            answer.text = answer.text[: min(cuts)]
        if ends or cuts:
            answer.finish, self.over = "stop", True

    @property
    def draw(self) -> float:
        """The random number that decides the next token."""
        return self._uniforms[len(self.answer.ids)]

    @property
    def certain(self) -> int:
        """Characters that no stop text can still take back."""
        text = self.answer.text
        if self.over:
            return len(text)
        held = max((n for stop in self._stop for n in range(1, len(stop)) if text.endswith(stop[:n])), default=0)
        return len(text) - held
