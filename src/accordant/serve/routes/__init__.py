"""The routes, a module for each surface."""
