"""Talking to a checkpoint over HTTP: the chat page, its streamed answers, and the one thread that makes them.

A message: routes/ -> history.py (what fits) -> limits.py, line.py (in turn) -> scheduler.py -> events.py -> the page.
Imports `engine`, `model`, `text` and the base modules; never `train`.
"""
