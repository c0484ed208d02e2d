"""Writing so that a kill or a full disk leaves the old file, whole."""

import os
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import save
from torch import Tensor


def atomically(path: Path, write: Callable[[Path], object]) -> None:
    """write(temporary), then rename. The temporary file goes away if anything fails.

    Raises:
        OSError: names the file and the reason, no space left say.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(
            error.errno, f"{path}: not written ({error.strerror or error}); what was there is intact"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    plain = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    content = save(plain, metadata)  # bytes, so that a full disk is an OSError here and no error of the library's
    atomically(path, lambda temporary: temporary.write_bytes(content))
