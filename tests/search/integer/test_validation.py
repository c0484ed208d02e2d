"""Refusals of nodes that move, resize, multiply or measure tensors; test_program.py has those of the others."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from search.integer.program import ProgramError
from tests.search.integer.programs import Build

SHAPE = (6, 4, 5)
ADDED: dict[str, Callable[[Build], str]] = {
    "take": lambda build: build.take([], [0], [1, 2]),
    "permute": lambda build: build.permute(1, 0, 2),
    "reshape": lambda build: build.reshape(24, 5),
    "resample": lambda build: build.resample([(0, [1, 1])], [(0, [1]), (3, [1, 2])]),
    "conv_transpose": lambda build: build.conv_transpose(4, (3, 3), stride=(2, 2)),
    "matmul": lambda build: build.matmul("x", "x", (2, 2)),
    "softmax": lambda build: build.softmax(1),
    "normalize": lambda build: build.normalize(0, groups=3),
    "normalize of maps": lambda build: build.normalize(1, 2),
    "concat": lambda build: build.concat(1, "x", "x"),
    "add": lambda build: build.add("x", "x"),
    "constant": lambda build: build.constant(*SHAPE),
}


def built(what: str) -> Build:
    build = Build(SHAPE)
    ADDED[what](build)
    build.program().validate()
    return build


ATTRIBUTES = [
    ("take", {"indices": [[], [0]]}, r"indices of 2 axes found; the input has shape \(6, 4, 5\)"),
    ("take", {"indices": [[], [4], [1, 2]]}, r"index 4 of axis 1 found; 0\.\.3 are allowed"),
    ("take", {"indices": [[], [-1], [1, 2]]}, r"indices is \[\[\], \[-1\], .*not \[\[a whole number of 0\.\."),
    ("take", {"indices": [[], [0], [1]]}, r"has shape \(6, 1, 2\); its inputs give \(6, 1, 1\)"),
    ("permute", {"axes": [1, 1, 2]}, r"axes \[1, 1, 2\] found; an order of 0\.\.2 is allowed"),
    ("permute", {"axes": [1, 0]}, r"axes \[1, 0\] found; an order of 0\.\.2 is allowed"),
    ("permute", {"axes": [2, 0, 1]}, r"has shape \(4, 6, 5\); its inputs give \(5, 6, 4\)"),
    ("reshape", {"shape": [24, 4]}, r"shape \(24, 4\) has 96 elements and its input \(6, 4, 5\) has 120"),
    ("resample", {"weights": [[[1, 1]]]}, r"weights of 1 axes found; the input has the spatial shape \(4, 5\)"),
    ("resample", {"starts": [[0]]}, "weights of 2 axes found"),
    ("resample", {"divisors": [1]}, "weights of 2 axes found"),
    ("resample", {"starts": [[0], [0, 4]]}, "weights that lie outside of an axis of 5 elements, or none, found"),
    ("resample", {"starts": [[0], [0]]}, "weights that lie outside of an axis of 5 elements, or none, found"),
    ("resample", {"weights": [[[1, 1]], [[1], []]]}, "weights that lie outside of an axis of 5 elements, or none"),
    ("resample", {"weights": [[[1, 1.5]], [[1], [1, 2]]]}, r"weights is .*, not \[\[\[a whole number"),
    (
        "resample",
        {"weights": [[[1, -(2**22)]], [[1], [1, 2]]]},
        r"a sum could reach 3208643325, over int32's 2147483647",
    ),
    ("resample", {"weights": [[[2**70]], [[1], [1, 2]]]}, r"a sum could reach 903\d+, over int32's"),
    ("conv_transpose", {"stride": [2]}, r"stride \[2\] does not fit 2 spatial dimensions"),
    ("conv_transpose", {"stride": [2, 1]}, r"has shape \(4, 5, 7\); its inputs give \(4, 5, 3\)"),
    ("conv_transpose", {"kernel": [3]}, "do not fit 2 spatial dimensions"),
    ("conv_transpose", {"groups": 4}, "groups 4 must divide the channels, 6 in and 4 out"),
    ("conv_transpose", {"kernel": [8, 3]}, r"larger than the padded input \(7, 9\)"),
    ("matmul", {"axes": [2, 0]}, r"axes \[2, 0\] of shapes \(6, 4, 5\) and \(6, 4, 5\) found; two out of 1 and 2"),
    ("matmul", {"axes": [2]}, r"axes \[2\] of shapes .* found; two out of 1 and 2 of three are allowed"),
    (
        "matmul",
        {"axes": [2, 1]},
        r"shapes \(6, 4, 5\) and \(6, 4, 5\) do not agree in their heads, or in axes \[2, 1\]",
    ),
    ("softmax", {"axis": 3}, r"axis 3 found; 0\.\.2 are allowed \(0 is the channel\)"),
    ("softmax", {"axis": -1}, r"axis is -1, not a whole number of 0\.\."),
    ("normalize", {"axes": [3]}, r"axes \[3\] found; different ones of 0\.\.2 are allowed, at least one"),
    ("normalize", {"axes": []}, r"axes \[\] found; different ones of 0\.\.2 are allowed, at least one"),
    ("normalize", {"axes": [0, 0]}, r"axes \[0, 0\] found; different ones of 0\.\.2 are allowed, at least one"),
    ("normalize", {"groups": 4}, r"groups 4 must divide the channels, 6, and axes \[0\] have 0 among them"),
    ("normalize of maps", {"groups": 2}, r"groups 2 must divide the channels, 6, and axes \[1, 2\] have 0 among them"),
    ("normalize", {"centred": 1}, "centred is 1, not true or false"),
    ("concat", {"axis": 3}, r"axis 3 found; 0\.\.2 are allowed \(0 is the channel\)"),
]


@pytest.mark.parametrize("what, changes, message", ATTRIBUTES)
def test_refuses_attributes_that_do_not_fit(what: str, changes: dict[str, Any], message: str):
    build = built(what)
    build.nodes[-1].attributes.update(changes)
    with pytest.raises(ProgramError, match=f"node '{build.last}'.*{message}"):
        build.program().validate()


CONSTANTS = [
    ("softmax", "exponentials", np.ones(9, np.uint16), r"exponentials is uint16\[9\]; uint16\[256\] expected"),
    ("softmax", "exponentials", np.ones(256, np.uint8), r"exponentials is uint8\[256\]; uint16\[256\] expected"),
    ("softmax", "exponentials", np.zeros(256, np.uint16), r"its exponential of 0 is 0; 1\.\.65535 are allowed"),
    ("softmax", "exponentials", None, r"constants \['exponentials'\] are missing"),
    ("normalize", "bias", np.zeros(6, np.int64), r"bias is int64\[6\]; int32\[6\] expected"),
    ("normalize", "bias", np.zeros(5, np.int32), r"bias is int32\[5\]; int32\[6\] expected"),
    ("normalize", "bias", np.full(6, 2**31 - 1, np.int32), r"a sum could reach 2147614719, over int32's 2147483647"),
    ("normalize", "bias", None, r"constants \['bias'\] are missing"),
    ("normalize", "multiplier", np.ones(1, np.int16), r"multiplier is int16\[1\]; int16\[6\] expected"),
    ("matmul", "shift", np.ones(6, np.uint8), r"shift is uint8\[6\]; uint8\[1\] expected"),
    ("resample", "multiplier", np.ones(6, np.int16), r"multiplier is int16\[6\]; int16\[1\] expected"),
    ("conv_transpose", "bias", None, r"constants \['bias'\] are missing"),
    ("conv_transpose", "bias", np.full(4, 2**31 - 1, np.int32), r"a sum could reach 21\d{8}, over int32's"),
    ("constant", "codes", np.zeros((6, 4), np.uint8), r"codes is uint8\[6, 4\]; uint8\[6, 4, 5\] expected"),
    ("constant", "codes", np.zeros(SHAPE, np.uint16), r"codes is uint16\[6, 4, 5\]; uint8\[6, 4, 5\] expected"),
    ("constant", "codes", None, r"constants \['codes'\] are missing"),
]


@pytest.mark.parametrize("what, role, value, message", CONSTANTS)
def test_refuses_constants_that_do_not_fit(what: str, role: str, value: np.ndarray | None, message: str):
    build = built(what)
    name = f"{build.last}.{role}"
    if value is None:
        del build.nodes[-1].constants[role], build.constants[name]
    else:
        build.constants[name] = value
    with pytest.raises(ProgramError, match=f"node '{build.last}'.*{message}"):
        build.program().validate()


@pytest.mark.parametrize("op", ["conv", "conv_transpose"])
def test_refuses_more_weights_than_can_be_counted(op: str):
    """Padding makes room for the kernel, so that the shapes fit."""
    build, largest = Build((6, 4, 5)), 2**31 - 1
    getattr(build, op)(4, (1, 1))
    build.nodes[-1].attributes.update(kernel=[largest] * 2, padding=[[largest - 1, 0]] * 2)
    with pytest.raises(ProgramError, match=rf"'{op}0'.*{6 * largest**2} weights of a channel found; up to {largest}"):
        build.program().validate()


def test_refuses_codes_that_are_too_large():
    build = Build((2, 3), bits=4)
    name = build.constant(2, 3)
    build.constants[f"{name}.codes"] = np.full((2, 3), 16, np.uint8)
    with pytest.raises(ProgramError, match=r"'constant0'.*code 16 found; codes of 4 bits are 0\.\.15"):
        build.program().validate()


@pytest.mark.parametrize(
    "what, inputs, message",
    [
        ("constant", ("x",), "1 inputs found, 0 expected"),
        ("concat", (), "0 inputs found, one or more expected"),
        ("add", (), "0 inputs found, 2 expected"),
        ("matmul", ("x",), "1 inputs found, 2 expected"),
    ],
)
def test_refuses_another_number_of_inputs(what: str, inputs: tuple[str, ...], message: str):
    build = built(what)
    build.nodes[-1] = replace(build.nodes[-1], inputs=inputs)
    with pytest.raises(ProgramError, match=f"'{build.last}'.*{message}"):
        build.program().validate()


@pytest.mark.parametrize(
    "op, shape, message",
    [
        ("matmul", (5, 5, 4), r"shapes \(6, 4, 5\) and \(5, 5, 4\) do not agree in their heads, or in axes \[2, 1\]"),
        ("matmul", (6, 4, 5), r"shapes \(6, 4, 5\) and \(6, 4, 5\) do not agree"),
        ("matmul", (6, 5), r"axes \[2, 1\] of shapes \(6, 4, 5\) and \(6, 5\) found"),
        ("add", (6, 4, 4), r"shapes \(6, 4, 5\) and \(6, 4, 4\) must have one rank and agree"),
        ("mul", (6, 4), r"shapes \(6, 4, 5\) and \(6, 4\) must have one rank and agree"),
        ("concat", (4, 5), r"shapes \[\(6, 4, 5\), \(4, 5\)\] must agree in every dimension but axis 0"),
        (
            "concat at the last axis",
            (6, 4),
            r"shapes \[\(6, 4, 5\), \(6, 4\)\] must agree in every dimension but axis 2",
        ),
        ("concat", (6, 4, 4), r"shapes \[\(6, 4, 5\), \(6, 4, 4\)\] must agree in every dimension but axis 0"),
    ],
)
def test_refuses_shapes_that_do_not_agree(op: str, shape: tuple[int, ...], message: str):
    build = Build(SHAPE)
    fitting = build.constant(*((6, 5, 4) if op == "matmul" else SHAPE))
    match op:
        case "concat":
            build.concat(0, "x", fitting)
        case "concat at the last axis":
            build.concat(2, "x", fitting)
        case _:
            getattr(build, op)("x", fitting)
    build.program().validate()
    build.tensors[fitting] = replace(build.tensors[fitting], shape=shape)
    build.constants[f"{fitting}.codes"] = np.zeros(shape, np.uint8)
    with pytest.raises(ProgramError, match=message):
        build.program().validate()


@pytest.mark.parametrize("elements, accepted", [(128, True), (129, False)])
def test_a_sum_of_a_matmul_must_fit_int32(elements: int, accepted: bool):
    """4095^2 * 128 is 2^31 - 2^20 + 2^7, and one more product is over it."""
    build = Build((1, 2, elements), bits=12)
    build.matmul("x", "x", (2, 2))
    if accepted:
        build.program().validate()
    else:
        with pytest.raises(ProgramError, match=r"'matmul0'.*a sum could reach 2163204225, over int32's 2147483647"):
            build.program().validate()


@pytest.mark.parametrize("elements, accepted", [(1 << 15, True), (1 << 16, False)])
def test_a_variance_must_have_62_bits(elements: int, accepted: bool):
    build = Build((elements,), bits=16)
    build.normalize(0)
    if accepted:
        build.program().validate()
    else:
        with pytest.raises(ProgramError, match=r"'normalize0'.*a sum of 65536 squares could reach 2\^64, over 2\^62"):
            build.program().validate()
