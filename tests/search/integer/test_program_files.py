"""A Program and its file: it comes back whole or not at all, also from the formats before."""

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
from search.integer.program import Program, ProgramError
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


def rewrite_as(version: int, path: Path, graph: Any, constants: dict[str, np.ndarray]) -> None:
    """A file of a version before, with its checksum."""
    digest = hashlib.sha256(json.dumps(graph, sort_keys=True).encode())
    for name in sorted(constants):
        digest.update(json.dumps([name, constants[name].dtype.str, constants[name].shape]).encode())
        digest.update(constants[name].tobytes())
    rewrite(path, {"version": version, "sha256": digest.hexdigest(), "graph": graph}, constants)


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
    rewrite_as(1, path, old, constants)
    loaded = Program.load(path)
    assert (loaded.inputs, loaded.outputs, loaded.nodes) == (program.inputs, program.outputs, _as_json(program).nodes)
    x = np.random.default_rng(0).normal(size=(2, 2, 9, 8))
    np.testing.assert_array_equal(Executor(loaded)(x), Executor(program)(x))


@pytest.mark.parametrize("version", [2, 3])
def test_a_file_before_format_4_flattens_and_upsamples(tmp_path: Path, version: int):
    """Pixels stood `factor` times along each spatial axis, and what is a reshape now was a flatten."""
    build = Build((2, 3, 2))
    build.take([], [0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 1, 1])
    build.conv(1, (2, 2), stride=(2, 2))
    build.reshape(9)
    build.linear(4)
    program = build.program()
    path = stored(program, tmp_path)
    header, constants = header_of(path)
    upsample, _, flatten, _ = header["graph"]["nodes"]
    upsample |= {"op": "upsample", "attributes": {"factor": [2, 3]}}
    flatten |= {"op": "flatten", "attributes": {"shape": [9]}}
    if version == 2:
        del header["graph"]["preprocessing"], header["graph"]["classes"]
    rewrite_as(version, path, header["graph"], constants)
    loaded = Program.load(path)
    assert [node.op for node in loaded.nodes] == ["take", "conv", "reshape", "linear"]
    assert loaded.nodes == _as_json(program).nodes
    x = np.random.default_rng(0).normal(size=(2, 2, 3, 2))
    found, expected = (Executor(each)(x, intermediate=True) for each in (loaded, program))
    for name in program.tensors:
        np.testing.assert_array_equal(found[name], expected[name])


@pytest.mark.parametrize(
    "attributes, message",
    [
        ({"factor": [2]}, "its graph is malformed"),
        ({}, "its graph is malformed"),
        ({"factor": [3, 3]}, r"'take0'.*has shape \(2, 6, 6\); its inputs give \(2, 9, 6\)"),
    ],
)
def test_an_upsampling_of_format_3_that_does_not_fit_is_refused(tmp_path: Path, attributes: Any, message: str):
    build = Build((2, 3, 2))
    build.take([], [0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 1, 1])
    path = stored(build.program(), tmp_path)
    header, constants = header_of(path)
    header["graph"]["nodes"][0] |= {"op": "upsample", "attributes": attributes}
    rewrite_as(3, path, header["graph"], constants)
    with pytest.raises(ProgramError, match=rf"program\.safetensors: .*{message}"):
        Program.load(path)


def test_a_file_of_format_4_has_no_flatten(tmp_path: Path):
    path = stored(residual_network(), tmp_path)
    header, constants = header_of(path)
    assert header["version"] == 4
    next(node for node in header["graph"]["nodes"] if node["op"] == "reshape")["op"] = "flatten"
    rewrite_as(4, path, header["graph"], constants)
    with pytest.raises(ProgramError, match=r"\(flatten\): unknown operator"):
        Program.load(path)


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
    with pytest.raises(ProgramError, match="version 99 found; this program reads versions 1, 2, 3, 4"):
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
