"""Data on its way to training: public formats in, our records out; split, compared, packed, shown.

Imports `records`, `text` and the base modules; never `engine`, `train` or anything above them.
"""
