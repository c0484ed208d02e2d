"""Pictures of what the search decides over time: a row for each epoch, a column for each channel. NumPy only."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from search.errors import UsageError

DROPPED = (0.85, 0.37, 0.01)  # shadow value 0: orange
UNDECIDED = (0.97, 0.97, 0.97)  # at the threshold
KEPT = (0.02, 0.32, 0.61)  # shadow value 1: blue; apart from orange for the colour-blind too
GATE_THRESHOLD = 0.5

PRUNED = (0.90, 0.90, 0.90)  # 0 bits
FEWEST_BITS = (0.99, 0.85, 0.40)  # 1 bit: yellow
MOST_BITS = (0.15, 0.10, 0.35)  # 8 bits and above: dark violet
DARKEST_WIDTH = 8

PICTURE_WIDTH = 512  # pixels that a picture of few channels is enlarged to, about
LARGEST_CELL = 16  # pixels

Image = NDArray[np.uint8]


def gate_picture(history: Sequence[Sequence[float]]) -> Image:
    """Shadow values over time. Blue channels are kept, orange ones are dropped, and white ones are undecided.

    Args:
        history: (epochs, channels), shadow values. Values outside [0, 1] take the colour of the nearer end.

    Returns:
        (epochs * cell, channels * cell, 3), 0 to 255.

    Raises:
        UsageError: there are no epochs, no channels, or epochs with different numbers of channels.
    """
    values = np.clip(_rectangle(history), 0.0, 1.0)[..., None]  # (epochs, channels, 1)
    distance = np.abs(values - GATE_THRESHOLD) / GATE_THRESHOLD
    end = np.where(values >= GATE_THRESHOLD, KEPT, DROPPED)
    return _enlarge((1 - distance) * np.array(UNDECIDED) + distance * end)


def bits_picture(history: Sequence[dict[int, int]]) -> Image:
    """A layer's weight bits over time. More bits are darker. In each row the channels with the most bits come first.

    Args:
        history: for each epoch {weight bits: channels}. Pruned channels have 0 bits and are grey. So are channels that
            an epoch lacks, because pruned channels are gone once the network is decided.

    Returns:
        (epochs * cell, channels * cell, 3), 0 to 255.

    Raises:
        UsageError: there are no epochs or no channels.
    """
    widths = [[width for width in sorted(bits, reverse=True) for _ in range(bits[width])] for bits in history]
    channels = max(map(len, widths), default=0)
    values = _rectangle([row + [0] * (channels - len(row)) for row in widths])[..., None]  # (epochs, channels, 1)
    depth = np.clip((values - 1) / (DARKEST_WIDTH - 1), 0.0, 1.0)
    colours = (1 - depth) * np.array(FEWEST_BITS) + depth * np.array(MOST_BITS)
    return _enlarge(np.where(values == 0, PRUNED, colours))


def _rectangle(history: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """(epochs, channels), or an error that says what is wrong with the rows."""
    lengths = {len(row) for row in history}
    if len(lengths) != 1 or lengths == {0}:
        raise UsageError(
            f"picture: the epochs have {sorted(lengths)} channels; every epoch needs the same number, at least one. "
            "Start a new history where a layer changes its size."
        )
    return np.array(history, dtype=np.float64)


def _enlarge(colours: NDArray[np.float64]) -> Image:
    """(h, w, 3), 0 to 1 -> (h * cell, w * cell, 3), 0 to 255; a cell is a square of pixels."""
    cell = min(LARGEST_CELL, max(1, PICTURE_WIDTH // colours.shape[1]))
    pixels = np.rint(colours * 255).astype(np.uint8)
    return pixels.repeat(cell, axis=0).repeat(cell, axis=1)
