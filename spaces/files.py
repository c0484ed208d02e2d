"""Tensors in files, with a document that describes them."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from search.atomic import write_bytes
from search.errors import UsageError

CHECKSUM = "sha256"  # in the document: a file's metadata has one key, because several come in any order


def save_tensors(path: Path, tensors: dict[str, Tensor], key: str, document: dict[str, Any]) -> None:
    """Writes one safetensors file, whole or not at all. Its metadata holds the document and a checksum of everything.

    Raises:
        OSError: names the file and the reason.
    """
    plain = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    text = json.dumps(document | {CHECKSUM: _checksum(plain, document)})
    write_bytes(
        path, save(plain, {key: text})
    )  # bytes, so that a full disk is an OSError and no error of the library's


def load_tensors(path: Path, key: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The document that a file's metadata holds under the key, and its tensors.

    Files of earlier versions have no checksum. They are read, because nothing else has changed in them.

    Raises:
        UsageError: it cannot be read, there is no such key, or its content is not the one that was written.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        if Path(path).is_dir():
            raise UsageError(f"{path}: is a folder. Give the model of a run, RUN/model.safetensors.") from error
        raise UsageError(f"{path}: cannot be read as a model ({error}). Restore it or run the export again.") from error
    if key not in metadata:
        raise UsageError(f"{path}: a safetensors file, but no picojoule model: metadata has {sorted(metadata)}.")
    try:
        document: Any = json.loads(metadata[key])
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{path}: its description is no JSON ({error}). Restore it or run the export again."
        ) from error
    expected = document.pop(CHECKSUM, None) if isinstance(document, dict) else None
    if expected is not None and expected != _checksum(tensors, document):
        raise UsageError(
            f"{path}: the SHA-256 of its content is not the one recorded, so it was damaged or edited by hand. "
            "Restore it or run the export again."
        )
    return document, tensors


def _checksum(tensors: dict[str, Tensor], document: dict[str, Any]) -> str:
    digest = sha256(json.dumps(document, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
