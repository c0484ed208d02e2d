"""`picojoule evaluate RUN --backend numpy,c`: what a run's network scores on each backend, its speed, what differs."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from search import data as data_sets
from search.config import CONFIG_FILE, read_config, register
from search.data import Data
from search.data.batches import Batches
from search.deploy.backends import BACKENDS, DEFAULTS, BuildFolder, Options, Runner, backend, different
from search.deploy.verify import as_tensors
from search.experiment import EVALUATION_BATCH
from search.export import add_options, options_of, program_file
from search.files.run_folders import RunFolderError
from search.integer.executor import Executor, decoded
from search.integer.program import Program
from search.monitor.failures import ending, pipe_may_close
from search.tasks import TASKS, Task

SPLITS = ("test", "val", "train")


def evaluate(
    run: Path, names: Sequence[str], split: str, limit: int | None = None, options: Options = DEFAULTS
) -> None:
    """Prints a line for each way to run each backend.

    Args:
        run: folder of a run, or of one of its points.
        split: of the run's data.
        limit: examples, from the first; None: all.

    Raises:
        UsageError: a backend is unknown, what it needs is not installed, or the data of the run was given in Python.
        RunFolderError: there is no run.
        ProgramError, FileError: its program cannot be read.
    """
    program = Program.load(program_file(run))
    backends = {name: backend(name) for name in names}
    settings = read_config(_folder_of(run))
    data = data_sets.load(settings.data)
    task = TASKS[settings.task.name].of(settings.task, data, settings.train.label_smoothing)
    examples = _examples(data, split, limit)
    total = sum(len(images) for images, _ in examples)
    print(f"{total} {split} examples of {data.name}")
    with BuildFolder() as folder:
        for name, each in backends.items():
            own = folder.path / name
            own.mkdir()
            for how, way in each.opened(each.write(program, own, options)).items():
                print(f"{how}: {_line(program, task, way, examples)}", flush=True)


def _folder_of(run: Path) -> Path:
    """The run folder that a network lies in."""
    found = next((folder for folder in (run, *run.resolve().parents) if (folder / CONFIG_FILE).is_file()), None)
    if found is None:
        raise RunFolderError(f"'{run}': no {CONFIG_FILE} there or above, so it is not known what it was trained on.")
    return found


def _examples(data: Data, split: str, limit: int | None) -> list[tuple[Tensor, Tensor]]:
    """(images, targets), normalised, neither shuffled nor augmented."""
    found, left = [], limit
    batches = Batches(data, split, EVALUATION_BATCH, seed=0, shuffle=False)
    for images, targets in batches.epoch(0):
        found.append((images[:left], targets[:left]))
        left = None if left is None else left - len(images)
        if left is not None and left <= 0:
            break
    return found


def _line(program: Program, task: Task, way: Runner, examples: Sequence[tuple[Tensor, Tensor]]) -> str:
    executor, scores, wrong, compared = Executor(program), task.scores(), 0, 0
    for images, targets in examples:
        array = images.numpy()
        found, expected = way.codes(array), executor(array, intermediate=True)
        for tensor, codes in expected.items():
            wrong, compared = wrong + int(different(found[tensor], codes).sum()), compared + codes.size
        outputs = tuple(decoded(found[name], program.tensors[name]) for name in program.outputs)
        scores.add(as_tensors(outputs if len(outputs) > 1 else outputs[0]), targets, images)
    score, pace = task.metric.written(scores.value), way.pace(examples[0][0].numpy())
    return f"{task.metric.name} {score}, {pace} an example, {wrong} of {compared:,} elements differ from NumPy"


def main(arguments: Sequence[str] | None = None) -> None:
    """Args: arguments: None takes those of the process."""
    parser = argparse.ArgumentParser(
        prog="picojoule evaluate", description="What the network of a run scores on each backend, and its speed."
    )
    parser.add_argument(
        "run", type=Path, metavar="RUN", help="folder of a run, runs/NAME/TIME, or of one of its points"
    )
    parser.add_argument(
        "--backend", default="numpy", metavar="NAME[,NAME]", help=f"of {', '.join(BACKENDS)}; default: numpy"
    )
    parser.add_argument("--split", default=SPLITS[0], choices=SPLITS, help=f"of the data; default: {SPLITS[0]}")
    parser.add_argument("--limit", type=_count, metavar="N", help="the first N examples alone")
    add_options(parser)
    given = parser.parse_args(arguments)
    register()
    with ending(), pipe_may_close():
        evaluate(given.run, given.backend.split(","), given.split, given.limit, options_of(given.run, given))


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} found; at least 1 is allowed")
    return number


if __name__ == "__main__":
    main(sys.argv[1:])
