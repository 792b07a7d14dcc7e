"""The data of a recipe, read once, checked against each other, and turned into token ids."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

from accordant.config import DataSection, DPOSection, RewardSection, Source
from accordant.data.load import Loaded, load_comparisons, load_demonstrations, load_prompts
from accordant.data.readers.base import R
from accordant.data.split import near_duplicates, split_by_prompt, spread
from accordant.errors import AccordantError, BadRow
from accordant.files import data_folder, read_json, sha256
from accordant.progress import Watcher
from accordant.records import Comparison, Demonstration, EvaluationPrompt, Messages
from accordant.rounds.lineage import COMPARISONS, DEMONSTRATIONS
from accordant.text import Example, Renderer
from accordant.train.rankings import Ranking, render_ranking
from accordant.train.sft import Weighted

Consenting = TypeVar("Consenting", Demonstration, Comparison)

_TOO_ALIKE = 0.8
"""Jaccard similarity from which an evaluation prompt counts as one that training has seen."""


@dataclass(frozen=True)
class DemonstrationSource:
    """The demonstrations of one file whose authors consent, and how often an epoch sees each."""

    path: Path
    records: tuple[Demonstration, ...]
    weight: float


@dataclass(frozen=True)
class RoundData:
    """What a round learns from and is measured on; rows without consent are nowhere in it."""

    demonstrations: tuple[DemonstrationSource, ...]
    comparisons: tuple[Comparison, ...]
    evaluation: tuple[EvaluationPrompt, ...]
    prompts: tuple[Messages, ...]

    def all_demonstrations(self) -> list[Demonstration]:
        """The demonstrations of all files, each once."""
        return [record for source in self.demonstrations for record in source.records]


class Lessons(NamedTuple):
    """The demonstrations as token ids.

    Attributes:
        sources: of each file, to train on.
        held_out: of all, to measure on.
        taught: the demonstrations that `sources` are made of.
    """

    sources: list[Weighted]
    held_out: list[Example]
    taught: list[Demonstration]


def load_round_data(section: DataSection, watcher: Watcher) -> RoundData:
    """Read every file of the recipe.

    Raises:
        AccordantError: for an unreadable file, or an evaluation prompt that training sees too.
    """
    demonstrations = tuple(
        DemonstrationSource(s.path, _consenting(load_demonstrations(s.path), watcher), s.weight)
        for s in demonstration_sources(section)
    )
    comparisons = [r for path in comparison_files(section) for r in _consenting(load_comparisons(path), watcher)]
    evaluation = _noted(load_prompts(section.evaluation), watcher).records
    extra = [r.messages for path in section.extra_prompts for r in _noted(load_prompts(path), watcher).records]
    everyone = [record for source in demonstrations for record in source.records]
    _check_apart([*everyone, *comparisons], evaluation, section.evaluation)
    prompts = [_without_answer(d.messages) for d in everyone] + [c.messages for c in comparisons] + extra
    return RoundData(demonstrations, tuple(comparisons), evaluation, tuple(prompts))


def demonstration_sources(section: DataSection) -> tuple[Source, ...]:
    """The recipe's files of demonstrations, and the built one."""
    return (*section.demonstrations, *(Source(path=path) for path in _built(section, DEMONSTRATIONS)))


def comparison_files(section: DataSection) -> tuple[Path, ...]:
    """The recipe's files of comparisons, and the built one."""
    return (*section.comparisons, *_built(section, COMPARISONS))


def _built(section: DataSection, name: str) -> list[Path]:
    """A file of the built data, where there is one.

    Raises:
        AccordantError: when nothing was built, or the file is not the one that was.
    """
    if section.built is None:
        return []
    folder = data_folder() / section.built
    if not (folder / "manifest.json").exists():
        raise AccordantError(f"{folder} was not built; run: accordant data build --name {section.built}")
    about = read_json(folder / "manifest.json")["files"].get(name)
    if about is None:
        return []
    if not (folder / name).exists() or sha256(folder / name) != about["sha256"]:
        raise AccordantError(f"{folder / name} is not what was built; run: accordant data build --name {section.built}")
    return [folder / name]


def sft_sources(
    data: RoundData, renderer: Renderer, max_tokens: int, holdout_share: float, seed: int, watcher: Watcher
) -> Lessons:
    """Weighted training examples of each file, and the held-out examples of all."""
    lessons = Lessons([], [], [])
    for source in data.demonstrations:
        train, kept_out = split_by_prompt(source.records, holdout_share, seed)
        examples = _examples(train, source.path, renderer, max_tokens, watcher)
        lessons.sources.append(Weighted(list(examples.values()), source.weight))
        lessons.held_out.extend(_examples(kept_out, source.path, renderer, max_tokens, watcher).values())
        lessons.taught.extend(train[place] for place in examples)
    if not lessons.taught:
        raise AccordantError(f"no demonstration has at most sft.max_tokens = {max_tokens} tokens; raise it")
    return lessons


def fitting_rankings(renderer: Renderer, comparisons: Sequence[Comparison], longest: int) -> list[Ranking]:
    """The comparisons as token ids, less those with an answer that makes over `longest` tokens with its prompt."""
    rankings = [render_ranking(renderer, comparison) for comparison in comparisons]
    return [ranking for ranking in rankings if max(map(len, ranking.sequences)) <= longest]


def ranking_parts(
    own: Sequence[Comparison],
    others: Sequence[Comparison],
    renderer: Renderer,
    section: RewardSection | DPOSection,
    name: str,
    watcher: Watcher,
) -> tuple[list[Ranking], list[Ranking]]:
    """Token ids of the rankings to train on and of those to measure on, as far as every answer fits.

    Args:
        own: to train on.
        others: to measure on.
        renderer: of the model that learns.
        section: whose `max_tokens` says what fits, and whose `most_measured` how many are measured on.
        name: of the section in the recipe.
        watcher: is told what is left out.
    """
    longest = section.max_tokens
    rankings, held_out = (fitting_rankings(renderer, part, longest) for part in (own, others))
    if left_out := len(own) + len(others) - len(rankings) - len(held_out):
        watcher.note(f"{left_out} rankings over {name}.max_tokens = {longest} tokens left out")
    if not rankings or not held_out:
        raise AccordantError("too few comparisons to train on some and measure on others; add rankings")
    return rankings, spread(held_out, section.most_measured)


def file_digests(section: DataSection) -> dict[str, str]:
    """SHA-256 of each data file of the recipe, by name."""
    paths = [s.path for s in demonstration_sources(section)]
    paths += [*comparison_files(section), section.evaluation, *section.extra_prompts]
    return {str(path): sha256(path) for path in paths}


def _examples(
    records: Sequence[Demonstration], path: Path, renderer: Renderer, max_tokens: int, watcher: Watcher
) -> dict[int, Example]:
    """Those that fit, by their place among the records."""
    examples = {}
    for place, record in enumerate(records):
        try:
            example = renderer.dialogue(record.messages)
        except AccordantError as error:
            raise BadRow(path, place + 1, f"{record.id}: {error}") from None
        if len(example.ids) <= max_tokens:
            examples[place] = example
    if long := len(records) - len(examples):
        watcher.note(f"{path.name}: {long} dialogues over sft.max_tokens = {max_tokens} tokens left out")
    return examples


def _noted(loaded: Loaded[R], watcher: Watcher) -> Loaded[R]:
    watcher.note(loaded.summary())
    return loaded


def _consenting(loaded: Loaded[Consenting], watcher: Watcher) -> tuple[Consenting, ...]:
    kept = tuple(record for record in _noted(loaded, watcher).records if record.consent)
    if left_out := len(loaded.records) - len(kept):
        watcher.note(f"{loaded.path.name}: {left_out} rows without consent left out")
    return kept


def _without_answer(messages: Messages) -> Messages:
    return messages[:-1]


def _check_apart(
    training: Sequence[Demonstration | Comparison], evaluation: Sequence[EvaluationPrompt], path: Path
) -> None:
    single = [r for r in training if sum(m.role == "user" for m in r.messages) == 1]
    asked = [r for r in evaluation if sum(m.role == "user" for m in r.messages) == 1]
    if found := near_duplicates(single, asked, _TOO_ALIKE):
        seen, own = single[found[0].left], asked[found[0].right]
        raise AccordantError(
            f"{path}: {len(found)} evaluation prompts are also trained on, the first is {own.id} (like {seen.id}): "
            f"{own.messages[-1].content!r:.60}; remove them from one side"
        )
