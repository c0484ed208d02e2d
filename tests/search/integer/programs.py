"""Programs built by hand, one node after another, with random constants."""

from math import prod
from typing import Any

import numpy as np

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

    def flatten(self, *shape: int) -> str:
        return self._codes_kept("flatten", shape, {"shape": list(shape)})

    def upsample(self, *factor: int) -> str:
        channels, *spatial = self.tensors[self.last].shape
        shape = (channels, *(size * times for size, times in zip(spatial, factor, strict=True)))
        return self._codes_kept("upsample", shape, {"factor": list(factor)})

    def lookup(self) -> str:
        source = self.tensors[self.last]
        codes = self.rng.integers(0, 1 << self.bits, source.largest_code + 1)
        return self.node("table", (self.last,), source.shape, ({}, {"table": codes}), requantized=False)

    def multipliers(self, count: int) -> np.ndarray:
        """Of both signs, now and then 0; a single one is positive."""
        signs = self.rng.choice([-1, 1, 1, 1, 0], count) if count > 1 else 1
        return (signs * self.rng.integers(1 << 14, 1 << 15, count)).astype(np.int16)

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
        if "table" in constants:
            constants["table"] = constants["table"].astype(info.dtype)
        self.tensors[name] = info
        self.constants |= {f"{name}.{role}": value for role, value in constants.items()}
        roles = {role: f"{name}.{role}" for role in constants}
        self.nodes.append(Node(name, op, inputs, (name,), attributes, roles))
        self.last = name
        return name

    def _weighted(self, op: str, shape: tuple[int, ...], fan_in: int, how: tuple[dict[str, Any], Any]) -> str:
        attributes, widths = how
        channels = shape[0] if op == "conv" else shape[-1]
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
    build.flatten(6)
    build.linear(10)
    return build.program()
