"""Accordant: demonstrations, comparisons, a reward model and PPO, closed into one loop.

Imports run one way and a test holds them to it:
records, config <- text, model <- data <- engine, train <- evals <- rounds <- serve, cli.
"""

__version__ = "0.1.0"
