"""Sweeps: a run for each combination of values. One that fails ends no other, and the end lists all failures.

Hydra takes sweepers from `hydra_plugins` alone. It imports them in every application of its own that is started where
picojoule is installed, so that nothing of picojoule, and no torch, is imported here before there is a sweep.
"""

import logging
import shlex
import sys
from collections.abc import Sequence
from textwrap import indent
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import Override


class Sweeper(BasicSweeper):
    """Hydra's basic sweeper, for runs that return why they failed, or None.

    A run whose settings cannot be composed fails before any begins.
    """

    def __init__(self, max_batch_size: int | None = None, params: dict[str, str] | None = None) -> None:
        super().__init__(max_batch_size, params)
        self.failures: list[tuple[Sequence[str], str]] = []  # overrides, reason
        self.runs = 0

    def sweep(self, arguments: list[str]) -> Any:
        """Raises SystemExit where a run has failed, with all failures."""
        if "quiet=true" in arguments:
            for library in ("hydra", "hydra_plugins"):  # launchers say what they start
                logging.getLogger(library).setLevel(logging.WARNING)
        for batch in super().sweep(arguments):
            self.failures += [(job.overrides, job.return_value) for job in batch if job.return_value is not None]
        if self.failures:
            sys.exit(_listing(self.failures, self.runs))

    def split_arguments(  # type: ignore[override]  # it needs no more than a function there
        self, overrides: list[Override], max_batch_size: int | None
    ) -> list[list[list[str]]]:
        """The overrides of all runs that can be composed, in batches."""
        batches = BasicSweeper.split_arguments(overrides, max_batch_size)
        self.runs = sum(map(len, batches))
        batches = [[job for job in batch if self._composes(job)] for batch in batches]
        return [batch for batch in batches if batch]  # launchers take no empty batch

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """It is, or it would not be there."""

    def _composes(self, overrides: Sequence[str]) -> bool:
        from search.config.refusals import explained
        from search.errors import UsageError

        assert self.hydra_context is not None and self.config is not None
        try:
            with explained():
                self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        except UsageError as error:
            self.failures.append((overrides, str(error)))
            return False
        return True


def _listing(failures: Sequence[tuple[Sequence[str], str]], runs: int) -> str:
    lines = [f"  {shlex.join(overrides)}\n{indent(reason, '    ')}" for overrides, reason in failures]
    return "\n".join([f"picojoule: {len(failures)} of the {runs} runs of this sweep failed:", *lines])
