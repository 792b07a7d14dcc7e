"""One module for each public format; in these lists the first reader that fits a row is taken.

To read another format, write its module beside these and name its reader here, before any that also fits.
"""

from accordant.data.readers import (
    bigbench,
    chat,
    instructions,
    moderation,
    numbered,
    own,
    plain,
    preferences,
    questions,
    trees,
    xstest,
)
from accordant.data.readers.base import Reader
from accordant.records import Comparison, Demonstration, EvaluationPrompt, LabelledText

DEMONSTRATIONS: tuple[Reader[Demonstration], ...] = (
    own.demonstrations,
    chat.openai,
    chat.sharegpt,
    trees.demonstrations,
    instructions.alpaca,
    instructions.dolly,
    instructions.gpteacher,
    instructions.instruction_output,
    instructions.question_answer,
    instructions.prompt_completion,
    preferences.preferred(preferences.hh),
    preferences.preferred(preferences.preferences),
)

COMPARISONS: tuple[Reader[Comparison], ...] = (
    own.comparisons,
    preferences.hh,
    preferences.preferences,
    trees.comparisons,
    numbered.comparisons,
    bigbench.comparisons,
)

PROMPTS: tuple[Reader[EvaluationPrompt], ...] = (
    own.prompts,
    xstest.prompts,
    questions.truthfulqa,
    questions.freshqa,
    questions.falseqa,
    questions.selfaware,
    plain.prompts,
)

LABELLED_TEXTS: tuple[Reader[LabelledText], ...] = (
    own.labelled_texts,
    moderation.openai,
    moderation.davidson,
    moderation.hatecheck,
    moderation.surge,
)
