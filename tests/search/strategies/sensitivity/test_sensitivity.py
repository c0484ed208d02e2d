"""The table of loss increases: by hand, saved and read, for its own weights alone; and the program over it."""

import json
from dataclasses import replace

import pytest
import torch

from search.budgets.feasibility import seed_architecture
from search.errors import UsageError
from search.settings.front import Front
from search.settings.strategies import SensitivitySettings
from search.strategies.sensitivity.increases import estimated_table, measured_table, passes
from search.strategies.sensitivity.table import Table, fingerprint
from spaces.searchable import Options, searchable
from tests.search.kills import Killed, killed
from tests.search.small import Small, cross_entropy, prepared, run, settings, write_stripes


@pytest.fixture
def space():
    torch.manual_seed(0)
    space = searchable(Small(), torch.zeros(2, 1, 8, 8), Options())
    space.calibrate([torch.randn(16, 1, 8, 8)])
    return space.eval()


@pytest.fixture
def batches():
    torch.manual_seed(1)
    return [(torch.randn(16, 1, 8, 8), torch.randint(4, (16,))) for _ in range(2)]


LOSS = cross_entropy


@torch.no_grad()
def loss_of(space, architecture, batches):
    network = space.decide(architecture).eval()
    network.set_mode("fake")
    return sum(LOSS(network(images), labels, images).item() for images, labels in batches) / len(batches)


def test_an_entry_is_the_loss_of_the_network_that_it_would_be(space, batches):
    table, seed = measured_table(space, batches, LOSS, facts={}), seed_architecture(space)
    reached = loss_of(space, seed, batches)
    for name, group, i in (("conv1/channels", 3, 0), ("conv2/bits", 5, 0), ("head/bits", 1, 1)):
        pick = list(seed.picks[name])
        pick[group] = table.options[name][i]
        other = loss_of(space, seed.having({name: tuple(pick)}), batches)
        assert table.increases[name][group, i] == pytest.approx(other - reached, abs=1e-5)


def test_what_the_seed_network_has_hurts_nothing_and_the_space_stays_as_it_is(space, batches):
    before = {name: value.clone() for name, value in space.state_dict().items()}
    table, seed = measured_table(space, batches, LOSS, facts={}), seed_architecture(space)
    for name, decision in space.decisions.items():
        assert (table.increases[name][:, decision.options.index(decision.start)] == 0).all()
    assert all(torch.equal(value, before[name]) for name, value in space.state_dict().items())
    assert space.architecture() == seed


def test_passes_are_counted(space, batches):
    calls = []
    measured_table(space, batches[:1], lambda *given: (calls.append(1), LOSS(*given))[1], facts={})
    assert len(calls) == passes(space) == 1 + (8 + 16) + 2 * (8 + 16 + 4)


def test_an_estimate_ranks_much_as_what_is_measured(space, batches):
    exact, rough = measured_table(space, batches, LOSS, facts={}), estimated_table(space, batches, LOSS, facts={})
    assert rough.options == exact.options and rough.gates == exact.gates
    two_bits = [t.increases["conv2/bits"][:, 0].sum() + t.increases["conv1/bits"][:, 0].sum() for t in (exact, rough)]
    four_bits = [t.increases["conv2/bits"][:, 1].sum() + t.increases["conv1/bits"][:, 1].sum() for t in (exact, rough)]
    assert rough.increases["conv1/channels"][:, 0].min() >= 0 and two_bits[1] > four_bits[1]


def test_a_table_is_read_as_it_was_written(space, batches, tmp_path):
    table = measured_table(space, batches, LOSS, facts={})
    table.save(tmp_path / "t.json")
    again = Table.load(tmp_path / "t.json")
    assert (again.fingerprint, again.gates, again.options) == (table.fingerprint, table.gates, table.options)
    assert all(torch.equal(again.increases[name], values) for name, values in table.increases.items())
    assert again.fingerprint == fingerprint(space, {})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "is of format 99, this version reads 1"),
        ({"decisions": None}, "decisions is None, not an object"),
        ({"gates": 3, "fingerprint": None}, r"fingerprint is None, not text; gates is 3, not \[text, ...\]"),
        ({"decisions": {"a": {}}}, "decision 'a': options is missing; loss_increase is missing"),
        ({"decisions": {"a": 5}}, "decision 'a': 5 is no object"),
        (
            {"decisions": {"a": {"options": [2, 4], "loss_increase": [[1.0, 2.0], [1.0]]}}},
            r"\[1, 2\] numbers for 2 options",
        ),
    ],
)
def test_a_table_that_is_damaged_is_named_with_what_to_do(space, batches, tmp_path, change, message):
    path = tmp_path / "t.json"
    estimated_table(space, batches, LOSS, facts={}).save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(
        ValueError, match=rf"{path}: cannot be read .*{message}.*Name the sensitivity.json of another run"
    ):
        Table.load(path)


def test_a_table_that_is_no_file_or_no_json_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"none.json: cannot be read .*No such file"):
        Table.load(tmp_path / "none.json")
    (tmp_path / "t.json").write_text('{"format": 1}')
    with pytest.raises(ValueError, match=r"t.json: cannot be read \(decisions is missing\)"):
        Table.load(tmp_path / "t.json")


def test_a_table_is_of_one_loss_and_one_of_an_earlier_version_of_the_plain_one(space, batches):
    plain = {"label_smoothing": 0.0}
    table = estimated_table(space, batches, LOSS, facts=plain)
    assert fingerprint(space, plain) == fingerprint(space, {})  # as earlier versions wrote it
    assert table.fits(space, plain) and table.fits(space, {})
    for facts in ({"label_smoothing": 0.1}, plain | {"class_weights": [1.0, 2.0, 1.0, 1.0]}):
        assert not table.fits(space, facts) and estimated_table(space, batches, LOSS, facts=facts).fits(space, facts)


def test_a_table_whose_rows_are_of_another_shape_does_not_fit(space, batches):
    table = estimated_table(space, batches, LOSS, facts={})
    name = next(iter(table.increases))
    assert table.fits(space, {})
    assert not replace(table, increases=table.increases | {name: table.increases[name][1:]}).fits(space, {})
    assert not replace(table, fingerprint="other").fits(space, {})
    assert not replace(table, gates=()).fits(space, {})


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    folder = tmp_path_factory.mktemp("first")
    data = write_stripes(folder / "d.npz", count=160)
    return data, folder / "run", run(folder / "run", configured(data, 500))


def configured(data, budget, **options):
    config = replace(settings(data), budgets={"flash_bytes": budget}, strategy=SensitivitySettings(**options))
    return config


def test_the_program_meets_the_budget_and_leaves_its_table(first):
    _, folder, summary = first
    assert summary["budgets"]["flash_bytes"]["met"] and summary["mismatches"]["numpy"] == 0
    assert summary["costs"]["flash_bytes"]["found"] > 400  # nothing is given away
    assert json.loads((folder / "sensitivity.json").read_text())["format"] == 1


def test_a_table_serves_a_new_budget_and_no_other_network(first, tmp_path, monkeypatch):
    data, folder, summary = first
    config = configured(data, 300, table=str(folder / "sensitivity.json"))
    config.train.warmup.source = str(folder)
    monkeypatch.setattr("search.strategies.sensitivity.strategy.measured_table", None)  # it is not made again
    found = run(tmp_path / "run", config)
    assert found["costs"]["flash_bytes"]["found"] <= 300
    table = Table.load(folder / "sensitivity.json")  # what making it took counts, and what its stages took beside
    assert min(found["epochs"]["search"], summary["epochs"]["search"]) > table.epochs > 0
    assert min(found["seconds"]["search"], summary["seconds"]["search"]) > table.seconds > 0
    other = replace(configured(data, 300, table=str(folder / "sensitivity.json")), seed=5)
    with pytest.raises(ValueError, match="belongs to other weights, another space or another loss"):
        run(tmp_path / "other", other)


def test_a_table_of_another_loss_is_refused(first, tmp_path):
    data, folder, _ = first
    config = configured(data, 300, table=str(folder / "sensitivity.json"))
    config.train.warmup.source, config.task.class_weights = str(folder), [1.0, 2.0, 1.0, 1.0]
    with pytest.raises(UsageError, match="another loss of the task"):
        run(tmp_path / "run", config)


def test_a_table_of_another_space_is_refused_before_anything_is_written(first, tmp_path):
    data, folder, _ = first
    config = configured(data, 300, table=str(folder / "sensitivity.json"))
    other = replace(config, space=replace(config.space, weight_bits=[4, 8]))
    with pytest.raises(UsageError, match="belongs to another space, with other decisions or options"):
        run(tmp_path / "run", other)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", [{"batches": 1}, {"estimate": "gradient"}])
def test_how_to_make_a_table_is_refused_where_one_is_taken_over(option):
    with pytest.raises(ValueError, match=rf"strategy.{next(iter(option))}.*as it comes, with strategy.table"):
        SensitivitySettings(table="sensitivity.json", **option)


def test_a_table_that_takes_longer_than_there_is_is_refused_behind_its_first_pass(space, batches):
    seen, loss = [], lambda *given: (seen.append(1), LOSS(*given))[1]
    with pytest.raises(ValueError, match=r"limits.seconds: leaves 0 for the table, which takes about \d+\. Raise"):
        measured_table(space, batches, loss, allowed=1e-6, facts={})
    assert len(seen) == len(batches)
    assert measured_table(space, batches[:1], LOSS, allowed=900.0, facts={}).gates


def test_a_table_that_a_kill_left_unfinished_goes_on_from_there(first, tmp_path, monkeypatch):
    data, folder, _ = first
    config, saved, original = configured(data, 500), [], Table.save
    monkeypatch.setattr(Table, "save", lambda self, path: (saved.append(len(self.increases)), original(self, path)))
    with killed(Table, "save", at=(3,), behind=True), pytest.raises(Killed):
        run(tmp_path / "run", config)
    assert saved == [1, 2, 3] and not (tmp_path / "run" / "sensitivity.json").exists()
    left = Table.load(tmp_path / "run" / "sensitivity.part.json")
    run(tmp_path / "run", config)
    whole, again = (Table.load(each / "sensitivity.json") for each in (folder, tmp_path / "run"))
    assert saved[3] == 4 and again.seconds > left.seconds  # what was measured is not measured again
    assert all(torch.equal(again.increases[name], values) for name, values in whole.increases.items())
    assert list(again.increases) == list(whole.increases) and again.tries == passes_of(whole)
    assert not (tmp_path / "run" / "sensitivity.part.json").exists()


def passes_of(table):
    return 1 + sum(len(values) * (len(table.options[name]) - 1) for name, values in table.increases.items())


def test_without_budgets_it_is_refused(first, tmp_path):
    data, _, _ = first
    with pytest.raises(ValueError, match="lowers costs to budgets, and there are none"):
        prepared(tmp_path / "run", replace(configured(data, 1), budgets={}, front=Front()))
