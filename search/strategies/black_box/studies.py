"""Optuna's studies: who owns which candidate, what is asked of the storage, and what was measured."""

import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, Trial, TrialState

from search.settings.strategies import BlackBoxSettings
from search.strategies.black_box.same_problem import DIRECTIONS, PARAMETERS, Facts, directions, refuse_other_problem
from search.strategies.black_box.storages import StorageError, answering, storage_at
from search.strategies.problem import Problem

VIOLATION, COSTS, EPOCHS = "violation", "costs", "epochs"
SCORE = "accuracy/val"  # the metric on validation data; studies call it so whatever the task is
OWNER, REFUSED, REPEATS, SECONDS = "folder", "refused", "repeats", "seconds"
JOURNAL = "study.jsonl"  # of a run whose study nobody shares
ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
LOST = 3  # candidates in a row
OTHER_STUDY = "Name another strategy.study, or take the settings of this one."
OTHER_RUN = "Start a new run."


def check_shared(settings: BlackBoxSettings, facts: Mapping[str, Facts]) -> None:
    """Checks, before any training, that shared studies can be reached and are of this problem.

    Args:
        facts: point -> what same_problem.known_before says.

    Raises:
        UsageError: a study is of another problem, or the storage's driver is missing.
        StorageError: nothing answers at strategy.storage, or the journal there is damaged.
    """
    assert settings.storage is not None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with answering(settings.storage, "Nothing is trained yet: start it, or name another."):
        known = {s.study_name: s for s in optuna.get_all_study_summaries(storage_at(settings.storage))}
    for point, own in facts.items():
        study = known.get(_name(settings, point))
        if study is not None:
            found = {**study.user_attrs, DIRECTIONS: [d.name.lower() for d in study.directions]}
            refuse_other_problem(study.study_name, own, found, OTHER_STUDY)


class Chosen(NamedTuple):
    """Numbers of the candidates that a run fine-tunes, and the epochs that its search took."""

    numbers: list[int]
    epochs: float


class Study:
    """The study of a point of the front, new or as it was left. Its first candidate has the lowest value everywhere.

    All questions to its storage are asked here. A candidate has an owner before its parameters are drawn, which can
    take minutes. A run that was killed goes on with the candidate that it had begun, so that no number is lost: draws
    depend on the numbers. In a shared study a candidate without an owner belongs to no run.
    """

    def __init__(self, settings: BlackBoxSettings, problem: Problem, facts: Facts, pruner: BasePruner) -> None:
        """Raises UsageError where the study is of another problem, StorageError as `answering` does."""
        self._settings, folder = settings, problem.runtime.folder
        self._place = settings.storage or str(folder / JOURNAL)
        self._resume = f"resume={folder}"
        self._owner = f"{platform.node()}:{Path(folder).resolve()}"  # folders of two machines can have one name
        self._choice = f"chosen by {self._owner}"
        self._lost = 0
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with self.answering():
            self.optuna = optuna.create_study(
                storage=storage_at(self._place),
                pruner=pruner,
                study_name=_name(settings, problem.point.name),
                directions=directions(settings),
                load_if_exists=True,
            )
        self._agree(facts)

    def _agree(self, facts: Facts) -> None:
        """Compares, writes what the study does not say yet, and compares again: others may have written too."""
        advice = OTHER_STUDY if self._settings.storage else OTHER_RUN
        for _ in range(2):
            with self.answering():
                known = {**self.optuna.user_attrs, DIRECTIONS: [d.name.lower() for d in self.optuna.directions]}
            refuse_other_problem(self.optuna.study_name, facts, known, advice)
            with self.answering():
                for name in facts.keys() - known.keys():
                    self.optuna.set_user_attr(name, facts[name])
        with self.answering():
            if not any("fixed_params" in t.system_attrs and t.state != TrialState.FAIL for t in self.trials()):
                lowest = {name: 0 for name, options in facts[PARAMETERS].items() if len(options) > 1}
                self.optuna.enqueue_trial(lowest)

    @contextmanager
    def answering(self) -> Iterator[None]:
        with answering(self._place, f"What was measured is kept there; when it is back, go on with {self._resume}."):
            yield

    def trials(self) -> list[FrozenTrial]:
        with self.answering():
            return self.optuna.get_trials(deepcopy=False)

    def finished(self) -> list[FrozenTrial]:
        return [trial for trial in self.trials() if trial.state.is_finished()]

    def begin(self) -> Trial:
        """The candidate that this run had begun when it was killed, or a new one. Its parameters are not drawn yet."""
        with self.answering():
            begun = self._begun()
            if begun:
                return Trial(self.optuna, begun[0]._trial_id)
            trial = self.optuna.ask()
            trial.set_user_attr(OWNER, self._owner)
            return trial

    def others(self) -> int:
        """How many candidates other runs have begun and not ended, killed runs included."""
        with self.answering():
            running = self.optuna.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return sum(not self._owns(trial) for trial in running)

    def chosen(self) -> Chosen | None:
        """None: this run has not chosen yet."""
        with self.answering():
            written = self.optuna.user_attrs.get(self._choice)
        if written is None:
            return None
        numbers, epochs = written
        return Chosen(numbers, epochs)

    def choose(self, chosen: Chosen) -> None:
        """Writes what this run has chosen. Other runs may go on."""
        with self.answering():
            self.optuna.set_user_attr(self._choice, [chosen.numbers, chosen.epochs])

    def leave(self) -> None:
        """Gives up, at the end of a search, candidates that this run had begun; other runs may have replaced them."""
        with self.answering():
            for trial in self._begun():
                self.optuna.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)

    def _begun(self) -> list[FrozenTrial]:
        running = self.optuna.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return [trial for trial in running if self._owns(trial)]

    def draw(self, trial: Trial, sampler: BaseSampler, distributions: Mapping[str, BaseDistribution]) -> None:
        """Draws the parameters of the trial that have no value yet."""
        with self.answering():
            self.optuna.sampler = sampler
            for name, distribution in distributions.items():
                if isinstance(distribution, CategoricalDistribution):
                    trial.suggest_categorical(name, distribution.choices)
                else:
                    assert isinstance(distribution, IntDistribution)
                    trial.suggest_int(name, distribution.low, distribution.high)

    def note(self, trial: Trial, attributes: Mapping[str, Any]) -> None:
        with self.answering():
            for name, value in attributes.items():
                trial.set_user_attr(name, value)

    def end(self, trial: Trial, values: Sequence[float] | None) -> None:
        """Ends a trial with the values of all objectives; None: it has none.

        Raises:
            UpdateFinishedTrialError: someone else has ended it.
        """
        with self.answering():
            state = TrialState.PRUNED if values is None else None
            if self.optuna.tell(trial, values, state, skip_if_finished=True).state == TrialState.FAIL:
                raise UpdateFinishedTrialError(f"trial {trial.number}")

    @contextmanager
    def candidate(self) -> Iterator[None]:
        """Inside it a candidate is made. One that another run ends meanwhile is lost, and the search goes on.

        Raises:
            StorageError: LOST candidates in a row were lost.
        """
        try:
            yield
            self._lost = 0
        except UpdateFinishedTrialError as error:
            self._lost += 1
            if self._lost == LOST:
                raise StorageError(
                    f"study '{self.optuna.study_name}': {LOST} candidates in a row were ended by others before they "
                    f"were measured. Find out who ends its running trials, and go on with {self._resume}."
                ) from error

    def seconds(self) -> float:
        """What this run has spent on the study."""
        return float(sum(trial.user_attrs.get(SECONDS, 0.0) for trial in self.trials() if self._owns(trial)))

    def _owns(self, trial: FrozenTrial) -> bool:
        return self._settings.storage is None or trial.user_attrs.get(OWNER) == self._owner


def _name(settings: BlackBoxSettings, point: str) -> str:
    return " ".join(filter(None, [settings.study or "search", point]))


def ended(study: optuna.Study) -> list[FrozenTrial]:
    """Candidates whose score is known, or of which it is known that they are over a budget."""
    trials = study.get_trials(deepcopy=False, states=ENDED)
    return [t for t in trials if SCORE in t.user_attrs or VIOLATION in t.user_attrs]


def measured_trials(trials: Sequence[FrozenTrial], pruned: bool = False) -> list[FrozenTrial]:
    """Candidates that were measured, each once; with `pruned` also those whose training was cut short."""
    done = [t for t in trials if t.state in ENDED and REPEATS not in t.user_attrs]
    return [t for t in done if SCORE in t.user_attrs or (pruned and EPOCHS in t.user_attrs)]


def epochs_of(trials: Sequence[FrozenTrial]) -> float:
    """Epochs that candidates took together."""
    return float(sum(t.user_attrs.get(EPOCHS, 0.0) for t in trials))
