"""Sounds of two classes, for tests: low tones and high ones, in a little noise."""

import numpy as np

RATE, SAMPLES = 8000, 1600
RNG = np.random.default_rng(0)


def tones(count: int = 24) -> np.ndarray:
    """(count, SAMPLES) int16; even ones are low."""
    t = np.arange(SAMPLES) / RATE
    pitch = np.where(np.arange(count) % 2 == 0, 300, 2500)[:, None]
    sound = 8000 * np.sin(2 * np.pi * pitch * t) + RNG.normal(0, 200, (count, SAMPLES))
    return np.round(sound).astype(np.int16)


def arrays(**others: np.ndarray) -> dict[str, np.ndarray]:
    """All splits, under the names that they have in a file."""
    x, y = tones(), np.arange(24) % 2
    return {"x_train": x, "y_train": y, "x_val": x[:8], "y_val": y[:8], "x_test": x[8:16], "y_test": y[8:16], **others}
