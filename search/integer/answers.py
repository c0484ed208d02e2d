"""What becomes of a Program's outputs where they are numbers: their own unit."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from search.integer.graph import Array
from search.kinds import FINITE, Kind, listed

KINDS: Mapping[str, Kind] = {"mean": listed(FINITE), "std": listed(FINITE)}


@dataclass(frozen=True)
class Answers:
    """Outputs to numbers: mean + std * output, of each.

    Attributes:
        mean, std: (k,), of the numbers in training.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def of(self, outputs: Array) -> Array:
        """(n, k) float32 to (n, k) float64."""
        found: Array = np.array(self.mean) + np.array(self.std) * outputs.astype(np.float64)
        return found

    def fault(self, size: int) -> str | None:
        """What does not fit an output of this many elements, in words."""
        if len(self.mean) != size or len(self.std) != size:
            return f"of {len(self.mean)} and {len(self.std)} numbers, and the output has {size}"
        return None if all(each > 0 for each in self.std) else "std holds a number that is not over 0"
