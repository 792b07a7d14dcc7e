"""Routes by surface. Each asks for a `Principal` (see `accordant.serve.deps`); a test walks over all of them."""
