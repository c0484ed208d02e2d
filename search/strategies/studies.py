"""Optuna's studies: where they are kept, which space they are of, what of them was measured."""

from collections.abc import Iterator
from contextlib import contextmanager

import optuna
from optuna.exceptions import StorageInternalError
from optuna.pruners import BasePruner
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from search.encoding import Encoding
from search.problem import Problem
from search.settings import BlackBoxSettings

VIOLATION, ACCURACY, COSTS, EPOCHS = "violation", "accuracy/val", "costs", "epochs"
FOLDER, PARAMETERS, REFUSED = "folder", "parameters", "refused"
GONE = (StorageInternalError, SQLAlchemyError, OSError)


class StorageError(RuntimeError):
    """The storage of a study does not answer."""


def opened(settings: BlackBoxSettings, problem: Problem, encoding: Encoding, pruner: BasePruner) -> optuna.Study:
    """The study of a point of the front, new or as it was left; its first candidate is the lowest of every parameter.

    Raises:
        ValueError: the study is of another space.
        StorageError: nothing answers at strategy.storage.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    name = " ".join(filter(None, [settings.study or "search", problem.point]))
    with kept(settings, problem):
        study = optuna.create_study(
            storage=_storage(settings.storage, problem),
            pruner=pruner,
            study_name=name,
            directions=["maximize", *["minimize"] * len(settings.objectives)],
            load_if_exists=True,
        )
        parameters = {name: list(options) for name, options in encoding.parameters.items()}
        known = study.user_attrs.get(PARAMETERS, parameters)
        differing = sorted(n for n in known.keys() | parameters.keys() if known.get(n) != parameters.get(n))
        if differing:
            raise ValueError(
                f"strategy.study '{study.study_name}' was made in another space: {differing[:5]} differ. "
                "Name another strategy.study."
            )
        _end_killed(study, str(problem.context.folder))
        if PARAMETERS not in study.user_attrs:
            study.set_user_attr(PARAMETERS, parameters)
            study.enqueue_trial({name: 0 for name, options in encoding.parameters.items() if len(options) > 1})
    return study


def _end_killed(study: optuna.Study, folder: str) -> None:
    """What this run had begun when it was killed will not end by itself."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if trial.user_attrs.get(FOLDER, folder) == folder:
            study.tell(trial.number, state=TrialState.FAIL)


def _storage(place: str | None, problem: Problem) -> BaseStorage:
    """A database where a URL is given, else a journal: in a file that is named, or in the run's folder."""
    if place is not None and "://" in place:
        return RDBStorage(place)
    return JournalStorage(JournalFileBackend(place or str(problem.context.folder / "study.jsonl")))


@contextmanager
def kept(settings: BlackBoxSettings, problem: Problem) -> Iterator[None]:
    """Raises StorageError in place of what a storage raises that does not answer; ValueError without its driver."""
    try:
        yield
    except ImportError as error:
        raise ValueError(
            f"strategy.storage '{settings.storage}': the package that talks to it is missing ({error}). Install it."
        ) from error
    except GONE as error:
        place = settings.storage or problem.context.folder / "study.jsonl"
        raise StorageError(
            f"strategy.storage '{place}': does not answer ({str(error).splitlines()[0]}). What was measured is kept "
            f"there; when it is back, go on with resume={problem.context.folder}."
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
