"""A user's own images: folder/train/CLASS/*.png or *.jpg, and folder/val and folder/test where they exist."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from search.data.assemble import assemble
from search.data.data import Data, DataError, Split
from search.integer.preprocessing import LAST, NONE

SUFFIXES = (".png", ".jpg", ".jpeg")
GREY_MODES = ("1", "L", "LA")  # of Pillow
COLOUR_MODES = ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")

Files = list[tuple[Path, int]]  # an image and its label


@dataclass
class ImageFolderOptions:
    """Which folder, and how its images are brought to one form.

    Attributes:
        size: [height, width] to which images are resized; None: they must all have one size.
        mean, std: by which images are normalised, see search.data.assemble.
    """

    folder: str
    name: str = "image_folder"
    size: list[int] | None = None
    mean: list[float] | None = None
    std: list[float] | None = None


def load_image_folder(options: ImageFolderOptions) -> Data:
    """Loads all images into memory as uint8, with one channel where all are grey and with three otherwise.

    The classes are the folders of train, in alphabetical order. Splits without a folder are carved out of train.

    Raises:
        DataError: a folder or an image cannot be used, or Pillow is not installed.
    """
    if options.size is not None and (len(options.size) != 2 or min(options.size) < 1):
        raise DataError(f"data.size is {options.size}; allowed is [height, width], each at least 1.")
    root = Path(options.folder).expanduser()
    classes = _class_names(root / "train")
    names = [name for name in ("train", "val", "test") if (root / name).is_dir()]
    files = {name: _files(root / name, classes) for name in names}
    everything = [path for found in files.values() for path, _ in found]
    images = torch.from_numpy(_stack(everything, [_read(path, options.size) for path in everything]))
    parts = images.split([len(found) for found in files.values()])
    splits = {
        name: Split(part, torch.tensor([label for _, label in files[name]]))
        for name, part in zip(names, parts, strict=True)
    }
    return assemble(
        options.name,
        f"data '{options.name}' in {root}",
        splits,
        classes,
        channels=NONE if images.shape[1] == 1 else LAST,
        mean=options.mean,
        std=options.std,
    )


def _class_names(folder: Path) -> tuple[str, ...]:
    """The visible folders in folder, sorted."""
    names = folder.is_dir() and sorted(p.name for p in folder.iterdir() if p.is_dir() and p.name[0] != ".")
    if not names:
        raise DataError(f"{folder}: no class folders found; expected CLASS/*.png or *.jpg in it. Check data.folder.")
    return tuple(names)


def _files(folder: Path, classes: tuple[str, ...]) -> Files:
    """The images of one split, sorted by class and name."""
    files: Files = []
    for name in _class_names(folder):
        if name not in classes:
            raise DataError(
                f"{folder / name}: class '{name}' is not in train, which has {', '.join(classes)}. "
                "Rename the folder or add training images."
            )
        paths = sorted(path for path in (folder / name).iterdir() if path.suffix.lower() in SUFFIXES)
        if not paths:
            raise DataError(
                f"{folder / name}: class folder without images; at least one of {', '.join(SUFFIXES)} is needed. "
                "Add images or remove the folder."
            )
        files += [(path, classes.index(name)) for path in paths]
    return files


def _read(path: Path, size: list[int] | None) -> np.ndarray:
    """One image as uint8, (H, W) where it is grey, (H, W, 3) where it has colour."""
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise DataError(f"{path}: Pillow is not installed ({error}). Run `pip install pillow`.") from error
    try:
        with Image.open(path) as image:
            if image.mode not in GREY_MODES + COLOUR_MODES:
                raise DataError(
                    f"{path}: pixels are of mode {image.mode}; allowed are 8-bit ones, {', '.join(GREY_MODES)}, "
                    f"{', '.join(COLOUR_MODES)}. Convert the image, or use a .npz file."
                )
            upright = ImageOps.exif_transpose(image)  # cameras store photos as they were held, and how that was
            decoded = upright.convert("L" if image.mode in GREY_MODES else "RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot be read as an image ({error}). Replace or remove the file.") from error
    if size is not None:
        decoded = decoded.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(decoded)


def _stack(paths: list[Path], images: list[np.ndarray]) -> np.ndarray:
    """(N, C, H, W), with three channels as soon as one image has colour."""
    height, width = images[0].shape[:2]
    channels = 3 if any(image.ndim == 3 for image in images) else 1
    stacked = np.empty((len(images), channels, height, width), dtype=np.uint8)
    for row, path, image in zip(stacked, paths, images, strict=True):
        if image.shape[:2] != (height, width):
            raise DataError(
                f"{path}: size is {list(image.shape[:2])}, that of {paths[0]} is {[height, width]}; "
                "all must be alike. Set data.size to resize them."
            )
        row[...] = image.transpose(2, 0, 1) if image.ndim == 3 else image
    return stacked
