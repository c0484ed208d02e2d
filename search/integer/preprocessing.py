"""What becomes of raw examples, as a camera or a sensor gives them, before a Program reads them."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from search.errors import UsageError
from search.integer.graph import Array, TensorInfo
from search.integer.kernels import quantize
from search.kinds import FINITE, Kind, listed

FIRST, LAST, NONE = "first", "last", "none"
PIXEL_MAX = 255  # uint8 examples are normalised in units of raw / 255
UINT8, FLOAT32 = "uint8", "float32"
CLOSE = 1e-6  # of a pixel's value


class Grid(NamedTuple):
    """A step and a zero point of 8-bit codes."""

    step: float
    zero_point: int


@dataclass(frozen=True)
class Preprocessing:
    """Raw examples to normalised ones: (raw - mean) / std for each channel, of raw / 255 where they are uint8.

    Attributes:
        dtype: of raw examples, "uint8" or "float32".
        channels: where a raw example has its channels: "first" (C, *size), "last" (*size, C), or "none" (*size), which
            is of one channel.
        mean, std: of each channel.
    """

    dtype: str
    channels: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def raw_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a raw example, for one of shape (C, *size) as a Program reads it."""
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
        return self.codes_of_images(self.channels_first(raw, info), info)

    def codes_of_images(self, images: Array, info: TensorInfo) -> Array:
        """The codes of raw examples whose channels are first, as the engine holds them: (n, C, *size) both."""
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
        """Whether every uint8 value is its own code, so that nothing is to be done before the first layer."""
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
        """(n, *raw_shape) to (n, C, *size). Raises UsageError for another type or shape."""
        expected = self.raw_shape(info.shape)
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
        if len(self.mean) != channels or len(self.std) != channels:
            return f"{len(self.mean)} means and {len(self.std)} deviations found; the input has {channels} channels"
        with np.errstate(over="ignore"):
            mean, std = (np.array(each, np.float32) for each in (self.mean, self.std))
        if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
            return f"mean {list(self.mean)} and std {list(self.std)} found; float32 must hold them, std over 0"
        if self.channels == NONE and channels != 1:
            return f"raw examples without channels found; the input has {channels}"
        return None


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
