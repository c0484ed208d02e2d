"""What tells a run from others: it is written into the run's folder at the start, and compared when the run goes on.

Checkpoints of two experiments in one folder would make a run that is neither. So settings, data, network, first weights
and costs of the seed network have to be those that the run began with. Where files lie does not matter, nor the device,
nor what is only shown. Names that only one side has are not compared, because other versions may write more.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from reprlib import Repr
from typing import Any

from torch import Tensor

from search.atomic import write_text
from search.data.data import Data
from search.files.documents import json_object
from search.files.places import PLACES
from search.files.run_folders import RunFolderError
from search.settings.run import Settings
from search.training.checkpoint import CHECKPOINT_FOLDER
from spaces.quantizers.activation import ActivationQuantizer
from spaces.space import Space

FINGERPRINT_FILE = "fingerprint.json"
FORMAT = "checkpoints"
CHECKPOINTS = 3  # to be raised when the arithmetic of training or what a checkpoint holds changes
OF_THE_PLACE = ("train.device", "train.threads", "folder", "tensorboard", "quiet", "plain_values", "model", "data")
LAYERS, NUMBERS = "network's layers", "network's first numbers"  # earlier versions wrote "network", "first weights"
DIGESTS = {"data": "the data differ", LAYERS: "the network differs", NUMBERS: "the first weights differ"}
DIGITS = 5  # of mean and std; the last digits of a sum depend on the machine
SHORT = Repr()
SHORT.maxdict = SHORT.maxlist = 8
SHORT.maxstring = SHORT.maxother = 60


def fingerprint_of(settings: Settings, data: Data, space: Space, seed_costs: Mapping[str, float]) -> dict[str, Any]:
    """Name -> a plain value or a digest: the settings by key, the data, the network, its first weights and costs."""
    found = {FORMAT: CHECKPOINTS, **_of_data(data), LAYERS: _layers(space)}
    found[NUMBERS] = _digest(_numbers(space))
    found |= {f"seed network's {name}": cost for name, cost in seed_costs.items()}
    found |= {name: value is not None if name in PLACES else value for name, value in _settings("", settings)}
    return json_object(json.dumps(found, default=str))  # as it is read back


def refuse_other_experiment(folder: Path, own: Mapping[str, Any]) -> None:
    """Raises RunFolderError for a run that began as another experiment, and names what differs.

    A folder without a fingerprint is one in which nothing was trained yet.
    """
    path = folder / FINGERPRINT_FILE
    if not path.is_file():
        if any((folder / CHECKPOINT_FOLDER).glob("*.pt")):
            raise RunFolderError(
                f"folder '{folder}': it has checkpoints and no {FINGERPRINT_FILE}, which says what they are of. "
                "Restore that file, or start a new run in another folder."
            )
        return
    try:
        known = json_object(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunFolderError(f"{path}: {error}. Restore it, or start a new run in another folder.") from error
    differing = [
        _difference(name, known[name], own[name]) for name in own if name in known and known[name] != own[name]
    ]
    if differing:
        raise RunFolderError(
            f"folder '{folder}': its run began as another experiment: {'; '.join(differing)}. "
            "Go on with what it began with, or start a new run in another folder."
        )


def write_fingerprint(folder: Path, own: Mapping[str, Any]) -> None:
    write_text(folder / FINGERPRINT_FILE, json.dumps(dict(own), indent=1))


def _difference(name: str, was: Any, now: Any) -> str:
    if name in DIGESTS:
        return DIGESTS[name]
    if name == FORMAT:
        return (
            f"a version of picojoule began it whose training is of another form ({was}, this one has {now}), so only "
            "that version can go on with it"
        )
    return f"{name} was {SHORT.repr(was)}, is {SHORT.repr(now)}"


def _settings(prefix: str, values: Any) -> Iterator[tuple[str, Any]]:
    """Key -> value of all dataclasses within one another; "train.finetune.lr"."""
    for field in fields(values):
        name, value = f"{prefix}{field.name}", getattr(values, field.name)
        if name in OF_THE_PLACE:
            continue
        if is_dataclass(value):
            yield from _settings(f"{name}.", value)
        else:
            yield name, value


def _of_data(data: Data) -> dict[str, Any]:
    """A digest of the images and targets, and what else of the data a network depends on."""
    found: dict[str, Any] = {"data": _digest(_tensors(data)), "data's classes": list(data.classes)}
    for name, values in (("mean", data.mean), ("std", data.std)):
        found[f"data's {name}"] = [float(f"{value:.{DIGITS}g}") for value in values]
    return found


def _layers(space: Space) -> str:
    """A digest of what is computed and what is open, without the name, which is a setting.

    It says which grids are given and not their numbers: those of inputs follow from mean and std of the data, which are
    compared as such.
    """
    description = {key: value for key, value in space.spec.to_json().items() if key != "name"}
    description["quantizers"] = {
        name: {**quantizer, "grid": quantizer["grid"] is not None}
        for name, quantizer in description["quantizers"].items()
    }
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:16]


def _tensors(data: Data) -> Iterator[tuple[str, Tensor]]:
    for name in ("train", "val", "test"):
        split = data.split(name)
        yield f"{name} images", split.images
        yield f"{name} labels", split.targets  # in these words, or runs that began under them could not go on


def _numbers(space: Space) -> Iterable[tuple[str, Tensor]]:
    """All numbers but those of grids that are given, see `_layers`."""
    modules = space.named_modules()
    given = tuple(f"{name}." for name, each in modules if isinstance(each, ActivationQuantizer) and each.given)
    return ((name, tensor) for name, tensor in space.state_dict().items() if not name.startswith(given))


def _digest(tensors: Iterable[tuple[str, Tensor]]) -> str:
    digest = hashlib.sha256()
    for name, tensor in tensors:
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()[:16]
