"""network_read: raw examples become the codes that the program's own preprocessing gives."""

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from search.compilers import WARNINGS, compiler
from search.deploy.backends import backend
from search.integer.preprocessing import Preprocessing
from tests.search.integer.programs import Build

MAIN = """
#include <stdio.h>
#include "network.h"

int main(void)
{
    static %s raw[NETWORK_IN_SIZE];
    static uint8_t in[NETWORK_IN_SIZE];
    while (fread(raw, sizeof *raw, NETWORK_IN_SIZE, stdin) == NETWORK_IN_SIZE) {
        network_read(raw, in);
        fwrite(in, 1, sizeof in, stdout);
    }
    return 0;
}
"""
EACH = ((0.2, 0.5, 0.4), (0.3, 0.2, 0.25))


def read(program, raw: np.ndarray, folder: Path) -> np.ndarray:
    """Codes as they lie, channels last."""
    backend("c").write(program, folder)
    (folder / "main.c").write_text(MAIN % ("uint8_t" if raw.dtype == np.uint8 else "float"))
    sources = [str(folder / name) for name in ("network.c", "weights.c", "main.c")]
    made = str(folder / "main")
    subprocess.run([*compiler(), "-std=c99", *WARNINGS, "-Werror", "-O2", "-o", made, *sources], check=True)
    done = subprocess.run([made], input=np.ascontiguousarray(raw).tobytes(), capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.uint8).reshape(len(raw), *program.tensors["x"].shape[1:], -1)


@pytest.mark.parametrize("channels", ["first", "last"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("alike", [True, False])
def test_codes_are_those_of_the_preprocessing(channels: str, dtype: str, alike: bool, tmp_path: Path):
    build = Build((3, 4, 5))
    build.conv(2, (1, 1))
    mean, std = ((0.4,) * 3, (0.25,) * 3) if alike else EACH
    preprocessing = Preprocessing(dtype, channels, mean, std)
    program = replace(build.program(), preprocessing=preprocessing)
    rng, shape = np.random.default_rng(0), preprocessing.raw_shape((3, 4, 5))
    if dtype == "uint8":
        raw = rng.integers(0, 256, (40, *shape), dtype=np.uint8)
    else:
        raw = rng.normal(0.4, 3, (40, *shape)).astype(np.float32)
        raw[0], raw[1] = 1e30, -1e30
        raw[2] = (rng.integers(-100, 300, shape) + 0.5) * 0.05  # near ties
    expected = preprocessing.codes(raw, program.tensors["x"])
    assert np.array_equal(read(program, raw, tmp_path), np.moveaxis(expected, 1, -1))


def test_bytes_that_are_codes_are_passed_on(tmp_path: Path):
    build = Build((1, 6, 6), zero_point=64)
    build.conv(2, (1, 1))
    info = replace(build.tensors["x"], scale=1 / (255 * 0.25))
    build.tensors["x"] = info
    preprocessing = Preprocessing("uint8", "none", (64 / 255,), (0.25,))
    assert preprocessing.takes_bytes(info)
    raw = np.random.default_rng(0).integers(0, 256, (7, 6, 6), dtype=np.uint8)
    found = read(replace(build.program(), preprocessing=preprocessing), raw, tmp_path)
    assert np.array_equal(found[..., 0], raw)


def test_normalised_examples_are_read_where_there_is_no_preprocessing(tmp_path: Path):
    build = Build((2, 3, 3))
    build.conv(2, (1, 1))
    program = build.program()
    x = np.random.default_rng(0).normal(0, 4, (9, 2, 3, 3)).astype(np.float32)
    info = program.tensors["x"]
    codes = np.clip(np.floor(x / np.float32(info.scale) + np.float32(0.5)) + info.zero_point, 0, 255)
    assert np.array_equal(read(program, x, tmp_path), np.moveaxis(codes, 1, -1))
