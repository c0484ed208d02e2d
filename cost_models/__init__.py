"""What a network costs: pure, differentiable functions of its description.

They are exact on a decided network. The formulas stand in docs/methods.md, section 8.
"""

from collections.abc import Callable

from cost_models.bops import Bops
from cost_models.energy import Energy
from cost_models.flash import Flash
from cost_models.image import ImageFlash, ImageRam
from cost_models.latency import Latency
from cost_models.macs import Macs
from cost_models.parameters import Parameters
from cost_models.peak_ram import PeakRam
from cost_models.rules import CostModel
from cost_models.target import Target
from search.errors import UsageError

COST_MODELS: dict[str, CostModel] = {
    "macs": Macs(),
    "parameters": Parameters(),
    "flash_bytes": Flash(),
    "peak_ram_bytes": PeakRam(),
    "bops": Bops(),
    "energy_pj": Energy(),
}

TARGET_COST_MODELS: dict[str, Callable[[Target], CostModel]] = {
    "latency_cycles": Latency,
    "image_flash_bytes": ImageFlash,
    "image_ram_bytes": ImageRam,
}

IMAGE_COSTS = frozenset((ImageFlash.name, ImageRam.name))  # what is linked, and may be measured on a built image
HELD_BY = {  # bytes that lie in the memory of a chip -> the field of a Target that says how many it holds
    Flash.name: "flash_bytes",
    ImageFlash.name: "flash_bytes",
    PeakRam.name: "ram_bytes",
    ImageRam.name: "ram_bytes",
}


def cost_model(name: str, target: Target | None = None) -> CostModel:
    """The cost model of that name.

    Raises:
        UsageError: there is no such model, or it reads a target's tables and no target is given.
    """
    if name in COST_MODELS:
        return COST_MODELS[name]
    if name not in TARGET_COST_MODELS:
        known = ", ".join((*COST_MODELS, *TARGET_COST_MODELS))
        raise UsageError(f"no cost model '{name}'; there are {known}. Use one of these or add a file in cost_models/.")
    if target is None:
        raise UsageError(
            f"cost model '{name}' reads a target's tables and no target is given; choose one (target=...)."
        )
    return TARGET_COST_MODELS[name](target)
