"""A user's own sounds: folder/WORD/*.wav, or folder/train/WORD/*.wav with folder/val and folder/test."""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import gcd
from pathlib import Path

import numpy as np
import torch
from scipy.io import wavfile
from scipy.signal import resample_poly

from search.data.assemble import assemble
from search.data.data import Data, DataError, Split
from search.data.sound import FrontEndOptions, as_int16, front_end_of
from search.integer.preprocessing import NONE

SPLITS = ("train", "val", "test")
OF_UINT8, SHOWN = 128, 3

Sounds = list[tuple[Path, int, np.ndarray]]  # a file, its label, and what it holds: (T,) float32, -1 to 1


@dataclass
class AudioFolderOptions:
    """Which folder, and how its sounds are brought to one form.

    Attributes:
        seconds: of an example: longer sounds are cut, shorter ones end in silence; None: they must all be as long.
        rate: samples a second; None: they must all have one rate.
        resample: whether sounds of another rate are brought to `rate`. Otherwise they are refused.
        mix: whether several channels are mixed to one. Otherwise they are refused.
        speaker: a regular expression whose first group is, in the name of a file, who speaks: "^([a-z]+)_". Splits are
            then carved out in whole speakers, and a speaker in two splits is refused.
        unreadable: share of the files that may be unreadable. They are left out, and a note counts them.
        mean, std: by which sounds are normalised, see search.data.assemble.
        frontend: what becomes of sounds before the network.
    """

    folder: str
    name: str = "audio_folder"
    seconds: float | None = None
    rate: int | None = None
    resample: bool = False
    mix: bool = False
    speaker: str | None = None
    unreadable: float = 0.0
    mean: list[float] | None = None
    std: list[float] | None = None
    frontend: FrontEndOptions = field(default_factory=FrontEndOptions)


def load_audio_folder(options: AudioFolderOptions) -> Data:
    """Loads all sounds into memory: (N, 1, T) float32, -1 to 1, or their features with a front end.

    The classes are the folders, in alphabetical order.

    Raises:
        DataError: a folder or a sound cannot be used.
    """
    _refuse_other_values(options)
    root = Path(options.folder).expanduser()
    folders = {name: root / name for name in SPLITS if (root / name).is_dir()} or {"train": root}
    if "train" not in folders:
        raise DataError(f"{root}: has {', '.join(folders)}, and no folder train. Add it.")
    classes = _words(folders["train"])
    files = {split: _files(folder, classes) for split, folder in folders.items()}
    rate = options.rate
    sounds: dict[str, Sounds] = {split: [] for split in files}
    faults: list[str] = []
    for split, each in files.items():
        for path, label in each:
            try:
                own, samples = _read(path)
            except (OSError, ValueError, EOFError) as error:
                faults.append(f"{path} ({error})")
                continue
            rate = own if rate is None else rate
            sounds[split].append((path, label, _brought(path, samples, own, rate, options)))
    _refuse_unreadable(root, faults, sum(map(len, files.values())), options.unreadable)
    length = _length(root, [each for part in sounds.values() for each in part], rate or 1, options.seconds)
    place = f"data '{options.name}' in {root}"
    frontend = front_end_of(options.frontend, place, rate, length)
    splits = {}
    for split, part in sounds.items():
        x = torch.from_numpy(_stacked([each for _, _, each in part], length))
        splits[split] = Split(x if frontend is None else as_int16(x), torch.tensor([y for _, y, _ in part]))
    data = assemble(
        options.name,
        place,
        splits,
        classes,
        groups=_speakers(options.speaker, sounds),
        channels=NONE,
        mean=options.mean,
        std=options.std,
        frontend=frontend,
    )
    note = f"{root}: {len(faults)} files cannot be read and are left out, the first {', '.join(faults[:SHOWN])}"
    return replace(data, notes=(*data.notes, note)) if faults else data


def _refuse_other_values(options: AudioFolderOptions) -> None:
    for name in ("seconds", "rate"):
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise DataError(f"data.{name} is {value}; allowed: a number over 0, or null.")
    if not 0 <= options.unreadable < 1:
        raise DataError(f"data.unreadable is {options.unreadable}; allowed: a share from 0 to under 1.")
    if options.resample and options.rate is None:
        raise DataError("data.resample is true and data.rate is null; name the rate that sounds are brought to.")


def _words(folder: Path) -> tuple[str, ...]:
    names = folder.is_dir() and sorted(p.name for p in folder.iterdir() if p.is_dir() and p.name[0] not in "._")
    if not names:
        raise DataError(f"{folder}: no folders found; expected WORD/*.wav in it. Check data.folder.")
    return tuple(names)


def _files(folder: Path, classes: tuple[str, ...]) -> list[tuple[Path, int]]:
    found: list[tuple[Path, int]] = []
    for name in _words(folder):
        if name not in classes:
            raise DataError(
                f"{folder / name}: '{name}' is not in train, which has {', '.join(classes)}. Rename the folder."
            )
        paths = sorted(path for path in (folder / name).iterdir() if path.suffix.lower() == ".wav")
        if not paths:
            raise DataError(f"{folder / name}: no .wav in it. Add sounds, or remove the folder.")
        found += [(path, classes.index(name)) for path in paths]
    return found


def _read(path: Path) -> tuple[int, np.ndarray]:
    """The rate, and (T,) or (T, channels) float32, -1 to 1."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wavfile.WavFileWarning)  # chunks that are no sound
        rate, samples = wavfile.read(path)
    if not samples.size:
        raise ValueError("it holds no sample")
    if samples.dtype.kind == "f":
        found = samples.astype(np.float32)
        if not np.isfinite(found).all():
            raise ValueError("it holds a value that is not finite")
        return int(rate), found
    if samples.dtype == np.uint8:
        return int(rate), (samples.astype(np.float32) - OF_UINT8) / OF_UINT8
    return int(rate), (samples / float(np.iinfo(samples.dtype).max + 1)).astype(np.float32)


def _brought(path: Path, samples: np.ndarray, own: int, rate: int, options: AudioFolderOptions) -> np.ndarray:
    """(T,): of one channel, at the rate."""
    if samples.ndim > 1 and samples.shape[1] > 1 and not options.mix:
        raise DataError(f"{path}: has {samples.shape[1]} channels; allowed is one. Set data.mix=true to mix them.")
    mono = samples.mean(1) if samples.ndim > 1 else samples
    if own == rate:
        return mono
    if not options.resample:
        raise DataError(
            f"{path}: has {own} samples a second, and {rate} are expected. Set data.rate={rate} data.resample=true to "
            "resample."
        )
    common = gcd(own, rate)
    found: np.ndarray = resample_poly(mono, rate // common, own // common).astype(np.float32)
    return found


def _refuse_unreadable(root: Path, faults: Sequence[str], files: int, allowed: float) -> None:
    if len(faults) > allowed * files:
        shown = "; ".join(faults[:SHOWN]) + ("; .." if len(faults) > SHOWN else "")
        raise DataError(
            f"{root}: {len(faults)} of {files} files cannot be read: {shown}. Remove them, or allow a share of such "
            "files by data.unreadable."
        )


def _length(root: Path, sounds: Sounds, rate: int, seconds: float | None) -> int:
    if seconds is not None:
        return max(1, round(seconds * rate))
    lengths = sorted({len(x) for _, _, x in sounds})
    if len(lengths) > 1:
        raise DataError(
            f"{root}: sounds have {lengths[0]} to {lengths[-1]} samples; all must be alike. Set data.seconds, for "
            f"example {lengths[-1] / rate:.2g}, to cut and fill them."
        )
    return lengths[0] if lengths else 1


def _stacked(sounds: Sequence[np.ndarray], length: int) -> np.ndarray:
    """(N, 1, length)"""
    found = np.zeros((len(sounds), 1, length), np.float32)
    for row, sound in zip(found, sounds, strict=True):
        row[0, : len(sound)] = sound[:length]
    return found


def _speakers(pattern: str | None, sounds: dict[str, Sounds]) -> dict[str, torch.Tensor] | None:
    """Split -> (N,), the number of who speaks."""
    if pattern is None:
        return None
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise DataError(f"data.speaker is '{pattern}', which is no regular expression ({error}).") from error
    names: dict[str, list[str]] = {}
    for split, part in sounds.items():
        names[split] = []
        for path, _, _ in part:
            found = compiled.search(path.name)
            if found is None or not compiled.groups:
                raise DataError(
                    f"{path}: data.speaker '{pattern}' finds nobody in its name; it needs a group, as in '^([a-z]+)_'."
                )
            names[split].append(found[1] or "")
    every = sorted({name for part in names.values() for name in part})
    return {split: torch.tensor([every.index(name) for name in part]) for split, part in names.items()}
