"""`picojoule export RUN --to onnx`: writes the network of a run for a backend, and compares every tensor."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from search.deploy.backends import BACKENDS, DEFAULTS, SIZE, SPEED, Options, agreements, backend, drawn_inputs
from search.deploy.cortex_m.cores import CORES
from search.deploy.numpy.backend import FILE as PROGRAM
from search.errors import UsageError, file_errors
from search.files.run_folders import RunFolderError
from search.integer.program import Program
from search.integer.stepping import stepped
from search.monitor.failures import ending, pipe_may_close

SUMMARY = "summary.json"  # beside the program of a run


def export(
    run: Path, names: Sequence[str], folder: Path | None = None, options: Options = DEFAULTS, step: bool = False
) -> None:
    """Writes a program for each backend into a folder of its name, and prints a line about what was compared.

    Args:
        run: folder of a run, or of one of its points, or its program.safetensors.
        folder: for the backends' folders; None: beside the program.
        options: of what is written.
        step: whether it is written as a step, with states; see search.integer.stepping.

    Raises:
        UsageError: a backend is unknown, what it needs is not installed, or it computes other codes.
        RunFolderError: there is no program.
        ProgramError, FileError: it cannot be read.
    """
    path = program_file(run)
    backends = {name: backend(name) for name in names}
    program = stepped(Program.load(path)) if step else Program.load(path)
    inputs = drawn_inputs(program)
    for name, each in backends.items():
        place = (folder or path.parent) / (f"{name}_step" if step else name)
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


def add_options(parser: argparse.ArgumentParser) -> None:
    """Of commands that build C: a core, and what the C is made for."""
    said = "default: that of the run's target"
    parser.add_argument("--target", metavar="CORE", help=f"of {', '.join(CORES)}; {said}, else {DEFAULTS.target}")
    parser.add_argument("--optimize", choices=(SPEED, SIZE), help=f"what C is made for; {said}, else {SPEED}")


def options_of(run: Path, given: argparse.Namespace, **more: Any) -> Options:
    """What is asked for; and where nothing is, what the run was made for.

    Args:
        given: of a parser with `add_options`.
        more: fields of the options.

    Raises:
        RunFolderError: there is no program.
    """
    made = _made_for(program_file(run).with_name(SUMMARY))
    target = given.target or made.get("core") or DEFAULTS.target
    return Options(target, given.optimize or made.get("optimize") or DEFAULTS.optimize, **more)


def _made_for(summary: Path) -> dict[str, str]:
    """The target that the summary of a run names; {} where it names none."""
    try:
        found = json.loads(summary.read_text(encoding="utf-8")).get("target", {})
        return {key: value for key, value in found.items() if isinstance(value, str)}
    except (OSError, ValueError, AttributeError):
        return {}


def _refuse_idle(given: argparse.Namespace, names: Sequence[str]) -> None:
    """Raises UsageError for an option that no backend of those reads."""
    idle = [f"--{name}" for name in ("target", "flash", "ram") if getattr(given, name) and "cortex_m" not in names]
    idle += ["--qdq"] if given.qdq and "onnx" not in names else []
    idle += ["--optimize"] if given.optimize and not {"c", "cortex_m"} & set(names) else []
    if idle:
        raise UsageError(
            f"{', '.join(idle)}: nothing reads it of --to {','.join(names)}. Leave it out, or add a backend."
        )


def _bytes(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} found; at least 1 is allowed")
    return number


def main(arguments: Sequence[str] | None = None) -> None:
    """Args: arguments: None takes those of the process."""
    parser = argparse.ArgumentParser(
        prog="picojoule export", description="The network of a run for a backend, compared in every tensor."
    )
    parser.add_argument("run", type=Path, metavar="RUN", help=f"folder of a run, or a {PROGRAM}")
    parser.add_argument("--to", default="onnx", metavar="NAME[,NAME]", help=f"of {', '.join(BACKENDS)}; default: onnx")
    parser.add_argument("--folder", type=Path, help="for the backends' folders; default: beside the program")
    add_options(parser)
    for what in ("flash", "ram"):
        parser.add_argument(
            f"--{what}", type=_bytes, metavar="BYTES", help=f"{what} that an image of cortex_m may take"
        )
    parser.add_argument("--qdq", action="store_true", help="an ONNX model of floats beside that of integers")
    parser.add_argument(
        "--step", action="store_true", help="as a step, which hears a sequence place by place and carries its states"
    )
    given = parser.parse_args(arguments)
    with ending(), pipe_may_close():
        names = given.to.split(",")
        _refuse_idle(given, names)
        options = options_of(given.run, given, flash_bytes=given.flash, ram_bytes=given.ram, qdq=given.qdq)
        export(given.run, names, given.folder, options, given.step)


if __name__ == "__main__":
    main(sys.argv[1:])
