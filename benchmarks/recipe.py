"""What augmentation, label smoothing and distillation do for float networks, and for the small ones made of them.

`python -m benchmarks.recipe` prints a JSON object for each run: a network and a data set of `benchmarks.robust_cells`,
one change of the default training, and the accuracy of the float network and of the integers that a search finds for
1/16 of its flash. "shift" is the default itself, and "none" is without it. Runs of one data set have the same seeds and
epochs. Defaults are chosen by validation data ("val").
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.front import count
from benchmarks.lines import Line
from benchmarks.robust import Job as Search
from benchmarks.robust import contests
from benchmarks.robust_cells import Cell, Setting
from benchmarks.robust_sources import Sources
from benchmarks.searches import Searched, searched

PART = 16  # of the flash at 8 bits
CELLS = tuple(
    Cell(Setting(network, data, 64, schedule), flash=PART)
    for network, data, schedule in (
        ("small_cnn", "noisy_digits", "short"),
        ("tcn", "motion", "medium"),
        ("ds_cnn", "spoken_digits", "short"),
        ("resnet8", "fashion", "medium"),
        ("resnet8", "cifar10", "short"),
    )
)
CHANGES = {
    "none": ["train.augment.shift=0"],
    "shift": [],
    "shift 1/8": ["train.augment.shift=0.125"],
    "cutout": ["train.augment.cutout=0.25"],
    "noise": ["train.augment.noise=0.1"],
    "label smoothing": ["train.label_smoothing=0.1"],
    "distillation": ["train.distillation.weight=0.5"],
}


@dataclass(frozen=True)
class Job:
    """A search with one change, and the float network that it starts from."""

    search: Search
    change: str

    def run(self, root: Path) -> Line:
        cell = self.search.cell
        name = f"{self.change.replace(' ', '_').replace('/', 'over')}_{self.search.seed}"
        folder = root / cell.setting.name / name
        data = f"data.file={self.search.contest.file.absolute()}"
        network = Search(self.search.contest, cell, "float", self.search.seed)
        source = folder.with_name(f"float_{name}")
        searched(source, [*network.settings(), data, *CHANGES[self.change]])
        warm = f"train.warmup.source={source.absolute()}"
        return self._line(searched(folder, [*self.search.settings(), data, warm, *CHANGES[self.change]]))

    def _line(self, done: Searched) -> Line:
        setting, accuracy = self.search.cell.setting, done.summary["accuracy"]
        line: Line = {"benchmark": "recipe", "network": setting.network, "data": setting.data, "change": self.change}
        line |= {"seed": self.search.seed, "float": accuracy["float"], "integer": accuracy["integer"]}
        return line | {"settings": " ".join([*self.search.settings(), *CHANGES[self.change]])}


def jobs(seeds: int, root: Path, sources: Sources, only: str) -> Iterator[Job]:
    """Those whose data is here."""
    cells = [cell for cell in CELLS if only in cell.name]
    for contest, own in contests(cells, root / "data", sources):
        for seed in range(seeds):
            yield from (Job(Search(contest, own[0], "gradient", seed), change) for change in CHANGES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=count, default=2)
    parser.add_argument("--only", default="", help="cells whose name has this in it, for example tcn_motion")
    parser.add_argument("--folder", type=Path, default=Path("runs/recipe"), help="of the runs, which are resumed")
    Sources.add_options(parser)
    arguments = parser.parse_args()
    for job in jobs(arguments.seeds, arguments.folder, Sources.of(arguments), arguments.only):
        print(json.dumps(job.run(arguments.folder)), flush=True)


if __name__ == "__main__":
    main()
