"""What an operator is: the one entry that lowering, validation, executor, memory plan, cost models and front end read.

Beside its entry an operator has a rule in the front end (spaces/graph), a block (spaces/blocks), a NumPy kernel
(prepared.py) and a writer in each backend. Its name is compared nowhere: what tells operators apart is a trait here. A
cost model knows what an operator costs by its work and its traits; it has a rule of its own only for what is special.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

from search.errors import PicojouleError
from search.integer import bounds, shapes
from search.integer.shapes import Attributes, Shape
from search.integer.traits import Border, Channels, Count, Work
from search.kinds import FINITE, TRUTH, WHOLE, Kind, listed, whole


class UnknownOperator(PicojouleError, NotImplementedError):
    """There is no operator of that name."""


LARGEST = 2**31 - 1
SIZES = listed(whole(1, LARGEST))
PAIR = Kind("[before, after]", lambda value: listed(whole(0, LARGEST)).holds(value) and len(value) == 2)
PLACES = listed(whole(0, LARGEST))
WINDOW = {"kernel": SIZES, "stride": SIZES, "padding": listed(PAIR)}
DILATION = {"dilation": SIZES}  # 1 where a node states none
NAME = Kind("the name of a tensor", lambda value: isinstance(value, str) and bool(value))
ELEMENTWISE = (Work.SUM, Work.PRODUCT, Work.LOOK_UP)


@dataclass(frozen=True)
class Operator:
    """The specification of an operator.

    Attributes:
        arity: number of inputs; None: any number, one or more.
        output_shape: (attributes, input shapes, stated output shape) -> output shape, without the batch, channels
            first. Of the stated one only the channels count, where weights decide them.
        work: what one element of the output takes.
        attributes: name -> kind, of those that a node has beside those that follow from its traits.
        optional: the same, of those that a node may have.
        window: (attributes, input shapes) -> sizes whose product is the number of elements, of each input, that an
            element of the output is made of; () where that is one.
        fan_in: (attributes, input shape) -> weights of one output channel; None: it has no weights. What has weights
            has a bias a channel.
        bound: (attributes, inputs) -> what the magnitude of no sum exceeds, its bias apart; None: that follows from
            weights, or every sum of codes is small enough.
        multipliers, shifts: how many of each it stores to requantize its sums; none where it keeps codes.
        keeps_codes: the output has the bits, scale and zero point of its first input, so nothing is requantized.
        aliases: the output is its first input's memory under another shape.
        channels: where those of the output come from. What picks an input is in no Program: deciding resolves it.
        fuses_activation: an activation behind it becomes part of it.
        fuses_norm: a norm behind it becomes part of it.
        border: the number that the places count as which its attribute "padding" puts around its input, where it can
            take over what others put there; None: it cannot.
        spreads: its weights are used once at each place of its input, not of its output.
        exponentiates: it has a table of exponentials.
        stored: its output lies in flash. It has no inputs.
        loops: what it does at the border of a loop; None: it does the same in a loop as out of it.
        channel_axis: of the output, without the batch.
        priced_as: the operator whose cycles it takes where a target has none for it; "": there is no such one.
    """

    arity: int | None
    output_shape: Callable[[Attributes, Sequence[Shape], Shape], Shape]
    work: Work
    attributes: Mapping[str, Kind] = field(default_factory=dict)
    optional: Mapping[str, Kind] = field(default_factory=dict)
    window: Callable[[Attributes, Sequence[Shape]], Shape] = shapes.kernel
    fan_in: Callable[[Attributes, Shape], int] | None = None
    bound: Callable[[Attributes, Sequence[bounds.Source]], int] | None = None
    multipliers: Count = Count.NONE
    shifts: Count = Count.NONE
    keeps_codes: bool = False
    aliases: bool = False
    channels: Channels = Channels.SAME
    fuses_activation: bool = False
    fuses_norm: bool = False
    border: float | None = None
    spreads: bool = False
    exponentiates: bool = False
    stored: bool = False
    loops: Border | None = None
    channel_axis: int = 0
    priced_as: str = ""

    @property
    def weighted(self) -> bool:
        """Whether it has weights."""
        return self.fan_in is not None

    @property
    def biased(self) -> bool:
        """Whether it has a bias, a multiplier and a shift a channel."""
        return self.multipliers is Count.CHANNELS

    @property
    def picks(self) -> bool:
        """Whether the output is one of the inputs, which a decision picks."""
        return self.channels is Channels.PICKED

    @property
    def convolves(self) -> bool:
        """Whether the same weights are used at every place of its input."""
        return self.weighted and self.channel_axis == 0

    @property
    def elementwise(self) -> bool:
        """Whether an element of the output depends on the elements at its place in the inputs alone."""
        return self.work in ELEMENTWISE

    @property
    def looks_up(self) -> bool:
        """Whether it is a table by itself, indexed by the codes of its input."""
        return self.work is Work.LOOK_UP

    @property
    def requantizes(self) -> bool:
        """Whether it ends in multipliers, shifts, a zero point and a clip."""
        return self.multipliers is not Count.NONE


OPERATORS: dict[str, Operator] = {
    "conv": Operator(
        arity=1,
        output_shape=shapes.convolution,
        work=Work.PRODUCTS,
        attributes=WINDOW | {"groups": whole(1, LARGEST)},
        optional=DILATION,
        channels=Channels.WEIGHTS,
        fan_in=shapes.convolution_fan_in,
        multipliers=Count.CHANNELS,
        shifts=Count.CHANNELS,
        fuses_activation=True,
        fuses_norm=True,
        border=0.0,
    ),
    "conv_transpose": Operator(
        arity=1,
        output_shape=shapes.transposed_convolution,
        work=Work.PRODUCTS,
        attributes=WINDOW | {"groups": whole(1, LARGEST)},
        optional=DILATION,
        channels=Channels.WEIGHTS,
        fan_in=shapes.convolution_fan_in,
        multipliers=Count.CHANNELS,
        shifts=Count.CHANNELS,
        fuses_activation=True,
        fuses_norm=True,
        spreads=True,
        priced_as="conv",
    ),
    "linear": Operator(
        arity=1,
        output_shape=shapes.linear,
        work=Work.PRODUCTS,
        channels=Channels.WEIGHTS,
        fan_in=shapes.linear_fan_in,
        multipliers=Count.CHANNELS,
        shifts=Count.CHANNELS,
        fuses_activation=True,
        fuses_norm=True,
        channel_axis=-1,
    ),
    "add": Operator(
        arity=2,
        output_shape=shapes.broadcast,
        work=Work.SUM,
        multipliers=Count.INPUTS,
        shifts=Count.ONE,
        fuses_activation=True,
    ),
    "mul": Operator(
        arity=2,
        output_shape=shapes.broadcast,
        work=Work.PRODUCT,
        multipliers=Count.ONE,
        shifts=Count.ONE,
        fuses_activation=True,
    ),
    "concat": Operator(
        arity=None,
        output_shape=shapes.concatenation,
        work=Work.COPY,
        attributes={"axis": whole(0, LARGEST)},
        multipliers=Count.INPUTS,
        shifts=Count.INPUTS,
        channels=Channels.STACKED,
        fuses_activation=True,
    ),
    "max_pool": Operator(
        arity=1,
        output_shape=shapes.pool,
        work=Work.WINDOW,
        attributes=WINDOW,
        optional=DILATION,
        keeps_codes=True,
        border=-inf,
    ),
    "avg_pool": Operator(
        arity=1,
        output_shape=shapes.pool,
        work=Work.WINDOW,
        attributes=WINDOW,
        optional=DILATION,
        multipliers=Count.ONE,
        shifts=Count.ONE,
        fuses_activation=True,
        border=0.0,
    ),
    "resample": Operator(
        arity=1,
        output_shape=shapes.resampled,
        work=Work.WINDOW,
        attributes={"divisors": SIZES, "starts": listed(PLACES), "weights": listed(listed(listed(WHOLE)))},
        multipliers=Count.ONE,
        shifts=Count.ONE,
        fuses_activation=True,
        priced_as="avg_pool",
        window=shapes.resampled_window,
        bound=bounds.resampled,
    ),
    "matmul": Operator(
        arity=2,
        output_shape=shapes.product,
        work=Work.PAIRS,
        attributes={"axes": PLACES},
        multipliers=Count.ONE,
        shifts=Count.ONE,
        channels=Channels.CONTRACTED,
        window=shapes.contracted,
        bound=bounds.product,
        fuses_activation=True,
    ),
    "softmax": Operator(
        arity=1,
        output_shape=shapes.along,
        work=Work.REDUCTION,
        attributes={"axis": whole(0, LARGEST)},
        channels=Channels.REDUCED,
        exponentiates=True,
    ),
    "normalize": Operator(
        arity=1,
        output_shape=shapes.measured,
        work=Work.REDUCTION,
        attributes={"axes": PLACES, "groups": whole(1, LARGEST), "eps": FINITE, "centred": TRUTH},
        multipliers=Count.CHANNELS,
        shifts=Count.CHANNELS,
        channels=Channels.REDUCED,
        bound=bounds.measured,
        fuses_activation=True,
        fuses_norm=True,
    ),
    "constant": Operator(arity=0, output_shape=shapes.stated, work=Work.NOTHING, channels=Channels.OWN, stored=True),
    # Copies of whole codes take, where a target has no row for them, at most what a concatenation does, which scales.
    "take": Operator(
        arity=1,
        output_shape=shapes.taken,
        work=Work.COPY,
        attributes={"indices": listed(PLACES)},
        keeps_codes=True,
        channels=Channels.TAKEN,
        priced_as="concat",
    ),
    "permute": Operator(
        arity=1,
        output_shape=shapes.permuted,
        work=Work.COPY,
        attributes={"axes": PLACES},
        keeps_codes=True,
        channels=Channels.PERMUTED,
        priced_as="concat",
    ),
    "reshape": Operator(
        arity=1,
        output_shape=shapes.reshape,
        work=Work.NOTHING,
        attributes={"shape": SIZES},
        keeps_codes=True,
        aliases=True,
        channels=Channels.RESHAPED,
    ),
    "step": Operator(
        arity=1,
        output_shape=shapes.one_place,
        work=Work.COPY,
        keeps_codes=True,
        loops=Border.READ,
        priced_as="concat",
    ),
    "state": Operator(
        arity=0,
        output_shape=shapes.stated,
        work=Work.COPY,
        attributes={"next": NAME},
        keeps_codes=True,
        channels=Channels.CARRIED,
        loops=Border.CARRY,
        priced_as="concat",
    ),
    "collect": Operator(
        arity=1,
        output_shape=shapes.all_places,
        work=Work.COPY,
        attributes={"steps": whole(1, LARGEST)},
        keeps_codes=True,
        loops=Border.GATHER,
        priced_as="concat",
    ),
    "table": Operator(arity=1, output_shape=shapes.same, work=Work.LOOK_UP),
    "select": Operator(arity=None, output_shape=shapes.same, work=Work.NOTHING, channels=Channels.PICKED),
}


def operator(name: str) -> Operator:
    """The specification of that name.

    Raises:
        UnknownOperator: there is none.
    """
    if name not in OPERATORS:
        raise UnknownOperator(
            f"operator '{name}' is unknown; there are {', '.join(OPERATORS)}. "
            "Add its specification in search/integer/operators.py."
        )
    return OPERATORS[name]
