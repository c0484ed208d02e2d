"""What each warning is made from, by hand: 1,000 validation images, 10 classes, accuracy."""

from dataclasses import replace

import pytest

from search.health.figures import CALIBRATED, DECIDED, FLOAT, INTEGER, QUANTIZED, SEARCHED, STALE, SWITCH, Figures
from search.health.figures import STAGES as STAGES_IN_ORDER
from search.health.warnings import CHECKS, RunWarning, warnings_of
from search.monitor import words
from search.settings.run import FinetuneSettings, TrainSettings, WarmupSettings
from search.tasks.classification import EVEN, Classification

IMAGES = 1_000
STAGES = {
    FLOAT: 0.9,
    CALIBRATED: 0.89,
    SEARCHED: 0.89,
    STALE: 0.86,
    DECIDED: 0.87,
    SWITCH: 0.885,
    QUANTIZED: 0.89,
    INTEGER: 0.89,
}
TASK = Classification([str(i) for i in range(10)])
HEALTHY = Figures(
    metric=TASK.metric,
    images=IMAGES,
    chance=0.1,
    standard_error=lambda value: TASK.standard_error(value, IMAGES),
    stages=STAGES,
    train=TrainSettings(
        warmup=WarmupSettings(epochs=10, lr=0.1), finetune=FinetuneSettings(epochs=5, integer_epochs=2, lr=0.03)
    ),
    strategy="gradient",
    warmup=(0.3, 0.6, 0.8, 0.85, 0.88, 0.89, 0.9, 0.9, 0.9, 0.9),
    finetuning=(0.86, 0.875, 0.88, 0.885, 0.89),
    costs={"flash_bytes": 980.0, "peak_ram_bytes": 500.0},
    limits={"flash_bytes": 1000.0, "peak_ram_bytes": 1000.0},
    seed_costs={"flash_bytes": 9000.0, "peak_ram_bytes": 2000.0},
    search_costs={"flash_bytes": 970.0},
    search_epochs=10,
    search_steps=200,
)


def at(**stages: float) -> Figures:
    """The healthy figures, with other values at these stages."""
    return replace(HEALTHY, stages=STAGES | stages)


def names(figures: Figures) -> list[str]:
    return [warning.name for warning in warnings_of(figures)]


def only(figures: Figures) -> RunWarning:
    (found,) = warnings_of(figures)
    return found


def test_a_healthy_network_has_no_warning():
    assert warnings_of(HEALTHY) == []


def test_without_a_search_warm_up_budgets_and_epochs_there_is_no_warning_either():
    bare = replace(HEALTHY, stages={FLOAT: 0.9, INTEGER: 0.89}, warmup=(), finetuning=(), limits={}, search_costs={})
    assert warnings_of(replace(bare, search_steps=0, strategy="fixed")) == []


def test_every_stage_is_worded():
    assert tuple(words.STAGES) == STAGES_IN_ORDER


def test_warnings_stand_in_the_order_of_the_run():
    lost = replace(
        at(calibrated=0.3, searched=0.8, decided=0.4, switch=0.3, quantized=0.1, integer=0.1),
        warmup=(0.3, 0.5),
        finetuning=(0.3,),
        search_steps=10,
        costs={"flash_bytes": 100.0, "peak_ram_bytes": 100.0},
    )
    of_floats = replace(at(**dict.fromkeys(STAGES, 0.1)), finetuning=(0.1,))
    assert [*names(of_floats)[:1], *names(lost)] == [
        *(
            "float_at_chance",
            "float_still_rising",
            "lost_in_calibrating",
            "search_too_short",
            "lost_in_deciding",
            "nothing_learned",
        ),
        *("lost_in_integers", "far_below_float", "at_chance", "budget_unused"),
    ]
    assert len(CHECKS) == 10  # so that each of them is here


def test_a_perfect_network_is_not_at_chance_however_frequent_one_class_is():
    of_few = replace(
        at(**dict.fromkeys(STAGES, 1.0)),
        chance=0.931,
        images=58,
        standard_error=lambda value: TASK.standard_error(value, 58),
        warmup=(0.9, 0.93, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
        finetuning=(1.0,),
    )
    assert names(of_few) == []
    assert "at_chance" in names(replace(of_few, stages=dict.fromkeys(STAGES, 0.94)))


# Calibrating


def test_a_calibrated_network_far_below_the_floats_is_named_with_both_figures():
    assert only(at(calibrated=0.32)).seen == (
        "With the first steps of its quantizers the network has accuracy 32.00% on 1,000 validation images, 58.00 "
        "points below the float network (90.00%), although it has 8 bits or more."
    )
    assert not warnings_of(at(calibrated=0.86))  # 4 points, within 5


# Deciding


LOST = replace(at(decided=0.4, integer=0.82, quantized=0.82, switch=0.82), finetuning=(0.7, 0.82))


def test_a_decided_network_far_below_the_search_is_named_with_figures():
    warning = only(LOST)
    assert warning.name == "lost_in_deciding"
    assert warning.seen == (
        "The decided network has accuracy 40.00% on 1,000 validation images, 49.00 points below the search (89.00%), "
        "and fine-tuning came to 82.00%."
    )
    assert "choices mixed" in warning.cause


def test_what_was_over_the_budgets_at_the_end_of_the_search_is_the_cause():
    warning = only(replace(LOST, search_costs={"flash_bytes": 1500.0}))
    assert "above its budgets (flash 1,500 of 1,000)" in warning.cause
    assert warning.advice.startswith("strategy.epochs=20 (now 10)")


@pytest.mark.parametrize(
    "decided, integer, is_lost",
    [
        (0.845, 0.82, False),  # 4.5 points below the search, within 5
        (0.83, 0.82, True),  # 6 points, and 4 standard errors are 4.8
        (0.4, 0.86, False),  # fine-tuning made it good
    ],
)
def test_far_is_more_than_5_points_and_not_made_good(decided, integer, is_lost):
    figures = at(decided=decided, integer=integer, quantized=integer, switch=integer)
    figures = replace(figures, finetuning=(decided, integer))
    assert ("lost_in_deciding" in names(figures)) is is_lost


def test_with_few_images_far_is_more_than_4_standard_errors():
    figures = at(decided=0.8, integer=0.8, quantized=0.8, switch=0.8)
    assert "lost_in_deciding" in names(replace(figures, finetuning=(0.8,)))
    few = replace(figures, images=100, standard_error=lambda value: TASK.standard_error(value, 100), finetuning=(0.8,))
    assert names(few) == []


# Fine-tuning and integers


def test_epochs_that_all_made_it_worse_point_to_the_learning_rate():
    warning = only(replace(HEALTHY, finetuning=(0.5, 0.7, 0.8)))
    assert warning.name == "nothing_learned" and "too high" in warning.cause
    assert warning.advice == "train.finetune.lr=0.003 (now 0.03)."


def test_no_epoch_as_good_as_the_start_where_the_float_network_is_better():
    warning = only(replace(at(decided=0.86), finetuning=(0.85, 0.855)))
    assert warning.name == "nothing_learned" and "float network is better" in warning.cause
    assert "the best has 85.50%, the decided network has accuracy 86.00% on" in warning.seen


@pytest.mark.parametrize("start, epochs", [(0.895, (0.88, 0.89)), (0.86, (0.7, 0.86)), (0.86, ())])
def test_a_start_as_good_as_the_float_network_or_an_epoch_as_good_as_the_start_is_no_warning(start, epochs):
    assert names(replace(at(decided=start), finetuning=epochs)) == []


def test_integers_that_training_took_apart_are_told_from_integers_that_rounding_spoils():
    apart = at(integer=0.35, quantized=0.36)
    found = {warning.name: warning for warning in warnings_of(apart)}
    assert list(found) == ["lost_in_integers", "far_below_float"]
    assert "Training in integers took the network apart" in found["lost_in_integers"].cause
    assert found["lost_in_integers"].advice.startswith("train.finetune.lr=0.003 (now 0.03)")
    assert "54.00 points below what fine-tuning had reached (89.00%)" in found["lost_in_integers"].seen
    rounded = warnings_of(at(integer=0.8))[0]
    assert rounded.name == "lost_in_integers" and "The same weights have 89.00%" in rounded.cause
    assert rounded.advice == "train.finetune.integer_epochs=4 (now 2)."


# The result against the float network and chance


def test_a_search_that_lost_the_network_is_the_cause_and_says_what_of_the_budget_is_used():
    lost = replace(
        at(searched=0.2, decided=0.2, switch=0.3, quantized=0.3, integer=0.3),
        finetuning=(0.25, 0.3),
        costs={"flash_bytes": 220.0, "peak_ram_bytes": 100.0},
    )
    warning = warnings_of(lost)[0]
    assert names(lost) == ["far_below_float", "budget_unused"]
    assert "60.00 points below the float network (90.00%)" in warning.seen
    assert "lost in the search, which ended at 20.00%" in warning.cause and "22% of the budget is used" in warning.cause
    assert "strategy.epochs=20 (now 10)" in warning.advice


@pytest.mark.parametrize("integer, is_far", [(0.81, False), (0.79, True)])
def test_what_budgets_take_is_named_from_10_points_on(integer, is_far):
    figures = at(searched=0.85, decided=integer, switch=integer, quantized=integer, integer=integer)
    assert ("far_below_float" in names(replace(figures, finetuning=(integer,)))) is is_far


def test_a_result_that_may_be_guessing_is_of_no_use():
    error = TASK.standard_error(0.1, IMAGES)
    for integer, guessing in ((0.1 + 2.9 * error, True), (0.1 + 3.1 * error, False)):
        figures = at(searched=0.1, decided=0.1, switch=integer, quantized=integer, integer=integer)
        found = names(replace(figures, finetuning=(integer,)))
        assert found == ["far_below_float"] + ["at_chance"] * guessing
    assert "an answer that is the same for every image has 10.00%" in warnings_of(at(integer=0.1))[-1].seen


def test_chance_is_the_most_frequent_class():
    mostly_one = replace(at(**dict.fromkeys(STAGES, 0.9)), chance=0.9, finetuning=(0.9,), warmup=(0.9,) * 10)
    assert names(mostly_one) == ["float_at_chance", "at_chance"]


def test_where_classes_are_uneven_the_weights_of_classes_are_named_too():
    figures = replace(at(**dict.fromkeys(STAGES, 0.9)), chance=0.9, finetuning=(0.9,), warmup=(0.9,) * 10)
    for warning in warnings_of(replace(figures, against_one_answer=EVEN)):
        assert warning.advice.endswith("task.class_weights=balanced makes every class count the same.")
    assert not any("class_weights" in warning.advice for warning in warnings_of(figures))


# The float network, the search, the budgets


def test_a_float_network_that_did_not_learn_points_to_warm_up_or_to_its_weights():
    figures = replace(at(**dict.fromkeys(STAGES, 0.11)), finetuning=(0.12,), warmup=(0.1, 0.1, 0.11, 0.11))
    learned_nothing, ready_made = warnings_of(figures)[0], warnings_of(replace(figures, warmup=()))[0]
    assert learned_nothing.name == ready_made.name == "float_at_chance"
    assert (
        "learned nothing in 4 epochs" in learned_nothing.cause and "train.warmup.lr=0.01 or 1" in learned_nothing.advice
    )
    assert "weights are not trained on this data" in ready_made.cause


@pytest.mark.parametrize(
    "epochs, is_rising",
    [
        ((0.5, 0.6, 0.7, 0.75, 0.78, 0.8, 0.82, 0.84, 0.86, 0.9), True),  # 0.88 over the last two, 0.83 before
        ((0.5, 0.6, 0.7, 0.75, 0.78, 0.8, 0.89, 0.895, 0.9, 0.9), False),  # 0.75 points
        ((0.5, 0.9), True),
        ((0.5, 1.0), False),  # nowhere to rise to
        ((0.9,), False),
    ],
)
def test_warm_up_that_ends_while_the_metric_rises(epochs, is_rising):
    found = [w for w in warnings_of(replace(HEALTHY, warmup=epochs)) if w.name == "float_still_rising"]
    assert bool(found) is is_rising
    assert all(f"train.warmup.epochs={2 * len(epochs)}" in warning.advice for warning in found)


def test_a_search_of_few_steps_says_how_many_epochs_make_enough():
    warning = only(replace(HEALTHY, search_steps=26, search_epochs=6))
    assert warning.name == "search_too_short" and warning.seen == "The search had 26 steps in 6 epochs."
    assert warning.advice.startswith("strategy.epochs=12 or more (now 6)")
    assert names(replace(HEALTHY, search_steps=50)) == []


def test_a_budget_counts_as_used_where_one_is_nearly_full_or_the_seed_network_needs_no_more():
    left = replace(at(integer=0.87, quantized=0.87, switch=0.87), costs={"flash_bytes": 940.0, "peak_ram_bytes": 500.0})
    left = replace(left, finetuning=(0.86, 0.87))
    assert only(left).name == "budget_unused"
    assert "94% of flash (940 of 1,000) and 50% of peak RAM (500 of 1,000)" in only(left).seen
    assert warnings_of(replace(left, seed_costs={"flash_bytes": 940.0, "peak_ram_bytes": 2000.0})) == []
    assert warnings_of(replace(left, stages=STAGES)) == []  # nothing is lost
    assert "strategy.widths" in only(replace(left, strategy="fixed")).cause
    assert "strategy=gradient" in only(replace(left, strategy="tpe")).advice
