"""Optuna's samplers (Akiba et al., KDD 2019, arXiv 1907.10902) on the encoded space: searches without gradients.

A candidate that is over a budget is never trained: its costs are known beforehand; it is counted, and the sampler is
told how far over it was. All others are measured on validation data: with the weights of the warmed-up network and
norms that are estimated anew, after some epochs of training from there, or after some epochs from scratch.
"""

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import optuna
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from cost_models.rules import CostModel
from search import distributed
from search.encoding import Encoding
from search.feasibility import at, over
from search.problem import Problem
from search.results import Result
from search.settings import BlackBoxSettings
from spaces.space import Space

VIOLATION, ACCURACY, COSTS = "violation", "accuracy/val", "costs"


def _violation(trial: FrozenTrial) -> tuple[float]:
    return (trial.user_attrs.get(VIOLATION, 0.0),)


SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "random": lambda seed: optuna.samplers.RandomSampler(seed),
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed, multivariate=True, constraints_func=_violation),
    "gp": lambda seed: optuna.samplers.GPSampler(seed=seed, constraints_func=_violation),
    "nsga2": lambda seed: optuna.samplers.NSGAIISampler(seed=seed, constraints_func=_violation),
    "cmaes": lambda seed: optuna.samplers.CmaEsSampler(seed=seed),
}


class BlackBox:
    """Candidates one after the other; the best of them is trained and returned."""

    def __init__(self, settings: BlackBoxSettings) -> None:
        self.settings = settings

    def phases(self) -> dict[str, int]:
        return {}

    def check(self, space: Space, models: Mapping[str, CostModel], budgets: Mapping[str, float]) -> None:
        """Raises ValueError: under torchrun; cmaes needs ordered parameters, and its package."""
        if distributed.world_size() > 1:
            raise ValueError(
                f"strategy '{self.settings.name}' under torchrun: candidates are small. Start several searches with "
                "one strategy.storage and strategy.study instead; they share the work."
            )
        if self.settings.name != "cmaes":
            return
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
        s, encoding = self.settings, Encoding(problem.space)
        study = self._study(problem, encoding)
        began, spent = time.perf_counter(), problem.context.epochs_spent
        while not self._done(problem, study, began):
            self._candidate(problem, study, encoding)
        finished = _measured(study)
        if not finished:
            raise ValueError(
                f"strategy '{s.name}': none of {len(study.trials)} candidates met the budgets {dict(problem.budgets)}. "
                "Raise strategy.attempts or the budgets, or use strategy=gradient, which walks to the budget."
            )
        best = max(finished, key=lambda t: t.values[0])
        architecture = encoding.architecture(_values(best.params, encoding))
        result = problem.evaluate(architecture)
        metrics = {
            "search/candidates": float(len(finished)),
            "search/infeasible": float(sum(VIOLATION in t.user_attrs for t in study.trials)),
            "search/epochs": problem.context.epochs_spent - spent,
        }
        yield replace(result, metrics={**result.metrics, **metrics})

    def _study(self, problem: Problem, encoding: Encoding) -> optuna.Study:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        s = self.settings
        study = optuna.create_study(
            storage=_storage(s.storage, problem),
            study_name=s.study or "search",
            directions=["maximize", *["minimize"] * len(s.objectives)],
            load_if_exists=True,
        )
        parameters = {name: list(options) for name, options in encoding.parameters.items()}
        known = study.user_attrs.get("parameters", parameters)
        differing = sorted(n for n in known.keys() | parameters.keys() if known.get(n) != parameters.get(n))
        if differing:
            raise ValueError(
                f"strategy.study '{study.study_name}' was made in another space: {differing[:5]} differ. "
                "Name another strategy.study."
            )
        if s.storage is None:  # nobody else works on it: what still runs was killed
            for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                study.tell(trial.number, state=TrialState.FAIL)
        if "parameters" not in study.user_attrs:
            study.set_user_attr("parameters", parameters)
            study.enqueue_trial({name: 0 for name, options in encoding.parameters.items() if len(options) > 1})
        return study

    def _done(self, problem: Problem, study: optuna.Study, began: float) -> bool:
        s, trials = self.settings, study.get_trials(deepcopy=False)
        left = s.epochs - problem.settings.finetune.epochs - problem.context.epochs_spent if s.epochs else 1.0
        slow = s.seconds is not None and time.perf_counter() - began > s.seconds
        return len(_measured(study)) >= s.trials or len(trials) >= s.attempts or left <= 0 or slow

    def _candidate(self, problem: Problem, study: optuna.Study, encoding: Encoding) -> None:
        """One trial. Seeds depend on what is finished alone, so a search that was killed goes on as it would have."""
        finished = sum(t.state.is_finished() and t.state != TrialState.FAIL for t in study.get_trials(deepcopy=False))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of experimental features
            study.sampler = SAMPLERS[self.settings.name](problem.seed * 1_000_003 + finished)
            trial = study.ask()
            architecture = encoding.architecture(_values(_asked(trial, problem.space, encoding), encoding))
            costs = at(problem.space, architecture, problem.models)
            excess = over(costs, problem.budgets)
            trial.set_user_attr(COSTS, costs)
            if excess:
                trial.set_user_attr(VIOLATION, sum(amount / problem.budgets[n] for n, amount in excess.items()))
                _tell_infeasible(study, trial, self.settings.name, [0.0, *(costs[n] for n in self.settings.objectives)])
                return
            accuracy = problem.proxy(architecture, self.settings.evaluation, self.settings.candidate_epochs)
            trial.set_user_attr(ACCURACY, accuracy)
            study.tell(trial, [accuracy, *(costs[name] for name in self.settings.objectives)])
        if accuracy >= max(t.values[0] for t in _measured(study)):
            shown = ", ".join(f"{name} {costs[name]:,.0f}" for name in problem.budgets)
            problem.context.monitor.note(f"candidate {trial.number + 1}: val {accuracy:.2%}, {shown}: the best so far")


def _tell_infeasible(study: optuna.Study, trial: Trial, sampler: str, values: list[float]) -> None:
    """Samplers that weigh constraints against values want a value; to the others the trial was cut short."""
    if sampler in ("gp", "nsga2"):
        study.tell(trial, values)
    else:
        study.tell(trial, state=TrialState.PRUNED)


def _measured(study: optuna.Study) -> list[FrozenTrial]:
    return [t for t in study.get_trials(deepcopy=False) if t.state == TrialState.COMPLETE and ACCURACY in t.user_attrs]


def _asked(trial: Trial, space: Space, encoding: Encoding) -> dict[str, int]:
    """Parameter -> place of its value, for all that have more than one; blocks alone have no order."""
    found = {}
    for name, options in encoding.parameters.items():
        if len(options) > 1 and name in space.choices and space.spec.choices[name].branches:
            found[name] = int(trial.suggest_categorical(name, range(len(options))))
        elif len(options) > 1:
            found[name] = trial.suggest_int(name, 0, len(options) - 1)
    return found


def _values(places: Mapping[str, int], encoding: Encoding) -> dict[str, int]:
    return {name: options[places.get(name, 0)] for name, options in encoding.parameters.items()}


def _storage(url: str | None, problem: Problem) -> BaseStorage | str:
    """A journal in the run's folder, or what the URL names."""
    if url is not None:
        return url
    return JournalStorage(JournalFileBackend(str(problem.context.folder / "study.jsonl")))
