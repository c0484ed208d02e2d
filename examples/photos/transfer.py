"""From trained weights and a few photos of your own to integers: `python transfer.py [overrides]`."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from photo_net import MEAN, SIDE, STD, transferred
from PIL import Image, ImageOps

from search.api import compress
from search.data import load
from search.data.image_folder import ImageFolderOptions
from search.integer.executor import Executor
from search.integer.program import Program

FOLDER = Path("runs/photos")
# Trained features need few epochs and small steps; few photos need many passes.
SETTINGS = ["train.warmup.epochs=6", "train.warmup.lr=0.03", "strategy.epochs=25", "train.finetune.epochs=15"]
SETTINGS += ["train.batch_size=16"]


# --8<-- [start:raw]
def raw(file: Path) -> np.ndarray:
    """A photo as the program takes it: upright, of the size of training, uint8, channels last."""
    with Image.open(file) as image:
        upright = ImageOps.exif_transpose(image)
        return np.asarray(upright.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR))


# --8<-- [end:raw]


def main(overrides: Sequence[str]) -> None:
    # --8<-- [start:search]
    options = ImageFolderOptions(folder="photos", size=[SIDE, SIDE], mean=list(MEAN), std=list(STD))
    data = load(options)
    torch.manual_seed(0)  # the new head's first weights are drawn here
    model = transferred("photo_net.safetensors", len(data.classes))
    summary = compress(model, data, {"flash_bytes": 8192}, FOLDER, [*SETTINGS, *overrides])
    # --8<-- [end:search]
    # --8<-- [start:predict]
    program = Program.load(FOLDER / "program.safetensors")
    executor = Executor(program)
    files = sorted(Path("photos/test").glob("*/*.png"))
    found = [program.classes[executor.predict(raw(file))] for file in files]
    print(f"{files[0]}: {found[0]}")
    right = np.mean([name == file.parent.name for name, file in zip(found, files, strict=True)])
    print(f"accuracy on {len(files)} photos: {right:.4f}; the run states {summary['accuracy']['integer']['test']:.4f}")
    # --8<-- [end:predict]


if __name__ == "__main__":
    main(sys.argv[1:])
