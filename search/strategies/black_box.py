"""Searches without gradients on the encoded space: Optuna's samplers (Akiba et al., arXiv 1907.10902), and ours.

A candidate that is over a budget is never trained: its costs are known beforehand; it is counted, and the sampler is
told how far over it was. All others are measured on validation data: with the weights of the warmed-up network and
norms that are estimated anew, after some epochs of training from there, or after some epochs from scratch. All that a
search knows stands in its study, so it goes on from there after a kill, and several processes can share one.
"""

import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, Trial, TrialState

from cost_models.rules import CostModel
from search import distributed
from search.encoding import Encoding
from search.feasibility import at, over
from search.phase import label
from search.points import Point
from search.problem import Problem
from search.progress import EpochEnd, Monitors, Tick
from search.results import Result
from search.settings import BlackBoxSettings
from search.strategies.drawing import RandomDraws
from search.strategies.evolution import AgingEvolution
from search.strategies.fronts import spread
from search.strategies.strategy import searching
from search.strategies.studies import (
    ACCURACY,
    COSTS,
    EPOCHS,
    FOLDER,
    REFUSED,
    VIOLATION,
    check_shared,
    kept,
    measured,
    opened,
    seconds_of,
)
from spaces.architecture import Architecture
from spaces.space import Space

INHERITED = 0.02  # epochs that an inherited candidate takes, as a first guess


def _violation(trial: FrozenTrial) -> tuple[float]:
    return (trial.user_attrs.get(VIOLATION, 0.0),)


SAMPLERS: dict[str, Callable[["_Search", int], BaseSampler]] = {
    "random": lambda search, seed: RandomDraws(seed, search.distributions, search.fits, search.attempts_left() - 1),
    "tpe": lambda _, seed: optuna.samplers.TPESampler(seed=seed, multivariate=True, constraints_func=_violation),
    "gp": lambda _, seed: optuna.samplers.GPSampler(seed=seed, constraints_func=_violation),
    "nsga2": lambda search, seed: optuna.samplers.NSGAIISampler(
        population_size=search.settings.population, seed=seed, constraints_func=_violation
    ),
    "cmaes": lambda _, seed: optuna.samplers.CmaEsSampler(seed=seed),
    "evolution": lambda search, seed: AgingEvolution(
        seed, search.distributions, search.settings.population, search.settings.tournament
    ),
}
WANT_VALUES = ("gp", "nsga2")  # of infeasible candidates too: they weigh constraints against values
PRUNERS: dict[str, Callable[[int], BasePruner]] = {
    "none": lambda _: optuna.pruners.NopPruner(),
    "median": lambda _: optuna.pruners.MedianPruner(),
    "hyperband": lambda epochs: optuna.pruners.HyperbandPruner(max_resource=epochs),
}


class BlackBox:
    """Candidates one after the other; the best of them are trained and returned."""

    def __init__(self, settings: BlackBoxSettings) -> None:
        self.settings = settings

    def plan(self, points: int, finetune: int, left: float | None) -> dict[str, int]:
        """Under no limit the share of a search is a guess: what an inherited candidate takes depends on the data."""
        s = self.settings
        given = searching(points, finetune * s.networks, left)
        epochs = s.trials * (INHERITED if s.evaluation == "inherited" else s.candidate_epochs)
        plan = {}
        for number in range(1, points + 1):
            plan[label("search", number)] = math.ceil(epochs if given is None else min(given / points, epochs))
            for network in range(1, s.networks + 1):
                plan[label("finetune", (number - 1) * s.networks + network)] = finetune
        return plan

    def check(self, space: Space, models: Mapping[str, CostModel], points: Sequence[Point]) -> None:
        """Raises ValueError: under torchrun; cmaes needs ordered parameters, and its package; unknown objectives.

        And what studies.check_shared does.
        """
        s = self.settings
        if distributed.world_size() > 1:
            raise ValueError(
                f"strategy '{s.name}' under torchrun: candidates are small. Start several searches with "
                "one strategy.storage and strategy.study instead; they share the work."
            )
        unknown = [name for name in s.objectives if name not in models]
        if unknown:
            raise ValueError(
                f"strategy.objectives: {unknown} are not among the run's costs, {sorted(models)}. Add them."
            )
        check_shared(s, Encoding(space).parameters, [point.name for point in points])
        if s.name == "cmaes":
            self._check_cmaes(space)

    def _check_cmaes(self, space: Space) -> None:
        branches = [name for name, choice in space.spec.choices.items() if choice.branches]
        if branches:
            raise ValueError(f"strategy 'cmaes': {branches} are among blocks, which have no order. Use tpe or nsga2.")
        try:
            import cmaes  # noqa: F401
        except ImportError as error:
            raise ValueError(
                "strategy 'cmaes': its package is missing. Run `pip install 'picojoule[cmaes]'`."
            ) from error

    def run(self, problem: Problem) -> Iterator[Result]:
        for number, point in enumerate(problem.points, start=1):
            yield from _Search(self.settings, problem.at(point), number).run()


class _Search:
    """One study, for one point of a front."""

    def __init__(self, settings: BlackBoxSettings, problem: Problem, number: int) -> None:
        self.settings, self.problem, self.label = settings, problem, label("search", number)
        self.encoding = Encoding(problem.space)
        self.distributions = _distributions(problem.space, self.encoding)
        pruner = PRUNERS[settings.pruner](settings.candidate_epochs)
        self.study = opened(settings, problem, self.encoding.parameters, pruner)
        self.epochs = self._allowed(number)
        self.seconds = problem.context.allotted(self.label)
        self.began = time.perf_counter() - seconds_of(self.study, str(problem.context.folder))

    def _allowed(self, number: int) -> float:
        """Epochs for this point's candidates."""
        problem, left = self.problem, self.problem.epochs_left()
        if left is None:
            return math.inf
        ahead = len(problem.points) - number + 1
        reserved = ahead * self.settings.networks * problem.settings.finetune.epochs
        return (left - reserved) / ahead

    def run(self) -> Iterator[Result]:
        with kept(self.settings, self.problem):
            while not self._done():
                self._candidate()
        epochs, seconds = self._epochs(), time.perf_counter() - self.began
        self.problem.context.spend("search", epochs, seconds)
        trials, finished = self.study.get_trials(deepcopy=False), measured(self.study)
        if not finished:
            drawn = self.settings.attempts - self.attempts_left()
            raise ValueError(
                f"strategy '{self.settings.name}': none of {drawn} candidates met the budgets "
                f"{dict(self.problem.budgets)}. Raise strategy.attempts or the budgets, or use strategy=gradient, "
                "which walks to the budget."
            )
        metrics = {
            "search/candidates": float(len(finished)),
            "search/infeasible": float(sum((VIOLATION in t.user_attrs) + t.user_attrs.get(REFUSED, 0) for t in trials)),
            "search/pruned": float(sum(t.state == TrialState.PRUNED and VIOLATION not in t.user_attrs for t in trials)),
            "search/epochs": epochs,
        }
        best = self._best(finished)
        finetune = self._finetune(len(best))
        for trial in best:
            result = self.problem.evaluate(self._architecture(trial), finetune)
            own = {"accuracy/val/searched": trial.user_attrs[ACCURACY]}
            yield replace(result, metrics={**result.metrics, **metrics, **own})

    def _best(self, finished: list[FrozenTrial]) -> list[FrozenTrial]:
        """The candidates to fine-tune: different ones, the most accurate, or of several objectives a spread front."""
        different = list({self._architecture(t).hash: t for t in reversed(finished)}.values())
        different.sort(key=lambda t: (-t.user_attrs[ACCURACY], t.number))
        if not self.settings.objectives:
            return different[: self.settings.networks]
        values = [[-t.values[0], *t.values[1:]] for t in different]
        return [different[i] for i in spread(values, self.settings.networks)]

    def _finetune(self, networks: int) -> int | None:
        """Epochs for each: as planned, and at the last point all that a limit leaves. None: as planned."""
        problem, left = self.problem, self.problem.epochs_left()
        if left is None or problem.point != problem.points[-1].name:
            return None
        return max(problem.settings.finetune.epochs, int(left / networks))

    def _epochs(self) -> float:
        return float(sum(t.user_attrs.get(EPOCHS, 0.0) for t in self.study.get_trials(deepcopy=False)))

    def _done(self) -> bool:
        s = self.settings
        tried = len(measured(self.study, pruned=True))
        following = self.problem.epochs_of_proxy(s.evaluation, s.candidate_epochs)
        late = self.seconds is not None and time.perf_counter() - self.began >= self.seconds
        return tried >= s.trials or self.attempts_left() <= 0 or self._epochs() + following > self.epochs or late

    def attempts_left(self) -> int:
        trials = self.study.get_trials(deepcopy=False)
        return self.settings.attempts - len(trials) - sum(t.user_attrs.get(REFUSED, 0) for t in trials)

    def fits(self, places: Mapping[str, int]) -> bool:
        """Whether these parameters meet the budgets."""
        problem = self.problem
        return not over(at(problem.space, self._stands_for(places), problem.models), problem.budgets)

    def _candidate(self) -> None:
        """One trial. Seeds depend on how many there are alone, so a search that was killed goes on as it would have."""
        s, problem, study = self.settings, self.problem, self.study
        begun = sum(t.state not in (TrialState.FAIL, TrialState.WAITING) for t in study.get_trials(deepcopy=False))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of experimental features
            study.sampler = sampler = SAMPLERS[s.name](self, problem.seed * 1_000_003 + begun)
            trial = study.ask(dict(self.distributions))
            trial.set_user_attr(FOLDER, str(problem.context.folder))
            if isinstance(sampler, RandomDraws):
                trial.set_user_attr(REFUSED, sampler.refused)
            costs = at(problem.space, self._architecture(trial), problem.models)
            trial.set_user_attr(COSTS, costs)
            excess = over(costs, problem.budgets)
            if excess:
                self._tell_infeasible(trial, costs, excess)
            else:
                self._measure(trial, costs)

    def _tell_infeasible(self, trial: Trial, costs: Mapping[str, float], excess: Mapping[str, float]) -> None:
        trial.set_user_attr(VIOLATION, sum(amount / self.problem.budgets[n] for n, amount in excess.items()))
        if self.settings.name in WANT_VALUES:
            self.study.tell(trial, [0.0, *(costs[n] for n in self.settings.objectives)])
        else:
            self.study.tell(trial, state=TrialState.PRUNED)

    def _measure(self, trial: Trial, costs: Mapping[str, float]) -> None:
        s, problem = self.settings, self.problem
        watch = _Watch(trial) if s.pruner != "none" else None
        try:
            accuracy, epochs = problem.proxy(self._architecture(trial), s.evaluation, s.candidate_epochs, watch)
        except optuna.TrialPruned:
            trial.set_user_attr(EPOCHS, float(watch.epochs if watch else 0))
            self.study.tell(trial, state=TrialState.PRUNED)
            return
        trial.set_user_attr(ACCURACY, accuracy)
        trial.set_user_attr(EPOCHS, epochs)
        self.study.tell(trial, [accuracy, *(costs[name] for name in s.objectives)])
        best = max(t.values[0] for t in measured(self.study))
        if accuracy >= best:
            shown = ", ".join(f"{name} {costs[name]:,.0f}" for name in problem.budgets)
            problem.context.monitor.note(f"candidate {trial.number + 1}: val {accuracy:.2%}, {shown}: the best so far")
        self._tick(best)

    def _tick(self, best: float) -> None:
        tried, context = len(measured(self.study, pruned=True)), self.problem.context
        expected = min(self.settings.trials, tried * self.epochs / max(self._epochs(), 1e-9))
        share = min(1.0, tried / expected)
        candidates = max(tried, int(expected))
        fraction = context.fraction(self.label, share)
        context.monitor.tick(Tick(self.label, 0, 1, tried - 1, candidates, None, best, {}, {}, {}, fraction))

    def _architecture(self, trial: Trial | FrozenTrial) -> Architecture:
        return self._stands_for(trial.params)

    def _stands_for(self, places: Mapping[str, int]) -> Architecture:
        values = {name: options[places.get(name, 0)] for name, options in self.encoding.parameters.items()}
        return self.encoding.architecture(values)


class _Watch(Monitors):
    """Tells a trial what its epochs came to, and ends it where the pruner says so."""

    def __init__(self, trial: Trial) -> None:
        super().__init__([])
        self.trial, self.epochs = trial, 0

    def epoch(self, end: EpochEnd) -> None:
        self.epochs = end.epoch + 1
        self.trial.report(end.scalars["accuracy/val"], self.epochs)
        if self.epochs < end.epochs and self.trial.should_prune():
            raise optuna.TrialPruned


def _distributions(space: Space, encoding: Encoding) -> dict[str, BaseDistribution]:
    """Of each parameter with more than one value: its places; blocks alone have no order."""
    found: dict[str, BaseDistribution] = {}
    for name, options in encoding.parameters.items():
        if len(options) > 1 and name in space.choices and space.spec.choices[name].branches:
            found[name] = CategoricalDistribution(tuple(range(len(options))))
        elif len(options) > 1:
            found[name] = IntDistribution(0, len(options) - 1)
    return found
