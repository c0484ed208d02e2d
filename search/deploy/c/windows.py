"""Where windows lie that are multiplied without being copied into columns, as processors that multiply bytes want it.

What pads an input lies around a copy of it, so that a window is as many runs of codes, whatever it meets. Runs are read
by four codes; what is read behind one meets weights of zero.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

from search.deploy.c.layout import Stored
from search.deploy.c.loops import sum_of
from search.deploy.c.operation import Operation
from search.deploy.c.source import block, literal, loop

WORD = 4  # codes that are read together


@dataclass(frozen=True)
class Windows:
    """Those that one call of a kernel takes.

    Attributes:
        run: codes that lie side by side in a window, and in a row of weights.
        taps: how many runs there are along each axis, and codes from one to the next.
        step: codes from one window to the next.
        count: how many there are.
    """

    run: int
    taps: Sequence[tuple[int, int]]
    step: int
    count: int

    @staticmethod
    def of_rows(count: int, depth: int) -> "Windows":
        """Rows one behind another."""
        return Windows(depth, (), depth, count)

    @property
    def words(self) -> int:
        """Of a row of weights, whose runs are padded to whole words."""
        return prod(count for count, _ in self.taps) * -(-self.run // WORD)

    def over_taps(self, place: Callable[[str], list[str]]) -> list[str]:
        """Loops over the runs. Args: place: from where a run begins, in codes behind a window, to lines."""
        lines = place(sum_of([(f"t{axis}", step) for axis, (_, step) in enumerate(self.taps)]))
        for axis, (count, _) in reversed(list(enumerate(self.taps))):
            lines = loop(f"t{axis}", count, lines)
        return _literal(lines)


def readable(room: int, run: int, read: int = WORD) -> list[str]:
    """Lines that let `codes` be an input, with room behind it for what is read of the last run.

    Args:
        room: codes of the input.
        run: of codes, of which as many as `read` are read at once.
    """
    if run % read == 0:
        return ["const Column *codes = x0;"]
    return [f"static Column codes[{room + read - 1}];", f"memcpy(codes, x0, {room});"]


@dataclass(frozen=True)
class Slid:
    """The windows that a convolution slides over its input.

    Attributes:
        x: with channels last.
        sizes: of the output.
        spread: whether the input's elements lie as many places apart as the stride says, with zero points between.
    """

    x: Stored
    sizes: Sequence[int]
    kernel: Sequence[int]
    stride: Sequence[int]
    dilation: Sequence[int]
    padding: Sequence[tuple[int, int]]
    groups: int
    spread: bool

    @staticmethod
    def of(operation: Operation, spread: bool) -> "Slid":
        """Those of a convolution."""
        a, x, sizes = operation.node.attributes, operation.inputs[0], operation.output.shape[1:]
        dilation = a.get("dilation", [1] * len(sizes))
        return Slid(x, sizes, a["kernel"], a["stride"], dilation, a["padding"], a["groups"], spread)

    @property
    def windows(self) -> Windows:
        """Of places side by side."""
        depth = self.x.shape[0] // self.groups
        taps = [(count, gap * step) for count, gap, step in zip(self.kernel, self.dilation, self._steps, strict=True)]
        joined = self.groups == 1 and self.dilation[-1] == 1
        if joined:
            return Windows(depth * self.kernel[-1], taps[:-1], self._strides[-1] * self._steps[-1], self.sizes[-1])
        return Windows(depth, taps, self._strides[-1] * self._steps[-1], self.sizes[-1])

    def copied(self, run: int, read: int = WORD) -> list[str]:
        """Lines that let `codes` be the input, with what pads it, and room behind it. Args: those of `readable`."""
        channels, spatial = self.x.shape[0], self.x.shape[1:]
        whole = self._sizes == tuple(spatial) and not any(map(any, self.padding)) and set(self._gaps) == {1}
        room = channels * prod(self._sizes)
        if whole:
            return readable(room, run, read)
        lines = [f"static Column codes[{room + read - 1}];"]
        bounds = [self._inside(axis) for axis in range(len(spatial))]
        lines.append(f"memset(codes, {self.x.info.zero_point}, {room});")
        joined = self._gaps[-1] == 1
        terms = [(f"i{axis}", gap * step) for axis, (gap, step) in enumerate(zip(self._gaps, self._steps, strict=True))]
        begin = sum(low * step for (low, _), step in zip(self.padding, self._steps, strict=True))
        at, source = terms, [(f"i{axis}", step) for axis, step in enumerate(self.x.strides[1:])]
        count, constant = channels, 0
        if joined:
            first, last = bounds[-1]
            at, source, count, constant = at[:-1], source[:-1], channels * (last - first), channels * first
        copy = [f"memcpy(codes + {sum_of(at, begin + constant)}, x0 + {sum_of(source, constant)}, {count});"]
        for axis, (first, last) in reversed(list(enumerate(bounds[:-1] if joined else bounds))):
            copy = block(f"for (int32_t i{axis} = {first}; i{axis} < {last}; ++i{axis})", copy)
        return [*lines, *(copy if all(first < last for first, last in bounds) else [])]

    def over_rows(self, row: Callable[[str], list[str]]) -> list[str]:
        """Loops over rows of the output. Args: row: from the place of its first window in `codes` to lines."""
        outer = range(len(self.sizes) - 1)
        lines = row(sum_of([(f"o{axis}", self._strides[axis] * self._steps[axis]) for axis in outer]))
        for axis in reversed(outer):
            lines = loop(f"o{axis}", self.sizes[axis], lines)
        return _literal(lines)

    @property
    def _gaps(self) -> Sequence[int]:
        """Places from one element of the input to the next."""
        return self.stride if self.spread else [1] * len(self.sizes)

    @property
    def _strides(self) -> Sequence[int]:
        """Places from one window to the next."""
        return [1] * len(self.sizes) if self.spread else self.stride

    @property
    def _sizes(self) -> tuple[int, ...]:
        """Of the input as windows see it: what no window meets is left out."""
        each = zip(self.sizes, self._strides, self.kernel, self.dilation, self.x.shape[1:], strict=True)
        padded = self.spread or any(map(any, self.padding))
        found = [(size - 1) * stride + (taps - 1) * gap + 1 for size, stride, taps, gap, _ in each]
        return tuple(found) if padded else self.x.shape[1:]

    @property
    def _steps(self) -> list[int]:
        """Codes from one place of the input, as windows see it, to the next."""
        return [self.x.shape[0] * prod(self._sizes[axis + 1 :]) for axis in range(len(self.sizes))]

    def _inside(self, axis: int) -> tuple[int, int]:
        """Which elements of the input windows see: the first, and the last + 1."""
        (low, _), gap = self.padding[axis], self._gaps[axis]
        return max(0, -(low // gap)), min(self.x.shape[1 + axis], (self._sizes[axis] - 1 - low) // gap + 1)


def _literal(lines: Sequence[str]) -> list[str]:
    return literal("\n".join(lines)).split("\n")
