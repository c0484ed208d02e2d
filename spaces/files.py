"""Tensors in files."""

from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from search.atomic import write_bytes


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Writes one safetensors file, whole or not at all.

    Raises:
        OSError: names the file and the reason.
    """
    plain = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    write_bytes(path, save(plain, metadata))  # bytes, so that a full disk is an OSError and no error of the library's
