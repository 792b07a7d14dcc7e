"""How work is given to trainers: one typed section."""

from pathlib import Path

from pydantic import Field

from accordant.config import Count, Positive, Section, Share


class LabellingSettings(Section):
    """What trainers are given to rank, and for how long."""

    alternatives: int = Field(4, ge=2, le=9, description="Answers that are sampled for one ranking.")
    temperatures: tuple[Positive, ...] = Field((0.7, 1.0), min_length=1, description="Of the answers, in turn.")
    top_p: Share = Field(1.0, gt=0, description="Share of the probability that the answers are drawn from.")
    max_tokens: Count = Field(256, description="Longest answer.")
    lease_minutes: Positive = Field(30.0, description="How long a task is kept for who has it; saving begins it anew.")
    overlap_share: Share = Field(0.1, description="Share of the tasks that several people rank.")
    overlap_people: Count = Field(2, description="How many those are.")
    gold_share: Share = Field(0.05, description="Share of the tasks whose ranking is known, as far as there are any.")
    repeat_share: Share = Field(0.05, description="Share of the tasks that the same person has ranked before.")
    repeat_after_hours: Positive = Field(24.0, description="How long ago that must be.")
    prompts: Path | None = Field(
        None, description="Prompts to rank answers to where no conversation is left; a format of evaluation prompts."
    )
