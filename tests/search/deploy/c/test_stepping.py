import subprocess
from pathlib import Path

import numpy as np
import pytest

from search.compilers import compiled, compiler
from search.deploy.backends import DEFAULTS, SIZE, SPEED, Options
from search.deploy.c import backend
from search.deploy.c.manifest import Manifest
from search.integer.executor import Executor
from search.integer.stepping import stepped
from tests.search.integer.agreement import codes_of
from tests.search.integer.test_stepping import LENGTH, causal

MAIN = """\
#include <stdio.h>

#include "network.h"

int main(void)
{
    static uint8_t in[NETWORK_IN0_SIZE];
    static uint8_t out[NETWORK_OUT0_SIZE];
    network_state state;
    network_reset(&state);
    while (fread(in, 1, sizeof in, stdin) == sizeof in) {
        network_step(in, out, &state);
        fwrite(out, 1, sizeof out, stdout);
    }
    return 0;
}
"""


@pytest.mark.parametrize("optimize", [SPEED, SIZE])
def test_network_step_computes_what_the_whole_computes(tmp_path: Path, optimize: str) -> None:
    whole = causal()
    step = stepped(whole)
    manifest = Manifest.read(backend.write(step, tmp_path, Options(optimize=optimize)))
    (tmp_path / "main.c").write_text(MAIN)
    warnings = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror"]
    compiled(compiler(), [tmp_path / f"{n}.c" for n in ("network", "weights", "main")], tmp_path / "step", warnings)
    codes, lies = codes_of(whole, 1), {each.name: each for each in manifest.tensors}
    x, y = lies[step.inputs[0]], lies[step.outputs[0]]
    places = x.shape[-1]
    given = [x.lying(np.ascontiguousarray(codes[..., at : at + places])) for at in range(0, LENGTH, places)]
    said = subprocess.run([tmp_path / "step"], input=b"".join(map(bytes, given)), capture_output=True, check=True)
    found = np.frombuffer(said.stdout, np.uint8).reshape(len(given), -1)
    each = [y.seen(row[None])[0] for row in found]
    expected = Executor(whole)(codes, intermediate=True)[whole.outputs[0]][0]
    np.testing.assert_array_equal(np.concatenate(each, -1), expected)


def test_a_program_without_states_has_no_step(tmp_path: Path) -> None:
    backend.write(causal(), tmp_path, DEFAULTS)
    assert "network_step" not in (tmp_path / "network.h").read_text()
