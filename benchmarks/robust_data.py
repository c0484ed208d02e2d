"""Data sets of `python -m benchmarks.robust`, each a .npz file of x_train, y_train, x_val, y_val, x_test and y_test.

`python -m benchmarks.robust_data --folder FOLDER` makes all of them whose sources are there, each once, always from the
same seed. A run reads one by data=npz data.file=FOLDER/NAME.npz data.has_channels=true.
"""

import argparse
import io
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

import numpy as np
from scipy.ndimage import affine_transform

from benchmarks.robust_signals import mnist1d, motion, spoken_digits
from benchmarks.robust_sources import Arrays, SourceMissing, Sources, arrays_of, missing
from search.atomic import atomically
from search.data.data import Split
from search.data.digits import DigitsOptions, load_digits
from search.data.mini import FashionMnistMiniOptions, load_fashion_mnist_mini
from search.data.splits import stratified
from search.errors import UsageError

SEED = 0

# Of noisy digits: images of 16x16 pixels, and how much of each a digit is changed.
SIDE, NOISY_TRAIN, NOISY_VAL = 16, 1080, 287
TURN, SCALES, SHIFT, CONTRASTS, BACKGROUND, NOISE = 20.0, (0.8, 1.15), 2.0, (0.5, 1.0), 0.3, 0.16

FASHION_TRAIN, FASHION_VAL = 3000, 1000
CIFAR_CLASS = {"train": 400, "val": 200, "test": 200}  # images of each class


def digits(sources: Sources, rng: np.random.Generator) -> Arrays:
    """scikit-learn's 8x8 digits with the splits that data=digits has."""
    data = load_digits(DigitsOptions())
    return _arrays_of_splits(data.train, data.val, data.test)


def noisy_digits(sources: Sources, rng: np.random.Generator) -> Arrays:
    """The digits at 16x16: turned, scaled, shifted, in weak contrast and in noise. (N, 1, 16, 16) uint8."""
    plain = digits(sources, rng)
    x, y = (np.concatenate([plain[f"{letter}_{split}"] for split in ("train", "val", "test")]) for letter in "xy")
    order = rng.permutation(len(x))
    noisy = np.stack([_noisy(x[i, 0], rng) for i in order])[:, None]
    ends = (NOISY_TRAIN, NOISY_TRAIN + NOISY_VAL)
    return arrays_of(np.split(noisy, ends), np.split(y[order], ends))


def _noisy(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A digit (8, 8) in 0..1 as (16, 16) uint8."""
    angle, scale = np.deg2rad(rng.uniform(-TURN, TURN)), rng.uniform(*SCALES)
    step = len(image) / SIDE / scale  # pixels of the image in one of the result
    matrix = step * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = (len(image) - 1) / 2 - matrix @ ((SIDE - 1) / 2 + rng.uniform(-SHIFT, SHIFT, 2))
    large = affine_transform(image.astype(float), matrix, centre, (SIDE, SIDE), order=1)
    seen = rng.uniform(0, BACKGROUND) + rng.uniform(*CONTRASTS) * large + rng.normal(0, NOISE, large.shape)
    return np.asarray(np.round(255 * np.clip(seen, 0, 1)), np.uint8)


def fashion(sources: Sources, rng: np.random.Generator) -> Arrays:
    """Fashion-MNIST: 3,000 training, 1,000 validation and 2,000 test images of those that come with the package."""
    data = load_fashion_mnist_mini(FashionMnistMiniOptions(train_images=FASHION_TRAIN))
    val, _ = stratified(data.val.targets, FASHION_VAL)
    return _arrays_of_splits(data.train, data.val.take(val), data.test)


def _arrays_of_splits(*splits: Split) -> Arrays:
    return arrays_of([split.images.numpy() for split in splits], [split.targets.numpy() for split in splits])


def cifar10(sources: Sources, rng: np.random.Generator) -> Arrays:
    """4,000 training, 2,000 validation and 2,000 test images, all classes alike. (N, 3, 32, 32) uint8."""
    if sources.cifar10 is None:
        raise missing("cifar10", "a tar archive of train/CLASS/*.jpg and test/CLASS/*.jpg")
    files = _jpegs(sources.cifar10)
    classes = sorted({name for split, name in files if split == "train"})
    found: dict[str, list[tuple[bytes, int]]] = {split: [] for split in CIFAR_CLASS}
    for label, name in enumerate(classes):
        train, test = (files[split, name] for split in ("train", "test"))
        drawn = rng.permutation(len(train))
        ends = CIFAR_CLASS["train"], CIFAR_CLASS["train"] + CIFAR_CLASS["val"]
        chosen = {"train": drawn[: ends[0]], "val": drawn[ends[0] : ends[1]]}
        chosen["test"] = rng.permutation(len(test))[: CIFAR_CLASS["test"]]
        for split, places in chosen.items():
            found[split] += [((test if split == "test" else train)[place], label) for place in places]
    images = [np.stack([_decoded(content) for content, _ in found[split]]) for split in found]
    return arrays_of(images, [np.array([label for _, label in found[split]]) for split in found])


def _jpegs(archive: Path) -> dict[tuple[str, str], list[bytes]]:
    """(split, class) -> the files of that class, in the order of their names."""
    named: dict[tuple[str, str], dict[str, bytes]] = {}
    try:
        with tarfile.open(archive) as files:
            for member in files:
                content = files.extractfile(member) if member.name.endswith(".jpg") else None
                if content is not None:
                    split, name, file = PurePosixPath(member.name).parts[-3:]
                    named.setdefault((split, name), {})[file] = content.read()
    except (OSError, tarfile.TarError, ValueError) as error:
        raise UsageError(f"{archive}: no archive of train/CLASS/*.jpg and test/CLASS/*.jpg ({error}).") from error
    return {key: [content for _, content in sorted(each.items())] for key, each in named.items()}


def _decoded(content: bytes) -> np.ndarray:
    """A JPEG file as (3, H, W) uint8."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB")).transpose(2, 0, 1)


SETS: dict[str, Callable[[Sources, np.random.Generator], Arrays]] = {
    "digits": digits,
    "noisy_digits": noisy_digits,
    "fashion": fashion,
    "cifar10": cifar10,
    "spoken_digits": spoken_digits,
    "motion": motion,
    "mnist1d": mnist1d,
}


def made(name: str, folder: Path, sources: Sources) -> Path:
    """The file of a data set in the folder. It is made if it is not there.

    Raises:
        SourceMissing: what it is made of was not given.
        UsageError: what was given cannot be used.
        FileError: the file cannot be written.
    """
    path = folder / f"{name}.npz"
    if not path.is_file():
        arrays = SETS[name](sources, np.random.default_rng(SEED))
        atomically(path, lambda temporary: _save(temporary, arrays))
    return path


def _save(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    with path.open("wb") as file:  # given a path, NumPy would change its ending
        np.savez_compressed(file, **arrays)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/robust_data"))
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    Sources.add_options(parser)
    arguments = parser.parse_args()
    sources = Sources.of(arguments)
    for name in arguments.sets:
        try:
            print(made(name, arguments.folder, sources), flush=True)
        except SourceMissing as error:
            print(f"skipped: {error}", flush=True)


if __name__ == "__main__":
    main()
