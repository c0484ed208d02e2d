"""The IDX format, in which MNIST and its relatives are published.

Two zero bytes, a byte for the type (8 is uint8), a byte for the number of dimensions, the dimensions as big-endian
uint32, the values in C order. Source: http://yann.lecun.com/exdb/mnist/.
"""

import gzip
import zlib
from math import prod
from pathlib import Path

import numpy as np

from search.data.data import DataError

UINT8 = 8


def read_idx(folder: Path, name: str) -> np.ndarray:
    """Reads folder/name.gz, or folder/name where it is not compressed.

    Returns:
        uint8, in the shape that the file states.

    Raises:
        DataError: the file is missing, damaged or of another type.
    """
    path = folder / f"{name}.gz" if (folder / f"{name}.gz").exists() else folder / name
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}); expected an IDX file, plain or gzip. Mend it.") from error
    return parse_idx(content, str(path))


def parse_idx(content: bytes, place: str) -> np.ndarray:
    """The array in the bytes of an IDX file, read-only.

    Raises:
        DataError: the bytes are not an IDX file of uint8, or have another length than they state.
    """
    dimensions = content[3] if len(content) > 3 else 0
    header = 4 + 4 * dimensions
    if content[:3] != bytes((0, 0, UINT8)) or len(content) < header:
        raise DataError(
            f"{place}: starts with {content[:4].hex(' ') or 'nothing'}; an IDX file of uint8 starts with 00 00 08. "
            "Replace the file."
        )
    shape = tuple(np.frombuffer(content, dtype=">u4", count=dimensions, offset=4).tolist())
    if len(content) - header != prod(shape):
        raise DataError(
            f"{place}: holds {len(content) - header} values, but its header states {prod(shape)}, shape {shape}. "
            "The file is damaged: replace it."
        )
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)
