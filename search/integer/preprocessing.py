"""What becomes of raw examples, as a camera or a sensor gives them, before a Program reads them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from search.errors import UsageError
from search.integer.frontend import FrontEnd
from search.integer.graph import Array, TensorInfo
from search.integer.kernels import quantize
from search.kinds import FINITE, OBJECT, Kind, listed

FIRST, LAST, NONE = "first", "last", "none"
PIXEL_MAX = 255  # uint8 examples are normalised in units of raw / 255
UINT8, FLOAT32, INT16 = "uint8", "float32", "int16"
CLOSE = 1e-6  # of a pixel's value


class Grid(NamedTuple):
    """A step and a zero point of 8-bit codes."""

    step: float
    zero_point: int


@dataclass(frozen=True)
class Preprocessing:
    """Raw examples to normalised ones: (raw - mean) / std for each channel, of raw / 255 where they are uint8.

    With a front end raw examples are sound, (T,) int16, and all else is said of its features.

    Attributes:
        dtype: of raw examples, "uint8" or "float32".
        channels: where a raw example has its channels: "first" (C, *size), "last" (*size, C), or "none" (*size), which
            is of one channel.
        mean, std: of each channel.
        frontend: from sound to features, which are uint8 with channels first; None: there is none.
    """

    dtype: str
    channels: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    frontend: FrontEnd | None = None

    @property
    def raw_dtype(self) -> str:
        """Of raw examples as they are given: "int16" of sound."""
        return self.dtype if self.frontend is None else INT16

    def raw_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a raw example, for one of shape (C, *size) as a Program reads it."""
        if self.frontend is not None:
            return (self.frontend.samples,)
        channels, *size = shape
        shapes = {FIRST: (channels, *size), LAST: (*size, channels), NONE: tuple(size)}
        return shapes[self.channels]

    @property
    def grid(self) -> Grid | None:
        """With which every uint8 value is its own code; None where there is none.

        There is one where all channels are normalised alike and their mean is a value that a pixel can have. Then a raw
        example is what the first layer reads, and nothing of it is lost.
        """
        zero = self.mean[0] * PIXEL_MAX
        alike = len({*self.mean}) == len({*self.std}) == 1
        if self.dtype != UINT8 or not alike or abs(zero - round(zero)) > CLOSE or not 0 <= round(zero) <= PIXEL_MAX:
            return None
        return Grid(1 / (PIXEL_MAX * self.std[0]), round(zero))

    def codes(self, raw: Array, info: TensorInfo) -> Array:
        """The codes (n, C, *size) of raw examples.

        Args:
            raw: (n, *raw_shape).
            info: of the Program's input.

        Raises:
            UsageError: raw is of another type or shape.
        """
        images = self.channels_first(raw, info)
        return self.codes_of_images(images if self.frontend is None else self.frontend(images), info)

    def codes_of_images(self, images: Array, info: TensorInfo) -> Array:
        """The codes of raw examples whose channels are first, as the engine holds them: (n, C, *size) both.

        Of sound the engine holds the features, and these are what it takes.
        """
        if self.dtype != UINT8:
            return _codes(self.normalised(images), info)
        tables = self.tables(info)
        if _are_bytes(tables, info):
            return np.ascontiguousarray(images)
        codes = np.empty(images.shape, info.dtype)
        for channel, table in enumerate(tables):
            codes[:, channel] = table[images[:, channel]]
        return codes

    def tables(self, info: TensorInfo) -> Array:
        """(C, 256): the code of each uint8 value in each channel."""
        values = np.broadcast_to(np.arange(PIXEL_MAX + 1, dtype=np.uint8), (1, len(self.mean), PIXEL_MAX + 1))
        found: Array = _codes(self.normalised(values), info)[0]
        return found

    def takes_bytes(self, info: TensorInfo) -> bool:
        """Whether every uint8 value is its own code, so that nothing is done to it before the first layer."""
        return self.dtype == UINT8 and _are_bytes(self.tables(info), info)

    def normalised(self, images: Array) -> Array:
        """(n, C, *size), raw but with channels first, to float32, in the very operations of training."""
        per_channel = (-1, *[1] * (images.ndim - 2))
        mean, std = (np.array(each, np.float32).reshape(per_channel) for each in (self.mean, self.std))
        scaled = images.astype(np.float32)
        if self.dtype == UINT8:
            scaled /= np.float32(PIXEL_MAX)
        found: Array = (scaled - mean) / std
        return found

    def channels_first(self, raw: Array, info: TensorInfo) -> Array:
        """(n, *raw_shape) to (n, C, *size); sound stays (n, T). Raises UsageError for another type or shape."""
        expected = self.raw_shape(info.shape)
        if self.frontend is not None:
            _check_sound(raw, self.frontend)
            return raw
        if not isinstance(raw, np.ndarray) or raw.shape[1:] != expected or raw.ndim != 1 + len(expected):
            found = f"shape {raw.shape}" if isinstance(raw, np.ndarray) else type(raw).__name__
            shape = ", ".join(map(str, ("n", *expected)))
            raise UsageError(
                f"raw examples: {found} found; a NumPy array of shape ({shape}) expected (channels {self.channels}). "
                "Resize or transpose them."
            )
        if self.dtype == UINT8 and raw.dtype != np.uint8:
            raise UsageError(f"raw examples: {raw.dtype} found; uint8, 0 to 255, expected, as in training.")
        if raw.dtype.kind not in "uif":
            raise UsageError(f"raw examples: {raw.dtype} found; real numbers expected.")
        if self.channels == LAST:
            return np.moveaxis(raw, -1, 1)
        return raw[:, None] if self.channels == NONE else raw

    def fault(self, info: TensorInfo) -> str | None:
        """What contradicts the Program's input, in words."""
        channels = info.shape[0]
        fault = None if self.frontend is None else self._fault_of_frontend(self.frontend, info)
        if fault is not None:
            return f"frontend: {fault}"
        if len(self.mean) != channels or len(self.std) != channels:
            return f"{len(self.mean)} means and {len(self.std)} deviations found; the input has {channels} channels"
        with np.errstate(over="ignore"):
            mean, std = (np.array(each, np.float32) for each in (self.mean, self.std))
        if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
            return f"mean {list(self.mean)} and std {list(self.std)} found; float32 must hold them, std over 0"
        if self.channels == NONE and channels != 1:
            return f"raw examples without channels found; the input has {channels}"
        return None

    def _fault_of_frontend(self, frontend: FrontEnd, info: TensorInfo) -> str | None:
        fault = frontend.fault()
        if fault is not None:
            return fault
        if not frontend.offset:
            return "no offsets and shifts found; they are chosen from training data"
        if (self.dtype, self.channels) != (UINT8, FIRST):
            return f"dtype '{self.dtype}' and channels '{self.channels}' found; features are '{UINT8}' and '{FIRST}'"
        if frontend.shape != info.shape:
            return f"features of shape {frontend.shape} found; the input has {info.shape}"
        return None

    def to_json(self) -> dict[str, Any]:
        """Plain values. There is no field of a front end where there is none, as in earlier versions."""
        plain = {**asdict(self), "mean": list(self.mean), "std": list(self.std)}
        if self.frontend is None:
            del plain["frontend"]
            return plain
        return {**plain, "frontend": self.frontend.to_json()}

    @staticmethod
    def of_json(value: Mapping[str, Any]) -> "Preprocessing":
        """What to_json gave. The kinds of its fields are KINDS and LATER."""
        frontend = value.get("frontend")
        fields = {**value, "mean": tuple(value["mean"]), "std": tuple(value["std"])}
        return Preprocessing(**{**fields, "frontend": None if frontend is None else FrontEnd.of_json(frontend)})


def _check_sound(raw: Array, frontend: FrontEnd) -> None:
    """Raises UsageError for what is no sound of the front end."""
    plain = isinstance(raw, np.ndarray)
    if not plain or raw.dtype != np.int16 or raw.shape[1:] != (frontend.samples,):
        found = f"{raw.dtype} of shape {raw.shape}" if plain else type(raw).__name__
        raise UsageError(
            f"raw examples: {found} found; sound of one channel expected, int16 of shape (n, {frontend.samples}), "
            f"{frontend.rate} samples a second. Resample it, cut it or fill it with zeros, and scale floats of -1 to 1 "
            "by 32768."
        )


def _are_bytes(tables: Array, info: TensorInfo) -> bool:
    return info.bits == 8 and bool((tables == np.arange(PIXEL_MAX + 1)).all())


def _codes(values: Array, info: TensorInfo) -> Array:
    return quantize(values, info.scale, info.zero_point, info.largest_code).astype(info.dtype)


KINDS = {
    "dtype": Kind(f"'{UINT8}' or '{FLOAT32}'", lambda value: value in (UINT8, FLOAT32)),
    "channels": Kind(f"'{FIRST}', '{LAST}' or '{NONE}'", lambda value: value in (FIRST, LAST, NONE)),
    "mean": listed(FINITE),
    "std": listed(FINITE),
}
LATER = {"frontend": OBJECT}  # a field that came with format 6
