"""From NumPy arrays in a .npz file to tensors of the types that the engine works on."""

import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from search.data.data import DataError

EXACT_IN_FLOAT32 = 2**24  # integers up to this magnitude


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a .npz file. Pickled objects are refused, because unpickling can run any code.

    Raises:
        DataError: the file is missing, damaged or holds objects.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"{path}: cannot be read ({error}); expected a .npz file of plain numeric arrays. "
            "Write it with numpy.savez and no object arrays."
        ) from error


def image_tensor(place: str, array: np.ndarray, has_channels: bool) -> Tensor:
    """Images as uint8 where they are uint8, and as float32 otherwise.

    Args:
        place: the file and key, as errors should name them.
        array: (N, C, *size), or (N, *size) where has_channels is False; real numbers.
        has_channels: whether axis 1 is the channels; otherwise one is added.

    Returns:
        (N, C, *size)

    Raises:
        DataError: the array has too few dimensions, no real numbers, or integers that float32 cannot hold.
    """
    if array.dtype.kind not in "uif" or array.ndim < 2 + has_channels:
        expected = "(N, channels, *size)" if has_channels else "(N, *size)"
        raise DataError(
            f"{place}: {array.dtype} array of shape {array.shape}; images must be integers or floats, {expected}. "
            "Convert them."
        )
    if array.dtype.kind in "ui" and array.size and int(np.abs(array.astype(np.float64)).max()) > EXACT_IN_FLOAT32:
        raise DataError(
            f"{place}: {array.dtype} images beyond +-{EXACT_IN_FLOAT32}, which float32 cannot hold. Scale them down."
        )
    with np.errstate(over="ignore"):  # float64 beyond float32 becomes inf, which the checks report with its index
        plain = np.ascontiguousarray(array, np.uint8 if array.dtype == np.uint8 else np.float32)  # whatever its strides
    tensor = torch.tensor(plain)
    return tensor if has_channels else tensor.unsqueeze(1)
