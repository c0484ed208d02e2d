"""Windows of an accelerometer, made up for this example: `python make_windows.py` writes windows.npz.

A window is two seconds of three axes at 50 Hz, int16 counts as the sensor gives them. There are four classes: still,
walk, stairs and run. A person is in one split alone, because windows of one person are alike: a network that has seen
some of them in training would look better on the others than it is.
"""

import sys
from pathlib import Path

import numpy as np

RATE, SECONDS, G = 50, 2, 4096  # samples a second, length of a window, counts of one g
STEPS = (0.0, 1.8, 1.3, 2.8)  # steps a second: still, walk, stairs, run
FORCES = (0.0, 0.35, 0.3, 1.0)  # g, of a step
PEOPLE = {"train": range(60), "val": range(60, 75), "test": range(75, 90)}


def recording(person: int, label: int, windows: int) -> np.ndarray:
    """Windows of one person doing one thing, (windows, time, axis), int16."""
    rng = np.random.default_rng((person, label))
    up = rng.normal(size=3)  # where the sensor was worn
    up /= np.linalg.norm(up)
    sway = np.cross(up, rng.normal(size=3))
    pace, force = rng.normal(1, 0.06), rng.normal(1, 0.15)
    time = np.arange(windows * SECONDS * RATE) / RATE
    phase = 2 * np.pi * STEPS[label] * pace * time
    stepping = FORCES[label] * force * (np.sin(phase) + (0.8 if label == 2 else 0.1) * np.sin(2 * phase))
    swaying = 0.3 * FORCES[label] * np.sin(phase / 2)
    values = np.outer(1 + stepping, up) + np.outer(swaying, sway) + rng.normal(0, 0.15, (len(time), 3))
    counts = np.clip(values * G, -32768, 32767).astype(np.int16)
    return counts.reshape(windows, SECONDS * RATE, 3)


def arrays(windows: int) -> dict[str, np.ndarray]:
    """x_train, y_train and so on, with so many windows of each person and class."""
    found = {}
    for split, people in PEOPLE.items():
        parts = [(recording(person, label, windows), label) for person in people for label in range(len(STEPS))]
        found[f"x_{split}"] = np.concatenate([part for part, _ in parts])
        found[f"y_{split}"] = np.repeat([label for _, label in parts], windows)
    return found


def main(file: Path, windows: int = 5) -> None:
    found = arrays(windows)
    np.savez(file, allow_pickle=False, **found)
    print(f"{file}: " + ", ".join(f"{name} {array.shape} {array.dtype}" for name, array in found.items()))


if __name__ == "__main__":
    main(Path("windows.npz"), *map(int, sys.argv[1:]))
