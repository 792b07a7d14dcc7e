"""Measuring a checkpoint on held-out prompts: suites, scorers, likelihoods, and intervals on every figure.

Imports `engine`, `data`, `model`, `text`, the base modules, and of `train` only the functions that score.
"""

from accordant.evals.result import SuiteResult
from accordant.evals.run import SUITES, run_suite

__all__ = ["SUITES", "SuiteResult", "run_suite"]
