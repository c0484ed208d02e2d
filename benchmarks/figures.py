"""What the search finds on Fashion-MNIST with ResNet-8, by budget, by space, by mode: resumable, hours on two cores.

`python -m benchmarks.figures --figure budgets|modes|supernet|patterns`. Several may run at once in one folder.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from benchmarks.searches import searched

SPACES = {
    "weights": [],
    "weights and activations": ["space.activation_bits=[2,4,8]"],
    "everything": ["space.activation_bits=[2,4,8]", "space.kernel_sizes=[1,3]"],
}
COLD = "strategy.final_temperature=0.1"
MODES = {"hard": [], "soft": [COLD], "gumbel": [COLD]}
PATTERNS = ["", "2:4", "columns", "channels", "blocks 4x4"]
NETWORKS = {"one of three": ["model=three_networks", "~model.stride"]}
NETWORKS |= {
    "resnet8": [],
    "ds_cnn": ["model=ds_cnn", "~model.stride"],
    "mobilenet_v1": ["model=mobilenet_v1", "~model.stride"],
}
BUDGETS = [20480, 10240, 5120, 3072, 2560]
Job = tuple[dict[str, object], list[str]]  # what it says of itself, overrides


def budgets() -> Iterator[Job]:
    for space, opened in SPACES.items():
        for budget in BUDGETS:
            yield {"space": space, "budget": budget}, ["+experiment=resnet8_fashion", *opened, _flash(budget)]


def modes() -> Iterator[Job]:
    opened = ["+experiment=resnet8_fashion", *SPACES["everything"], _flash(5120)]
    for mode, cooled in MODES.items():
        yield {"mode": mode}, [*opened, f"space.mode={mode}", *cooled]


def supernet() -> Iterator[Job]:
    for name, model in NETWORKS.items():
        yield {"network": name}, ["+experiment=resnet8_fashion", *model, _flash(5120)]


def patterns() -> Iterator[Job]:
    for pattern in PATTERNS:
        yield {"pattern": pattern}, ["+experiment=resnet8_fashion", _flash(10240), f"space.pattern='{pattern}'"]


FIGURES = {"budgets": budgets, "modes": modes, "supernet": supernet, "patterns": patterns}


def _flash(budget: int) -> str:
    return f"budgets.flash_bytes={budget}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", choices=FIGURES, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folder", type=Path, default=Path("runs/figures"))
    arguments = parser.parse_args()
    for seed in arguments.seeds:
        for said, overrides in FIGURES[arguments.figure]():
            name = "_".join(str(value).replace(" ", "-") for value in (arguments.figure, *said.values(), seed))
            done = searched(arguments.folder / name, [*overrides, f"seed={seed}"])
            line = {"benchmark": "figures", "figure": arguments.figure, **said, "seed": seed}
            line |= {"flash_bytes": done.summary["costs"]["flash_bytes"]["found"], "accuracy": done.summary["accuracy"]}
            line |= {"metrics": done.results[-1].metrics, "seconds": round(done.seconds)}
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
