"""Whatever a program file holds, it is refused by name, or the executor computes what the specification says."""

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from search.integer.executor import Executor
from search.integer.frontend import MFCC
from search.integer.operators import OPERATORS
from search.integer.preprocessing import Preprocessing
from search.integer.program import Program, ProgramError, checksum
from tests.laws.damage import damage_json
from tests.search.integer.loops import recurrent
from tests.search.integer.programs import Build, attention_network, residual_network, resized_network
from tests.search.integer.reference import run
from tests.search.integer.sounds import FRONT_ENDS, fitted, front_end
from tests.search.integer.sounds import program as of_sound

QUICK, THOROUGH = 200, 4000
TYPES = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.int64, np.float32, np.bool_)
LARGEST = 1 << 16  # codes of a tensor that loops in Python can compute


def programs() -> list[Program]:
    """Every operator, with one width and several, with and without a table."""
    series = Build((3, 12), bits=4)
    series.table = True
    first = series.conv(4, (3,), padding=((1, 1),))
    second = series.conv(4, (3,), groups=4, padding=((2, 0),), widths=(2, 3, 5, 8))
    series.concat(0, first, second)
    series.mul(series.last, series.last)
    series.lookup()
    series.pool("avg_pool", (3,), stride=(2,))
    series.take([], [0, 0, 1, 2, 3, 4, 4])
    series.reshape(56)
    series.linear(3, widths=(2, 4, 8))
    with_classes = replace(
        series.program(), preprocessing=Preprocessing("uint8", "last", (0.5,) * 3, (0.2,) * 3), classes=("a", "b", "c")
    )
    attention = (attention_network(), attention_network(bits=4, seed=1))
    sound = (of_sound(fitted(FRONT_ENDS[4])), of_sound(fitted(front_end(samples=500, kind=MFCC, coefficients=3))))
    return [
        residual_network(),
        residual_network(bits=5, seed=1),
        with_classes,
        *attention,
        resized_network(),
        *sound,
        recurrent(),
    ]


def test_every_operator_is_damaged():
    found = {node.op for program in programs() for node in program.nodes}
    assert found == {name for name, each in OPERATORS.items() if not each.picks}


def damage_constants(constants: dict[str, np.ndarray], draw: random.Random) -> None:
    name = draw.choice(sorted(constants))
    array = constants[name].copy()
    match draw.randrange(4) if array.nbytes else 1:
        case 0:
            array.view(np.uint8).reshape(-1)[draw.randrange(array.nbytes)] ^= 1 << draw.randrange(8)
        case 1:
            array = array.astype(draw.choice(TYPES))
        case 2:
            array = draw.choice([array[:-1], array[None], np.concatenate([array, array]), array[:0]])
        case _:
            array = np.frombuffer(draw.randbytes(array.nbytes), array.dtype).reshape(array.shape)
    constants[name] = np.ascontiguousarray(array)


def damaged(whole: bytes, path: Path, draw: random.Random) -> None:
    """Writes the file with a few things changed in its bytes, or in its content under a right checksum."""
    if draw.random() < 0.1:
        content = bytearray(whole)
        for _ in range(draw.randrange(1, 4)):
            content[draw.randrange(len(content))] = draw.randrange(256)
        path.write_bytes(content[: len(content) - draw.choice([0, 0, 1, 50])])
        return
    path.write_bytes(whole)
    with safetensors.safe_open(path, framework="numpy") as file:
        header = json.loads(file.metadata()["picojoule"])
    constants = safetensors.numpy.load_file(path)
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        if draw.random() < 0.7:
            damage_json(header["graph"], draw)
        else:
            damage_constants(constants, draw)
    header["sha256"] = checksum(header["graph"], constants)
    path.write_bytes(safetensors.numpy.save(constants, {"picojoule": json.dumps(header)}))


def refused_or_right(path: Path, draw: random.Random) -> bool:
    """Whether the file was refused."""
    try:
        program = Program.load(path)
    except ProgramError as error:
        assert str(path) in str(error) and len(str(error)) > len(str(path)) + 10
        return True
    if len(program.inputs) > 1 or max(np.prod(info.shape) for info in program.tensors.values()) > LARGEST:
        return False
    info = program.tensors[program.inputs[0]]
    x = (
        np.random.default_rng(draw.randrange(99))
        .integers(0, info.largest_code + 1, (1, *info.shape))
        .astype(info.dtype)
    )
    found, raw = Executor(program)(x, intermediate=True), program.preprocessing
    if raw is not None:
        Executor(program).predict(np.zeros((2, *raw.raw_shape(info.shape)), raw.raw_dtype))
    for name, codes in run(program, x[0]).items():
        np.testing.assert_array_equal(found[name][0], codes.astype(found[name].dtype), err_msg=f"{path}: {name}")
    return False


@pytest.mark.parametrize("count", [QUICK, pytest.param(THOROUGH, marks=pytest.mark.slow)])
def test_a_damaged_program_is_refused_by_name_or_computes_what_it_says(tmp_path: Path, count: int):
    path, files = tmp_path / "program.safetensors", []
    for program in programs():
        program.save(path)
        files.append(path.read_bytes())
    refused = 0
    for seed in range(count):
        draw = random.Random(seed)
        damaged(draw.choice(files), path, draw)
        try:
            refused += refused_or_right(path, draw)
        except Exception as error:
            raise AssertionError(f"file of seed {seed}") from error
    assert 0.5 * count < refused < 0.99 * count  # most are refused, and some are other programs
