"""Searches in folders of their own: what is finished is read, what was cut short goes on, the rest starts."""

import json
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

import search.command
from search.atomic import write_text
from search.files.results import Result, read_results

# A search starts from a process that has imported all of it: that takes three of the five seconds of a short one.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([__name__, "torch._dynamo"])


@dataclass(frozen=True)
class Searched:
    """Attributes: seconds, peak_bytes: of the process; None where the search was cut short and went on in another."""

    summary: dict[str, Any]
    results: list[Result]
    seconds: float | None
    peak_bytes: int | None


def searched(folder: Path, overrides: Sequence[str]) -> Searched:
    """What `python -m search folder=... overrides` leaves, run in a process of one thread.

    Raises:
        RuntimeError: the search failed; its last lines follow. Or what is in the folder is of other overrides.
    """
    path, begun = folder.with_name(f"{folder.name}.json"), (folder / "config.yaml").is_file()
    if not begun:
        write_text(path, json.dumps({"overrides": list(overrides)}))
    measured = json.loads(path.read_text()) if path.is_file() else {"overrides": "unknown"}
    if measured.pop("overrides") != list(overrides):
        raise RuntimeError(f"{folder}: holds a search with other overrides. Delete it to repeat it, or name another.")
    if not measured:
        arguments = [f"resume={folder}"] if begun else [f"folder={folder}", "tensorboard=false", *overrides]
        seconds, peak = _run(folder, arguments)
        measured = {"seconds": None if begun else seconds, "peak_bytes": None if begun else peak}
        write_text(path, json.dumps({"overrides": list(overrides), **measured}))
    results, faults = read_results(folder / "results.jsonl")
    if faults:
        raise RuntimeError(f"{faults}: damaged. Delete {folder} to repeat that search.")
    summary = json.loads((folder / "summary.json").read_text())
    return Searched(summary, results, **measured)


def _run(folder: Path, arguments: list[str]) -> tuple[float, int]:
    """Seconds and the most bytes that were resident."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    log, began = folder.parent / f"{folder.name}.log", time.perf_counter()
    receiver, sender = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=_search, args=(arguments, log, sender))
    process.start()
    sender.close()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"search {arguments}: {log.read_text()[-2000:]}")
    peak: int = receiver.recv()
    return time.perf_counter() - began, peak


def _search(arguments: list[str], log: Path, sender: Connection) -> None:
    """What `python -m search` does, with one thread, and all that it prints in the log."""
    with log.open("w") as output:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(output.fileno(), stream.fileno())
    sys.argv[1:] = arguments
    torch.set_num_threads(1)
    search.command.main()
    sender.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
