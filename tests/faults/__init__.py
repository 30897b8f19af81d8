"""Faulty parts and models, at least one for each check of the conformance kit; a sound one that they differ from."""

from . import (  # noqa: F401  each adds its own
    behaviour,
    dropping,
    extremes,
    following,
    geometry,
    gradients,
    heads,
    learning,
    memory,
    models,
    offered,
    recomputing,
    shapes,
    state,
    surroundings,
    tracing,
)
