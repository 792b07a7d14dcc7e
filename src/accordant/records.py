"""The one schema: what people wrote, what they judged, and where each came from.

JSON Lines in and out; every stage reads and writes these and nothing else. Other formats are turned into them by
`accordant.data.readers`.
"""

from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, model_validator

Role = Literal["system", "user", "assistant"]
Text = Annotated[str, StringConstraints(min_length=1, pattern=r"\S")]


class Record(BaseModel):
    """Base of all records: immutable, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Message(Record):
    """One turn of a conversation."""

    role: Role
    content: Text


Messages = tuple[Message, ...]


def check_turns(messages: Messages, last: Role) -> None:
    """Require an optional system message first, then user and assistant in turn, ending with `last`.

    Raises:
        ValueError: with the 1-based number of the message at fault.
    """
    turns = messages[1:] if messages and messages[0].role == "system" else messages
    offset = len(messages) - len(turns)
    for index, message in enumerate(turns):
        expected = "user" if index % 2 == 0 else "assistant"
        if message.role != expected:
            raise ValueError(f"message {index + offset + 1} has role {message.role!r}, expected {expected!r}")
    if not turns or turns[-1].role != last:
        raise ValueError(f"the last message must be from the {last}")


class Sampling(Record):
    """How a model's answer was drawn."""

    temperature: float = Field(ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    seed: int | None = None


class Suggested(Record):
    """A text of a model that the author of a demonstration took over into a message.

    Attributes:
        message: which message, counted from 0.
        suggestion: id of the suggestion.
        edited: share of the message that is not from it, 0 to 1.
    """

    message: int
    suggestion: str
    edited: float
    model: str
    sampling: Sampling


class Demonstration(Record):
    """A dialogue as the assistant should hold it; every assistant turn is trained on."""

    id: str
    messages: Messages
    tag: str = ""
    pair: str = ""
    author: str = ""
    consent: bool = True
    suggestions: tuple[Suggested, ...] = ()

    @model_validator(mode="after")
    def _turns(self) -> Self:
        check_turns(self.messages, last="assistant")
        return self


class Candidate(Record):
    """One of the K answers of a comparison; `model` is None when a person wrote it."""

    content: str
    model: str | None = None
    sampling: Sampling | None = None
    ended: bool = True


class Comparison(Record):
    """K answers to the same conversation, ranked in tiers: `ranking[0]` holds the best, a shared tier is a tie."""

    id: str
    messages: Messages
    candidates: tuple[Candidate, ...]
    ranking: tuple[tuple[int, ...], ...]
    tag: str = ""
    annotator: str = ""
    shown_order: tuple[int, ...] = ()
    consent: bool = True

    @model_validator(mode="after")
    def _ranking(self) -> Self:
        check_turns(self.messages, last="user")
        if len(self.candidates) < 2:
            raise ValueError("a comparison needs at least 2 candidates")
        everyone = list(range(len(self.candidates)))
        if sorted(index for tier in self.ranking for index in tier) != everyone:
            raise ValueError(f"ranking must name each of the {len(everyone)} candidates once, counted from 0")
        if self.shown_order and sorted(self.shown_order) != everyone:
            raise ValueError("shown_order must name each candidate once")
        return self

    def tiers(self) -> list[int]:
        """Tier of each candidate, 0 the best, in the order of `candidates`."""
        places = {index: tier for tier, members in enumerate(self.ranking) for index in members}
        return [places[index] for index in range(len(self.candidates))]


Expectation = Literal["answer", "refuse", "challenge", "clarify"]


class EvaluationPrompt(Record):
    """A held-out prompt, what a good assistant does with it, and a good and a bad answer of similar length."""

    id: str
    messages: Messages
    expect: Expectation
    tag: str = ""
    pair: str = ""
    good: str = ""
    bad: str = ""

    @model_validator(mode="after")
    def _turns(self) -> Self:
        check_turns(self.messages, last="user")
        return self


class LabelledAnswer(Record):
    """A real answer with what a person says it does: the yardstick of the automatic scorers."""

    id: str
    messages: Messages
    answer: str
    model: str
    label: Expectation


Category = Literal[
    "sexual",
    "sexual/minors",
    "hate",
    "hate/threatening",
    "violence",
    "violence/graphic",
    "harassment",
    "self-harm",
]
"""What moderation looks for, in the taxonomy of Markov et al. 2022, table 1."""
CATEGORIES: tuple[Category, ...] = get_args(Category)


class LabelledText(Record):
    """A text and what people found in it; a category that is not named was not judged, which is not the same as no."""

    id: str
    text: Text
    labels: dict[Category, bool] = Field(min_length=1)


Note = Annotated[str, StringConstraints(max_length=4000, pattern=r"^[^\x00]*$")]
Long = Annotated[str, StringConstraints(max_length=100_000, pattern=r"^[^\x00]*$")]
Reason = Literal["harmful", "untrue", "not_helpful"]


class Rating(Record):
    """A thumb on an answer with its reasons, what the ideal answer would have been, or only one of the two."""

    kind: Literal["rating"] = "rating"
    thumb: Literal["up", "down"] | None = Field(None, description="None: only the ideal answer is given.")
    reasons: tuple[Reason, ...] = Field((), description="What is wrong with the answer.", max_length=3)
    note: Note = Field("", description="In the user's own words; for people, not for training.")
    ideal: Long = Field("", description="What the ideal answer would have been; empty for none.")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.thumb is None and not self.ideal.strip():
            raise ValueError("a rating needs a thumb or an ideal answer")
        return self


class FilterReport(Record):
    """A word on what moderation did with a message.

    `false_positive` says "this is wrong", `false_negative` "this should have been caught".
    """

    kind: Literal["report"] = "report"
    fault: Literal["false_positive", "false_negative"]
    categories: tuple[Category, ...] = Field(
        (),
        description="Wrongly found or missed ones; a false positive that names none says: nothing is there.",
        max_length=8,
    )
    note: Note = Field("", description="In the user's own words; for people, not for training.")


class Choice(Record):
    """Which of two answers to the same question is better; `left` and `right` as they were shown."""

    kind: Literal["choice"] = "choice"
    left: str = Field(description="Id of the message that was shown on the left, or first.", max_length=100)
    right: str = Field(description="Id of the other one.", max_length=100)
    preferred: Literal["left", "right", "tie", "neither"] = Field(
        description="`tie`: equally good; `neither`: both are bad."
    )


Said = Annotated[Rating | FilterReport | Choice, Field(discriminator="kind")]
"""What a user says of messages, as it is stored."""
SAID: TypeAdapter[Said] = TypeAdapter(Said)


Flag = Literal["off_topic", "nonsense", "repetitive", "cut_off", "personal_data", "unsafe"]


class AnswerMarks(Record):
    """What an annotator says of one answer besides its rank; None: nothing was said."""

    helpful: bool | None = None
    truthful: bool | None = None
    harmless: bool | None = None
    flags: tuple[Flag, ...] = Field((), max_length=6)


class RankingDraft(Record):
    """A ranking as an annotator makes it; answers are named by the place at which they are shown, counted from 0."""

    tiers: tuple[tuple[int, ...], ...] = Field(
        (), description="The best first; those in the same tier are tied. What is in none is not ranked yet."
    )
    all_bad: bool = Field(False, description="No answer is acceptable; ranking them is then not needed.")
    marks: tuple[AnswerMarks, ...] = Field((), description="Of each answer by its place, or none at all.")
    note: Note = ""

    def check(self, answers: int, complete: bool) -> None:
        """Whether it fits to so many answers.

        Raises:
            ValueError: when it does not, or is not `complete` where it must be.
        """
        ranked = [place for tier in self.tiers for place in tier]
        if len(set(ranked)) < len(ranked) or not set(ranked) <= set(range(answers)) or not all(self.tiers):
            raise ValueError(f"tiers must name answers 0 to {answers - 1}, each once at most, and none may be empty")
        if len(self.marks) not in (0, answers):
            raise ValueError(f"marks must be there for each of the {answers} answers, or for none")
        if complete and len(ranked) < answers and not self.all_bad:
            raise ValueError(f"{answers - len(ranked)} of the {answers} answers are not ranked yet")


class DraftMessage(Record):
    """A turn that may still be empty."""

    role: Role
    content: Long


class Taken(Record):
    """A suggestion that was taken over into a message, which is counted from 0."""

    message: int = Field(ge=0)
    suggestion: str = Field(max_length=100)


class DemonstrationDraft(Record):
    """A dialogue as a trainer writes it, playing both sides."""

    messages: tuple[DraftMessage, ...] = Field((), max_length=100)
    taken: tuple[Taken, ...] = Field((), max_length=200)

    def finished(self) -> Messages:
        """The dialogue, whole.

        Raises:
            ValueError: when it is not: a turn is empty, or the last one is not the assistant's.
        """
        for number, message in enumerate(self.messages, start=1):
            if not message.content.strip():
                raise ValueError(f"message {number} is empty")
        whole = tuple(Message(role=message.role, content=message.content) for message in self.messages)
        check_turns(whole, last="assistant")
        return whole
