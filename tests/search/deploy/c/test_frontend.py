"""network_read of sound: the codes of the front end, in every element, on this computer and on an emulated core."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from search.compilers import WARNINGS
from search.deploy import sounds as drawing
from search.deploy.backends import DEFAULTS, agreements, agreements_on_sound, backend, drawn_inputs
from search.deploy.certificate import Certified
from search.deploy.sounds import drawn_sounds
from search.errors import UsageError
from search.integer.frontend import MFCC, SEQUENCE, FrontEnd
from search.integer.program import Program
from tests.search.deploy.c.test_network import COMPILERS
from tests.search.integer.sounds import FRONT_ENDS, drawn, fitted, front_end, program

MAIN = """
#include <stdio.h>
#include "network.h"

int main(void)
{
    static network_raw raw[NETWORK_RAW_SIZE];
    static uint8_t in[NETWORK_IN_SIZE];
    while (fread(raw, sizeof *raw, NETWORK_RAW_SIZE, stdin) == NETWORK_RAW_SIZE) {
        network_read(raw, in);
        fwrite(in, 1, sizeof in, stdout);
    }
    return 0;
}
"""


def read(made: Program, raw: np.ndarray, compiler: tuple[str, ...], folder: Path) -> np.ndarray:
    """Codes as they lie, channels last."""
    backend("c").write(made, folder)
    (folder / "main.c").write_text(MAIN)
    sources = [str(folder / name) for name in ("network.c", "weights.c", "main.c")]
    target = str(folder / "main")
    subprocess.run([*compiler, "-std=c99", *WARNINGS, "-Werror", "-o", target, *sources], check=True)
    done = subprocess.run([target], input=np.ascontiguousarray(raw).tobytes(), capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.uint8).reshape(len(raw), *made.tensors["x"].shape[1:], -1)


@pytest.mark.parametrize("name", COMPILERS)
@pytest.mark.parametrize("number", range(len(FRONT_ENDS)))
def test_codes_are_those_of_the_front_end(name: str, number: int, tmp_path: Path):
    if shutil.which(COMPILERS[name][0]) is None:
        pytest.skip(f"there is no {COMPILERS[name][0]} here")
    given = FRONT_ENDS[number]
    made, raw = program(fitted(given), grid=number % 2 == 0), drawn(given)
    noise = np.random.default_rng(1).integers(-(2**15), 2**15, (20, given.samples)).astype(np.int16)
    raw = np.concatenate([raw, noise >> np.arange(20, dtype=np.int16)[:, None] // 2])
    expected = made.preprocessing.codes(raw, made.tensors["x"])
    assert len(np.unique(expected)) > 5
    np.testing.assert_array_equal(read(made, raw, COMPILERS[name], tmp_path), np.moveaxis(expected, 1, -1))


def test_the_header_says_what_memory_it_takes(tmp_path: Path):
    given = fitted(front_end(kind=MFCC, coefficients=5))
    backend("c").write(program(given), tmp_path)
    header = (tmp_path / "network.h").read_text()
    sizes = dict(re.findall(r"#define (NETWORK_R\w+) (\d+)", header))
    tables = 2 * 256 + 4 * 65 + 2 * given.filters.weights.size + 2 * 2 * 12 + 2 * 5 * 12
    assert sizes["NETWORK_RAW_SIZE"] == "2000" and sizes["NETWORK_READ_BYTES"] == str(129 * 8)
    assert sizes["NETWORK_READ_CONSTANTS_BYTES"] == str(tables)
    assert "typedef int16_t network_raw;" in header and "8000 a second" in header


def test_drawn_sounds_are_those_of_the_rule():
    state, each = 2, []
    for i in range(50):
        state = (state * drawing.FACTOR + drawing.SUMMAND) % 2**32
        each.append(((state >> 16) - 2**15) >> (16 * i // 50))
    assert drawn_sounds(50, 3)[1].tolist() == each


@pytest.mark.parametrize("name", ["c", "cortex_m"])
def test_backends_are_compared_on_sound(name: str, tmp_path: Path):
    if name == "cortex_m":
        pytest.importorskip("unicorn")
        if shutil.which("arm-none-eabi-gcc") is None:
            pytest.skip("there is no arm-none-eabi-gcc here")
    made = program(fitted(FRONT_ENDS[3]))
    ways = backend(name).opened(backend(name).write(made, tmp_path))
    of_tensors, of_sound = agreements(made, ways, *drawn_inputs(made, 2))
    assert of_tensors.mismatches == of_sound.mismatches == 0
    assert of_sound.how.endswith("front end") and of_sound.elements == 4 * np.prod(made.tensors["x"].shape)
    other = replace(made.preprocessing.frontend, offset=tuple(o + 99 for o in made.preprocessing.frontend.offset))
    moved = replace(made, preprocessing=replace(made.preprocessing, frontend=other))
    assert all(each.mismatches > 0 for each in agreements_on_sound(moved, ways).values())


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
def test_the_self_test_has_a_sound_and_its_log_is_understood(tmp_path: Path):
    made = program(fitted(front_end(kind=MFCC, coefficients=5, layout=SEQUENCE)))
    backend("c").write(made, tmp_path)
    done = subprocess.run(["make", "-s", "check"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr and "0 of 3 tensors differ" in done.stdout
    log = tmp_path / "board.log"
    log.write_text(done.stdout)
    certified = Certified(made, DEFAULTS)
    found = certified.of_log(log).agreement
    assert found.mismatches == 0 and found.tensors == 3
    wrong = re.sub(r"^2 [0-9a-f]{8} ok", "2 00000000 DIFFERS", done.stdout, flags=re.MULTILINE)
    log.write_text(wrong)
    found = certified.of_log(log).agreement
    assert found.mismatches == np.prod(made.tensors["x"].shape) and found.first.startswith("front end: CRC-32 00000000")
    log.write_text("\n".join(line for line in done.stdout.splitlines() if not line.startswith("2 ")))
    with pytest.raises(UsageError, match=r"tensors \[2\] are missing"):
        certified.of_log(log)


def test_a_program_without_sound_has_nothing_of_it(tmp_path: Path):
    made = program(fitted(front_end()))
    plain = replace(made, preprocessing=replace(made.preprocessing, frontend=None))
    backend("c").write(plain, tmp_path)
    for file in ("network.h", "network.c", "trace.c", "selftest.c", "README.md"):
        assert not re.search(r"read_spectrum|NETWORK_READ_|heard|sound", (tmp_path / file).read_text()), file
    ways = backend("c").opened(tmp_path / "network.json")
    assert agreements_on_sound(plain, ways) == {}


def test_a_front_end_of_two_filters_is_read(tmp_path: Path):
    given: FrontEnd = fitted(FRONT_ENDS[4])
    assert given.shape == (1, 2, 8) and given.points == 8
    raw = drawn(given)
    found = read(program(given), raw, COMPILERS["gcc"], tmp_path)
    np.testing.assert_array_equal(found[..., 0], given(raw)[:, 0])
