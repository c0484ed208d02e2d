"""Optuna's studies: where they are kept, which space they are of, what of them was measured."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.pruners import BasePruner
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from search.problem import Problem
from search.settings import BlackBoxSettings

VIOLATION, ACCURACY, COSTS, EPOCHS = "violation", "accuracy/val", "costs", "epochs"
FOLDER, PARAMETERS, REFUSED = "folder", "parameters", "refused"
JOURNAL = "study.jsonl"  # of a run whose study nobody shares
PAUSES = 0.2, 1.0  # seconds, before a database is tried again
Parameters = Mapping[str, Sequence[int]]  # Encoding.parameters
GONE = (StorageInternalError, SQLAlchemyError, OSError)


class StorageError(RuntimeError):
    """The storage of a study does not answer."""


def check_shared(settings: BlackBoxSettings, parameters: Parameters, points: Sequence[str]) -> None:
    """Before anything is trained: what is shared can be reached, and is of this space.

    Raises:
        ValueError: a study is of another space, or the storage's driver is missing.
        StorageError: nothing answers at strategy.storage.
    """
    if settings.storage is None:
        return
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with answering(settings.storage, "Nothing is trained yet: start it, or name another."):
        storage = _storage(settings.storage)
        known = {study.study_name: study for study in optuna.get_all_study_summaries(storage)}
    for point in points:
        study = known.get(_name(settings, point))
        if study is not None:
            _refuse_other_space(study.study_name, study.user_attrs, parameters)


def opened(settings: BlackBoxSettings, problem: Problem, parameters: Parameters, pruner: BasePruner) -> optuna.Study:
    """The study of a point of the front, new or as it was left; its first candidate is the lowest of every parameter.

    Raises:
        ValueError: the study is of another space.
        StorageError: nothing answers at strategy.storage.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with kept(settings, problem):
        study = optuna.create_study(
            storage=_storage(settings.storage or str(problem.context.folder / JOURNAL)),
            pruner=pruner,
            study_name=_name(settings, problem.point),
            directions=["maximize", *["minimize"] * len(settings.objectives)],
            load_if_exists=True,
        )
        _refuse_other_space(study.study_name, study.user_attrs, parameters)
        _end_killed(study, str(problem.context.folder))
        if PARAMETERS not in study.user_attrs:
            study.set_user_attr(PARAMETERS, {name: list(options) for name, options in parameters.items()})
            study.enqueue_trial({name: 0 for name, options in parameters.items() if len(options) > 1})
    return study


def _name(settings: BlackBoxSettings, point: str) -> str:
    return " ".join(filter(None, [settings.study or "search", point]))


def _refuse_other_space(study: str, known_attributes: Mapping[str, Any], parameters: Parameters) -> None:
    own = {name: list(options) for name, options in parameters.items()}
    known = known_attributes.get(PARAMETERS, own)
    differing = sorted(n for n in known.keys() | own.keys() if known.get(n) != own.get(n))
    if differing:
        raise ValueError(
            f"strategy.study '{study}' was made in another space: {differing[:5]} differ. Name another strategy.study."
        )


def _end_killed(study: optuna.Study, folder: str) -> None:
    """What this run had begun when it was killed will not end by itself."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if trial.user_attrs.get(FOLDER, folder) == folder:
            study.tell(trial.number, state=TrialState.FAIL)


def _storage(place: str) -> BaseStorage:
    """A database where a URL is given, else a journal in a file.

    Of processes that start together one makes the database's tables and the others fail over them: they look again.
    """
    if "://" not in place:
        return JournalStorage(JournalFileBackend(place))
    for pause in PAUSES:
        try:
            return RDBStorage(place)
        except GONE:
            time.sleep(pause)
    return RDBStorage(place)


@contextmanager
def kept(settings: BlackBoxSettings, problem: Problem) -> Iterator[None]:
    """`answering` for a study in use: what was measured is in its storage."""
    folder = problem.context.folder
    advice = f"What was measured is kept there; when it is back, go on with resume={folder}."
    with answering(settings.storage or str(folder / JOURNAL), advice):
        yield


@contextmanager
def answering(place: str, advice: str) -> Iterator[None]:
    """Raises StorageError in place of what a storage raises that does not answer; ValueError without its driver."""
    try:
        yield
    except ImportError as error:
        raise ValueError(
            f"strategy.storage '{place}': the package that talks to it is missing ({error}). Install it."
        ) from error
    except GONE as error:
        raise StorageError(
            f"strategy.storage '{place}': does not answer ({str(error).splitlines()[0]}). {advice}"
        ) from error


def ended(study: optuna.Study) -> list[FrozenTrial]:
    """Candidates of which something is known: those that were measured, and those that are over a budget."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    return [t for t in trials if ACCURACY in t.user_attrs or VIOLATION in t.user_attrs]


def measured(study: optuna.Study, pruned: bool = False) -> list[FrozenTrial]:
    """Candidates whose accuracy is known; `pruned`: and those whose training was cut short."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    return [t for t in trials if ACCURACY in t.user_attrs or (pruned and EPOCHS in t.user_attrs)]


def seconds_of(study: optuna.Study, folder: str) -> float:
    """What this run has spent on the study."""
    trials = [t for t in study.get_trials(deepcopy=False) if t.state.is_finished() and t.duration is not None]
    return sum(t.duration.total_seconds() for t in trials if t.user_attrs.get(FOLDER) == folder)
