"""What a Program weighs and does, and what makes it inconsistent. test_validation.py has more of that."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.integer.executor import Executor
from search.integer.program import Program, ProgramError, TensorInfo
from tests.search.integer.programs import Build, residual_network


def test_flash_counts_packed_bytes():
    build = Build((3, 4, 4))
    build.conv(5, (3, 3), widths=4)  # rows of 27 codes: 14 bytes; bias 4, multiplier 2, shift 1 a channel
    assert build.program().flash_bytes() == 5 * (14 + 4 + 2 + 1)
    mixed = Build((3, 4, 4))
    mixed.conv(3, (3, 3), widths=(2, 4, 8))  # and one nibble a channel
    assert mixed.program().flash_bytes() == (7 + 14 + 27) + 3 * 7 + 2


def test_shared_constants_count_once():
    program = residual_network()
    extra = replace(program.nodes[0], name="twice")
    assert replace(program, nodes=(*program.nodes, extra)).flash_bytes() == program.flash_bytes()


def test_macs_hand_count():
    build = Build((4, 8, 8))
    build.conv(6, (3, 3), stride=(2, 2), padding=((1, 1), (1, 1)))  # 4 x 4
    build.conv(6, (3, 3), groups=6)  # 2 x 2
    build.reshape(24)
    build.linear(5)
    assert build.program().macs() == 16 * 9 * 4 * 6 + 4 * 9 * 6 + 24 * 5


def test_macs_of_products_of_codes_and_of_transposed_convolutions_by_hand():
    build = Build((6, 4, 5))
    build.conv_transpose(8, (3, 2), groups=2, stride=(2, 2), padding=((1, 1), (1, 0)))  # at 4 x 5 places of the input
    build.last = "x"
    scores = build.matmul("x", "x", (2, 2))  # 6 heads of 4 x 4 sums of 5 products
    build.matmul(scores, "x")  # 6 heads of 4 x 5 sums of 4 products
    build.softmax(2)
    build.normalize(0)
    assert build.program().macs() == 4 * 5 * (6 // 2 * 3 * 2) * 8 + 6 * 4 * 4 * 5 + 6 * 4 * 5 * 4


def test_flash_of_tables_of_exponentials_and_of_constants_by_hand():
    softmax = Build((3, 4), bits=5)
    softmax.softmax(0)
    assert softmax.program().flash_bytes() == 2 * 2**5
    norm = Build((3, 4))
    norm.normalize(0)  # a bias of 4, a multiplier of 2 and a shift of 1 a channel
    assert norm.program().flash_bytes() == 3 * (4 + 2 + 1)
    for bits, size in ((4, 1), (8, 1), (16, 2)):  # bytes of a code; two multipliers and one shift
        added = Build((3, 4), bits)
        added.add("x", added.constant(3, 4))
        assert added.program().flash_bytes() == 12 * size + 2 * 2 + 1


def test_constants_take_no_ram_however_they_are_reshaped():
    build = Build((6,), bits=4)  # 3 bytes
    build.constant(6, 100)
    build.reshape(600)
    build.reshape(100, 6)
    stored = build.take([3], [])  # 3 bytes, copied
    build.reshape(6)
    build.add("x", build.last)
    program = build.program()
    assert program.peak_ram_bytes() == 3 + 3 + 3
    assert program.arena().size == 9
    assert program.tensors[stored].packed_bytes == 3


def test_peak_ram_counts_a_residual_branch_and_sub_byte_codes():
    build = Build((2, 4, 4), bits=4)  # 16 B
    first = build.conv(4, (1, 1))  # 32 B, alive until the sum
    second = build.conv(4, (1, 1))  # 32 B
    build.add(first, second)  # 32 B
    assert build.program().peak_ram_bytes() == 3 * 32
    build.conv(3, (4, 3))  # 3 x 1 x 2 codes of 4 bits: 3 B
    assert build.program().peak_ram_bytes() == 3 * 32


def test_peak_ram_counts_the_input_until_its_last_reader():
    build = Build((10,))
    wide = build.linear(40)
    build.linear(10)
    build.add("x", build.last)
    assert build.program().tensors[wide].shape == (40,)
    assert build.program().peak_ram_bytes() == 10 + 40 + 10


def test_peak_ram_counts_the_output_to_the_end():
    build = Build((10,))
    output = build.linear(8)
    build.linear(100)  # read by nobody, yet written
    assert replace(build.program(), outputs=(output,)).peak_ram_bytes() == 8 + 100


def test_flatten_takes_no_ram_and_keeps_its_input():
    build = Build((2, 3, 3))
    build.reshape(18)
    build.linear(4)
    assert build.program().peak_ram_bytes() == 18 + 4


def test_a_program_without_nodes_is_its_input():
    program = Program(("x",), ("x",), {"x": TensorInfo((5,), 8, 1.0, 0)}, (), {}, {})
    program.validate()
    assert program.peak_ram_bytes() == 5
    assert Executor(program)(np.arange(5, dtype=np.uint8)[None]).tolist() == [[0, 1, 2, 3, 4]]


def break_node(index: int, **changes: Any) -> Program:
    program = residual_network()
    nodes = list(program.nodes)
    nodes[index] = replace(nodes[index], **changes)
    return replace(program, nodes=tuple(nodes))


def break_attribute(index: int, **changes: Any) -> Program:
    return break_node(index, attributes={**residual_network().nodes[index].attributes, **changes})


def break_role(index: int, **changes: str) -> Program:
    return break_node(index, constants={**residual_network().nodes[index].constants, **changes})


def break_constant(name: str, value: Any) -> Program:
    program = residual_network()
    return replace(program, constants={**program.constants, name: value})


def break_tensor(name: str, **changes: Any) -> Program:
    program = residual_network()
    return replace(program, tensors={**program.tensors, name: replace(program.tensors[name], **changes)})


def more_tensors() -> Program:
    program = residual_network()
    return replace(program, tensors={**program.tensors, "more": program.tensors["x"]})


def without_attribute(index: int, key: str) -> Program:
    attributes = residual_network().nodes[index].attributes
    return break_node(index, attributes={name: value for name, value in attributes.items() if name != key})


BROKEN = {
    "unknown operator": (break_node(0, op="lstm"), "node 'conv0' .lstm.: unknown operator; there are conv"),
    "unknown input": (break_node(2, inputs=("nowhere",)), "'conv2'.*reads 'nowhere'"),
    "input of the future": (break_node(0, inputs=("conv3",)), "'conv0'.*reads 'conv3', which nothing before"),
    "number of inputs": (break_node(4, inputs=("x",)), "'add4'.*1 inputs found, 2 expected"),
    "written twice": (break_node(1, outputs=("conv0",)), "writes 'conv0' a second time"),
    "unknown output": (break_node(0, outputs=("y",)), "writes 'y', which is not among the tensors"),
    "missing constant": (break_role(0, weight="w"), "its weight 'w' is not among the constants"),
    "missing role": (break_node(4, constants={}), r"'add4'.*constants \['multiplier', 'shift'\] are missing"),
    "missing attribute": (without_attribute(0, "stride"), "'conv0'.*stride is missing"),
    "unknown attribute": (break_attribute(0, dilate=[1, 1]), "'conv0'.*dilate is unknown"),
    "a fraction": (break_attribute(0, zero_point=0.5), "'conv0'.*zero_point is 0.5, not a whole number"),
    "three paddings": (break_attribute(0, padding=[[1, 1, 0], [1, 1]]), r"'conv0'.*padding is .*\[before, after\]"),
    "one clip": (break_attribute(0, clip=[0]), r"'conv0'.*clip is \[0\], not \[lowest, highest\]"),
    "bits of weights": (break_attribute(0, weight_bits=9), "'conv0'.*weight_bits is 9, not a whole number of 1..8"),
    "unknown role": (break_role(1, weight="conv0.weight"), r"'max_pool1'.*constants \['weight'\] found"),
    "overflow": (break_constant("conv0.bias", np.full(6, 2**31 - 1, np.int32)), "'conv0'.*a sum could reach 21"),
    "idle constant": (break_constant("more", np.zeros(6, np.int32)), r"constants \['more'\]: no node has them"),
    "idle tensor": (more_tensors(), r"tensors \['more'\]: no node has them"),
    "no width": (without_attribute(0, "weight_bits"), "'conv0'.*give either"),
    "two widths": (break_attribute(3, weight_bits=8), "'conv3'.*give either"),
    "shape": (break_tensor("conv0", shape=(6, 5, 8)), r"'conv0'.*has shape \(6, 5, 8\); its inputs give \(6, 5, 7\)"),
    "groups": (break_attribute(0, groups=4), "groups 4 must divide the channels, 2 in and 6 out"),
    "stride": (
        break_attribute(0, stride=[0, 1]),
        r"'conv0'.*stride is \[0, 1\], not \[a whole number of 1..2147483647, ...\]",
    ),
    "dimensions": (break_attribute(0, kernel=[3]), "do not fit 2 spatial dimensions"),
    "kernel": (break_attribute(2, kernel=[9, 3]), "larger than the padded input"),
    "clip": (break_attribute(0, clip=[0, 256]), r"clip \[0, 256\] found; codes of 8 bits are 0..255"),
    "empty clip": (break_attribute(0, clip=[9, 8]), "is empty"),
    "bias type": (break_constant("conv0.bias", np.zeros(6, np.int64)), r"bias is int64\[6\]; int32\[6\] expected"),
    "weight size": (break_constant("conv0.weight", np.zeros(3, np.uint8)), r"weight is uint8\[3\]; uint8\[108\]"),
    "multiplier": (break_constant("conv0.multiplier", np.full(6, -32768, np.int16)), "multiplier -32768 found"),
    "shift": (break_constant("conv0.shift", np.full(6, 63, np.uint8)), "shifts 63..63 found; 1..62"),
    "width of 0": (break_constant("conv3.widths", np.full(3, 0x20, np.uint8)), r"'conv3'.*widths \[0\].*1..8"),
    "pool scale": (break_tensor("max_pool1", scale=1.0), "'max_pool1'.*scale and zero point of its input"),
    "bits": (break_tensor("x", bits=17), "tensor 'x': 17 bits found; 1..16"),
    "scale": (break_tensor("x", scale=float("nan")), "tensor 'x': scale nan"),
    "zero point": (break_tensor("x", zero_point=256), "tensor 'x': zero point 256 found; 0..255"),
    "program's input": (replace(residual_network(), inputs=("y",)), "input 'y' is not among the tensors"),
    "two outputs of a node": (break_node(0, outputs=("conv0", "x")), "'conv0'.*2 outputs found, 1 expected"),
    "no input": (replace(residual_network(), inputs=()), r"inputs \[\] found; one or more different names"),
    "no output": (replace(residual_network(), outputs=()), "no output found; one or more names"),
    "program's output": (replace(residual_network(), outputs=("y",)), "output 'y' is written by no node"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_refuses_an_inconsistent_program(case: str, tmp_path: Path):
    program, message = BROKEN[case]
    with pytest.raises(ProgramError, match=message):
        program.validate()
    with pytest.raises(ProgramError, match=message):
        program.save(tmp_path / "program.safetensors")
    assert not list(tmp_path.iterdir())


def test_refuses_a_table_of_another_length_or_range():
    build = Build((3, 4), bits=4)
    name = build.lookup()
    build.constants[f"{name}.table"] = np.zeros(9, np.uint8)
    with pytest.raises(ProgramError, match=r"table is uint8\[9\]; uint8\[16\] expected"):
        build.program().validate()
    build.constants[f"{name}.table"] = np.full(16, 16, np.uint8)
    with pytest.raises(ProgramError, match=r"table holds 16; codes of 4 bits are 0..15"):
        build.program().validate()
