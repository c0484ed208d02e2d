"""Operators that have weights: what a sum is made of is gathered in a column, and columns meet rows of weights."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from search.deploy.c.columns import Columns
from search.deploy.c.finish import Finish
from search.deploy.c.kernels import PIXELS, Kernel
from search.deploy.c.loops import sum_of
from search.deploy.c.operation import Call, Operation
from search.deploy.c.operators.depthwise import depthwise
from search.deploy.c.source import block, literal, loop, number
from search.deploy.c.taps import Taps, over_places
from search.deploy.c.weights import Segment, segments
from search.deploy.c.windows import Slid, Windows, readable
from search.integer.graph import Array


def convolution(operation: Operation) -> Call:
    return _convolution(operation, spread=False)


def transposed(operation: Operation) -> Call:
    """A convolution over the input with zero points between its elements."""
    return _convolution(operation, spread=True)


def linear(operation: Operation) -> Call:
    """A matrix product over the last axis."""
    x, y = operation.inputs[0], operation.output
    features, rows = x.shape[-1], prod(x.shape[:-1])
    windows = Windows.of_rows(rows, features)
    if len(x.shape) == 1:
        return _of_rows(_Product.of(operation, x.places, features, windows), 1, features)
    if _side_by_side(x.strides, x.shape) and _side_by_side(y.strides, y.shape):
        return _of_rows(_Product.of(operation, np.arange(features), features, windows), rows, features)
    product = _Product.of(operation, np.arange(features), 1, Windows.of_rows(1, features), step=y.strides[-1])
    outer = range(len(x.shape) - 1)
    place = sum_of([*((f"i{axis}", x.strides[axis]) for axis in outer), ("k", x.strides[-1])])
    gather = loop("k", features, product.columns.copy(place, "1"))
    target = sum_of([(f"i{axis}", y.strides[axis]) for axis in outer])
    columns = product.columns
    column = [*columns.begin(), *gather, *columns.end()]
    call = "1", f"y + {target}", "0"
    calls = product.unless_bytes(product.calls(*call, "columns", bytewise=True), product.calls(*call))
    lines = ["const int32_t ready = 0;", *column, *calls]
    for axis in reversed(outer):
        lines = loop(f"i{axis}", x.shape[axis], lines)
    return product.call(lines, operation.node.op)


def _convolution(operation: Operation, spread: bool) -> Call:
    x, a = operation.inputs[0], operation.node.attributes
    groups, taps = a["groups"], prod(a["kernel"])
    depth = x.shape[0] // groups
    if depth == 1 and groups > 1:
        return depthwise(operation, spread)
    order = np.arange(depth * taps).reshape(depth, taps).T.reshape(-1)  # channels last
    places = prod(operation.output.shape[1:])
    if groups == taps == 1 and not spread and not any(map(any, a["padding"])) and set(a["stride"]) == {1}:
        return _of_rows(_Product.of(operation, order, depth, Windows.of_rows(places, depth)), places, depth)
    slid = Slid.of(operation, spread)
    product = _Product.of(operation, order, depth, slid.windows, places, groups=groups)
    before = f"{number(depth)} * group + " if groups > 1 else ""
    columns = product.columns
    gather = Taps(
        operation,
        spread,
        lambda place, count: columns.copy(f"{before}{place}", number(count * depth)),
        lambda count: columns.fill(x.info.zero_point, number(count * depth)),
        joined=groups == 1,
    ).lines()
    column = [*columns.begin(), *gather, *columns.end()]
    lines = product.blocks(column, places, lambda inner: over_places(operation, inner))
    rows = slid.over_rows(lambda place: product.row(f"codes + {literal(before)}{place}"))
    windows = [*product.begin(), *rows]
    if groups > 1:
        lines, windows = loop("group", groups, lines), loop("group", groups, windows)
    lines = product.unless_bytes([*slid.copied(slid.windows.run), *windows], lines)
    return product.call(lines, f"{operation.node.op}_{len(a['kernel'])}d{'_grouped' if groups > 1 else ''}")


def _of_rows(product: "_Product", rows: int, depth: int) -> Call:
    """Of rows that lie one behind another, and so do those of the output."""
    place, count = f"{number(depth)} * row", number(depth)

    def column(columns: Columns) -> list[str]:
        return [*columns.begin(), *columns.copy(place, count), *columns.end()]

    filled = column(product.columns)
    if product.operation.small and product.columns.by_bytes:
        filled = [*block(f"if (({count} & 3) == 0)", column(replace(product.columns, run=4))), *block("else", filled)]
    lines = product.blocks(filled, rows, lambda inner: loop("row", rows, inner))
    whole = [*readable(rows * depth, depth), *product.begin(), *product.row("codes")]
    lines = product.unless_bytes(whole, lines)
    return product.call(lines, "rows")


def _side_by_side(strides: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether the elements of each row lie side by side, and rows one behind another."""
    expected = [prod(shape[axis + 1 :]) for axis in range(len(shape))]
    return all(a == b for a, b, size in zip(strides, expected, shape, strict=True) if size > 1)


@dataclass(frozen=True)
class _Product:
    """The weights of an operator, and the kernel that multiplies columns by them.

    Attributes:
        rows: the name of the Rows, of each group those of each width.
        widths: of the rows, in bits, from the lowest.
    """

    operation: Operation
    columns: Columns
    kernel: Kernel
    rows: str
    widths: Sequence[int]
    groups: int

    @staticmethod
    def of(
        operation: Operation,
        order: Array,
        run: int,
        windows: Windows,
        count: int = 0,
        step: int = 1,
        groups: int = 1,
    ) -> "_Product":
        """The product of an operator.

        Args:
            order: of the codes in a row.
            run: how many of them are copied at once.
            windows: of one call.
            count: columns in all; 0 where one call takes all.
            step: elements of the output from one channel to the next.
        """
        each = segments(operation.program, operation.node, order)
        shifts = np.concatenate([operation.constant("shift")[one.channels] + one.extra for one in each])
        depth = max(one.codes.shape[1] for one in each)
        count = count or windows.count
        pixels = PIXELS if operation.small and count > 1 else min(PIXELS, count)
        columns = Columns(operation, len(order), depth, 1 if operation.small else run, pixels)
        bound = operation.program.largest_sum(operation.node) << max(one.extra for one in each)
        apart = not all(one.side_by_side for one in each)
        finish = Finish(operation, shifts, bound, raises=True)
        per_group = len(operation.constant("bias")) // groups
        kernel = Kernel(operation, finish, columns, windows, per_group, step, apart)
        fields = [
            [
                *_fields(kernel, one.part(g * per_group, (g + 1) * per_group), f"{one.bits}_{g}", depth),
                *([kernel.function(one.bits)] if operation.small else []),
            ]
            for g in range(groups)
            for one in each
        ]
        words = [] if operation.small else [kernel.interleaved(int(one[6])) for one in fields]
        rows = operation.source.rows(f"{operation.node.name}_rows", fields, words)
        return _Product(operation, columns, kernel, rows, [one.bits for one in each], groups)

    def unless_bytes(self, windows: Sequence[str], columns: Sequence[str]) -> list[str]:
        """Lines for processors that multiply bytes, and those for all others."""
        if not self.kernel.windowed:
            return list(columns)
        return ["#if NETWORK_BYTES", *windows, "#else", *columns, "#endif"]

    def begin(self) -> list[str]:
        """Lines before `row`."""
        return ["(void)columns;", f"{self.operation.output.ctype} *out = y;"]

    def row(self, codes: str) -> list[str]:
        """Windows side by side times the weights. Args: codes: a pointer to the first."""
        count = self.kernel.windows.count
        calls = self.calls(str(count), "out", str(self._channels), codes, bytewise=True)
        return [*calls, f"out += {count * self._channels};"]

    @property
    def _channels(self) -> int:
        return self.operation.output.shape[self.operation.node.operator.channel_axis]

    def blocks(self, column: Sequence[str], count: int, over: Callable[[list[str]], list[str]]) -> list[str]:
        """Columns one after another, `over` whose places it loops, and some of them at a time times the weights."""
        pixels, channels = self.columns.pixels, self._channels
        together, small = self.columns.together, self.operation.small
        step = f"{together} * {channels}" if self.columns.by_vectors else number(pixels * channels)
        full = [*self.calls(together, "out", number(channels)), f"out += {step};", "ready = 0;"]
        inner = [*column, *block(f"if (++ready == {together})", full)]
        lines = [*self.columns.own(), "int32_t ready = 0;", f"{self.operation.output.ctype} *out = y;", *over(inner)]
        rest = block("if (ready != 0)", self.calls("ready", "out", number(channels)))
        if pixels > 1 if small else count % pixels:
            return [*lines, *rest]
        if self.columns.by_vectors and count % self.columns.places:
            return [*lines, "#if NETWORK_VECTORS", *rest, "#endif"]
        return lines

    def calls(
        self, pixels: str, target: str, stride: str, columns: str = "columns", bytewise: bool = False
    ) -> list[str]:
        """Of the kernels of each width. Args: bytewise: those for processors that multiply bytes."""
        if bytewise and not self.kernel.windowed:
            return []
        function = self.kernel.by_windows if bytewise else self.kernel.function
        names = [parameter.split("*")[-1].split()[-1] for parameter in self.kernel.finish.parameters]
        widths = number(len(self.widths)) if self.operation.small else len(self.widths)
        first = f"rows + {widths} * group" if self.groups > 1 else "rows"
        if self.operation.small:
            call = f"each->products(columns, {pixels}, each, {target}, {stride}, end);"
            return [f"for (const Rows *each = {first}, *last = each + {widths}; each < last; ++each)", f"    {call}"]
        return [
            f"{function(bits)}"
            f"({', '.join([columns, pixels, f'{first} + {place}' if place else first, target, stride, *names])});"
            for place, bits in enumerate(self.widths)
        ]

    def call(self, lines: Sequence[str], name: str) -> Call:
        parameters = [f"{self.columns.ctype} *columns", "const Rows *rows", *self.kernel.finish.parameters]
        function = self.operation.function(lines, parameters, f"{name}_single" if self.columns.pixels == 1 else name)
        return Call(function, (self.rows, *self.kernel.finish.arguments), self.columns.bytes, self.columns.ctype)


def _fields(kernel: Kernel, segment: Segment, label: str, column: int) -> list[str | int]:
    """Of the Rows of some channels. Args: column: the codes of one."""
    apart, operation = kernel.apart, kernel.operation
    if not len(segment.channels):
        return ["0"] * 5 + [0, 0, 0, 0]
    bias = operation.constant("bias")[segment.channels].astype(np.int64) << segment.extra
    arrays = {
        "weights": segment.packed(),
        "bias": bias.astype(np.int32),
        "multiplier": operation.constant("multiplier")[segment.channels],
        "shift": operation.constant("shift")[segment.channels] + np.uint8(segment.extra + kernel.finish.raised),
    }
    names = [operation.table(f"{role}_{label}", array) for role, array in arrays.items()]
    places = operation.table(f"channels_{label}", segment.channels.astype(np.uint16)) if apart else "0"
    first = 0 if apart else int(segment.channels[0])
    return [*names, places, first, len(segment.channels), segment.codes.shape[1], column]
