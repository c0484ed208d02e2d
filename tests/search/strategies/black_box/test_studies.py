"""Studies: shared among processes, in storages that fail, and refused where they are of another problem."""

import contextlib
import subprocess
import sys
import time
from dataclasses import replace

import optuna
import pytest
from optuna.exceptions import StorageInternalError

from search.settings.strategies import BlackBoxSettings
from search.strategies.black_box import storages
from search.strategies.black_box.proxy import Proxy
from search.strategies.black_box.random_draws import RandomDraws
from search.strategies.black_box.storages import StorageError
from search.strategies.black_box.studies import OWNER, SCORE, Study
from search.training.phase_state import PhaseCheckpoint
from tests.search.kills import Killed, killed
from tests.search.small import Small, run, write_stripes
from tests.search.strategies.black_box.candidates import (
    BUDGET,
    configured,
    goes_on_as_it_would_have,
    outcome,
    parameters,
)


def test_after_a_kill_it_goes_on_in_a_study_that_is_shared(data, tmp_path):
    config = configured(data, trials=4)
    run(tmp_path / "whole", config)
    config.strategy = BlackBoxSettings("random", trials=4, storage=f"sqlite:///{tmp_path / 'study.db'}", study="shared")
    goes_on_as_it_would_have(config, tmp_path, killed(Proxy, "score_of", at=(1, 4)))
    study = optuna.load_study(study_name="shared", storage=config.strategy.storage)
    assert [(t.state, t.params) for t in study.trials] == parameters(tmp_path / "whole")


@pytest.mark.parametrize("kind", ["sqlite:///{}/study.db", "{}/study.jsonl"])
def test_processes_share_a_study_in_a_database_or_a_journal(data, tmp_path, kind):
    for i, trials in enumerate((4, 7)):
        config = configured(data, trials=trials, storage=kind.format(tmp_path), study="shared")
        run(tmp_path / f"run{i}", config)
        assert outcome(tmp_path / f"run{i}")["metrics"]["search/candidates"] == trials


def start(folder, data, url, trials):
    keys = ["data=npz", f"data.file={data}", "model=custom", "model._target_=tests.search.small.Small"]
    keys += [f"folder={folder}", "strategy=random", f"strategy.trials={trials}", f"strategy.storage={url}"]
    keys += ["strategy.study=shared", "budgets.flash_bytes=600", "train.warmup.epochs=1", "train.finetune.epochs=1"]
    keys += ["train.finetune.integer_epochs=1", "tensorboard=false", "strategy.evaluation=tuned", "train.device=cpu"]
    return subprocess.Popen([sys.executable, "-m", "search", *keys], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def test_epochs_of_candidates_that_others_are_at_are_spoken_for(data, tmp_path):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    config = configured(data, trials=50, evaluation="tuned", storage=url, study="shared")
    config.limits.epochs = 2 + 6 + 3  # warm-up, six candidates, fine-tuning

    def joined(original=Study.candidate):
        return lambda self: (_ask_once(self.optuna), original(self))[1]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Study, "candidate", joined())
        summary = run(tmp_path / "run", config)
    assert outcome(tmp_path / "run")["metrics"]["search/candidates"] == 5
    assert summary["epochs"]["total"] <= 11


def _ask_once(study):
    """Someone else begins a candidate, and is at it all the time."""
    if len(study.trials) == 1:
        study.ask().set_user_attr("folder", "another machine:/run")


def test_what_a_run_was_fine_tuning_when_it_was_killed_it_goes_on_with_whatever_others_found(data, tmp_path):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    config = configured(data, trials=4, storage=url, study="shared")
    config.limits.epochs = 12
    with killed(PhaseCheckpoint, "save", at=(4,), behind=True), pytest.raises(Killed):  # two are of warm-up
        run(tmp_path / "run", config)
    study = optuna.load_study(study_name="shared", storage=url)
    best = max(study.trials, key=lambda trial: trial.values[0])
    unseen = {name: 0 if value else 1 for name, value in best.params.items()}
    better = optuna.trial.create_trial(
        params=unseen, distributions=best.distributions, values=[1.0], user_attrs={SCORE: 1.0, "epochs": 2.0}
    )
    study.add_trial(better)
    run(tmp_path / "run", config)
    assert outcome(tmp_path / "run")["metrics"]["accuracy/val/searched"] == best.user_attrs[SCORE]


@pytest.mark.slow
def test_of_two_processes_one_is_killed_and_the_other_ends_the_study(data, tmp_path):
    url, trials = f"sqlite:///{tmp_path / 'study.db'}", 40
    both = [start(tmp_path / f"run{i}", data, url, trials) for i in range(2)]
    while True:  # until both have measured something
        time.sleep(0.2)
        assert both[0].poll() is None, both[0].stdout.read().decode()
        with contextlib.suppress(KeyError):  # no study yet
            study = optuna.load_study(study_name="shared", storage=url)
            if len({t.user_attrs["folder"] for t in study.trials if SCORE in t.user_attrs}) == 2:
                break
    both[0].kill()
    both[0].communicate()
    output = both[1].communicate(timeout=300)[0].decode()
    assert both[1].returncode == 0, output
    assert outcome(tmp_path / "run1")["metrics"]["search/candidates"] >= trials
    assert not (tmp_path / "run0" / "summary.json").exists()
    resumed = [sys.executable, "-m", "search", f"resume={tmp_path / 'run0'}"]
    assert subprocess.run(resumed, capture_output=True, check=False).returncode == 0
    accuracies = [t.user_attrs[SCORE] for t in study.trials if SCORE in t.user_attrs]
    assert outcome(tmp_path / "run0")["metrics"]["accuracy/val/searched"] == max(accuracies)
    running = [t for t in study.trials if t.state == optuna.trial.TrialState.RUNNING]
    assert not [t for t in running if OWNER in t.user_attrs]  # one without was killed before it could say whose it is


def test_a_candidate_that_is_being_drawn_is_nobody_elses(data, tmp_path, monkeypatch):
    config = configured(data, trials=3, storage=f"sqlite:///{tmp_path / 'study.db'}", study="shared")
    original = RandomDraws.sample_relative

    def meanwhile(*arguments):
        monkeypatch.undo()  # a process starts, and ends the study, while this one draws
        run(tmp_path / "other", config)
        return original(*arguments)

    monkeypatch.setattr(RandomDraws, "sample_relative", meanwhile)
    run(tmp_path / "run", config)
    study = optuna.load_study(study_name="shared", storage=config.strategy.storage)
    assert {t.state for t in study.trials} == {optuna.trial.TrialState.COMPLETE}
    assert outcome(tmp_path / "run")["metrics"]["search/candidates"] == 4


def end_running(url):
    study = optuna.load_study(study_name="shared", storage=url)
    for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)


@pytest.mark.parametrize("lost", [{2}, {2, 3, 4}])
def test_candidates_that_others_end_are_lost_but_not_without_an_end(data, tmp_path, monkeypatch, lost):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    original, calls = Proxy.score_of, []

    def ended(*arguments):
        calls.append(arguments)
        if len(calls) in lost:
            end_running(url)
        return original(*arguments)

    monkeypatch.setattr(Proxy, "score_of", ended)
    config = configured(data, trials=4, storage=url, study="shared")
    if len(lost) == 1:
        run(tmp_path / "run", config)
        assert outcome(tmp_path / "run")["metrics"]["search/candidates"] == 4
    else:
        with pytest.raises(StorageError, match=r"'shared': 3 candidates in a row were ended by others"):
            run(tmp_path / "run", config)


def test_a_journal_that_was_cut_off_goes_on(data, tmp_path):
    config, journal = configured(data, trials=8), tmp_path / "run" / "study.jsonl"
    with killed(Proxy, "score_of", at=(5,)), pytest.raises(Killed):
        run(tmp_path / "run", config)
    journal.write_bytes(journal.read_bytes()[:-20])
    run(tmp_path / "run", config)
    assert outcome(tmp_path / "run")["metrics"]["search/candidates"] == 8


def test_a_damaged_line_of_a_journal_is_named(data, tmp_path):
    shared = tmp_path / "shared.jsonl"
    config = configured(data, trials=2, storage=str(shared), study="shared")
    run(tmp_path / "run", config)
    lines = shared.read_text().splitlines(keepends=True)
    shared.write_text("".join([*lines[:4], lines[4][:10], *lines[5:]]))
    with pytest.raises(
        StorageError, match=rf"shared\.jsonl, line 5 of {len(lines) - 1}: .*`head -n 4 .*jsonl > whole`"
    ):
        run(tmp_path / "other", config)


def test_lines_that_are_whole_and_lack_what_optuna_reads_are_named(data, tmp_path):
    shared = tmp_path / "shared.jsonl"
    config = configured(data, trials=2, storage=str(shared), study="shared")
    run(tmp_path / "run", config)
    shared.write_text(shared.read_text().replace('"param_name"', '"parameter"'))
    with pytest.raises(StorageError, match=r"shared\.jsonl: its lines make no study \(KeyError\('param_name'\)\)"):
        run(tmp_path / "other", config)


def test_a_failure_of_a_candidate_is_not_the_storages(data, tmp_path, monkeypatch):
    def fails(*arguments):
        raise OSError("images gone")

    monkeypatch.setattr(Proxy, "score_of", fails)
    with pytest.raises(OSError, match="images gone"):
        run(tmp_path / "run", configured(data, trials=2))


def test_a_storage_that_goes_away_is_named_and_the_search_goes_on_when_it_is_back(data, tmp_path, monkeypatch):
    place = tmp_path / "shared"
    place.mkdir()
    url = f"sqlite:///{place / 'study.db'}"
    config = configured(data, trials=6, storage=url, study="shared")
    original, calls = Proxy.score_of, []

    def gone(self, *arguments):
        calls.append(arguments)
        if len(calls) == 4:
            place.rename(tmp_path / "away")
        return original(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Proxy, "score_of", gone)
        with pytest.raises(StorageError, match=r"strategy\.storage 'sqlite.*does not answer.*kept.*resume="):
            run(tmp_path / "run", config)
    (tmp_path / "away").rename(place)
    run(tmp_path / "run", config)
    assert outcome(tmp_path / "run")["metrics"]["search/candidates"] == 6
    assert len(optuna.load_study(study_name="shared", storage=url).trials) >= 6


def test_processes_that_make_the_tables_together_do_not_stop_each_other(data, tmp_path, monkeypatch):
    calls, original = [], storages.RDBStorage

    def at_once(url):
        calls.append(url)
        if len(calls) == 1:
            raise StorageInternalError("table studies already exists")
        return original(url)

    monkeypatch.setattr(storages, "RDBStorage", at_once)
    config = configured(data, trials=2, storage=f"sqlite:///{tmp_path / 'study.db'}", study="shared")
    run(tmp_path / "run", config)
    assert len(calls) == 3  # the check's first, its second, and the search's


def test_what_is_shared_is_looked_at_before_anything_is_trained(data, tmp_path):
    config = configured(data, trials=2, storage=f"sqlite:///{tmp_path}/none/study.db", study="shared")
    with pytest.raises(StorageError, match=r"does not answer \(.*\)\. Nothing is trained yet"):
        run(tmp_path / "run", config)
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite:////nowhere/at/all.db", r"does not answer"),
        ("postgresql://me:secret@localhost:1/x", r"postgresql://me:\*\*\*@localhost:1/x'"),
        ("sqlit:///x.db", r"is no URL of a database .*Write sqlite:///FILE"),
    ],
)
def test_a_storage_without_a_driver_or_a_host_is_named(data, tmp_path, url, message):
    config = configured(data, trials=2, storage=url, study="shared")
    with pytest.raises((StorageError, ValueError), match=r"strategy\.storage '.*" + message) as caught:
        run(tmp_path / "run", config)
    assert "secret" not in str(caught.value)


@pytest.fixture
def shared(data, tmp_path):
    """Settings of a study that two candidates are known of, with changes."""

    def changed(sampler="tpe", budget=BUDGET, space=None, train=None, seed=0, **options):
        options = {"storage": f"sqlite:///{tmp_path / 'study.db'}", "study": "shared"} | options
        config = configured(data, sampler, budget, trials=2, **options)
        config.space.weight_bits, config.seed = [0, 2, 4, 8], seed
        for part, values in ((config.space, space), (config.train.warmup, train)):
            for name, value in (values or {}).items():
                setattr(part, name, value)
        return config

    run(tmp_path / "first", changed())
    return changed


def test_a_study_of_another_problem_is_refused_before_anything_is_trained(shared, tmp_path):
    cases = [
        (shared(objectives=["macs"]), 8, r"objectives is \['macs'\] here, \[\] there; directions is .*Name another"),
        (shared(budget=500), 8, r"budgets\.flash_bytes is 500\.0 here, 600\.0 there"),
        (shared(evaluation="tuned"), 8, r"evaluation\.evaluation is 'tuned' here, 'inherited' there"),
        (shared(space={"granularity": "tensor"}), 8, r"space\.choices\..*\.groups is 1 here, 8 there"),
        (shared(space={"activation_bits": [4, 8]}), 8, r"parameters\.\S* is \[4, 8\] here, None there"),
        (shared(space={"input_bits": 4}), 8, r"space\.quantizers\.\S*widths is \[4\] here, \[8\] there"),
        (
            shared(),
            6,
            r"parameters\.conv1/channels is .* here, .* there; parameters\.conv2/channels .*and \d+ more: \S+, ",
        ),
    ]
    for config, channels, message in cases:
        if config.space.input_bits == 4 or config.space.activation_bits != 8:
            config.target = replace(config.target, activation_bits=(4, 8))
        with pytest.raises(ValueError, match=rf"study 'shared' is of another problem: .*{message}"):
            run(tmp_path / "other", config, lambda channels=channels: Small(channels))
    assert not (tmp_path / "other" / "checkpoints").exists()


def test_a_study_of_other_data_or_another_float_network_is_refused(shared, tmp_path):
    elsewhere = shared(seed=1, storage=None, study=None)
    run(tmp_path / "source", elsewhere)
    other_data = shared()
    other_data.data = replace(other_data.data, file=str(write_stripes(tmp_path / "other.npz", count=160, seed=1)))
    cases = [
        (other_data, r"data\.val_labels is '\w+' here, '\w+' there"),
        (shared(seed=1), r"seed is 1 here, 0 there"),
        (shared(train={"epochs": 1}), r"warmup\.epochs is 1 here, 2 there"),
        (
            shared(train={"source": str(tmp_path / "source")}),
            r"float network\.conv1/channels is .*train\.warmup\.source",
        ),
    ]
    for i, (config, message) in enumerate(cases):
        with pytest.raises(ValueError, match=rf"study 'shared' is of another problem: .*{message}"):
            run(tmp_path / f"other{i}", config)
    source = shared(train={"source": str(tmp_path / "first")})
    run(tmp_path / "same", source)
