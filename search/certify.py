"""`picojoule certify RUN`: the same inputs through training and every backend, and certificate.json about them.

It needs no torch: without it, or without what a backend needs, the others are compared.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from search.atomic import write_text
from search.deploy.backends import DEFAULTS, Options
from search.deploy.certificate import Certified, Entry
from search.errors import UsageError
from search.export import add_options, options_of, program_file
from search.integer.program import Program
from search.monitor.failures import ending, pipe_may_close

CERTIFICATE, MODEL = "certificate.json", "model.safetensors"


def certify(run: Path, log: Path | None = None, options: Options = DEFAULTS) -> Path:
    """Writes RUN/certificate.json, and prints a line for each way to run the network.

    Args:
        run: folder of a run, or of one of its points, or its program.safetensors.
        log: what the self-test of a board has printed.

    Returns:
        The certificate.

    Raises:
        UsageError: something computes other codes than the executor. The certificate is written before.
        RunFolderError, ProgramError, FileError: there is no program, or it cannot be read.
    """
    path = program_file(run)
    certified = Certified(Program.load(path), options)
    entries: list[Entry] = []

    def take(entry: Entry) -> None:
        entries.append(entry)
        print(entry.line(), flush=True)

    if log is not None:
        take(certified.of_log(log))
    take(certified.of_training(path.with_name(MODEL)))
    for entry in certified.entries():
        take(entry)
    target = path.with_name(CERTIFICATE)
    write_text(target, certified.certificate(entries, path))
    wrong = [entry.backend for entry in entries if entry.differs]
    if wrong:
        raise UsageError(f"{', '.join(wrong)}: other codes than the executor's, see above and {target}.")
    print(target)
    return target


def main(arguments: Sequence[str] | None = None) -> None:
    """Args: arguments: None takes those of the process."""
    parser = argparse.ArgumentParser(
        prog="picojoule certify", description="The same inputs through training and every backend, compared."
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run, or a program.safetensors")
    parser.add_argument("--log", type=Path, metavar="FILE", help="what the self-test of a board has printed")
    add_options(parser)
    given = parser.parse_args(arguments)
    with ending(), pipe_may_close():
        certify(given.run, given.log, options_of(given.run, given))


if __name__ == "__main__":
    main(sys.argv[1:])
