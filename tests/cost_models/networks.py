"""Networks for the tests of the cost models, small enough to count by hand."""

from dataclasses import replace
from math import prod

import torch
from torch import Tensor

from cost_models.layer import LayerUse, Network, TensorUse
from cost_models.target import Target
from search.integer.operators import OPERATORS
from search.integer.traits import Work

WINDOWS = [f"{op}_{rank}d" for op in ("conv", "conv_transpose") for rank in range(4)]
FUNCTIONS = (  # of the generated C
    *(
        f"{own}{alone}"
        for own in (*WINDOWS, *(f"{own}_grouped" for own in WINDOWS), "rows")
        for alone in ("", "_single")
    ),
    *(f"depthwise_{rank}d{packed}" for rank in (1, 2, 3) for packed in ("", "_packed")),
    *(name for name, each in OPERATORS.items() if not each.weighted and each.work is not Work.WINDOW),
    *(f"{name}_{rank}d" for name, each in OPERATORS.items() if each.work is Work.WINDOW for rank in range(4)),
)
KERNELS = (
    "depthwise_place",
    "depthwise_place_plain",
    *(f"{kind}_{bits}" for kind in ("products", "single") for bits in (2, 4, 8)),
)
CODE = {
    "code_bytes_source": "made up",
    "code_bytes": {name: 100.0 + place for place, name in enumerate(("base", "loop", *KERNELS, *FUNCTIONS))},
    "step_bytes": {name: 40.0 + place for place, name in enumerate(FUNCTIONS)},
}
ELEMENTS = ("add", "mul", "concat", "max_pool", "avg_pool", "table", "softmax", "normalize")


def scalar(value: float) -> Tensor:
    """(), a float64 leaf that records gradients."""
    return torch.tensor(float(value), dtype=torch.float64, requires_grad=True)


def vector(*values: float) -> Tensor:
    """(n,), a float64 leaf that records gradients."""
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def layer(name: str, op: str, reads: str, writes: str, **changes) -> LayerUse:
    """An op with one output channel position, 8-bit activations, and 8-bit weights if it has any."""
    weighted = op in OPERATORS and OPERATORS[op].weighted
    out_channels = changes.pop("out_channels", scalar(1))
    base = LayerUse(
        name=name,
        op=op,
        in_channels=scalar(1),
        out_channels=out_channels,
        kernel=(),
        groups=1,
        in_size=(),
        out_size=(),
        weight_bits=(8,) if weighted else (),
        out_per_width=out_channels.reshape(1) if weighted else vector(),
        in_bits=(8,),
        in_share=vector(1),
        out_bits=(8,),
        out_share=vector(1),
        inputs=tuple(reads.split()),
        output=writes,
    )
    return replace(base, **changes)


def network(*layers: LayerUse, input_elements: float = 1) -> Network:
    """The layers with their tensors; input `x` at 8 bits; the last layer's output is the network's."""
    tensors = {"x": TensorUse("x", torch.tensor(float(input_elements), dtype=torch.float64), (8,), vector(1))}
    for use in layers:
        elements = use.out_channels * prod(use.out_size)
        tensors[use.output] = TensorUse(use.output, elements, use.out_bits, use.out_share, use.operator.stored)
    return Network(layers, tensors, ("x",), (layers[-1].output,))


def small_network() -> Network:
    """x (3, 8, 8) -> conv 3x3 to 4, widths 8:1 4:3 -> depthwise 3x3, 4 bits -> global pool -> flatten -> 10 classes.

    The convolution has stride 2.
    """
    four = scalar(4)
    ten = scalar(10)
    return network(
        layer(
            "stem", "conv", "x", "a",
            in_channels=scalar(3), out_channels=four, kernel=(3, 3), in_size=(8, 8), out_size=(4, 4),
            weight_bits=(4, 8), out_per_width=vector(3, 1), table_entries=256,
        ),
        layer(
            "spatial", "conv", "a", "b", depthwise=True,
            in_channels=four, out_channels=four, kernel=(3, 3), groups=4, in_size=(4, 4), out_size=(4, 4),
            weight_bits=(4, 8), out_per_width=vector(4, 0),
        ),
        layer("pool", "avg_pool", "b", "c", in_channels=four, out_channels=four, kernel=(4, 4), in_size=(4, 4),
              out_size=(1, 1)),
        layer("flat", "reshape", "c", "d", in_channels=four, out_channels=four, in_size=(1, 1)),
        layer("classes", "linear", "d", "y", in_channels=four, out_channels=ten, out_per_width=vector(10)),
        input_elements=3 * 64,
    )  # fmt: skip


def residual_network() -> Network:
    """x (2, 6) -> conv k=3 (one stored weight, called twice) -> gate, add, concat, max pool -> table."""
    two = scalar(2)
    conv = {"in_channels": two, "out_channels": two, "kernel": (3,), "in_size": (6,), "out_size": (6,)}
    conv |= {"weight_bits": (2, 4), "out_per_width": vector(1, 1), "weights": "shared"}
    plane = {"in_channels": two, "out_channels": two, "in_size": (6,), "out_size": (6,)}
    four = two * 2
    return network(
        layer("first", "conv", "x", "a", **conv),
        layer("second", "conv", "a", "b", **conv),
        layer("skip", "add", "a b", "c", **plane),
        layer("gate", "mul", "c b", "d", **plane),
        layer("join", "concat", "d a", "e", **(plane | {"out_channels": four})),
        layer("pool", "max_pool", "e", "f", in_channels=four, out_channels=four, kernel=(2,), in_size=(6,),
              out_size=(3,)),
        layer("swish", "table", "f", "y", in_channels=four, out_channels=four, in_size=(3,), out_size=(3,),
              out_bits=(4, 16), out_share=vector(0, 1), table_entries=256),
        input_elements=12,
    )  # fmt: skip


def measured_network() -> Network:
    """x (3, 4, 5) -> keys and queries of 3 heads -> softmax -> values -> a norm of channels + a stored map.

    The map has 16 bits, the scores 4.
    """
    three = scalar(3)
    plane = {"in_channels": three, "out_channels": three}
    four_bits = {"out_bits": (4,), "out_share": vector(1)}
    return network(
        layer("scores", "matmul", "x x", "a", kernel=(5,), in_size=(4, 5), out_size=(4, 4), **plane, **four_bits),
        layer("shares", "softmax", "a", "b", in_size=(4, 4), out_size=(4, 4), in_bits=(4,), table_entries=16, **plane),
        layer("values", "matmul", "b x", "c", kernel=(4,), in_size=(4, 4), out_size=(4, 5), **plane),
        layer("norm", "normalize", "c", "d", in_size=(4, 5), out_size=(4, 5), **plane),
        layer("map", "constant", "", "e", out_size=(4, 5), out_bits=(16,), **plane),
        layer("sum", "add", "d e", "y", in_size=(4, 5), out_size=(4, 5), **plane),
        input_elements=60,
    )


def resized_network() -> Network:
    """x (4, 3, 3) -> transposed convolution 2x2 to 6, widths 2:4 8:2 -> half of its channels -> resampled -> turned.

    An element that is resampled is made of 3 x 2 others.
    """
    four, six = scalar(4), scalar(6)
    three = six / 2
    return network(
        layer(
            "up", "conv_transpose", "x", "a", in_channels=four, out_channels=six, kernel=(2, 2), in_size=(3, 3),
            out_size=(6, 6), weight_bits=(2, 8), out_per_width=vector(4, 2),
        ),
        layer("half", "take", "a", "b", in_channels=six, out_channels=three, in_size=(6, 6), out_size=(6, 6)),
        layer("less", "resample", "b", "c", in_channels=three, out_channels=three, kernel=(3, 2), in_size=(6, 6),
              out_size=(2, 5)),
        layer("turned", "permute", "c", "y", in_channels=three, out_channels=three, in_size=(2, 5), out_size=(5, 2)),
        input_elements=36,
    )  # fmt: skip


def target(**changes) -> Target:
    """A chip whose every MAC takes weight bits / 4 cycles, every element 1 cycle."""
    kinds = ("conv", "pointwise", "depthwise", "linear")
    fields = {
        "name": "bench",
        "source": "made up",
        "flash_bytes": 1000,
        "ram_bytes": 1000,
        "frequency_hz": 1e6,
        "weight_bits": [2, 4, 8],
        "activation_bits": [4, 8, 16],
        "granularity": "channel",
        "channel_multiple": 1,
        "cycles_per_mac_source": "made up",
        "cycles_per_mac": {f"{kind}/a{a}w{w}": w / 4 for kind in kinds for a in (4, 8) for w in (2, 4, 8)},
        "cycles_per_element_source": "made up",
        "cycles_per_element": dict.fromkeys(ELEMENTS, 1.0),
        **CODE,
    }
    return Target(**(fields | changes))
