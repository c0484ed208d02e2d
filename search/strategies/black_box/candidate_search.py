"""A search without gradients at one point of a front: one candidate after another, and the best of them are trained.

All that a search knows stands in its study. So the search goes on from there after a kill, and several processes can
share a study.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from optuna.trial import FrozenTrial, TrialState

from search.errors import UsageError
from search.files.results import Result
from search.settings.strategies import BlackBoxSettings
from search.strategies.black_box.candidates import Candidates
from search.strategies.black_box.fronts import spread
from search.strategies.black_box.limits import Limits
from search.strategies.black_box.proxy import Proxy
from search.strategies.black_box.same_problem import known_after, known_before
from search.strategies.black_box.samplers import PRUNERS
from search.strategies.black_box.studies import (
    REFUSED,
    REPEATS,
    SCORE,
    VIOLATION,
    Chosen,
    Study,
    epochs_of,
    measured_trials,
)
from search.strategies.problem import Problem


class CandidateSearch:
    """One study, for one point of a front."""

    def __init__(self, settings: BlackBoxSettings, problem: Problem, number: int) -> None:
        """Args: number: of the point, from 1."""
        self.settings, self.problem, proxy = settings, problem, Proxy(problem, settings)
        facts = known_before(settings, problem.space, problem.models, problem.point) | known_after(problem)
        self.study = Study(settings, problem, facts, PRUNERS[settings.pruner](settings.candidate_epochs))
        self.limits = Limits(settings, problem, self.study, proxy.epochs, number)
        self.candidates = Candidates(settings, problem, self.study, self.limits, proxy)

    def run(self) -> Iterator[Result]:
        numbers, epochs = self.study.chosen() or self._search()
        self.problem.runtime.ledger.spend("search", epochs, self.limits.elapsed())
        trials, finetune = self.study.finished(), self.problem.last_finetune(len(numbers))
        found = {trial.number: trial for trial in trials}
        metrics = _metrics(trials) | {"search/epochs": epochs}
        for trial in (found[number] for number in numbers):
            result = self.problem.evaluate(self.candidates.architecture(trial), finetune)
            own = {self.problem.runtime.task.metric.of("val/searched"): trial.user_attrs[SCORE]}
            yield replace(result, metrics={**result.metrics, **metrics, **own}, point=self._point(result))

    def _search(self) -> Chosen:
        """Raises UsageError: nothing met the budgets."""
        while not (ended := self.limits.ended()):
            with self.study.candidate():
                self.candidates.next()
        self.study.leave()
        trials = self.study.finished()
        finished, drawn = measured_trials(trials), self.settings.attempts - self.limits.attempts_left(trials)
        if not finished:
            raise UsageError(
                f"strategy '{self.settings.name}': ended by {ended}, and none of {drawn:,} candidates that were drawn "
                f"met the budgets {dict(self.problem.point.budgets)} and was measured. Raise that, or the budgets; or "
                "use strategy=gradient, which walks to the budget."
            )
        self.problem.runtime.monitor.note(
            f"{self.limits.label}: {len(finished):,} of {drawn:,} candidates measured, ended by {ended}"
        )
        chosen = Chosen([trial.number for trial in self._best(finished)], epochs_of(trials))
        self.study.choose(chosen)
        return chosen

    def _best(self, finished: list[FrozenTrial]) -> list[FrozenTrial]:
        """The candidates to fine-tune, all different: the best by score, or with several objectives a spread front."""
        different = list({self.candidates.architecture(t).hash: t for t in reversed(finished)}.values())
        different.sort(key=lambda t: (-t.user_attrs[SCORE], t.number))
        if not self.settings.objectives:
            return different[: self.settings.networks]
        values = [[-t.values[0], *t.values[1:]] for t in different]
        found = [different[i] for i in spread(values, self.settings.networks)]
        return sorted(found, key=lambda trial: -trial.values[1])  # costs fall, as along any front

    def _point(self, result: Result) -> str:
        """The name of a network's point. Networks of a front that one study found are named by their objectives."""
        s, names = self.settings, [self.problem.point.name]
        if s.networks > 1:
            names += [f"{name}={result.costs[name]:.12g}" for name in s.objectives]
        return ",".join(filter(None, names))


def _metrics(trials: Sequence[FrozenTrial]) -> dict[str, float]:
    """How many candidates a search measured, and how many it did not measure, and why."""
    cut = [t for t in trials if t.state == TrialState.PRUNED and VIOLATION not in t.user_attrs]
    refused = [(VIOLATION in t.user_attrs) + t.user_attrs.get(REFUSED, 0) for t in trials]
    found = {
        "candidates": len(measured_trials(trials)),
        "infeasible": sum(refused),
        "repeated": sum(REPEATS in t.user_attrs for t in trials),
        "cut_short": len(cut),
    }
    return {f"search/{name}": float(value) for name, value in found.items()}
