"""Tensors in files."""

from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from search.atomic import write_bytes
from search.errors import UsageError


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Writes one safetensors file, whole or not at all.

    Raises:
        OSError: names the file and the reason.
    """
    plain = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    write_bytes(path, save(plain, metadata))  # bytes, so that a full disk is an OSError and no error of the library's


def load_tensors(path: Path, key: str) -> tuple[str, dict[str, Tensor]]:
    """What a file's metadata holds under the key, and its tensors.

    Raises:
        UsageError: it cannot be read, or there is no such key.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{path}: cannot be read as a model ({error}). Restore it or run the export again.") from error
    if key not in metadata:
        raise UsageError(f"{path}: a safetensors file, but no picojoule model: metadata has {sorted(metadata)}.")
    return metadata[key], tensors
