"""A network as the cost models see it: operators in execution order and the tensors between them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

import torch
from torch import Tensor

from search.errors import PicojouleError, UsageError
from search.integer.memory import Use
from search.integer.operators import Operator, UnknownOperator, operator
from search.integer.traits import Border

Step = tuple[str, str, tuple[str, ...], str, tuple[tuple[str, int], ...], str | None, str, str]
Order = tuple[tuple[str, ...], tuple[str, ...], tuple[Step, ...]]  # the network's inputs, its outputs, its layers


class UnsupportedLayer(PicojouleError, NotImplementedError):
    """A cost model has no rule for an operator. No cost is silently zero."""


@dataclass(frozen=True, eq=False)
class LayerUse:
    """One execution of one operator. A module that is called twice makes two uses with one `weights` name.

    All tensors are float64 and differentiable. `out_per_width` holds counts and not shares: n * (k / n) need not be k
    in floating point, and the cost of a decided network has to be exact.
    """

    name: str
    op: str  # of search.integer.operators
    in_channels: Tensor  # (), channels of the first input that are read; of a linear layer its features
    out_channels: Tensor  # ()
    kernel: tuple[int, ...]  # () where the operator has no window
    groups: int  # of a convolution, 1 elsewhere; a depthwise one loses groups with its channels, which is not seen here
    in_size: tuple[int, ...]  # spatial sizes, without the channels
    out_size: tuple[int, ...]
    weight_bits: tuple[int, ...]  # widths on offer without 0; () where there are no weights
    out_per_width: Tensor  # (n_widths,), output channels at each width; sums to out_channels
    in_bits: tuple[int, ...]
    in_share: Tensor  # (n_in_bits,), sums to 1
    out_bits: tuple[int, ...]
    out_share: Tensor  # (n_out_bits,), sums to 1
    inputs: tuple[str, ...]  # tensor names
    output: str
    weights: str | None = None  # name of the stored weights; None: they are stored for this layer alone
    table_entries: Tensor | int = 0  # of the activation table stored with this op
    taps: Tensor | int | None = None  # taps of the kernel that are in use; None: all of them
    depthwise: bool = False  # each output channel reads one input channel, however many are left
    when: tuple[tuple[str, int], ...] = ()  # the op runs if each of these choices takes this option
    choice: str | None = None  # of a select: the choice whose option is the number of the input that it passes on
    loop: str = ""  # the name of the loop that it is in; "": in none
    times: int = 1  # how often all elements of its output are computed
    carries: str = ""  # of a state: the tensor that it is one place before

    def use(self, inputs: tuple[str, ...], memory: str | None) -> Use:
        """The layer as a step of a schedule."""
        gathered = (self.output,) if self.operator.loops is Border.GATHER else ()
        return Use(inputs, (self.output,), memory, self.loop, (self.carries,) if self.carries else gathered)

    @property
    def operator(self) -> Operator:
        """The specification of the layer's operator.

        Raises:
            UnsupportedLayer: there is no such operator, so its costs are not known.
        """
        try:
            return operator(self.op)
        except UnknownOperator as error:
            raise UnsupportedLayer(f"layer '{self.name}': {error}") from error

    @property
    def runs_depthwise(self) -> bool:
        """Whether the kernel for depthwise convolutions runs it: each output reads one channel, out of several.

        This follows from the channels that are left, so that an open network costs what the decided one does. A grouped
        convolution with one input left in each group runs as a depthwise one, and a depthwise one with one channel left
        does not.
        """
        if not (self.depthwise or self.groups > 1):
            return False
        return bool(self.in_channels > 1) and (self.depthwise or bool(self.in_channels == self.groups))

    @property
    def fan_in(self) -> Tensor:
        """(), weights of one output channel: taps * in_channels / groups, or taps where the layer is depthwise."""
        taps = prod(self.kernel) if self.taps is None else self.taps
        if self.depthwise:
            return taps if isinstance(taps, Tensor) else self.out_channels.new_tensor(taps)
        reads = self.in_channels * taps if isinstance(taps, Tensor) or taps != 1 else self.in_channels
        return reads / self.groups if self.groups != 1 else reads

    @property
    def positions(self) -> int:
        """Spatial positions at each of which a weight is used once: of the output, mostly."""
        return prod(self.in_size if self.operator.spreads else self.out_size)

    @property
    def out_elements(self) -> Tensor:
        """(), elements of the output tensor."""
        return self.out_channels * prod(self.out_size)

    @property
    def channel_bits(self) -> Tensor:
        """(), weight bits summed over the output channels. This times fan_in is the bits of all weights."""
        return self.out_per_width @ self.out_per_width.new_tensor(self.weight_bits)

    @property
    def mean_in_bits(self) -> Tensor:
        """(), E[bits] of the first input."""
        return self.in_share @ self.in_share.new_tensor(self.in_bits)

    @property
    def mean_out_bits(self) -> Tensor:
        """(), E[bits] of the output."""
        return self.out_share @ self.out_share.new_tensor(self.out_bits)


@dataclass(frozen=True, eq=False)
class TensorUse:
    """One activation tensor."""

    name: str
    elements: Tensor  # (), float64, differentiable
    bits: tuple[int, ...]
    share: Tensor  # (n_bits,), sums to 1
    in_flash: bool = False  # it is a constant, and takes no RAM

    @property
    def mean_bits(self) -> Tensor:
        """(), E[bits] of one element."""
        return self.share @ self.share.new_tensor(self.bits)

    @property
    def total_bits(self) -> Tensor:
        """(), E[bits] of the whole tensor."""
        return self.elements * (self.bits[0] if len(self.bits) == 1 else self.mean_bits)


@dataclass(frozen=True, eq=False)
class Network:
    """Layers in execution order and every tensor that they read or write.

    Where branches are open, the layers of all branches are listed, and `runs` gives the probability of each.

    Raises:
        UsageError: a layer reads a tensor that nothing has written yet, or a name is not in `tensors`.
    """

    layers: tuple[LayerUse, ...]
    tensors: dict[str, TensorUse]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    branches: Mapping[str, Tensor] = field(default_factory=dict)  # choice -> share (n_options,), sums to 1

    def __post_init__(self) -> None:
        written = set(self.inputs)
        for layer in self.layers:
            missing = [name for name in layer.inputs if name not in written]
            if missing:
                raise UsageError(
                    f"layer '{layer.name}' reads {missing}, which no earlier layer writes; "
                    "list the layers in execution order."
                )
            written.add(layer.output)
        unknown = sorted((written | set(self.outputs)) - self.tensors.keys())
        if unknown:
            raise UsageError(f"no TensorUse for {unknown}; Network.tensors has {sorted(self.tensors)}. Add them.")
        missing = [name for name in self.outputs if name not in written]
        if missing:
            raise UsageError(f"no layer writes the network's outputs {missing}; name tensors that layers write.")

    def runs(self, layer: LayerUse) -> Tensor | float:
        """(), the probability that the layer runs."""
        if layer.when not in self._shares:
            share: Tensor | float = 1.0
            for choice, option in layer.when:
                share = share * self.branches[choice][option]
            self._shares[layer.when] = share
        return self._shares[layer.when]

    def weighed(self, layer: LayerUse, cost: Tensor | float) -> Tensor | float:
        """A cost of the layer, multiplied by the probability that the layer runs."""
        return cost * self.runs(layer) if layer.when else cost

    def stored(self, owner: LayerUse) -> Tensor | float:
        """(), the probability that any use of the layer's weights runs."""
        uses = self._uses[owner.weights or owner.name]
        if len(uses) == 1:
            return self.runs(owner)
        without: Tensor | float = 1.0
        for layer in uses:
            if not layer.when:
                return 1.0
            without = without * (1 - self.runs(layer))
        return 1 - without

    def picks(self) -> dict[str, int]:
        """The likeliest option of each choice of branches."""
        if not self.branches:
            return {}
        likeliest = torch.stack([share.argmax() for share in self.branches.values()]).tolist()  # read at once
        return dict(zip(self.branches, likeliest, strict=True))

    @cached_property
    def weight_owners(self) -> tuple[LayerUse, ...]:
        """The first use of each stored set of weights, in execution order."""
        return tuple(uses[0] for uses in self._uses.values())

    @cached_property
    def order(self) -> Order:
        """All that does not depend on sizes: which layer reads and writes which tensor, when, and in whose memory."""
        steps = ((e.op, e.name, e.inputs, e.output, e.when, e.choice, e.loop, e.carries) for e in self.layers)
        return self.inputs, self.outputs, tuple(steps)

    @cached_property
    def _shares(self) -> dict[tuple[tuple[str, int], ...], Tensor | float]:
        return {}

    @cached_property
    def _uses(self) -> dict[str, list[LayerUse]]:
        """Stored weights -> the layers that use them, in execution order."""
        uses: dict[str, list[LayerUse]] = {}
        for layer in self.layers:
            if layer.operator.weighted:
                uses.setdefault(layer.weights or layer.name, []).append(layer)
        return uses
