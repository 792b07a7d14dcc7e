"""The loops themselves, in the part of Python that numba compiles; imported, but for their `sizes`, only when they are compiled."""
