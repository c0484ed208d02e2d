"""`searchable(model, example_input, options)`: any network to a Space, in which what the options say is open."""

import copy
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

import torch
from torch import Tensor, nn

from search.integer.operators import operator
from spaces.blocks.kernel_taps import KERNEL, kernel_options, time_options
from spaces.graph.branches import When, conditions
from spaces.graph.errors import UnsupportedNetwork
from spaces.graph.fuse import fuse, operators
from spaces.graph.op import Op
from spaces.graph.ties import FIXED, Ties, tie
from spaces.graph.trace import traced
from spaces.one_of import OneOf
from spaces.patterns import UnfitPattern, made, parse
from spaces.space import Space
from spaces.spec import BlockSpec, ChoiceSpec, QuantizerSpec, SpaceSpec, WeightsSpec

log = logging.getLogger(__name__)

TOLERANCE = 1e-3  # of the largest output: float sums may be ordered differently
GRANULARITIES = ("channel", "tensor")


@dataclass(frozen=True)
class Options:
    """What is open in a Space.

    Attributes:
        weight_bits: precisions on offer, 0 (prune the channel) among them or not; () leaves weights in float.
        granularity: a weight precision per output "channel" or per "tensor".
        activation_bits: of every activation tensor, or several to choose from; None leaves activations in float.
        input_bits, output_bits: of the network's input and output; None: the most of activation_bits.
        kernel_sizes: of 2-D and 3-D convolutions, beside their own.
        time: 1-D convolutions (patterns of fnmatch) whose receptive field and dilation are open.
        pattern: of the weights, "2:4", "columns", "channels", "blocks 4x4" or "weights", see spaces.patterns.
        exclude: layers (patterns of fnmatch) that keep their channels and get the highest precision.
        mode, temperature: of the precision choices, see Choice.
        hysteresis, trainable_threshold: of the gates, see Gate.
    """

    weight_bits: Sequence[int] = (0, 2, 4, 8)
    granularity: str = "channel"
    activation_bits: int | Sequence[int] | None = 8
    input_bits: int | None = None
    output_bits: int | None = None
    kernel_sizes: Sequence[int] = ()
    time: Sequence[str] = ()
    pattern: str = ""
    exclude: Sequence[str] = ()
    mode: str = "hard"
    temperature: float = 1.0
    hysteresis: float = 0.0
    trainable_threshold: bool = False

    def __post_init__(self) -> None:
        if self.granularity not in GRANULARITIES:
            raise ValueError(f"options: granularity '{self.granularity}' is not one of {GRANULARITIES}.")
        if self.pattern:
            parse(self.pattern)
        if self.pattern and 1 in self.weight_bits:
            raise ValueError(f"options: pattern '{self.pattern}' needs zeros, and weights of 1 bit have none.")
        for key in ("input_bits", "output_bits"):
            bits = getattr(self, key)
            if bits is not None and not (self.activation_widths and 2 <= bits <= 16):
                raise ValueError(f"options: {key} {bits}: 2 to 16 are possible, where activation_bits are given.")
        if any(size < 1 for size in self.kernel_sizes):
            raise ValueError(f"options: kernel_sizes {list(self.kernel_sizes)}: 1 or more.")
        if bool(self.widths) != bool(self.activation_widths):
            raise ValueError(
                "options: integers need both; give weight_bits and activation_bits, or neither "
                f"(weight_bits {tuple(self.weight_bits)}, activation_bits {self.activation_bits})."
            )

    @property
    def widths(self) -> tuple[int, ...]:
        return tuple(sorted(set(self.weight_bits) - {0}))

    @property
    def activation_widths(self) -> tuple[int, ...]:
        bits = self.activation_bits
        return tuple(sorted(set([bits] if isinstance(bits, int) else bits or ())))

    @property
    def prunes(self) -> bool:
        return 0 in self.weight_bits


def searchable(
    model: nn.Module, example_input: Tensor | Sequence[Tensor], options: Options | None = None, name: str = ""
) -> Space:
    """The model as a Space, with a copy of its weights. The model is not modified.

    Args:
        example_input: (N, C, ...), floats; where forward takes several tensors, one of each, in order.

    Raises:
        UnsupportedNetwork: what cannot be traced or has no integer operator; names the module and the way out.
        ValueError: options that contradict each other, or an `exclude` that matches no layer.
    """
    options = options or Options()
    examples = (example_input,) if isinstance(example_input, Tensor) else tuple(example_input)
    if any(x.dtype != torch.float32 for x in examples) or any(p.dtype == torch.float64 for p in model.parameters()):
        model, examples = copy.deepcopy(model).float(), tuple(x.float() for x in examples)
    trace = traced(model, examples)
    blocks, outputs = fuse(*operators(trace))
    ties, left_alone = tie(blocks, {value.name: value.shape[1] for value in trace.inputs}, outputs)
    _exclude(blocks, ties, left_alone, options)
    _check_time(blocks, options)
    _check_kernels(blocks, options)
    inputs = {value.name: value.shape[1:] for value in trace.inputs}
    spec = _describe(blocks, inputs, outputs, ties, left_alone, options)
    spec.name = name or type(model).__name__
    space = Space(spec)
    _inherit(space, blocks)
    _check_same(space, model, examples)
    for layer, reason in left_alone.items():
        log.info("left alone: %s (%s)", layer, reason)
    return space


@torch.no_grad()
def _check_same(space: Space, model: nn.Module, examples: Sequence[Tensor]) -> None:
    """The Space computes what the model computes, on every branch, or is refused: no rule is trusted blindly."""
    model = copy.deepcopy(model).eval().cpu()
    branches = [choice for name, choice in space.choices.items() if space.spec.choices[name].branches]
    space.eval()
    for pick in range(max((len(choice.options) for choice in branches), default=1)):
        for module in model.modules():
            if isinstance(module, OneOf):
                module.select.pick = min(pick, len(module.alternatives) - 1)
        for choice in branches:
            choice.fix((min(pick, len(choice.options) - 1),))
        wanted, found = (f(*[x.detach().cpu().clone() for x in examples]) for f in (model, space))
        pairs = [(wanted, found)] if isinstance(wanted, Tensor) else zip(wanted, found, strict=True)
        for one, other in pairs:
            _refuse_difference(type(model).__name__, one, other)
    for choice in branches:
        choice.logits.zero_()
    space.train()


def _refuse_difference(name: str, wanted: Tensor, found: Tensor) -> None:
    distance, size = (wanted - found).abs().max().item(), wanted.abs().max().item()
    if not distance <= TOLERANCE * max(size, 1e-6) + 1e-6:
        raise UnsupportedNetwork(
            name,
            f"converts to a network whose output differs by {distance:.3g} (largest output {size:.3g}).",
            "An operation that changes a tensor in place while others still read it is the usual cause: "
            "use its plain form (inplace=False, x + y instead of x += y).",
        )


def _exclude(blocks: list[Op], ties: Ties, left_alone: dict[str, str], options: Options) -> None:
    layers = [op for op in blocks if op.weighted]
    for pattern in options.exclude:
        matches = [op for op in layers if fnmatch(op.name, pattern)]
        if not matches:
            names = ", ".join(op.name for op in layers)
            raise ValueError(f"options: exclude '{pattern}' matches no layer; there are: {names}.")
        for op in matches:
            ties.fix(ties.ids[op.name])
            left_alone[op.name] = f"excluded by '{pattern}': all channels, highest precision"


def _check_time(blocks: list[Op], options: Options) -> None:
    layers = [op.name for op in blocks if _has_taps(op) and len(op.attributes["kernel"]) == 1]
    for pattern in options.time:
        if not any(fnmatch(name, pattern) for name in layers):
            there = ", ".join(layers) or "none"
            raise ValueError(f"options: time '{pattern}' matches no 1-D convolution; there are: {there}.")


def _has_taps(op: Op) -> bool:
    """Whether it is a convolution."""
    return op.weighted and "kernel" in op.attributes


def _check_kernels(blocks: list[Op], options: Options) -> None:
    """Sizes that are asked for and that no layer could take would be ignored."""
    kernels = {op.name: tuple(op.attributes["kernel"]) for op in blocks if _has_taps(op)}
    if options.kernel_sizes and not any(len(kernel) > 1 and max(kernel) > 1 for kernel in kernels.values()):
        raise ValueError(
            f"options: kernel_sizes {list(options.kernel_sizes)}: no 2-D or 3-D convolution has a kernel above 1; "
            f"there are: {kernels or 'none'}. Leave them out; 1-D convolutions have `time`."
        )


def _describe(
    blocks: list[Op],
    inputs: dict[str, tuple[int, ...]],
    outputs: tuple[str, ...],
    ties: Ties,
    left_alone: dict[str, str],
    options: Options,
) -> SpaceSpec:
    whens = conditions(blocks, outputs)
    slots, gates = _gates(blocks, ties) if options.prunes else ({n: [0] * len(i) for n, i in ties.ids.items()}, {})
    choices = {
        op.attributes["choice"]: ChoiceSpec(tuple(range(len(op.inputs))), branches=True) for op in blocks if op.picks
    }
    first = {op.weights: op for op in reversed(blocks) if op.weights}
    weights = {name: _weights(first[name], blocks, left_alone, options, choices) for name in reversed(first)}
    norms = {op.norm: {"eps": op.norm_module.eps, "momentum": op.norm_module.momentum} for op in blocks if op.norm}
    scale_of = {name: name for name in inputs}
    for op in blocks:
        scale_of[op.name] = scale_of[op.inputs[0]] if operator(op.kind).keeps_codes else op.name
    return SpaceSpec(
        name="",
        inputs=tuple(inputs),
        outputs=outputs,
        input_shapes=tuple(inputs.values()),
        blocks=[_block(op, whens[op.name]) for op in blocks],
        weights=weights,
        norms=norms,
        quantizers=_quantizers(blocks, scale_of, inputs, outputs, options, choices),
        scale_of=scale_of,
        slots=slots,
        gates=gates,
        choices=choices,
        left_alone=left_alone,
        gate_options={"hysteresis": options.hysteresis, "trainable_threshold": options.trainable_threshold},
        choice_options={"mode": options.mode, "temperature": options.temperature},
    )


def _block(op: Op, when: When) -> BlockSpec:
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
    )


def _weights(
    op: Op, blocks: list[Op], left_alone: dict[str, str], options: Options, choices: dict[str, ChoiceSpec]
) -> WeightsSpec:
    excluded = left_alone.get(op.name, "").startswith("excluded")
    widths = options.widths[-1:] if excluded else options.widths
    name = None
    if len(widths) > 1:
        name = f"{op.weights}/bits"
        choices[name] = ChoiceSpec(widths, op.weight.shape[0] if options.granularity == "channel" else 1)
    calls = [other for other in blocks if other.weights == op.weights]
    taps = {} if excluded else _taps(calls, left_alone, options, choices)
    pattern = "" if excluded else _pattern(op, left_alone, options)
    return WeightsSpec(tuple(op.weight.shape), op.bias is not None, widths, None, name, taps, pattern)


def _pattern(op: Op, left_alone: dict[str, str], options: Options) -> str:
    """The pattern of a layer's weights, where they are large enough for it."""
    try:
        if options.pattern:
            made(options.pattern, tuple(op.weight.shape))
    except UnfitPattern as error:
        left_alone[f"{op.name}/pattern"] = str(error)
        return ""
    return options.pattern


def _taps(
    calls: list[Op], left_alone: dict[str, str], options: Options, choices: dict[str, ChoiceSpec]
) -> dict[str, str]:
    """The choices of a convolution's taps, by role: what every call of it can take."""
    op = calls[0]
    if not _has_taps(op):
        return {}
    if max(op.attributes["kernel"]) == 1:
        if any(fnmatch(op.name, pattern) for pattern in options.time) and len(op.attributes["kernel"]) == 1:
            left_alone[f"{op.name}/time"] = "its kernel has one tap"
        return {}
    offered: dict[str, tuple[int, ...]] = {}
    if len(op.attributes["kernel"]) > 1 and options.kernel_sizes:
        sizes = [set(kernel_options(call.attributes, options.kernel_sizes)) for call in calls]
        offered[KERNEL] = tuple(sorted(set.intersection(*sizes)))
        if len(offered[KERNEL]) == 1:
            left_alone[f"{op.name}/kernel"] = (
                f"no smaller kernel of {list(options.kernel_sizes)} lies in its centre within its padding "
                f"(kernel {op.attributes['kernel']}, padding {op.attributes['padding']})"
            )
    if any(fnmatch(op.name, pattern) for pattern in options.time) and len(op.attributes["kernel"]) == 1:
        try:
            for call in calls:
                offered |= time_options(call.attributes)
        except ValueError as error:
            raise ValueError(f"options: time: layer '{op.name}' {error}.") from error
    names = {role: f"{op.weights}/{role}" for role, sizes in offered.items() if len(sizes) > 1}
    choices |= {name: ChoiceSpec(offered[role]) for role, name in names.items()}
    return names


def _quantizers(
    blocks: list[Op],
    scale_of: dict[str, str],
    inputs: Iterable[str],
    last: tuple[str, ...],
    options: Options,
    choices: dict[str, ChoiceSpec],
) -> dict[str, QuantizerSpec]:
    if not options.activation_widths:
        return {}
    widths = (options.input_bits or max(options.activation_widths),)
    quantizers = {name: QuantizerSpec(widths) for name in inputs}
    outputs = set().union(*(_outputs(blocks, scale_of, name) for name in last))
    for op in blocks:
        if scale_of[op.name] != op.name or op.picks:
            continue
        widths = options.activation_widths
        if op.name in outputs:
            widths = (options.output_bits or max(widths),)
        choice = None
        if len(widths) > 1:
            choice = f"{op.name}/activation_bits"
            choices[choice] = ChoiceSpec(widths)
        clamp = op.activation[0] if operator(op.kind).fuses_activation else "none"
        ceiling = 6.0 if clamp == "relu6" else None
        quantizers[op.name] = QuantizerSpec(widths, clamp in ("relu", "relu6"), ceiling, choice)
    return quantizers


def _outputs(blocks: list[Op], scale_of: dict[str, str], last: str) -> set[str]:
    """The tensors whose scale the network's output has: one, or where it is a select those of all its inputs."""
    select = next((op for op in blocks if op.name == scale_of[last] and op.picks), None)
    if select is None:
        return {scale_of[last]}
    return set().union(*(_outputs(blocks, scale_of, name) for name in select.inputs))


def _gates(blocks: list[Op], ties: Ties) -> tuple[dict[str, list[int]], dict[str, int]]:
    """Gates, named by the first layer they bear on, and each tensor's places in the vector of all gates.

    One gate decides the channels that lie in the same tensors: the channel that it keeps open keeps all of those alive.
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


@torch.no_grad()
def _inherit(space: Space, blocks: list[Op]) -> None:
    """Copies the model's numbers."""
    for op in blocks:
        if op.weights:
            weights = space.weights[op.weights]
            weights.weight.copy_(op.weight)
            if op.bias is not None:
                weights.bias.copy_(op.bias)
        if op.norm:
            _copy_norm(op.norm_module, space.norms[op.norm])


def _copy_norm(source: Any, target: Any) -> None:
    target.running_mean.copy_(source.running_mean)
    target.running_var.copy_(source.running_var)
    if source.weight is not None:
        target.weight.copy_(source.weight)
        target.bias.copy_(source.bias)
