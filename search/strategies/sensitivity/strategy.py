"""The loss increase of each option alone, and an integer program that meets the budgets with the least sum of them.

(As in HAWQ-V3, Yao et al., ICML 2021, arXiv 2011.10680, with losses in place of curvatures, and channels besides.)
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cost_models.rules import CostModel
from search.errors import UsageError
from search.files.results import Result
from search.settings.front import Point
from search.settings.strategies import SensitivitySettings
from search.strategies.problem import FORWARD, Problem
from search.strategies.sensitivity.descent import descended
from search.strategies.sensitivity.increases import estimated_table, loss_at, measured_table, passes
from search.strategies.sensitivity.table import FILE, UNFINISHED, Table, fingerprint
from search.strategies.strategy import training
from spaces.architecture import Architecture
from spaces.space import Space

FOR_TABLE = 0.5  # of the seconds that are left: fine-tuning has the rest


class SensitivityProgram:
    """One table of the loss increase of every option alone, and from it an architecture for every point of a front.

    Example:
        One table, and networks for three budgets from it::

            python -m search +experiment=resnet8_digits strategy=sensitivity front.flash_bytes=[10240,5120,2560]
    """

    def __init__(self, settings: SensitivitySettings) -> None:
        self.settings = settings

    def rounds(self, space: Space, models: Mapping[str, CostModel], points: Sequence[Point]) -> int:
        return len(points)

    def plan(self, rounds: int, finetune: int, left: float | None) -> dict[str, int]:
        return training(rounds, finetune, left)

    def check(self, space: Space, models: Mapping[str, CostModel], points: Sequence[Point]) -> None:
        """Raises UsageError: no budgets; or a strategy.table that cannot be read or is of another space."""
        table = self.settings.table
        if table is not None and not Table.load(Path(table)).covers(space):
            raise UsageError(
                f"strategy.table {table}: belongs to another space, with other decisions or options. Leave it out, or "
                "take the model and the space settings of the run that made it."
            )
        if not all(point.budgets for point in points):
            raise UsageError("strategy 'sensitivity': lowers costs to budgets, and there are none. Add budgets.")

    def advice(self, plan: Mapping[str, int], steps: int) -> list[str]:
        return []

    def run(self, problem: Problem) -> Iterator[Result]:
        table = self._table(problem)
        found = [self._found(problem.at(point), table) for point in problem.points]
        left = self._left(problem)
        for point, architecture in zip(problem.points, found, strict=True):
            yield problem.at(point).evaluate(architecture, left)

    def _found(self, problem: Problem, table: Table) -> Architecture:
        """The architecture of one point. Passes that it takes are counted as parts of epochs of the search."""
        batches, runtime, began = problem.sample(self.settings.batches), problem.runtime, time.perf_counter()
        tries = 0

        def loss_of(architecture: Architecture) -> float:
            nonlocal tries
            tries += 1
            return loss_at(problem.space, architecture, batches, runtime.task.comparison_loss)

        found, increases = descended(problem.budgets, table, loss_of)
        epochs = len(batches) * tries * FORWARD / len(runtime.whole)
        runtime.ledger.spend("search", epochs, time.perf_counter() - began)
        return problem.filled(found, increases)

    def _left(self, problem: Problem, ahead: float = 0.0) -> int | None:
        """Epochs that a limit leaves for fine-tuning each point. Raises UsageError: none."""
        whole, limit = problem.epochs_left(), problem.settings.limits.epochs
        if whole is None:
            return None
        left = int((whole - ahead) / len(problem.points))
        if left < 1:
            raise UsageError(
                f"limits.epochs: {limit:g}, of which the table takes {ahead:.1f}, and nothing is left "
                "to fine-tune. Raise it, or take strategy.estimate=gradient, strategy.batches=1 or the strategy.table "
                "of another run."
            )
        return left

    def _table(self, problem: Problem) -> Table:
        """The table that this run made before, or that of another run where it is named, or a new one."""
        own = problem.runtime.folder / FILE
        path = own if own.exists() or self.settings.table is None else Path(self.settings.table)
        if path.exists() or path != own:
            table = Table.load(path)
            if not table.fits(problem.space, problem.runtime.task.facts):
                raise UsageError(
                    f"strategy.table {path}: belongs to other weights, another space or another loss of the task. "
                    "Leave it out, or take that run's float network (train.warmup.source), its class weights and its "
                    "label smoothing."
                )
            problem.runtime.ledger.restore(table.seconds)  # one that was taken over counts as if it had been made here
        else:
            self._left(problem, self._epochs(problem))
            table = replace(self._made(problem), epochs=self._epochs(problem))
        if path != own or not own.exists():
            table.save(own)
        (problem.runtime.folder / UNFINISHED).unlink(missing_ok=True)
        problem.runtime.ledger.spend("search", table.epochs, table.seconds)
        return table

    def _made(self, problem: Problem) -> Table:
        batches, runtime, began = problem.sample(self.settings.batches), problem.runtime, time.perf_counter()
        task = runtime.task
        if self.settings.estimate == "gradient":
            table = estimated_table(problem.space, batches, task.comparison_loss, facts=task.facts)
            return replace(table, seconds=time.perf_counter() - began)
        path, tries = runtime.folder / UNFINISHED, passes(problem.space)
        known = self._unfinished(path, problem)
        runtime.ledger.restore(known.seconds)
        runtime.monitor.note(f"sensitivity: {tries} options, each tried alone")

        def timed(table: Table) -> Table:
            return replace(table, seconds=known.seconds + time.perf_counter() - began)

        def keep(table: Table) -> None:
            timed(table).save(path)
            runtime.monitor.note(f"sensitivity: {table.tries} of {tries}")

        left = runtime.ledger.left()
        allowed = None if left is None else FOR_TABLE * left
        return timed(
            measured_table(
                problem.space,
                batches,
                task.comparison_loss,
                facts=task.facts,
                allowed=allowed,
                known=known.increases,
                keep=keep,
            )
        )

    def _unfinished(self, path: Path, problem: Problem) -> Table:
        """What this run had measured when it was killed; an empty table where there is nothing of these weights."""
        before = Table.load(path) if path.exists() else None
        if before is None or before.fingerprint != fingerprint(problem.space, problem.runtime.task.facts):
            return Table("", (), {}, {})
        return before

    def _epochs(self, problem: Problem) -> float:
        """Passes over training data, in units of training on all of it."""
        work = FORWARD * passes(problem.space) if self.settings.estimate == "measured" else 1.0
        return self.settings.batches * work / len(problem.runtime.whole)
