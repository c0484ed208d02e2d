"""The description of a Space as plain values, from which it is built again without the script that made it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

from search.errors import UsageError
from search.integer.memory import Use
from search.integer.operators import Operator, operator
from search.integer.shapes import repeated
from search.integer.traits import Border

VERSION = 6
WITHOUT_LOOPS = 5  # the version before, whose fields are among those of this one
FLATTENED = 4  # and before that, in which reshape was called flatten, and upsample stood for some of what take is
NOTHING_FROZEN = 3  # the version before that, whose fields are among those of the one behind it
ONE_INPUT_ONE_OUTPUT = 2  # and before; all are read


@dataclass
class BlockSpec:
    """One node: a convolution or linear layer with its norm and activation, or a join, a pool, a reshape.

    Attributes:
        shape: of the output, without the batch.
        weights, norm: names of stored parameters. Two blocks name a module that is called twice.
        activation: a name in spaces.blocks.activations.ACTIVATIONS and its arguments.
        when: the block runs if each of these choices of branches takes this option.
        depthwise: whether each output channel reads one input channel, so that groups go with the channels.
        frozen: whether no training changes the values of a constant in the graph.
        loop: the name of the loop that it is in; "": in none. See `search.integer.looping`.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    weights: str | None = None
    norm: str | None = None
    activation: tuple[str, dict[str, Any]] = ("none", {})
    when: tuple[tuple[str, int], ...] = ()
    depthwise: bool = False
    frozen: bool = False
    loop: str = ""

    @property
    def operator(self) -> Operator:
        """The specification of the block's operator."""
        return operator(self.op)

    @property
    def reads(self) -> tuple[str, ...]:
        """Its inputs, and what it carries from one place of a sequence to the next."""
        return (*self.inputs, self.attributes["next"]) if self.operator.loops is Border.CARRY else self.inputs

    @property
    def use(self) -> Use:
        """The block as a step of a schedule."""
        gathered = (self.name,) if self.operator.loops is Border.GATHER else ()
        return Use(self.inputs, (self.name,), None, self.loop, gathered or self.reads[len(self.inputs) :])


@dataclass
class ChoiceSpec:
    """A choice, in which each group takes one of the options. A search starts at the last option.

    Attributes:
        groups: how many groups the choice has.
        branches: whether the options are blocks. The first of them is the one that the model runs. All blocks are
            equally likely at the start of a search, which draws the one that runs.
    """

    options: tuple[int, ...]
    groups: int = 1
    branches: bool = False


@dataclass
class WeightsSpec:
    """Weights that are stored once, and that several blocks may read.

    Attributes:
        shape: (C_out, C_in / groups, *kernel).
        widths: the bits on offer.
        assigned: the bits of each output channel, where they are decided.
        bits: the name of the choice among the widths, which has one group, or one for each channel. It is None where
            there is nothing to choose.
        taps: role in spaces.blocks.kernel_taps.ROLES -> the name of the choice that masks taps of the kernel.
        pattern: one of spaces.patterns; empty where the weights have none.
        masked: whether the pattern is decided, so that a mask says which weights stay.
        excluded: whether the options say that the layer keeps its channels and the highest precision.
        constant: which of "weight" and "bias" no training changes.
    """

    shape: tuple[int, ...]
    bias: bool
    widths: tuple[int, ...] = ()
    assigned: tuple[int, ...] | None = None
    bits: str | None = None
    taps: dict[str, str] = field(default_factory=dict)
    pattern: str = ""
    masked: bool = False
    excluded: bool = False
    constant: tuple[str, ...] = ()


@dataclass
class QuantizerSpec:
    """The codes of a tensor, of one width or of several among which `choice` chooses.

    Attributes:
        grid: step and zero point, where they are given; None: they are calibrated, and the step learns.
    """

    widths: tuple[int, ...]
    nonnegative: bool = False
    ceiling: float | None = None
    choice: str | None = None
    grid: tuple[float, int] | None = None


@dataclass
class SpaceSpec:
    """Everything of a Space but its numbers.

    Attributes:
        inputs, outputs: names of tensors, in the order in which forward takes and returns them.
        input_shapes: of each input, without the batch.
        slots: tensor -> for each channel (behind a flatten, feature) its place in the vector of all gates. Place 0 is
            the channel that is always open.
        norms: name of a norm -> the arguments of its `Norm`.
        gates: name of a gate -> number of its channels. Gates lie one after another in that vector, from place 1.
        choices: name of a choice -> its options. What the choice decides names it.
        quantizers: tensor -> its quantizer. Several tensors share one where an operator keeps the scale (`scale_of`).
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    input_shapes: tuple[tuple[int, ...], ...]
    blocks: list[BlockSpec]
    weights: dict[str, WeightsSpec]
    norms: dict[str, dict[str, Any]]
    quantizers: dict[str, QuantizerSpec]
    scale_of: dict[str, str]
    slots: dict[str, list[int]]
    gates: dict[str, int]
    choices: dict[str, ChoiceSpec]
    left_alone: dict[str, str]
    gate_options: dict[str, Any] = field(default_factory=dict)
    choice_options: dict[str, Any] = field(default_factory=dict)
    version: int = VERSION

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Tensor -> its shape without the batch, in the order in which they are computed."""
        return dict(zip(self.inputs, self.input_shapes, strict=True)) | {b.name: b.shape for b in self.blocks}

    def steps(self, loop: str) -> int:
        """How many places the sequences have that a loop reads."""
        shapes = self.shapes
        lengths = (shapes[b.inputs[0]][-1] for b in self.blocks if b.loop == loop and b.operator.loops is Border.READ)
        return next(lengths)

    def refuse_inputs(self, inputs: Sequence[Any]) -> None:
        """Raises UsageError where these are no tensors, more or fewer, of other shapes, or of different batches."""
        if not all(isinstance(x, Tensor) for x in inputs):
            kinds = ", ".join(type(x).__name__ for x in inputs)
            raise UsageError(f"space '{self.name}': input is {kinds}; expected tensors, one for each of {self.inputs}.")
        found = [tuple(x.shape) for x in inputs]
        if (
            [shape[1:] for shape in found] != list(self.input_shapes)
            or not all(found)
            or len({s[0] for s in found}) > 1
        ):
            wanted = ", ".join(f"(N, {', '.join(map(str, shape))})" for shape in self.input_shapes)
            raise UsageError(
                f"space '{self.name}': input of shape {', '.join(map(str, found)) or 'none'}; expected {wanted}."
            )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(document: dict[str, Any]) -> "SpaceSpec":
        """Raises UsageError for a description of another version than this one and the four before."""
        if document.get("version") == ONE_INPUT_ONE_OUTPUT:
            document = _of_this_version(document)
        if document.get("version") in (NOTHING_FROZEN, FLATTENED):
            document = {**document, "blocks": _renamed(document), "version": WITHOUT_LOOPS}
        if document.get("version") == WITHOUT_LOOPS:
            document = {**document, "version": VERSION}
        if document.get("version") != VERSION:
            raise UsageError(
                f"space: description has version {document.get('version')}; this picojoule reads "
                f"{ONE_INPUT_ONE_OUTPUT} to {VERSION}."
            )
        plain = dict(document)
        plain["blocks"] = [
            BlockSpec(**{**b, **{k: tuple(b[k]) for k in ("inputs", "shape", "activation")}, "when": _pairs(b["when"])})
            for b in document["blocks"]
        ]
        plain["choices"] = {name: ChoiceSpec(**_tuples(c)) for name, c in document["choices"].items()}
        plain["weights"] = {name: WeightsSpec(**_tuples(w)) for name, w in document["weights"].items()}
        plain["quantizers"] = {name: QuantizerSpec(**_tuples(q)) for name, q in document["quantizers"].items()}
        plain |= {key: tuple(document[key]) for key in ("inputs", "outputs")}
        plain["input_shapes"] = tuple(map(tuple, document["input_shapes"]))
        return SpaceSpec(**plain)


def _of_this_version(document: dict[str, Any]) -> dict[str, Any]:
    """A description of the version before, which has one input, one output, and is depthwise where groups say so."""
    slots = document["slots"]
    blocks = [
        {**b, "depthwise": b["attributes"].get("groups", 1) == len(slots[b["inputs"][0]]) > 1}
        for b in document["blocks"]
    ]
    rest = {key: value for key, value in document.items() if key not in ("input", "output", "input_shape")}
    ends = {"inputs": [document["input"]], "outputs": [document["output"]], "input_shapes": [document["input_shape"]]}
    return {**rest, **ends, "blocks": blocks, "version": FLATTENED}


def _renamed(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The blocks of a version before, whose operators had other names."""
    shapes = dict(zip(document["inputs"], document["input_shapes"], strict=True))
    shapes |= {block["name"]: block["shape"] for block in document["blocks"]}
    blocks = []
    for block in document["blocks"]:
        if block["op"] == "flatten":
            block = {**block, "op": "reshape", "attributes": {"shape": list(block["shape"])}}
        elif block["op"] == "upsample":
            factors = repeated(shapes[block["inputs"][0]], block["attributes"])
            block = {**block, "op": "take", "attributes": factors}
        blocks.append(block)
    return blocks


def _pairs(listed: list[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    return tuple((choice, option) for choice, option in listed)


def _tuples(document: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in document.items()}
