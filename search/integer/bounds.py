"""What no sum of a node exceeds, where it follows from the attributes, and from the shapes and codes of the inputs."""

from collections.abc import Sequence
from math import floor, inf, isqrt, prod
from typing import Protocol

from search.integer.shapes import Attributes, Shape

FRACTION_BITS = 16  # of a normalised value
SQUARE_BITS = 62  # that a variance may have
LARGEST_EPS = 2.0**60


class Source(Protocol):
    """What is known of an input."""

    @property
    def shape(self) -> Shape: ...

    @property
    def scale(self) -> float: ...

    @property
    def largest_code(self) -> int: ...


def resampled(attributes: Attributes, inputs: Sequence[Source]) -> int:
    """The heaviest weights of each axis, of the largest code."""
    heaviest: int = prod(max(sum(map(abs, row)) for row in rows) for rows in attributes["weights"])
    return heaviest * inputs[0].largest_code


def product(attributes: Attributes, inputs: Sequence[Source]) -> int:
    """As many products of the largest codes as are added up."""
    contracted: int = inputs[0].shape[attributes["axes"][0]]
    return contracted * prod(source.largest_code for source in inputs)


def measured(attributes: Attributes, inputs: Sequence[Source]) -> int:
    """The largest normalised value, which is below the root of the number of elements.

    Raises:
        ValueError: what its root is taken of could have more than 62 bits.
    """
    source = inputs[0]
    count = prod(source.shape[axis] for axis in attributes["axes"]) // attributes["groups"]
    squares = (count * source.largest_code) ** 2 + integer_eps(attributes["eps"], count, source.scale)
    if squares >> SQUARE_BITS:
        raise ValueError(f"a sum of {count} squares could reach 2^{squares.bit_length()}, over 2^{SQUARE_BITS}")
    return (isqrt(count) + 1) << FRACTION_BITS


def integer_eps(eps: float, count: int, scale: float) -> int:
    """R^2 eps / s^2, rounded, and at most 2^60, which int64 holds."""
    return floor(min(real_eps(eps, count, scale) + 0.5, LARGEST_EPS))


def real_eps(eps: float, count: int, scale: float) -> float:
    """R^2 eps / s^2."""
    square = scale * scale
    return eps * count * count / square if square else inf
