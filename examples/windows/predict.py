"""What the exported integers say of raw windows, as the sensor gives them. It needs NumPy and no torch.

python predict.py runs/windows/program.safetensors windows.npz
"""

import sys

import numpy as np

from search.integer.executor import Executor
from search.integer.program import Program

NAMES = ("still", "walk", "stairs", "run")


def main(file: str, windows: str) -> None:
    program = Program.load(file)
    executor = Executor(program)
    with np.load(windows) as arrays:
        raw, labels = arrays["x_test"], arrays["y_test"]  # (n, time, axes), int16: nothing is normalised here
    print(f"the first window: {NAMES[executor.predict(raw[0])]}")
    print(f"accuracy on {len(raw)} windows: {(executor.predict(raw) == labels).mean():.4f}")
    print(f"flash: {program.flash_bytes()} bytes, RAM of activations: {program.peak_ram_bytes()} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
