"""Programs built by hand, one node after another, with random constants."""

from math import prod
from typing import Any

import numpy as np

from search.integer.operators import operator
from search.integer.packing import pack_rows, pack_widths
from search.integer.program import Node, Program, TensorInfo
from search.integer.shapes import window_shape


class Build:
    """A chain of nodes; each method adds one behind the last tensor, or behind those named, and returns its output."""

    def __init__(self, shape: tuple[int, ...], bits: int = 8, zero_point: int | None = None, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.bits, self.table = bits, False
        self.zero_point = (1 << bits) // 3 if zero_point is None else zero_point  # of every tensor
        self.tensors = {"x": TensorInfo(shape, bits, 0.05, self.zero_point)}
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}
        self.last = "x"
        self.loop = ""  # that nodes are put in

    def program(self) -> Program:
        return Program(("x",), (self.last,), self.tensors, tuple(self.nodes), self.constants, {"made": "by hand"})

    def conv(self, channels: int, kernel: tuple[int, ...], groups: int = 1, widths: Any = 8, **window: Any) -> str:
        """window: stride, padding (pairs), dilation; widths: one, or one a channel."""
        source = self.tensors[self.last]
        attributes = {"kernel": list(kernel), "groups": groups, **_window(len(kernel), window)}
        shape = (channels, *window_shape(attributes, source.shape[1:]))
        fan_in = source.shape[0] // groups * prod(kernel)
        return self._weighted("conv", shape, fan_in, (attributes, widths))

    def linear(self, features: int, widths: Any = 8) -> str:
        *lead, fan_in = self.tensors[self.last].shape
        return self._weighted("linear", (*lead, features), fan_in, ({}, widths))

    def add(self, *inputs: str) -> str:
        constants = {"multiplier": self.multipliers(2), "shift": np.array([15], np.uint8)}
        return self.node("add", inputs, self._broadcast(inputs), ({}, constants))

    def mul(self, *inputs: str) -> str:
        constants = {"multiplier": self.multipliers(1), "shift": np.array([20], np.uint8)}
        return self.node("mul", inputs, self._broadcast(inputs), ({}, constants))

    def concat(self, axis: int, *inputs: str) -> str:
        shape = list(self.tensors[inputs[0]].shape)
        shape[axis] = sum(self.tensors[name].shape[axis] for name in inputs)
        constants = {"multiplier": self.multipliers(len(inputs)), "shift": np.full(len(inputs), 15, np.uint8)}
        return self.node("concat", inputs, tuple(shape), ({"axis": axis}, constants))

    def pool(self, op: str, kernel: tuple[int, ...], **window: Any) -> str:
        source = self.tensors[self.last]
        attributes = {"kernel": list(kernel), **_window(len(kernel), window)}
        shape = (source.shape[0], *window_shape(attributes, source.shape[1:]))
        if op == "max_pool":
            return self._codes_kept("max_pool", shape, attributes)
        constants = {"multiplier": self.multipliers(1), "shift": np.array([14 + prod(kernel).bit_length()], np.uint8)}
        return self.node("avg_pool", (self.last,), shape, (attributes, constants))

    def reshape(self, *shape: int) -> str:
        return self._codes_kept("reshape", shape, {"shape": list(shape)})

    def take(self, *indices: list[int]) -> str:
        """One list an axis; an empty one takes all of its places."""
        each = zip(indices, self.tensors[self.last].shape, strict=True)
        return self._codes_kept("take", tuple(len(at) or size for at, size in each), {"indices": list(indices)})

    def permute(self, *axes: int) -> str:
        shape = self.tensors[self.last].shape
        return self._codes_kept("permute", tuple(shape[axis] for axis in axes), {"axes": list(axes)})

    def resample(self, *rows: list[tuple[int, list[int]]]) -> str:
        """For each spatial axis, and each place of the output along it: the first element, and the weights."""
        attributes = {
            "divisors": [max(1, abs(sum(axis[0][1]))) for axis in rows],
            "starts": [[start for start, _ in axis] for axis in rows],
            "weights": [[weights for _, weights in axis] for axis in rows],
        }
        heaviest = prod(max(sum(map(abs, weights)) for _, weights in axis) for axis in rows)
        constants = {"multiplier": self.multipliers(1), "shift": np.array([14 + heaviest.bit_length()], np.uint8)}
        shape = (self.tensors[self.last].shape[0], *map(len, rows))
        return self.node("resample", (self.last,), shape, (attributes, constants))

    def conv_transpose(
        self, channels: int, kernel: tuple[int, ...], groups: int = 1, widths: Any = 8, **window: Any
    ) -> str:
        """As `conv`; the padding is around the input with stride - 1 zeros between its elements."""
        depth, *spatial = self.tensors[self.last].shape
        attributes = {"kernel": list(kernel), "groups": groups, **_window(len(kernel), window)}
        spread = [(size - 1) * step + 1 for size, step in zip(spatial, attributes["stride"], strict=True)]
        shape = (channels, *window_shape({**attributes, "stride": [1] * len(kernel)}, spread))
        return self._weighted("conv_transpose", shape, depth // groups * prod(kernel), (attributes, widths))

    def matmul(self, first: str, second: str, axes: tuple[int, int] = (2, 1)) -> str:
        left, right = (self.tensors[name].shape for name in (first, second))
        shape = (left[0], left[3 - axes[0]], right[3 - axes[1]])
        shift = 13 + self.bits + left[axes[0]].bit_length() // 2
        constants = {"multiplier": self.multipliers(1), "shift": np.array([shift], np.uint8)}
        return self.node("matmul", (first, second), shape, ({"axes": list(axes)}, constants))

    def softmax(self, axis: int) -> str:
        """The exponentials fall to 1/400 over the range of the codes."""
        source = self.tensors[self.last]
        each = np.floor(2.0**15 * np.exp(-6 / source.largest_code * np.arange(source.largest_code + 1)) + 0.5)
        content = ({"axis": axis}, {"exponentials": each.astype(np.uint16)})
        name = self.node("softmax", (self.last,), source.shape, content, requantized=False)
        self.tensors[name] = TensorInfo(source.shape, self.bits, 2.0**-self.bits, 0)
        return name

    def normalize(self, *axes: int, groups: int = 1, centred: bool = True, eps: float = 1e-5) -> str:
        source = self.tensors[self.last]
        channels = source.shape[0]
        constants = {
            "bias": self.rng.integers(-(1 << 15), 1 << 15, channels).astype(np.int32),
            "multiplier": self.multipliers(channels),
            "shift": np.full(channels, 34 - self.bits, np.uint8),  # 2^17, which is 2, to a quarter of the codes
        }
        attributes = {"axes": list(axes), "groups": groups, "eps": eps, "centred": centred}
        return self.node("normalize", (self.last,), source.shape, (attributes, constants))

    def constant(self, *shape: int) -> str:
        codes = self.rng.integers(0, 1 << self.bits, shape)
        return self.node("constant", (), shape, ({}, {"codes": codes}), requantized=False)

    def lookup(self) -> str:
        source = self.tensors[self.last]
        codes = self.rng.integers(0, 1 << self.bits, source.largest_code + 1)
        return self.node("table", (self.last,), source.shape, ({}, {"table": codes}), requantized=False)

    def multipliers(self, count: int) -> np.ndarray:
        """Of both signs, now and then 0; a single one is positive."""
        signs = self.rng.choice([-1, 1, 1, 1, 0], count) if count > 1 else 1
        return (signs * self.rng.integers(1 << 14, 1 << 15, count)).astype(np.int16)

    def step(self, sequence: str) -> str:
        """A place of a sequence."""
        return self._loops("step", (sequence,), self.tensors[sequence].shape[:-1], {})

    def state(self, shape: tuple[int, ...]) -> str:
        """A state, whose next one is to be named by `carry`."""
        return self._loops("state", (), shape, {"next": ""})

    def carry(self, state: str, then: str) -> None:
        self.nodes[[node.name for node in self.nodes].index(state)].attributes["next"] = then

    def collect(self, steps: int) -> str:
        return self._loops("collect", (self.last,), (*self.tensors[self.last].shape, steps), {"steps": steps})

    def _loops(self, op: str, inputs: tuple[str, ...], shape: tuple[int, ...], attributes: dict[str, Any]) -> str:
        return self.node(op, inputs, shape, (attributes, {}), requantized=False)

    def node(
        self, op: str, inputs: tuple[str, ...], shape: tuple[int, ...], content: Any, requantized: bool = True
    ) -> str:
        """content: (attributes, constants by role)."""
        name = f"{op}{len(self.nodes)}"
        attributes, constants = content
        info = TensorInfo(shape, self.bits, 0.05, self.zero_point)
        if requantized:
            attributes = {**attributes, "zero_point": self.zero_point, "clip": [0, info.largest_code]}
            if self.table:  # behind a clip that begins below 0, as that of an activation
                attributes["clip"] = [-20, 99]
                constants = {**constants, "table": self.rng.integers(0, info.largest_code + 1, 120)}
        constants |= {role: constants[role].astype(info.dtype) for role in ("table", "codes") if role in constants}
        self.tensors[name] = info
        self.constants |= {f"{name}.{role}": value for role, value in constants.items()}
        roles = {role: f"{name}.{role}" for role in constants}
        self.nodes.append(Node(name, op, inputs, (name,), attributes, roles, self.loop))
        self.last = name
        return name

    def _weighted(self, op: str, shape: tuple[int, ...], fan_in: int, how: tuple[dict[str, Any], Any]) -> str:
        attributes, widths = how
        channels = shape[operator(op).channel_axis]
        bits = np.broadcast_to(np.asarray(widths, np.uint8), channels)
        bound = (1 << (bits.astype(int) - 1)) - 1
        codes = self.rng.integers(-bound[:, None], bound[:, None], (channels, fan_in), endpoint=True)
        source = self.tensors[self.last]
        shift = 14 + np.log2(bound * 2.0 ** (source.bits - self.bits) * fan_in**0.5).round()
        constants = {
            "weight": pack_rows(codes, bits),
            "bias": (self.rng.integers(-500, 500, channels) - source.zero_point * codes.sum(1)).astype(np.int32),
            "multiplier": self.multipliers(channels),
            "shift": shift.clip(1, 62).astype(np.uint8),
        }
        if np.ndim(widths):
            constants["widths"] = pack_widths(bits)
        else:
            attributes = {**attributes, "weight_bits": widths}
        return self.node(op, (self.last,), shape, (attributes, constants))

    def _codes_kept(self, op: str, shape: tuple[int, ...], attributes: dict[str, Any]) -> str:
        source, here = self.last, self.tensors[self.last]
        name = self.node(op, (source,), shape, (attributes, {}), requantized=False)
        self.tensors[name] = TensorInfo(shape, here.bits, here.scale, here.zero_point)
        return name

    def _broadcast(self, inputs: tuple[str, ...]) -> tuple[int, ...]:
        return np.broadcast_shapes(*(self.tensors[name].shape for name in inputs))


def _window(dimensions: int, given: dict[str, Any]) -> dict[str, Any]:
    window = {"stride": [1] * dimensions, "padding": [[0, 0]] * dimensions, "dilation": [1] * dimensions}
    return window | {key: list(value) for key, value in given.items()}


def residual_network(bits: int = 8, seed: int = 0) -> Program:
    """Convolution, depthwise, pointwise, a residual sum, pools and a classifier, on 2 channels of 9 x 8."""
    build = Build((2, 9, 8), bits, seed=seed)
    build.conv(6, (3, 3), stride=(2, 1), padding=((1, 1), (0, 1)))
    build.pool("max_pool", (2, 2), padding=((0, 1), (1, 0)))
    trunk = build.last
    build.conv(6, (3, 3), groups=6, padding=((1, 1), (1, 1)))
    build.conv(6, (1, 1), widths=(2, 8, 3, 4, 7, 5))
    build.add(trunk, build.last)
    height, width = build.tensors[build.last].shape[1:]
    build.pool("avg_pool", (height, width))
    build.reshape(6)
    build.linear(10)
    return build.program()


def attention_network(bits: int = 8, seed: int = 0) -> Program:
    """Two heads over 4 places of 6 features and a stored token before them, a norm behind the sum, and a classifier."""
    build = Build((6, 4), bits, seed=seed)
    tokens = build.concat(1, build.constant(6, 1), "x")
    heads = []
    for _ in ("query", "key", "value"):
        build.last = tokens
        build.permute(1, 0)
        build.linear(6, widths=4)
        build.reshape(5, 2, 3)
        heads.append(build.permute(1, 0, 2))
    query, key, value = heads
    build.matmul(query, key, (2, 2))
    build.softmax(2)
    build.matmul(build.last, value)
    build.permute(1, 0, 2)
    build.reshape(5, 6)
    build.linear(6)
    build.permute(1, 0)
    build.add(tokens, build.last)
    build.normalize(0)
    build.take([], [0])
    build.reshape(6)
    build.linear(3)
    return build.program()


def resized_network(bits: int = 8, seed: int = 0) -> Program:
    """A map halved, doubled in three ways and joined, with a norm of groups, on 3 channels of 4 x 3."""
    build = Build((3, 4, 3), bits, seed=seed)
    build.conv(4, (3, 2), stride=(2, 1), padding=((1, 1), (0, 0)))  # 2 x 2
    small = build.normalize(0, 1, 2, groups=2)
    joined = [build.conv_transpose(3, (2, 3), stride=(2, 2), padding=((1, 1), (1, 1)), widths=(2, 5, 8))]  # 4 x 3
    build.last = small
    joined.append(build.conv_transpose(4, (2, 2), groups=4, stride=(2, 1), padding=((1, 1), (1, 1))))
    build.last = small
    joined.append(build.take([3, 0], [0, 0, 1, 1], [1, 0, 1]))
    build.last = small
    build.table = True
    quarters = [(0, [4]), (0, [3, 1]), (0, [1, 3]), (1, [4])]
    joined.append(build.resample(quarters, [(0, [8]), (0, [5, 3]), (0, [-1, 9])]))
    build.concat(0, *joined)
    return build.program()
