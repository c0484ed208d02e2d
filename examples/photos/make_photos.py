"""Photos of signs, drawn for this example: `python make_photos.py` writes photos/SPLIT/CLASS/*.png.

Forms of some colour lie on a background with noise. What a class is called is its folder's name.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIDE = 48  # pixels of a photo
COUNTS = {"train": 40, "val": 20, "test": 30}  # photos of a class


def _arrow(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, colour: str) -> None:
    draw.polygon([(x - r, y - r), (x + r, y), (x - r, y + r), (x - r / 2, y)], fill=colour)


def _cross(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, colour: str) -> None:
    draw.line([(x - r, y - r), (x + r, y + r)], fill=colour, width=5)
    draw.line([(x - r, y + r), (x + r, y - r)], fill=colour, width=5)


def _disc(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, colour: str) -> None:
    draw.ellipse([x - r, y - r, x + r, y + r], fill=colour)


def _ring(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, colour: str) -> None:
    draw.ellipse([x - r, y - r, x + r, y + r], outline=colour, width=4)


def _square(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, colour: str) -> None:
    draw.rectangle([x - r, y - r, x + r, y + r], fill=colour)


FORMS: dict[str, Callable[[ImageDraw.ImageDraw, float, float, float, str], None]] = {
    "arrow": _arrow,
    "cross": _cross,
    "disc": _disc,
    "ring": _ring,
    "square": _square,
}
SIGNS = ("arrow", "cross", "ring")  # the classes of this example; the weights come from all forms but these


def photo(form: str, rng: np.random.Generator) -> Image.Image:
    """One photo, RGB."""
    hue = int(rng.integers(360))
    background = Image.new("RGB", (SIDE, SIDE), f"hsl({hue}, 40%, {rng.integers(20, 50)}%)")
    x, y = SIDE / 2 + rng.uniform(-6, 6, 2)
    colour = f"hsl({(hue + int(rng.integers(90, 270))) % 360}, 80%, {rng.integers(55, 80)}%)"
    FORMS[form](ImageDraw.Draw(background), x, y, rng.uniform(9, 14), colour)
    noisy = np.asarray(background) + rng.normal(0, 18, (SIDE, SIDE, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def main(folder: Path, share: float = 1.0) -> None:
    rng = np.random.default_rng(0)
    for split, count in COUNTS.items():
        for sign in SIGNS:
            place = folder / split / sign
            place.mkdir(parents=True, exist_ok=True)
            for number in range(round(share * count)):
                photo(sign, rng).save(place / f"{number:03d}.png")
    print(f"{folder}: {', '.join(SIGNS)}; {round(share * COUNTS['train'])} photos of each to train")


if __name__ == "__main__":
    main(Path("photos"), *map(float, sys.argv[1:]))
