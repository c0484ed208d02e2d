"""How a command that fails or is stopped ends: with one line, or with a traceback and what to report."""

import os
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from search.errors import PicojouleError
from search.files.urls import without_password
from search.files.versions import versions
from search.monitor.started import started_as


@contextmanager
def ending() -> Iterator[None]:
    """Ends the process where something is raised inside.

    An error that picojoule knows takes one line, and so does a signal that stops the command (`stops_in_one_line`).
    Where code of the user failed, such as the constructor of a model, the traceback of that stands above the line.
    Anything else is shown with its traceback, and with the command and the versions that a report of it needs.
    Passwords in the command are masked.

    Raises:
        SystemExit: in place of any Exception. With HYDRA_FULL_ERROR in the environment errors pass as they are.
    """
    try:
        with stops_in_one_line(""):
            yield
    except Exception as error:
        if os.environ.get("HYDRA_FULL_ERROR"):
            raise
        if isinstance(error, PicojouleError):
            _show_cause(error)
            sys.exit(f"picojoule: {error}")
        traceback.print_exc()
        sys.exit(f"picojoule: {_request()}")


@contextmanager
def pipe_may_close() -> Iterator[None]:
    """Ends what is inside, and nothing more, where who reads what it prints has seen enough, as `head` may have."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def stops_in_one_line(advice: str) -> Iterator[None]:
    """Ends the process with one line where Ctrl-C or SIGTERM stops what is inside.

    Args:
        advice: what can be done then.

    Raises:
        SystemExit: 130 after Ctrl-C, 143 after SIGTERM.
    """
    alone = threading.current_thread() is threading.main_thread()  # no other may set what a signal does
    before = signal.signal(signal.SIGTERM, _interrupt) if alone else None
    try:
        yield
    except KeyboardInterrupt as stop:
        number, by = (signal.SIGTERM, "SIGTERM") if stop.args == (signal.SIGTERM,) else (signal.SIGINT, "Ctrl-C")
        if _rank() == 0:
            print(f"picojoule: stopped by {by}. {advice}".rstrip(), file=sys.stderr)
        sys.exit(128 + number)
    finally:
        if alone:
            signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number))


def _show_cause(error: PicojouleError) -> None:
    """Prints the traceback of the error in the user's code that this one was raised from, if there is one."""
    cause = error.__cause__
    if error.shows_cause and not isinstance(cause, (PicojouleError, type(None))):
        traceback.print_exception(cause)


def _request() -> str:
    command = without_password(shlex.join([*started_as(), *sys.argv[1:]]))
    installed = ", ".join(f"{name} {version}" for name, version in versions().items())
    return (
        "this error is not one that picojoule knows, so it may be a defect of picojoule. Please report it with the "
        f"traceback above, this command and these versions:\n  {command}\n  {installed}"
    )


def _rank() -> int:
    """Of this process; 0 where torch, without which there is one process, is not in use."""
    if "torch" not in sys.modules:
        return 0
    from search import distributed

    return distributed.rank()
