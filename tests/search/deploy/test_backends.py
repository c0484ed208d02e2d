"""Backends: what they write computes what the executor does, and where it does not, the place is named."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cost_models import IMAGE_COSTS
from search.deploy import backends
from search.deploy.backends import BACKENDS, agreements, backend, drawn_inputs, linked
from search.errors import UsageError
from search.integer.executor import Executor
from tests.search.integer.programs import attention_network, residual_network


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("network", [residual_network, attention_network])
def test_a_backend_computes_every_tensor_from_its_own_file(name: str, network, tmp_path: Path):
    program = network()
    file = backend(name).write(program, tmp_path)
    assert file.parent == tmp_path and file.stat().st_size > 10
    inputs = drawn_inputs(program)
    found = agreements(program, backend(name).opened(file), *inputs)
    assert found and all(each.mismatches == 0 and each.first is None for each in found)
    assert {each.tensors for each in found} == {len(program.tensors)}


@pytest.mark.parametrize("name", sorted(BACKENDS.keys() - {"cortex_m"}))
def test_a_backend_that_builds_no_image_has_none_linked(name: str, tmp_path: Path):
    assert linked(backend(name), tmp_path / "none") == {}


def test_what_a_backend_links_is_by_the_costs_of_an_image(tmp_path: Path):
    sizes = {"image_flash_bytes": 10, "image_ram_bytes": 5}
    assert linked(SimpleNamespace(linked=lambda file: sizes), tmp_path) == sizes and sizes.keys() == IMAGE_COSTS


def test_the_first_element_that_differs_is_named():
    program = residual_network()
    inputs = drawn_inputs(program, samples=2)
    codes = Executor(program)(*inputs, intermediate=True)
    second, last = list(codes)[1], list(codes)[-1]
    codes[second][1, 0, 2, 3] += 1
    codes[last][0] += 1
    (found,) = agreements(program, {"wrong": SimpleNamespace(codes=lambda *_: codes)}, *inputs)
    expected = int(codes[second][1, 0, 2, 3]) - 1
    assert found.first == f"{second}[1, 0, 2, 3]: {expected + 1} found, {expected} expected"
    assert found.mismatches == 1 + codes[last][0].size


def test_drawn_inputs_take_every_code_in_turn():
    program = residual_network()
    (x,) = drawn_inputs(program, samples=64)
    codes = Executor(program)(x, intermediate=True)["x"]
    assert x.dtype == np.float32 and len(np.unique(codes)) == 256
    assert all(map(np.array_equal, drawn_inputs(program), drawn_inputs(program)))


def test_an_unknown_backend_is_named():
    with pytest.raises(UsageError, match=r"there is no backend 'tflite'. There are numpy, c, cortex_m, onnx"):
        backend("tflite")


def test_what_is_not_installed_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    with pytest.raises(
        UsageError, match=r"onnx: onnx, onnxruntime not installed. Run `pip install 'picojoule\[onnx\]'`"
    ):
        backend("onnx")
