"""`picojoule export RUN --to onnx`: writes the network of a run for a backend, and compares every tensor."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from search.deploy.backends import BACKENDS, DEFAULTS, SIZE, SPEED, Options, agreements, backend, drawn_inputs
from search.deploy.numpy.backend import FILE as PROGRAM
from search.errors import UsageError, file_errors
from search.files.run_folders import RunFolderError
from search.integer.program import Program
from search.monitor.failures import ending, pipe_may_close


def export(run: Path, names: Sequence[str], folder: Path | None = None, options: Options = DEFAULTS) -> None:
    """Writes a program for each backend into a folder of its name, and prints a line about what was compared.

    Args:
        run: folder of a run, or of one of its points, or its program.safetensors.
        folder: for the backends' folders; None: beside the program.
        options: of what is written.

    Raises:
        UsageError: a backend is unknown, what it needs is not installed, or it computes other codes.
        RunFolderError: there is no program.
        ProgramError, FileError: it cannot be read.
    """
    path = program_file(run)
    backends = {name: backend(name) for name in names}
    program = Program.load(path)
    inputs = drawn_inputs(program)
    for name, each in backends.items():
        place = (folder or path.parent) / name
        with file_errors(place, "cannot be made"):
            place.mkdir(parents=True, exist_ok=True)
        file = each.write(program, place, options)
        print(f"{file}: {each.about(file)}", flush=True)
        for found in agreements(program, each.opened(file), *inputs):
            print(f"{found.how}: {found.mismatches} of {found.elements:,} elements of {found.tensors} tensors differ")
            if found.first is not None:
                raise UsageError(f"{found.how}: {found.first}. A defect of picojoule or of the backend: report it.")


def program_file(run: Path) -> Path:
    """The program of a run, or of one of its points. Raises RunFolderError where there is none."""
    path = run if run.is_file() else run / PROGRAM
    if not path.is_file():
        raise RunFolderError(
            f"'{run}': no run folder: it has no {PROGRAM}. Name runs/NAME/TIME of a run that has ended, or one of the "
            "folders in its points."
        )
    return path


def main(arguments: Sequence[str] | None = None) -> None:
    """Args: arguments: None takes those of the process."""
    parser = argparse.ArgumentParser(
        prog="picojoule export", description="The network of a run for a backend, compared in every tensor."
    )
    parser.add_argument("run", type=Path, metavar="RUN", help=f"folder of a run, or a {PROGRAM}")
    parser.add_argument("--to", default="onnx", metavar="NAME[,NAME]", help=f"of {', '.join(BACKENDS)}; default: onnx")
    parser.add_argument("--folder", type=Path, help="for the backends' folders; default: beside the program")
    parser.add_argument("--target", default=DEFAULTS.target, help=f"core of cortex_m; default: {DEFAULTS.target}")
    parser.add_argument("--optimize", default=SPEED, choices=(SPEED, SIZE), help="what C is made for; default: speed")
    for what in ("flash", "ram"):
        parser.add_argument(f"--{what}", type=int, metavar="BYTES", help=f"{what} that an image of cortex_m may take")
    parser.add_argument("--qdq", action="store_true", help="an ONNX model of floats beside that of integers")
    given = parser.parse_args(arguments)
    with ending(), pipe_may_close():
        options = Options(given.target, given.optimize, given.flash, given.ram, given.qdq)
        export(given.run, given.to.split(","), given.folder, options)


if __name__ == "__main__":
    main(sys.argv[1:])
