"""The loops themselves, in the part of Python that numba compiles.

But for their `sizes` they are imported only when they are compiled.
"""
