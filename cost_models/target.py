"""A microcontroller: what it holds, what it can run, and what that costs. Fields are the keys of conf/target/*.yaml."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from cost_models.layer import LayerUse, Network
from search.errors import PicojouleError, UsageError
from search.integer.traits import Work

GRANULARITIES = ("layer", "channel")
OPTIMIZE = ("speed", "size")


class IllegalLayer(PicojouleError, ValueError):
    """A layer asks for something that the target cannot run."""


@dataclass
class Target:
    """One chip and its measured kernels. It is not frozen, because configuration tools fill it field by field.

    Attributes:
        source: of the sizes and the frequency.
        weight_bits, activation_bits: widths that the kernels read.
        granularity: "channel": the channels of one layer may differ in width; "layer": they may not.
        channel_multiple: that the kernels want; the last weighted layer, whose outputs are the classes, is exempt.
        cycles_per_mac: of kinds of layers and widths. "conv/a8w4" has activations at 8 bits and weights at 4; others
            are pointwise, depthwise and linear. Where there are rows of transposed or grouped ones, these are not
            priced as conv or pointwise; products of a transposed one are counted at each place of its output.
        overhead_cycles: beside products, of kinds of layers with weights, and beside elements, of other operators:
            "conv/output" for each element of the output of a convolution, "add/wide" for each sum of codes of more than
            8 bits; cost_models.kernels, overheads and overheads_of_elements, says what else is counted. What is not
            there takes none.
        cycles_per_element: of other operators. For "add" an element is one of the output, for "max_pool" one of a
            window, for "matmul" a product. An operator without a row takes that of another, which its specification
            names: copies that of concat, resample that of avg_pool; and matmul that of a linear layer of 8 bits.
        core: that the generated C is built for, of search.deploy.cortex_m; "": none, so that no image is.
        optimize: how the generated C is written that the tables are of, "speed" or "size".
        code_bytes: of the functions of the generated C, and of "base", which every image has. Only where it is written
            for size: else functions are made for shapes.
        step_bytes: of what a call of a function takes in flash, its arguments included.
        stack_bytes: that the generated C needs, at most.

    Raises:
        UsageError: a field is out of range.
    """

    name: str
    source: str
    flash_bytes: int
    ram_bytes: int
    frequency_hz: float
    weight_bits: tuple[int, ...]
    activation_bits: tuple[int, ...]
    granularity: str
    channel_multiple: int
    cycles_per_mac_source: str
    cycles_per_mac: dict[str, float]
    cycles_per_element_source: str
    cycles_per_element: dict[str, float]
    overhead_cycles: dict[str, float] = field(default_factory=dict)
    core: str = ""
    optimize: str = "speed"
    code_bytes_source: str = ""
    code_bytes: dict[str, float] = field(default_factory=dict)
    step_bytes: dict[str, float] = field(default_factory=dict)
    stack_bytes: float = 0.0

    def __post_init__(self) -> None:
        self.weight_bits, self.activation_bits = tuple(self.weight_bits), tuple(self.activation_bits)
        for key in ("flash_bytes", "ram_bytes", "frequency_hz", "channel_multiple"):
            self._require(key, getattr(self, key) > 0, "a positive number")
        self._require("weight_bits", all(1 <= bits <= 8 for bits in self.weight_bits), "widths from 1 to 8")
        self._require("activation_bits", all(1 <= bits <= 16 for bits in self.activation_bits), "widths from 1 to 16")
        self._require("granularity", self.granularity in GRANULARITIES, f"one of {', '.join(GRANULARITIES)}")
        for key in ("cycles_per_mac", "cycles_per_element"):
            self._require(key, all(cycles > 0 for cycles in getattr(self, key).values()), "positive cycles")
        self._require("optimize", self.optimize in OPTIMIZE, f"one of {', '.join(OPTIMIZE)}")
        for key in ("code_bytes", "step_bytes"):
            self._require(key, all(size >= 0 for size in getattr(self, key).values()), "bytes, 0 or more")
        self._require("overhead_cycles", all(each >= 0 for each in self.overhead_cycles.values()), "cycles, 0 or more")

    def _require(self, key: str, holds: bool, allowed: str) -> None:
        if not holds:
            raise UsageError(f"target '{self.name}': {key} is {getattr(self, key)}; allowed: {allowed}. Correct it.")

    def check(self, network: Network) -> None:
        """Checks that the target can run every layer of a network as its decisions stand, in all branches.

        Activations are checked where they are read, so the network's output may have any width.

        Raises:
            IllegalLayer: names every layer that it cannot run.
        """
        last = next((layer for layer in reversed(network.layers) if layer.operator.weighted), None)
        faults = [
            f"layer '{layer.name}' ({layer.op}) has {fault}"
            for layer in network.layers
            for fault in self._faults(layer, pad_free=layer is last)
        ]
        if faults:
            raise IllegalLayer(
                f"target '{self.name}' cannot run: {'; '.join(faults)}. Restrict the space to the target."
            )

    def _faults(self, layer: LayerUse, pad_free: bool) -> Iterator[str]:
        channels = int(layer.out_channels)
        used = [bits for bits, count in zip(layer.weight_bits, layer.out_per_width.tolist(), strict=True) if count > 0]
        read = [bits for bits, share in zip(layer.in_bits, layer.in_share.tolist(), strict=True) if share > 0]
        if not set(used) <= set(self.weight_bits):
            yield f"weights at {used} bits; allowed: {list(self.weight_bits)}"
        multiplies = layer.operator.work in (Work.PRODUCTS, Work.PAIRS)  # kernels are for some widths
        if multiplies and not set(read) <= set(self.activation_bits):
            yield f"inputs at {read} bits; allowed: {list(self.activation_bits)}"
        if self.granularity == "layer" and len(used) > 1:
            yield f"channels at {used} bits; allowed: one width a layer"
        if layer.operator.weighted and not pad_free and channels % self.channel_multiple:
            yield f"{channels} output channels; allowed: multiples of {self.channel_multiple}"
