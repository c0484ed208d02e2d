"""Cycles that are foretold, against what an emulated core executes."""

from pathlib import Path

import pytest

from benchmarks.mcu_networks import Lstm
from cost_models import cost_model
from search.config import composed
from search.deploy.backends import Options, backend, drawn_inputs
from search.deploy.cortex_m import cores
from search.errors import MissingTool
from tests.cost_models.test_image import MODELS, drawn

# Networks that join tensors, and one of small layers.
NETWORKS = {name: MODELS[name] for name in ("branches", "inception", "unet")} | {"lstm": (Lstm, (40, 8))}


@pytest.mark.parametrize("bits", [(8,), (2, 4, 8)], ids=str)
@pytest.mark.parametrize("target", ["cortex_m4", "cortex_m4_size"])
@pytest.mark.parametrize("name", NETWORKS)
def test_cycles_are_foretold(name: str, target: str, bits: tuple[int, ...], tmp_path: Path):
    chip = composed([f"target={target}"]).target
    try:
        cores.toolchain(cores.CORES[chip.core])
    except MissingTool as error:
        pytest.skip(str(error))
    _, program, network = drawn(*NETWORKS[name], bits)
    emulated = backend("cortex_m")
    (run,) = emulated.opened(emulated.write(program, tmp_path, Options(chip.core, chip.optimize))).values()
    executed = run.counted(*drawn_inputs(program, 1)).instructions
    assert cost_model("latency_cycles", chip)(network).item() == pytest.approx(executed, rel=0.05)
