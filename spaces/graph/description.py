"""The last step of the graph pass: from blocks and their ties to the description of a Space, as the options ask."""

from collections.abc import Mapping
from fnmatch import fnmatch

from search.errors import UsageError
from search.integer.operators import operator
from search.integer.traits import Border
from spaces.blocks.kernel_taps import KERNEL, kernel_options, time_options
from spaces.graph.branches import conditions
from spaces.graph.op import Op
from spaces.graph.ties import FIXED, Ties, tie
from spaces.options import Options
from spaces.patterns import UnfitPattern, made
from spaces.spec import BlockSpec, ChoiceSpec, QuantizerSpec, SpaceSpec, WeightsSpec

CEILINGS = {"relu6": 6.0}  # largest real value behind an activation that has one
NONNEGATIVE = ("relu", "relu6")
BYTE = 8  # bits of the codes that a given grid is for


def described(
    name: str,
    blocks: list[Op],
    inputs: Mapping[str, tuple[int, ...]],
    outputs: tuple[str, ...],
    options: Options,
    notes: Mapping[str, str],
) -> SpaceSpec:
    """The description of a Space.

    Args:
        blocks: in execution order.
        inputs: name -> shape without the batch.
        notes: layer -> what was done to it.

    Raises:
        UsageError: an option matches no layer, or no layer can take what it offers.
    """
    made = _SpaceDescription(blocks, inputs, outputs, options).made(name)
    made.left_alone |= notes
    return made


class _SpaceDescription:
    """The parts of a description while they are made. Choices and layers left alone are collected on the way."""

    def __init__(
        self, blocks: list[Op], inputs: Mapping[str, tuple[int, ...]], outputs: tuple[str, ...], options: Options
    ) -> None:
        self.blocks, self.inputs, self.outputs, self.options = blocks, inputs, outputs, options
        channels = {name: shape[0] for name, shape in inputs.items()}
        self.ties, self.left_alone = tie(blocks, channels, outputs)
        self.excluded = self._exclude()
        self.choices: dict[str, ChoiceSpec] = {}
        self.scale_of = {name: name for name in inputs}
        for op in blocks:
            keeps = operator(op.kind).keeps_codes and bool(op.inputs)
            self.scale_of[op.name] = self.scale_of[op.inputs[0]] if keeps else op.name
        carried = {op.name: op.attributes["next"] for op in blocks if operator(op.kind).loops is Border.CARRY}
        self.scale_of = {name: self.scale_of[carried.get(scale, scale)] for name, scale in self.scale_of.items()}

    def made(self, name: str) -> SpaceSpec:
        options = self.options
        self._check_time()
        self._check_kernels()
        slots, gates = _gates(self.blocks, self.ties) if options.prunes else (_all_open(self.ties), {})
        for op in self.blocks:
            if op.picks:
                self.choices[op.attributes["choice"]] = ChoiceSpec(tuple(range(len(op.inputs))), branches=True)
        whens = conditions(self.blocks, self.outputs)
        return SpaceSpec(
            name=name,
            inputs=tuple(self.inputs),
            outputs=self.outputs,
            input_shapes=tuple(self.inputs.values()),
            blocks=[_block(op, whens[op.name]) for op in self.blocks],
            weights=self._all_weights(),
            norms={op.norm: op.norm_settings() for op in self.blocks if op.norm},
            quantizers=self._quantizers() if options.activation_widths else {},
            scale_of=self.scale_of,
            slots=slots,
            gates=gates,
            choices=self.choices,
            left_alone=self.left_alone,
            gate_options={"hysteresis": options.hysteresis, "trainable_threshold": options.trainable_threshold},
            choice_options={"mode": options.mode, "temperature": options.temperature},
        )

    def _exclude(self) -> set[str]:
        """Names of the layers that keep all channels and the highest precision."""
        layers, excluded = [op for op in self.blocks if op.weighted], set()
        for pattern in self.options.exclude:
            matches = [op for op in layers if fnmatch(op.name, pattern)]
            if not matches:
                names = ", ".join(op.name for op in layers)
                raise UsageError(f"options: exclude '{pattern}' matches no layer; there are: {names}.")
            for op in matches:
                self.ties.fix(self.ties.ids[op.name])
                self.left_alone[op.name] = f"excluded by '{pattern}': all channels, highest precision"
                excluded.add(op.name)
        return excluded

    def _check_time(self) -> None:
        layers = [op.name for op in self.blocks if _is_one_dimensional(op)]
        for pattern in self.options.time:
            if not any(fnmatch(name, pattern) for name in layers):
                there = ", ".join(layers) or "none"
                raise UsageError(f"options: time '{pattern}' matches no 1-D convolution; there are: {there}.")

    def _check_kernels(self) -> None:
        """Refuses kernel sizes that no layer can take, because they would be ignored."""
        kernels = {op.name: tuple(op.attributes["kernel"]) for op in self.blocks if _has_taps(op)}
        sizes = list(self.options.kernel_sizes)
        if sizes and not any(len(kernel) > 1 and max(kernel) > 1 for kernel in kernels.values()):
            raise UsageError(
                f"options: kernel_sizes {sizes}: no 2-D or 3-D convolution has a kernel above 1; "
                f"there are: {kernels or 'none'}. Leave them out; 1-D convolutions have `time`."
            )

    # Weights

    def _all_weights(self) -> dict[str, WeightsSpec]:
        calls: dict[str, list[Op]] = {}
        for op in self.blocks:
            if op.weights:
                calls.setdefault(op.weights, []).append(op)
        return {name: self._weights(name, uses) for name, uses in calls.items()}

    def _weights(self, name: str, calls: list[Op]) -> WeightsSpec:
        op, options = calls[0], self.options
        excluded = op.name in self.excluded or op.fixed
        widths = options.widths[-1:] if excluded else options.widths
        shape = op.weight_shape()
        bits = None
        if len(widths) > 1:
            bits = f"{name}/bits"
            self.choices[bits] = ChoiceSpec(widths, shape[0] if options.granularity == "channel" else 1)
        return WeightsSpec(
            shape=shape,
            bias=op.bias is not None,
            widths=widths,
            bits=bits,
            taps={} if excluded else self._taps(name, calls),
            pattern="" if excluded else self._pattern(op),
            excluded=excluded,
            constant=op.frozen(),
        )

    def _pattern(self, op: Op) -> str:
        """The pattern of a layer's weights, where they are large enough for it."""
        try:
            if self.options.pattern:
                made(self.options.pattern, op.weight_shape())
        except UnfitPattern as error:
            self.left_alone[f"{op.name}/pattern"] = str(error)
            return ""
        return self.options.pattern

    def _taps(self, weights: str, calls: list[Op]) -> dict[str, str]:
        """The choices of a convolution's taps, by role. Their options are those that every call of it can take."""
        op = calls[0]
        if not _has_taps(op):
            return {}
        in_time = _is_one_dimensional(op) and any(fnmatch(op.name, pattern) for pattern in self.options.time)
        if max(op.attributes["kernel"]) == 1:
            if in_time:
                self.left_alone[f"{op.name}/time"] = "its kernel has one tap"
            return {}
        offered = self._kernels(calls) if not _is_one_dimensional(op) and self.options.kernel_sizes else {}
        offered |= _time(calls) if in_time else {}
        names = {role: f"{weights}/{role}" for role, sizes in offered.items() if len(sizes) > 1}
        self.choices |= {name: ChoiceSpec(offered[role]) for role, name in names.items()}
        return names

    def _kernels(self, calls: list[Op]) -> dict[str, tuple[int, ...]]:
        op, wanted = calls[0], self.options.kernel_sizes
        sizes = [set(kernel_options(call.attributes, wanted)) for call in calls]
        offered = tuple(sorted(set.intersection(*sizes)))
        if len(offered) == 1:
            self.left_alone[f"{op.name}/kernel"] = (
                f"no smaller kernel of {list(wanted)} lies in its centre within its padding "
                f"(kernel {op.attributes['kernel']}, padding {op.attributes['padding']})"
            )
        return {KERNEL: offered}

    # Activations

    def _quantizers(self) -> dict[str, QuantizerSpec]:
        options, highest = self.options, max(self.options.activation_widths)
        bits = options.input_bits or highest
        grid = options.input_grid if bits == BYTE else None
        quantizers = {name: QuantizerSpec((bits,), grid=grid) for name in self.inputs}
        outputs = set[str]().union(*(self._scales_of(name) for name in self.outputs))
        for op in self.blocks:
            if self.scale_of[op.name] != op.name or op.picks:
                continue
            widths = (options.output_bits or highest,) if op.name in outputs else options.activation_widths
            if operator(op.kind).exponentiates:  # shares of 1, in steps of 2^-bits
                quantizers[op.name] = QuantizerSpec(widths[-1:], True, grid=(2.0 ** -widths[-1], 0))
                continue
            widths = (op.bits,) if op.bits else widths
            choice = None
            if len(widths) > 1:
                choice = f"{op.name}/activation_bits"
                self.choices[choice] = ChoiceSpec(widths)
            fused = op.activation[0] if operator(op.kind).fuses_activation else "none"
            quantizers[op.name] = QuantizerSpec(widths, fused in NONNEGATIVE, CEILINGS.get(fused), choice)
        return quantizers

    def _scales_of(self, tensor: str) -> set[str]:
        """The tensors whose scale a tensor has: one, or those of all inputs where it is a select."""
        scale = self.scale_of[tensor]
        select = next((op for op in self.blocks if op.name == scale and op.picks), None)
        if select is None:
            return {scale}
        return set[str]().union(*(self._scales_of(name) for name in select.inputs))


def _has_taps(op: Op) -> bool:
    """Whether an operator is a convolution, which may lose taps of its kernel."""
    return op.operator is not None and op.operator.weighted and op.operator.border is not None


def _is_one_dimensional(op: Op) -> bool:
    return _has_taps(op) and len(op.attributes["kernel"]) == 1


def _time(calls: list[Op]) -> dict[str, tuple[int, ...]]:
    """Receptive fields and dilations of a 1-D convolution."""
    offered: dict[str, tuple[int, ...]] = {}
    for call in calls:
        try:
            offered |= time_options(call.attributes)
        except UsageError as error:
            raise UsageError(f"options: time: layer '{calls[0].name}' {error}.") from error
    return offered


def _block(op: Op, when: tuple[tuple[str, int], ...]) -> BlockSpec:
    return BlockSpec(
        name=op.name,
        op=op.kind,
        inputs=tuple(op.inputs),
        shape=op.shape,
        attributes=op.attributes,
        weights=op.weights,
        norm=op.norm,
        activation=op.activation,
        when=when,
        depthwise=op.depthwise,
        frozen=op.frozen_values,
        loop=op.loop,
    )


def _all_open(ties: Ties) -> dict[str, list[int]]:
    """The places of tensors whose channels are all at the place that is always open."""
    return {name: [0] * len(ids) for name, ids in ties.ids.items()}


def _gates(blocks: list[Op], ties: Ties) -> tuple[dict[str, list[int]], dict[str, int]]:
    """Gates, named by the first layer that they bear on, and each tensor's places in the vector of all gates.

    One gate decides the channels that lie in the same tensors. The channel that it keeps open keeps these alive.
    """
    tensors_of: dict[int, tuple[str, ...]] = {}
    for op in blocks:
        for root in dict.fromkeys(ties.find(ties.ids[op.name]).tolist()):
            tensors_of[root] = (*tensors_of.get(root, ()), op.name)
    tensors_of.pop(FIXED, None)
    together: dict[tuple[str, ...], list[int]] = {}
    for root, tensors in tensors_of.items():
        together.setdefault(tensors, []).append(root)
    place_of: dict[int, int] = {FIXED: 0}
    gates: dict[str, int] = {}
    for (first, *_), roots in together.items():
        parts = sum(name.startswith(f"{first}/channels") for name in gates)
        gates[f"{first}/channels" + (f"@{parts + 1}" if parts else "")] = len(roots)
        for root in roots:
            place_of[root] = len(place_of)
    slots = {name: [place_of[r] for r in ties.find(ids).tolist()] for name, ids in ties.ids.items()}
    return slots, gates
