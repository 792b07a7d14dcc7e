"""The loops themselves, in the part of Python that numba compiles; imported only when they are compiled."""
