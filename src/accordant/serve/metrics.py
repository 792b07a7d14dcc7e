"""What Prometheus reads: requests, waiting, tokens, and how long they take."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from accordant.moderation.policy import Side
from accordant.serve.job import Job
from accordant.store.verdicts import Judgement

_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60)


class Metrics:
    """The figures of one app, in a registry of its own; implements `accordant.serve.scheduler.Watcher`."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._requests = Counter("accordant_requests", "Requests.", ("route", "status"), registry=registry)
        self._seconds = Histogram(
            "accordant_request_seconds",
            "Until the head of the response.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._jobs = Counter("accordant_jobs", "Jobs of the model, by how they ended.", ("how",), registry=registry)
        self._prompt = Counter("accordant_prompt_tokens", "Tokens read.", registry=registry)
        self._answer = Counter("accordant_answer_tokens", "Tokens written.", registry=registry)
        self._first = Histogram(
            "accordant_first_token_seconds", "From request to first token.", buckets=_SECONDS, registry=registry
        )
        self._step = Histogram(
            "accordant_step_seconds", "Between two tokens of each answer.", buckets=_SECONDS, registry=registry
        )
        self.waiting = Gauge("accordant_waiting_jobs", "Jobs in line.", registry=registry)
        self.running = Gauge("accordant_running_answers", "Answers in the making.", registry=registry)
        self.refused = Counter("accordant_refused", "Requests refused for now.", ("why",), registry=registry)
        self._verdicts = Counter(
            "accordant_verdicts",
            "What moderation said: by who said the words, category (empty where none was flagged) and action.",
            ("side", "category", "action"),
            registry=registry,
        )

    def requested(self, route: str, status: int, seconds: float) -> None:
        """A request was answered, or began to be; `route` is the pattern, never the path itself."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def stepped(self, rows: int, seconds: float) -> None:
        """See `Watcher`."""
        self._answer.inc(rows)
        self._step.observe(seconds)

    def ended(self, job: Job, how: str) -> None:
        """See `Watcher`."""
        self._jobs.labels(how).inc()
        if job.first_token is not None:
            self._prompt.inc(job.prompt_tokens)
            self._first.observe(job.first_token - job.created)

    def judged(self, side: Side, said: Judgement) -> None:
        """Moderation said something: one for each category that it flagged, or one of none."""
        for category in said.categories or [""]:
            self._verdicts.labels(side, category, said.action).inc()

    def page(self) -> bytes:
        """All figures as Prometheus reads them."""
        return generate_latest(self.registry)
