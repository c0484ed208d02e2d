import errno
import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from search.errors import FileError
from search.integer.executor import Executor
from search.integer.program import Program, ProgramError, TensorInfo
from tests.search.integer.programs import Build, residual_network


def stored(program: Program, folder: Path) -> Path:
    path = folder / "program.safetensors"
    program.save(path)
    return path


def header_of(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with safetensors.safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()["picojoule"]), safetensors.numpy.load_file(path)


def rewrite(path: Path, header: Any, constants: dict[str, np.ndarray]) -> None:
    safetensors.numpy.save_file(constants, path, {"picojoule": json.dumps(header)})


def test_file_round_trip(tmp_path: Path):
    program = residual_network()
    loaded = Program.load(stored(program, tmp_path))
    assert (loaded.inputs, loaded.outputs, loaded.tensors) == (program.inputs, program.outputs, program.tensors)
    assert loaded.metadata == program.metadata and loaded.nodes == _as_json(program).nodes
    assert loaded.constants.keys() == program.constants.keys()
    for name, constant in program.constants.items():
        assert loaded.constants[name].dtype == constant.dtype
        np.testing.assert_array_equal(loaded.constants[name], constant)
    x = np.random.default_rng(0).normal(size=(2, 2, 9, 8))
    np.testing.assert_array_equal(Executor(loaded)(x), Executor(program)(x))
    assert [file.name for file in tmp_path.iterdir()] == ["program.safetensors"]  # nothing temporary is left


def _as_json(program: Program) -> Program:
    """JSON knows lists, no tuples."""
    nodes = tuple(replace(node, attributes=json.loads(json.dumps(node.attributes))) for node in program.nodes)
    return replace(program, nodes=nodes)


def test_constants_that_are_views_are_stored_right(tmp_path: Path):
    program = residual_network()
    name = next(name for name in program.constants if name.endswith("bias"))
    program.constants[name] = np.repeat(program.constants[name], 2)[::2]
    loaded = Program.load(stored(program, tmp_path))
    np.testing.assert_array_equal(loaded.constants[name], program.constants[name])


def test_a_failed_save_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = stored(residual_network(), tmp_path)
    before = path.read_bytes()

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        residual_network(seed=1).save(path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_refuses_a_truncated_file(tmp_path: Path, keep: int):
    path = stored(residual_network(), tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ProgramError, match=r"program.safetensors: not a whole safetensors file.*Copy it again"):
        Program.load(path)


def test_refuses_another_safetensors_file(tmp_path: Path):
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file({"weight": np.zeros(3)}, path)
    with pytest.raises(ProgramError, match=r"model.safetensors: .*without a graph.*Give the program.safetensors"):
        Program.load(path)


def test_refuses_a_flipped_bit_in_the_constants(tmp_path: Path):
    path = stored(residual_network(), tmp_path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ProgramError, match=r"SHA-256.*damaged or edited"):
        Program.load(path)


def test_refuses_an_edited_graph(tmp_path: Path):
    path = stored(residual_network(), tmp_path)
    header, constants = header_of(path)
    header["graph"]["nodes"][0]["attributes"]["zero_point"] += 1
    rewrite(path, header, constants)
    with pytest.raises(ProgramError, match="SHA-256"):
        Program.load(path)


def test_a_file_of_format_1_is_read(tmp_path: Path):
    """As the version before wrote it: one name for the input and the output, of the program and of each node."""
    program = residual_network()
    path = stored(program, tmp_path)
    header, constants = header_of(path)
    graph = header["graph"]
    nodes = [
        {**{k: v for k, v in node.items() if k != "outputs"}, "output": node["outputs"][0]} for node in graph["nodes"]
    ]
    old = {k: v for k, v in graph.items() if k not in ("inputs", "outputs")} | {"nodes": nodes}
    old |= {"input": graph["inputs"][0], "output": graph["outputs"][0]}
    digest = hashlib.sha256(json.dumps(old, sort_keys=True).encode())
    for name in sorted(constants):
        digest.update(json.dumps([name, constants[name].dtype.str, constants[name].shape]).encode())
        digest.update(constants[name].tobytes())
    rewrite(path, {"version": 1, "sha256": digest.hexdigest(), "graph": old}, constants)
    loaded = Program.load(path)
    assert (loaded.inputs, loaded.outputs, loaded.nodes) == (program.inputs, program.outputs, _as_json(program).nodes)
    x = np.random.default_rng(0).normal(size=(2, 2, 9, 8))
    np.testing.assert_array_equal(Executor(loaded)(x), Executor(program)(x))


def test_a_saved_file_has_the_mode_of_any_other(tmp_path: Path):
    (tmp_path / "other").write_text("")
    modes = [path.stat().st_mode for path in (tmp_path / "other", stored(residual_network(), tmp_path))]
    assert modes[0] == modes[1]


def test_a_saved_file_is_on_the_disk_before_it_takes_the_old_ones_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    calls: list[str] = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(f"os.{name}", lambda *a, name=name, real=real: (calls.append(name), real(*a))[1])
    stored(residual_network(), tmp_path)
    assert calls == ["fsync", "replace"]


def test_refuses_another_version(tmp_path: Path):
    path = stored(residual_network(), tmp_path)
    header, constants = header_of(path)
    rewrite(path, {**header, "version": 99}, constants)
    with pytest.raises(ProgramError, match="version 99 found; this program reads versions 1, 2, 3"):
        Program.load(path)


@pytest.mark.parametrize("header", [[], "text", {"version": 1}, {"version": 1, "graph": 3, "sha256": ""}])
def test_refuses_a_malformed_header(tmp_path: Path, header: Any):
    path = tmp_path / "program.safetensors"
    rewrite(path, header, {"weight": np.zeros(3)})
    with pytest.raises(ProgramError, match=r"program.safetensors: "):
        Program.load(path)


@pytest.mark.parametrize(("name", "number"), [("nowhere.safetensors", errno.ENOENT), (".", errno.EISDIR)])
def test_what_is_no_file_is_named_with_the_file_that_is_meant(tmp_path: Path, name: str, number: int):
    with pytest.raises(FileError, match=r": cannot be read \(.*\)\. Give the program of a run, RUN/program") as said:
        Program.load(tmp_path / name)
    assert said.value.errno == number and str(tmp_path / name) in str(said.value)


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
    build.flatten(24)
    build.linear(5)
    assert build.program().macs() == 16 * 9 * 4 * 6 + 4 * 9 * 6 + 24 * 5


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
    build.flatten(18)
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
