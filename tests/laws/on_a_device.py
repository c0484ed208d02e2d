"""Trains networks on the CPU and on the device in software, in a process of its own, for test_devices.py.

    python tests/laws/on_a_device.py [--recorded] NETWORK MODE [MODE ...]

A line of JSON for each mode: "differing", the tensors whose bytes differ in the end, and "waits", of each step. Where
steps are recorded as graphs, "recordings", how many there are, "replays", in how many of the steps in which decisions
learn one was repeated, and "notes", why others are not recorded.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from benchmarks import step_time
from benchmarks.software_device import SoftwareDevice, SoftwareGraph, on_cpu
from benchmarks.step_time import ROUND, Ours, ours
from cost_models import COST_MODELS
from search.objective.objective import Objective
from spaces.one_of import OneOf
from spaces.passes.chosen import only_eager
from spaces.space import INTEGER, Space
from tests.laws.recorders import Counted

STEPS = ROUND + 1
STEPS_RECORDED = 2 * ROUND + 1  # of which two learn behind the three that it takes to record them
PROGRESS = 0.2  # share of the search at which floors hold decisions back
INTEGERS, BRANCHES, RECORDED = "integers", "branches", "--recorded"
CPU = torch.device("cpu")


def objective(space: Space) -> Objective:
    """With a budget from which the space is far."""
    described = space.describe()
    models = {name: COST_MODELS[name] for name in step_time.COSTS}
    costs = {name: model(described).item() for name, model in models.items()}
    return Objective(models, costs, {"flash_bytes": costs["flash_bytes"] / 3}, {"peak_ram_bytes": 0.1})


class Ceilings(nn.Sequential):
    """Convolutions with ReLU6, of which the highest code is where the step puts it, and a table."""

    def __init__(self, in_channels: int) -> None:
        stem = nn.Conv2d(in_channels, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU6()
        body = nn.Conv2d(8, 8, 3, groups=8), nn.ReLU6(), nn.Conv2d(8, 12, 1), nn.BatchNorm2d(12), nn.Hardswish()
        super().__init__(*stem, *body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 10))


class Branches(nn.Sequential):
    """A choice of a convolution or nothing, of which nothing is all but always drawn, see `trainer`."""

    def __init__(self, in_channels: int) -> None:
        stem = nn.Conv2d(in_channels, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU()
        block = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        super().__init__(*stem, OneOf([block, nn.Identity()]), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))


step_time._objective = objective
step_time.NETWORKS |= {"ceilings": Ceilings, BRANCHES: Branches}
step_time.SHAPES |= {"mobilenet_v2": (2, 3, 32, 32), "ceilings": (2, 3, 12, 12), BRANCHES: (2, 3, 12, 12)}
step_time.MODES |= {
    "bits_of_layers": replace(step_time.MODES["channel_bits"], granularity="tensor"),
    "kernels": replace(step_time.MODES["qat_w8a8"], kernel_sizes=(1,)),
    "gates_with_memory": replace(step_time.MODES["masks"], hysteresis=0.1, trainable_threshold=True),
    "noise": replace(step_time.MODES["activation_bits"], mode="gumbel"),
    INTEGERS: step_time.MODES["qat_w8a8"],
}


def trainer(network: str, mode: str, device: torch.device) -> Ours:
    torch.manual_seed(1)
    made = ours(network, mode, batch=6, device=device)
    if network == BRANCHES:
        (choice,) = [made.network.choices[name] for name in made.network.selector.schedule.branches]
        choice.fix(choice.options[-1:])
    if mode == INTEGERS:
        made.network.set_mode(INTEGER)
    return made


def trained(made: Ours, steps: int, after: Callable[[], None] = lambda: None) -> dict[str, Tensor]:
    for _ in range(steps):
        made.steps.step(made.images, made.targets, progress=PROGRESS)
        after()
    return {name: on_cpu(value) for name, value in made.network.state_dict().items()}


def compared(network: str, mode: str, recorded: bool) -> dict[str, object]:
    steps, before = STEPS_RECORDED if recorded else STEPS, Counted.replays
    waits: list[int] = []
    notes: list[str] = []
    with SoftwareDevice() as software:
        made = trainer(network, mode, software.device)
        if recorded:
            made.steps.recorder = Counted(made.network, made.steps.loss, SoftwareGraph, notes.append)

        def count() -> None:
            waits.append(software.waits)
            software.counts.clear()

        own = trained(made, steps, count)
    with only_eager():
        expected = trained(trainer(network, mode, CPU), steps)
    differing = [name for name in own.keys() | expected.keys() if not torch.equal(own[name], expected[name])]
    found = {"differing": differing, "waits": waits[1:], "searches": bool(made.network.decisions)}
    recorder = made.steps.recorder
    if recorder is None:
        return found
    return found | {"recordings": recorder.recordings, "replays": Counted.replays - before, "notes": notes}


if __name__ == "__main__":
    torch.set_num_threads(1)
    network, *modes = [argument for argument in sys.argv[1:] if argument != RECORDED]
    for mode in modes:
        print(json.dumps({"mode": mode, **compared(network, mode, RECORDED in sys.argv)}), flush=True)
