"""Talking to a checkpoint over HTTP: the chat page, its streamed answers, and the one thread that makes them.

A message: page/chat.js -> app.py (limits) -> history.py (what fits) -> worker.py (in turn) -> events.py -> the page.
Imports `engine`, `model`, `text` and the base modules; never `train`.
"""
