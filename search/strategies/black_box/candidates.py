"""The candidates of a search without gradients: each is drawn, its costs are known, and it is measured or not.

A candidate that is over a budget is never trained, because its costs are known beforehand. It is counted, and samplers
that weigh constraints are told how far over the budgets it is. A candidate that was measured before is known, and is
not measured again. All others are measured on validation data: with the weights of the warmed-up network and norms that
are estimated anew, after some epochs of training from there, or after some epochs from scratch.
"""

import time
import warnings
from collections.abc import Mapping
from statistics import median

import optuna
from optuna.trial import FrozenTrial, Trial

from search.budgets.feasibility import over
from search.monitor.events import EpochEnd, Monitors, Tick
from search.settings.strategies import BlackBoxSettings
from search.strategies.black_box.encoding import Encoding
from search.strategies.black_box.limits import Limits
from search.strategies.black_box.proxy import Proxy
from search.strategies.black_box.random_draws import RandomDraws
from search.strategies.black_box.samplers import SAMPLERS, WANT_VALUES, Sampling, distributions
from search.strategies.black_box.studies import (
    COSTS,
    EPOCHS,
    REFUSED,
    REPEATS,
    SCORE,
    SECONDS,
    VIOLATION,
    Study,
    measured_trials,
)
from search.strategies.problem import Problem
from spaces.architecture import Architecture


class Candidates:
    """Draws candidates of a study and measures them, one after another."""

    def __init__(
        self, settings: BlackBoxSettings, problem: Problem, study: Study, limits: Limits, proxy: Proxy
    ) -> None:
        self.settings, self.problem, self.study, self.limits, self.proxy = settings, problem, study, limits, proxy
        self.encoding = Encoding(problem.space)
        self.distributions = distributions(problem.space, self.encoding)

    def next(self) -> None:
        """Makes one trial. Its number alone is the seed, so a killed search goes on as it would have gone on."""
        s, problem, began = self.settings, self.problem, time.perf_counter()
        budgets = problem.budgets
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of experimental features
            trial = self.study.begin()
            left = self.limits.attempts_left(self.study.finished()) - 1
            sampling = Sampling(s, self.distributions, self._fits, left, self.limits.late)
            sampler = SAMPLERS[s.name](sampling, problem.settings.seed * 1_000_003 + trial.number)
            self.study.draw(trial, sampler, self.distributions)
            new = REFUSED not in trial.user_attrs
            drawn = {REFUSED: sampler.refused} if new and isinstance(sampler, RandomDraws) else {}
            costs = budgets.costs(self.architecture(trial))
            excess = over(costs, budgets.limits)
            self.study.note(trial, {**drawn, COSTS: costs})
            over_budget = {VIOLATION: budgets.violation(excess)} if excess else None
            found = over_budget or self._known(trial) or self._scored(trial)
            self.study.note(trial, {**found, SECONDS: time.perf_counter() - began})
            self.study.end(trial, self._values(found, costs))
        if SCORE in found and REPEATS not in found:
            self._show(trial, found[SCORE], costs)

    def _fits(self, places: Mapping[str, int]) -> bool:
        """Whether these parameters meet the budgets."""
        return self.problem.budgets.met_by(self._stands_for(places))

    def _known(self, trial: Trial) -> dict[str, float] | None:
        """What was measured of the same candidate before; None: it is new."""
        same = next((t for t in measured_trials(self.study.finished()) if t.params == trial.params), None)
        return None if same is None else {SCORE: same.user_attrs[SCORE], REPEATS: same.number}

    def _scored(self, trial: Trial) -> dict[str, float]:
        metric, prunes = self.problem.runtime.task.metric.of("val"), self.settings.pruner != "none"
        watch = _Watch(self.study, trial, metric) if prunes else None
        try:
            score = self.proxy.score_of(self.architecture(trial), watch)
        except optuna.TrialPruned:
            return {EPOCHS: float(watch.epochs if watch else 0)}
        return {SCORE: score, EPOCHS: self.proxy.epochs}

    def _values(self, found: Mapping[str, float], costs: Mapping[str, float]) -> list[float] | None:
        """What the sampler learns; None: the candidate was cut short, or is over a budget that the sampler ignores.

        A candidate over a budget gets the usual score. Its violation is a value of its own, and scores of 0 would hide
        how the candidates that were measured differ.
        """
        if SCORE not in found and not (VIOLATION in found and self.settings.name in WANT_VALUES):
            return None
        score = found[SCORE] if SCORE in found else self._usual()
        return [score, *(costs[name] for name in self.settings.objectives)]

    def _usual(self) -> float:
        scores = [float(trial.user_attrs[SCORE]) for trial in measured_trials(self.study.finished())]
        return median(scores or [0.0])

    def _show(self, trial: Trial, score: float, costs: Mapping[str, float]) -> None:
        trials, runtime = self.study.finished(), self.problem.runtime
        best = max(t.user_attrs[SCORE] for t in measured_trials(trials))
        if score >= best:
            shown = ", ".join(f"{name} {costs[name]:,.0f}" for name in self.problem.point.budgets)
            value = runtime.task.metric.written(score)
            runtime.monitor.note(f"candidate {trial.number + 1}: val {value}, {shown}: the best so far")
        tried, expected = len(measured_trials(trials, pruned=True)), self.limits.expected(trials)
        fraction = runtime.ledger.fraction(self.limits.label, tried / expected)
        runtime.monitor.tick(
            Tick(
                phase=self.limits.label,
                epoch=0,
                epochs=1,
                step=tried - 1,
                steps=int(expected),
                loss=None,
                value=best,
                costs={},
                budgets={},
                units={},
                run_fraction=fraction,
            )
        )

    def architecture(self, trial: Trial | FrozenTrial) -> Architecture:
        return self._stands_for(trial.params)

    def _stands_for(self, places: Mapping[str, int]) -> Architecture:
        values = {name: options[places.get(name, 0)] for name, options in self.encoding.parameters.items()}
        return self.encoding.architecture(values)


class _Watch(Monitors):
    """Tells a trial the results of its epochs, and ends it where the pruner says so.

    A trial that goes on after a kill went through its first epochs before, and was not ended in them.
    """

    def __init__(self, study: Study, trial: Trial, scalar: str) -> None:
        """Args: scalar: of an epoch, by which the pruner compares."""
        super().__init__([])
        self.study, self.trial, self.scalar, self.epochs = study, trial, scalar, 0
        self.before = max(study.trials()[trial.number].intermediate_values, default=0)

    def epoch(self, end: EpochEnd) -> None:
        self.epochs = end.epoch + 1
        with self.study.answering():
            self.trial.report(end.scalars[self.scalar], self.epochs)
            late = self.before <= self.epochs < end.epochs and self.trial.should_prune()
        if late:
            raise optuna.TrialPruned
