"""Sweeps of uniform networks: of each precision the widest that fits, channels by importance."""

from dataclasses import replace

import pytest

from search.budgets.feasibility import BudgetError
from search.files.results import read_results
from search.settings.front import Point
from search.settings.strategies import FixedSettings
from search.strategies.black_box.encoding import importance
from search.strategies.fixed import Fixed, uniform
from tests.search.small import prepared, prepared_and_run, run, settings


def configured(data, budget, **options):
    config = replace(settings(data), budgets={"flash_bytes": budget}, strategy=FixedSettings(**options))
    config.space.weight_bits = [0, 2, 4, 8]
    return config


def test_of_each_precision_the_widest_that_fits_is_trained(data, tmp_path):
    widths = [0.25, 0.5, 0.75, 1.0]
    config = configured(data, 600, weight_bits=[2, 8], widths=widths)
    made, summary = prepared_and_run(tmp_path / "run", config)
    results, _ = read_results(tmp_path / "run" / "results.jsonl")
    flash = made.models["flash_bytes"]
    for result, bits in zip(results, (2, 8), strict=True):
        kept = sum(result.architecture.picks["conv1/channels"])
        assert set(result.architecture.picks["conv1/bits"]) == {bits}
        assert sum(result.architecture.picks["conv2/channels"]) == 2 * kept
        sizes = {w: flash(made.space.decide(uniform(made.space, bits, w)).describe()).item() for w in widths}
        assert kept == round(8 * max(w for w, size in sizes.items() if size <= 600))
    assert summary["epochs"]["finetune"] == 2 * 3
    best = max(results, key=lambda r: r.metrics["accuracy/val"])
    assert summary["architecture"] == best.architecture.hash


def test_epochs_are_shared_among_the_precisions_that_fit(data, tmp_path):
    """Of 2, 4 and 8 bits only the first does, so all that warm-up leaves is for it."""
    config = configured(data, 240, weight_bits=[2, 4, 8], widths=[0.5, 1.0])
    config.limits.epochs = 11
    summary = run(tmp_path / "run", config)
    results, _ = read_results(tmp_path / "run" / "results.jsonl")
    assert [set(r.architecture.picks["conv1/bits"]) for r in results] == [{2}]
    assert summary["epochs"] == {"warmup": 2, "finetune": 9, "total": 11}


def test_rounds_are_counted_whether_or_not_it_was_checked_before(data, tmp_path):
    """For 600 B the whole network at 2 bits and the half at 8 bits; for 240 B the half at 2 bits."""
    made = prepared(tmp_path / "run", configured(data, 600, weight_bits=[2, 8], widths=[0.5, 1.0]))
    points = [Point("", {"flash_bytes": budget}, {}) for budget in (600, 240, 600)]
    strategy, checked = (Fixed(made.settings.strategy) for _ in range(2))
    checked.check(made.space, made.models, points[:1])
    assert [each.rounds(made.space, made.models, points) for each in (strategy, checked)] == [3, 3]
    assert vars(strategy) == vars(checked)


def test_without_budgets_every_width_is_trained(data, tmp_path):
    config = replace(configured(data, 1, weight_bits=[4, 8], widths=[0.5, 1.0]), budgets={})
    run(tmp_path / "run", config)
    results, _ = read_results(tmp_path / "run" / "results.jsonl")
    kept = [(r.architecture.picks["conv1/bits"][0], sum(r.architecture.picks["conv1/channels"])) for r in results]
    assert kept == [(4, 8), (4, 4), (8, 8), (8, 4)]


def test_the_channels_that_stay_are_the_most_important(data, tmp_path):
    made = prepared(tmp_path / "run", configured(data, 600, weight_bits=8, widths=[0.5]))
    scores = importance(made.space)["conv1/channels"]
    pick = uniform(made.space, 8, 0.5).picks["conv1/channels"]
    kept = [float(s) for s, p in zip(scores, pick, strict=True) if p]
    assert len(kept) == 4 and min(kept) >= max(float(s) for s, p in zip(scores, pick, strict=True) if not p)


def test_widths_without_channels_and_what_fits_nowhere_are_refused(data, tmp_path):
    config = configured(data, 600, weight_bits=8, widths=[0.5])
    config.space.weight_bits = [8]
    with pytest.raises(ValueError, match=r"strategy.widths below 1: no channels are open"):
        prepared(tmp_path / "run", config)
    with pytest.raises(BudgetError, match=r"at 4 bits and width 0.5 costs are"):
        prepared(tmp_path / "run", configured(data, 100, weight_bits=[4, 8], widths=[0.5, 1.0]))
    for wrong in ({"widths": []}, {"widths": [2.0]}, {"weight_bits": []}, {"weight_bits": 0}):
        with pytest.raises(ValueError, match=r"strategy\.(widths|weight_bits)"):
            FixedSettings(**wrong)
