"""One module for each question asked of a checkpoint.

A suite is a plain function from what was said or scored to a `SuiteResult`: the same answers may be judged by several
suites, and nothing here loads or runs a model except `preference` and `truth`, which are handed one.
"""

from accordant.evals.suites.preference import preference_of_policy, preference_of_reward_model
from accordant.evals.suites.premise import premise
from accordant.evals.suites.refusal import overrefusal, refusal
from accordant.evals.suites.style import style
from accordant.evals.suites.truth import truth

__all__ = [
    "overrefusal",
    "preference_of_policy",
    "preference_of_reward_model",
    "premise",
    "refusal",
    "style",
    "truth",
]
