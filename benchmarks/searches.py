"""Searches in folders of their own: what is finished is read, what was cut short goes on, the rest starts."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from search.results import Result, read_results


def searched(folder: Path, overrides: Sequence[str]) -> tuple[dict[str, Any], list[Result]]:
    """The summary and results of `python -m search folder=... overrides`, in a process of one thread.

    Raises:
        RuntimeError: the search failed; its last lines follow.
    """
    if not (folder / "summary.json").is_file():
        begun = (folder / "config.yaml").is_file()
        arguments = [f"resume={folder}"] if begun else [f"folder={folder}", "tensorboard=false", *overrides]
        done = subprocess.run(
            [sys.executable, "-m", "search", *arguments],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"search {arguments}: {(done.stdout + done.stderr)[-2000:]}")
    results, faults = read_results(folder / "results.jsonl")
    if faults:
        raise RuntimeError(f"{faults}: damaged. Delete {folder} to repeat that search.")
    return json.loads((folder / "summary.json").read_text()), results
