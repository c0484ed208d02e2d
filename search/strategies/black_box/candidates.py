"""A search without gradients at one point of a front: one candidate after another, and the best of them are trained.

A candidate that is over a budget is never trained, because its costs are known beforehand. It is counted, and samplers
that weigh constraints are told how far over the budgets it is. A candidate that was measured before is known, and is
not measured again. All others are measured on validation data: with the weights of the warmed-up network and norms that
are estimated anew, after some epochs of training from there, or after some epochs from scratch. All that a search knows
stands in its study. So the search goes on from there after a kill, and several processes can share a study.
"""

import math
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import median

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from search.budgets.feasibility import costs_at, over
from search.errors import UsageError
from search.files.results import Result
from search.monitor.events import EpochEnd, Monitors, Tick
from search.settings.strategies import BlackBoxSettings
from search.strategies.black_box.encoding import Encoding
from search.strategies.black_box.fronts import spread
from search.strategies.black_box.proxy import Proxy
from search.strategies.black_box.random_draws import RandomDraws
from search.strategies.black_box.same_problem import known_after, known_before
from search.strategies.black_box.samplers import PRUNERS, SAMPLERS, WANT_VALUES, Sampling, distributions
from search.strategies.black_box.studies import (
    COSTS,
    EPOCHS,
    REFUSED,
    REPEATS,
    SCORE,
    SECONDS,
    VIOLATION,
    Chosen,
    Study,
    measured,
)
from search.strategies.problem import Problem
from search.training.phase import label
from spaces.architecture import Architecture

IN_A_ROW = 200  # candidates that are all known: a search that has nothing more to say


class CandidateSearch:
    """One study, for one point of a front."""

    def __init__(self, settings: BlackBoxSettings, problem: Problem, number: int) -> None:
        self.settings, self.problem, self.label = settings, problem, label("search", number)
        self.encoding, self.proxy = Encoding(problem.space), Proxy(problem, settings)
        self.distributions = distributions(problem.space, self.encoding)
        facts = known_before(settings, problem.space, problem.models, problem.point) | known_after(problem)
        self.study = Study(settings, problem, facts, PRUNERS[settings.pruner](settings.candidate_epochs))
        self.epochs = self._allowed(number)
        self.seconds, before = problem.runtime.ledger.allotted(self.label), self.study.seconds()
        self.began = time.perf_counter() - before
        problem.runtime.ledger.restore(before)

    def _allowed(self, number: int) -> float:
        """Epochs that the candidates of this point may take."""
        problem, left = self.problem, self.problem.epochs_left()
        if left is None:
            return math.inf
        ahead = len(problem.points) - number + 1
        reserved = ahead * self.settings.networks * problem.settings.train.finetune.epochs
        return (left - reserved) / ahead

    def run(self) -> Iterator[Result]:
        numbers, epochs = self.study.chosen() or self._search()
        self.problem.runtime.ledger.spend("search", epochs, time.perf_counter() - self.began)
        trials, finetune = self.study.finished(), self.problem.last_finetune(len(numbers))
        found = {trial.number: trial for trial in trials}
        metrics = self._metrics(trials) | {"search/epochs": epochs}
        for trial in (found[number] for number in numbers):
            result = self.problem.evaluate(self._architecture(trial), finetune)
            own = {self.problem.runtime.task.metric.of("val/searched"): trial.user_attrs[SCORE]}
            yield replace(result, metrics={**result.metrics, **metrics, **own}, point=self._point(result))

    def _search(self) -> Chosen:
        """Raises UsageError: nothing met the budgets."""
        while not (ended := self._ended()):
            with self.study.candidate():
                self._candidate()
        self.study.leave()
        trials = self.study.finished()
        finished, drawn = measured(trials), self.settings.attempts - self._attempts_left(trials)
        if not finished:
            raise UsageError(
                f"strategy '{self.settings.name}': ended by {ended}, and none of {drawn:,} candidates that were drawn "
                f"met the budgets {dict(self.problem.budgets)} and was measured. Raise that, or the budgets; or use "
                "strategy=gradient, which walks to the budget."
            )
        self.problem.runtime.monitor.note(
            f"{self.label}: {len(finished):,} of {drawn:,} candidates measured, ended by {ended}"
        )
        chosen = Chosen([trial.number for trial in self._best(finished)], _epochs(trials))
        self.study.choose(chosen)
        return chosen

    def _metrics(self, trials: Sequence[FrozenTrial]) -> dict[str, float]:
        cut = [t for t in trials if t.state == TrialState.PRUNED and VIOLATION not in t.user_attrs]
        refused = [(VIOLATION in t.user_attrs) + t.user_attrs.get(REFUSED, 0) for t in trials]
        found = {
            "candidates": len(measured(trials)),
            "infeasible": sum(refused),
            "repeated": sum(REPEATS in t.user_attrs for t in trials),
            "cut_short": len(cut),
        }
        return {f"search/{name}": float(value) for name, value in found.items()}

    def _point(self, result: Result) -> str:
        """The name of a network's point. Networks of a front that one study found are named by their objectives."""
        s, names = self.settings, [self.problem.point.name]
        if s.networks > 1:
            names += [f"{name}={result.costs[name]:.12g}" for name in s.objectives]
        return ",".join(filter(None, names))

    def _best(self, finished: list[FrozenTrial]) -> list[FrozenTrial]:
        """The candidates to fine-tune, all different: the best by score, or with several objectives a spread front."""
        different = list({self._architecture(t).hash: t for t in reversed(finished)}.values())
        different.sort(key=lambda t: (-t.user_attrs[SCORE], t.number))
        if not self.settings.objectives:
            return different[: self.settings.networks]
        values = [[-t.values[0], *t.values[1:]] for t in different]
        found = [different[i] for i in spread(values, self.settings.networks)]
        return sorted(found, key=lambda trial: -trial.values[1])  # costs fall, as along any front

    def _ended(self) -> str:
        """What ended the search, in words; "": the search goes on."""
        s, trials, each = self.settings, self.study.finished(), self.proxy.epochs
        whole = self.problem.settings.limits
        running = 1 + self.study.others()
        again = len(trials) >= IN_A_ROW and all(REPEATS in t.user_attrs for t in trials[-IN_A_ROW:])
        limits = {
            f"strategy.trials, {s.trials:,}": len(measured(trials, pruned=True)) >= s.trials,
            f"strategy.attempts, {s.attempts:,}": self._attempts_left(trials) <= 0,
            f"{IN_A_ROW} candidates in a row that were known": again,
            f"limits.epochs, {whole.epochs}, which leaves {self.epochs:.1f} epochs for candidates of "
            f"{each:.2f} each": _epochs(trials) + running * each > self.epochs,
            f"limits.seconds, {whole.seconds}": self._late(),
        }
        return next((limit for limit, reached in limits.items() if reached), "")

    def _late(self) -> bool:
        return self.seconds is not None and time.perf_counter() - self.began >= self.seconds

    def _attempts_left(self, trials: Sequence[FrozenTrial]) -> int:
        refused = sum(int(t.user_attrs.get(REFUSED, 0)) for t in trials)
        return self.settings.attempts - len(trials) - refused

    def _fits(self, places: Mapping[str, int]) -> bool:
        """Whether these parameters meet the budgets."""
        problem = self.problem
        return not over(costs_at(problem.space, self._stands_for(places), problem.models), problem.budgets)

    def _candidate(self) -> None:
        """Makes one trial. Its number alone is the seed, so a killed search goes on as it would have gone on."""
        s, problem, began = self.settings, self.problem, time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of experimental features
            trial = self.study.begin()
            left = self._attempts_left(self.study.finished()) - 1
            sampling = Sampling(s, self.distributions, self._fits, left, self._late)
            sampler = SAMPLERS[s.name](sampling, problem.settings.seed * 1_000_003 + trial.number)
            self.study.draw(trial, sampler, self.distributions)
            new = REFUSED not in trial.user_attrs
            drawn = {REFUSED: sampler.refused} if new and isinstance(sampler, RandomDraws) else {}
            costs = costs_at(problem.space, self._architecture(trial), problem.models)
            excess = over(costs, problem.budgets)
            self.study.note(trial, {**drawn, COSTS: costs})
            found = self._excessive(excess) if excess else self._known(trial) or self._measure(trial)
            self.study.note(trial, {**found, SECONDS: time.perf_counter() - began})
            self.study.end(trial, self._values(found, costs))
        if SCORE in found and REPEATS not in found:
            self._show(trial, found[SCORE], costs)

    def _excessive(self, excess: Mapping[str, float]) -> dict[str, float]:
        return {VIOLATION: sum(amount / self.problem.budgets[name] for name, amount in excess.items())}

    def _known(self, trial: Trial) -> dict[str, float] | None:
        """What was measured of the same candidate before; None: it is new."""
        same = next((t for t in measured(self.study.finished()) if t.params == trial.params), None)
        return None if same is None else {SCORE: same.user_attrs[SCORE], REPEATS: same.number}

    def _measure(self, trial: Trial) -> dict[str, float]:
        metric, prunes = self.problem.runtime.task.metric.of("val"), self.settings.pruner != "none"
        watch = _Watch(self.study, trial, metric) if prunes else None
        try:
            score = self.proxy.measure(self._architecture(trial), watch)
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
        scores = [float(trial.user_attrs[SCORE]) for trial in measured(self.study.finished())]
        return median(scores or [0.0])

    def _show(self, trial: Trial, score: float, costs: Mapping[str, float]) -> None:
        trials, runtime = self.study.finished(), self.problem.runtime
        best = max(t.user_attrs[SCORE] for t in measured(trials))
        if score >= best:
            shown = ", ".join(f"{name} {costs[name]:,.0f}" for name in self.problem.budgets)
            value = runtime.task.metric.written(score)
            runtime.monitor.note(f"candidate {trial.number + 1}: val {value}, {shown}: the best so far")
        tried = len(measured(trials, pruned=True))
        expected = max(tried, min(self.settings.trials, tried * self.epochs / max(_epochs(trials), 1e-9)))
        fraction = runtime.ledger.fraction(self.label, tried / expected)
        runtime.monitor.tick(
            Tick(
                phase=self.label,
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

    def _architecture(self, trial: Trial | FrozenTrial) -> Architecture:
        return self._stands_for(trial.params)

    def _stands_for(self, places: Mapping[str, int]) -> Architecture:
        values = {name: options[places.get(name, 0)] for name, options in self.encoding.parameters.items()}
        return self.encoding.architecture(values)


def _epochs(trials: Sequence[FrozenTrial]) -> float:
    return float(sum(t.user_attrs.get(EPOCHS, 0.0) for t in trials))


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
