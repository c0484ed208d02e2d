"""A user's own arrays, in a .npz file or in memory.

x_train and y_train are needed. x_val with y_val and x_test with y_test are optional, and so are g_train, g_val and
g_test: who or what each example comes from. Of anomalies y_train may be missing, since all of training is normal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from reprlib import repr as short
from typing import Any

import numpy as np
import torch
from torch import Tensor

from search.data.arrays import image_tensor, read_npz
from search.data.assemble import assemble
from search.data.data import ANOMALIES, LABELS, NUMBERS, TAGS, Data, DataError, Split
from search.data.sound import FrontEndOptions, front_end_of
from search.data.targets import IGNORED, KINDS, kind_of, target_tensor
from search.integer.frontend import FrontEnd
from search.integer.preprocessing import FIRST, LAST, NONE

SPLITS = ("train", "val", "test")
GROUPS = tuple(f"g_{name}" for name in SPLITS)
MOST_CLASSES = 2**16
FEW = 4  # channels, at most: grey, colour, three axes, colour with transparency


@dataclass
class NpzOptions:
    """Which file, and how to read it.

    Attributes:
        targets: what y is, one of search.data.targets.KINDS; None: labels where it holds one integer an example,
            numbers where it holds floats, masks where it has the size of x, tags where it is 0 or 1 in columns.
        classes: their number; None: the largest training label + 1.
        names: of the numbers or tags; None: 0, 1, ...
        has_channels: whether an example has channels; None: from 3 dimensions on. Where it has none, one is added.
        channels_last: whether they are the last axis and not the first; None: no, and what looks so is refused.
        mean, std: by which images are normalised, see search.data.assemble.
        rate: of sound, samples a second; only a front end reads it.
        frontend: what becomes of sound before the network; x is then (N, T), int16.
    """

    file: str
    name: str = "npz"
    targets: str | None = None
    classes: int | None = None
    names: list[str] | None = None
    has_channels: bool | None = None
    channels_last: bool | None = None
    mean: list[float] | None = None
    std: list[float] | None = None
    rate: int | None = None
    frontend: FrontEndOptions = field(default_factory=FrontEndOptions)


def load_npz(options: NpzOptions) -> Data:
    """Loads the file. Images are uint8, or become float32. Splits that it lacks are carved out of x_train.

    Raises:
        DataError: the file or what it holds cannot be used.
    """
    path = Path(options.file).expanduser()
    if not path.is_file():
        raise DataError(
            f"data.file: there is no file '{options.file}'; expected a .npz file. Where it was moved since a run "
            "began, correct data.file in the config.yaml of that run's folder."
        )
    return _checked(str(path), read_npz(path), options)


def from_arrays(
    arrays: Mapping[str, np.ndarray],
    classes: int | None = None,
    has_channels: bool | None = None,
    channels_last: bool | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    targets: str | None = None,
    names: Sequence[str] | None = None,
    rate: int | None = None,
    frontend: FrontEndOptions | None = None,
) -> Data:
    """A data set from arrays in memory, under the names that they would have in a .npz file.

    Args:
        arrays: x_train (N, C, *size), (N, *size, C) or (N, *size), y_train (N,), (N, k) or (N, *size). x_val, y_val,
            x_test and y_test have the same form; a split that is missing is carved out of train. g_train, g_val and
            g_test, (N,), say who or what each example comes from: whole groups are carved out, and none may be in two
            splits.
        classes, has_channels, channels_last, targets, names, rate, frontend: see NpzOptions.
        mean, std: by which images are normalised, see search.data.assemble.

    Raises:
        DataError: the arrays cannot be used.
    """
    if not isinstance(arrays, Mapping):
        raise DataError(f"arrays are {short(arrays)}; allowed: arrays by name, x_train and y_train at least.")
    plain = {name: _array(name, array) for name, array in arrays.items()}
    options = NpzOptions(
        file="",
        name="arrays",
        targets=targets,
        classes=classes,
        names=None if names is None else [str(name) for name in names],
        has_channels=has_channels,
        channels_last=channels_last,
        mean=_numbers("mean", mean),
        std=_numbers("std", std),
        rate=rate,
        frontend=FrontEndOptions() if frontend is None else frontend,
    )
    return _checked("arrays", plain, options)


def _numbers(name: str, given: Any) -> list[float] | None:
    try:
        return None if given is None else [float(value) for value in given]
    except (ValueError, TypeError) as error:
        raise DataError(f"data.{name} is {short(given)}; allowed: a list of numbers, or null.") from error


def _array(name: str, given: Any) -> np.ndarray:
    try:
        return np.asarray(given)
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataError(f"arrays, {name}: is no array ({error}). Give an array of NumPy.") from error


def _checked(place: str, arrays: Mapping[str, np.ndarray], options: NpzOptions) -> Data:
    _refuse_other_kinds(options)
    if options.targets == ANOMALIES and "x_train" in arrays and "y_train" not in arrays:
        arrays = {**arrays, "y_train": np.zeros(len(np.atleast_1d(arrays["x_train"])), np.int64)}
    _check_keys(place, set(arrays))
    kind, at = options.targets, f"data '{options.name}' in {place}"
    images = {name: _images(place, arrays, name, options) for name in SPLITS if f"x_{name}" in arrays}
    if kind is None:
        try:
            kind = kind_of(arrays["y_train"], tuple(images["train"].shape[2:]))
        except DataError as error:
            raise DataError(f"{place}, y_train: {error}") from error
    frontend = _front_end(place, arrays, options)
    splits = {
        name: Split(x, target_tensor(f"{place}, y_{name}", arrays[f"y_{name}"], kind, tuple(x.shape[2:])))
        for name, x in images.items()
    }
    return assemble(
        options.name,
        at,
        splits,
        _classes(at, options, kind, splits["train"]),
        targets=kind,
        groups={name: _groups(place, name, arrays, len(splits[name])) for name in splits if f"g_{name}" in arrays},
        channels=LAST if options.channels_last else FIRST if _has_channels(arrays["x_train"], options) else NONE,
        mean=options.mean,
        std=options.std,
        frontend=frontend,
    )


def _front_end(place: str, arrays: Mapping[str, np.ndarray], options: NpzOptions) -> FrontEnd | None:
    """The front end, where there is one. Raises DataError where x is then no sound."""
    if options.frontend.kind is None and options.rate is not None:
        raise DataError(f"{place}: data.rate is {options.rate}, and no front end reads it. Set data.frontend.kind.")
    for name in SPLITS if options.frontend.kind is not None else ():
        x = arrays.get(f"x_{name}")
        if x is not None and (x.dtype != np.int16 or x.ndim != 2):
            raise DataError(
                f"{place}, x_{name}: {x.dtype} array of shape {x.shape}; a front end reads sound of one channel, int16 "
                "of shape (N, T). Convert it: floats of -1 to 1 times 32768, rounded and clipped."
            )
    return front_end_of(options.frontend, place, options.rate, arrays["x_train"].shape[-1])


def _refuse_other_kinds(options: NpzOptions) -> None:
    """Raises DataError for an option of another kind. Options are of any kind where they are given in Python."""
    count = options.classes
    counts = isinstance(count, Integral) and not isinstance(count, bool) and 1 <= count <= MOST_CLASSES
    if count is not None and not counts:
        raise DataError(f"data.classes is {count!r}; allowed: a whole number from 1 to {MOST_CLASSES}, or null.")
    if options.targets is not None and options.targets not in KINDS:
        raise DataError(f"data.targets is {options.targets!r}; allowed: {', '.join(KINDS)} or null.")
    rate = options.rate
    if rate is not None and (not isinstance(rate, Integral) or isinstance(rate, bool) or rate < 1):
        raise DataError(f"data.rate is {rate!r}; allowed: a whole number over 0, or null.")
    if not isinstance(options.frontend, FrontEndOptions):
        raise DataError(f"data.frontend is {options.frontend!r}; allowed: FrontEndOptions, or None.")
    for name in ("has_channels", "channels_last"):
        value = getattr(options, name)
        if not isinstance(value, bool | np.bool_ | None):
            raise DataError(f"data.{name} is {value!r}; allowed: true, false or null.")


def _check_keys(place: str, found: set[str]) -> None:
    paired = all((f"x_{split}" in found) == (f"y_{split}" in found) for split in ("val", "test"))
    if not ({"x_train", "y_train"} <= found and paired):
        names = ", ".join(sorted(map(str, found)))
        raise DataError(
            f"{place}: holds {names or 'nothing'}; x_train and y_train are needed, x_val with y_val "
            "and x_test with y_test are optional. Rename or add arrays."
        )


def _images(place: str, arrays: Mapping[str, np.ndarray], name: str, options: NpzOptions) -> Tensor:
    images, at = arrays[f"x_{name}"], f"{place}, x_{name}"
    if options.channels_last is None:
        _refuse_what_looks_last(at, images, options.has_channels)
    has_channels = _has_channels(images, options)
    if options.channels_last:
        if options.has_channels is False or images.ndim < 3:
            raise DataError(
                f"{at}: data.channels_last is true, but shape {images.shape} has no channels. Leave it out."
            )
        images, has_channels = np.moveaxis(images, -1, 1), True
    return image_tensor(at, images, has_channels)


def _groups(place: str, name: str, arrays: Mapping[str, np.ndarray], examples: int) -> Tensor:
    """(N,), int64. Names become numbers, the same in all splits."""
    groups = arrays[f"g_{name}"]
    if groups.shape != (examples,) or groups.dtype.kind not in "uiUS":
        raise DataError(
            f"{place}, g_{name}: {groups.dtype} array of shape {groups.shape}; it must hold a whole number or a name "
            f"for each of {examples} examples. Mend it."
        )
    every = np.unique(np.concatenate([arrays[key] for key in arrays if key in GROUPS]))
    return torch.from_numpy(np.searchsorted(every, groups))


def _has_channels(images: np.ndarray, options: NpzOptions) -> bool:
    return images.ndim > 3 if options.has_channels is None else options.has_channels


def _refuse_what_looks_last(place: str, images: np.ndarray, has_channels: bool | None) -> None:
    """Raises DataError where the last axis is as short as channels mostly are, and the one that is read so is not."""
    if images.ndim < 3 or has_channels is False or images.shape[-1] > FEW or images.shape[1] <= FEW:
        return
    if images.ndim == 3 and has_channels is None:
        read = f"images of one channel and {images.shape[1]} x {images.shape[2]} pixels"
    else:
        read = f"{images.shape[1]} channels of {' x '.join(map(str, images.shape[2:]))}"
    raise DataError(
        f"{place}: shape {images.shape} would be read as {read}, but its last axis looks like {images.shape[-1]} "
        "channels. Set data.channels_last (channels_last= of from_arrays): true if the last axis is the channels, "
        "false if it is not."
    )


def _classes(place: str, options: NpzOptions, kind: str, train: Split) -> tuple[str, ...]:
    """The names of what the outputs of a network stand for."""
    if kind == ANOMALIES:
        return "normal", "anomaly"
    count, targets = options.classes, train.targets
    if kind in (NUMBERS, TAGS):
        count = targets.shape[1]
    elif count is None:  # N images can show N classes at most: a label beyond is out of range
        seen = targets if kind == LABELS else targets[targets != IGNORED]
        count = min(1 + int(seen.max()), seen.numel()) if seen.numel() else 0
    if options.names is not None and len(options.names) != count:
        raise DataError(
            f"{place}: data.names has {len(options.names)} names for {count}; give one for each, or leave it out."
        )
    return tuple(options.names or map(str, range(count)))
