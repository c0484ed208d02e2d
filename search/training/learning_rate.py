"""Factors on the learning rates over a phase. `progress` is the share of the phase that is done, 0 to 1."""

import math

CLIMB = 0.1  # share of a phase in which the learning rate climbs


def climbing(progress: float) -> float:
    """A line up to 1 over the first `CLIMB` of the phase, and 1 after it."""
    return min(1.0, max(progress, 0.01) / CLIMB)


def settling(progress: float, start: float) -> float:
    """1 up to `start`, and from there half a cosine down to 0."""
    if progress <= start:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (progress - start) / (1 - start)))
