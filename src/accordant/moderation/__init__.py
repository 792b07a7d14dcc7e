"""Judging words, people's and the model's: encoder, calibrated heads, policy, and the filter of a stream.

Imports `data`, `model`, `text`, the base modules, and of `evals` only the statistics. `moderator.Moderator` is the way
in; `stream.StreamFilter` and `policy` know of no model at all.
"""

from accordant.moderation.policy import Action, Policy, Side, Thresholds, Verdict, openai_shape

__all__ = ["Action", "Policy", "Side", "Thresholds", "Verdict", "openai_shape"]
