"""Numbers that no run can have are refused as settings, with the key, the value and what is allowed."""

from math import inf, nan
from typing import Any

import pytest

from search.config import parse
from search.data.augment import Augment
from search.errors import UsageError
from search.settings.run import (
    DistillationSettings,
    FinetuneSettings,
    LimitSettings,
    Settings,
    SpaceSettings,
    TrainSettings,
    WarmupSettings,
)
from search.settings.strategies import (
    BlackBoxSettings,
    FixedSettings,
    GradientSettings,
    MagnitudeSettings,
    SensitivitySettings,
)
from tests.search.small import settings


def train(**given: Any) -> TrainSettings:
    """The settings of training, in which what changes images is given as "augment.shift"."""
    changes = {key.removeprefix("augment."): value for key, value in given.items() if key.startswith("augment.")}
    return TrainSettings(**{"augment": Augment(**changes)} if changes else given)


def whole(seed: int) -> Settings:
    return settings("d.npz", seed=seed)


# (what makes the settings, what stands before a field's name, field -> values that are refused)
WRONG: list[tuple[Any, str, dict[str, list[Any]]]] = [
    (whole, "", {"seed": [-1, 99999999999999999999]}),
    (
        train,
        "train.",
        {
            "batch_size": [0, -4],
            "threads": [0, -3, 9999999],
            "device": ["gpu", "cuda:x", "cuda:-1", "", "cpu "],
            "augment.shift": [-1, 0.6, nan, inf],
            "augment.cutout": [-0.2, 1, nan],
            "augment.noise": [-0.1, inf, nan],
            "label_smoothing": [-0.1, 1, nan],
        },
    ),
    (
        WarmupSettings,
        "train.warmup.",
        {"epochs": [-1], "lr": [0, -1, inf, nan], "weight_decay": [-0.1, inf, nan], "patience": [0, -2]},
    ),
    (
        FinetuneSettings,
        "train.finetune.",
        {"epochs": [-1], "integer_epochs": [-1, 11], "lr": [0, inf], "weight_decay": [-1e-4], "patience": [0]},
    ),
    (DistillationSettings, "train.distillation.", {"weight": [2, nan], "temperature": [0, inf]}),
    (LimitSettings, "limits.", {"epochs": [0, inf], "seconds": [-1, nan]}),
    (SpaceSettings, "space.", {"temperature": [-1, inf], "hysteresis": [0.5, -0.1], "mode": ["loud"]}),
    (
        GradientSettings,
        "strategy.",
        {
            **{"epochs": [0], "next_epochs": [0], "lr": [-1, inf], "decision_lr": [0], "weight_decay": [-1]},
            **{"pattern_decay": [-1], "ramp": [2, nan], "final_temperature": [0]},
        },
    ),
    (
        MagnitudeSettings,
        "strategy.",
        {
            **{"lr": [0], "tolerance": [-1, inf], "weight_decay": [-1], "steps": [0], "epochs": [-1]},
            **{"fraction": [0, 1], "threshold": [0, inf], "weight_bits": [0, -8]},
        },
    ),
    (SensitivitySettings, "strategy.", {"batches": [0]}),
    (
        BlackBoxSettings,
        "strategy.",
        {"trials": [0], "attempts": [0], "val_images": [0], "networks": [0], "population": [1], "tournament": [0]},
    ),
    (FixedSettings, "strategy.", {"weight_bits": [0, [8, -2]], "widths": [[0.5, 2], [], [nan]]}),
]
ALLOWED: list[tuple[Any, dict[str, list[Any]]]] = [
    (whole, {"seed": [0, 2**64 - 1]}),
    (train, {"batch_size": [1], "threads": [1, None], "device": ["auto", "cpu", "cuda", "cuda:1"]}),
    (WarmupSettings, {"epochs": [0], "weight_decay": [0], "patience": [1, None]}),
    (FinetuneSettings, {"integer_epochs": [0, 10], "weight_decay": [0], "patience": [1, None]}),
    (LimitSettings, {"epochs": [0.5, None], "seconds": [0.5, None]}),
    (GradientSettings, {"epochs": [1, None], "weight_decay": [0], "ramp": [0, 1]}),
]


@pytest.mark.parametrize(
    ("make", "prefix", "field", "value"),
    [(make, prefix, field, v) for make, prefix, fields in WRONG for field, values in fields.items() for v in values],
)
def test_a_value_out_of_range_is_refused(make, prefix, field, value):
    with pytest.raises(UsageError) as refused:
        make(**{field: value})
    assert str(refused.value).startswith(f"{prefix}{field} is {value}; allowed: ")


@pytest.mark.parametrize(
    ("make", "field", "value"),
    [(make, field, value) for make, fields in ALLOWED for field, values in fields.items() for value in values],
)
def test_the_ends_of_what_is_allowed_are_taken(make, field, value):
    assert getattr(make(**{field: value}), field) == value


@pytest.mark.parametrize("override", ["seed=-1", "train.device=gpu", "train.augment.shift=0.7", "strategy.lr=inf"])
def test_the_command_line_refuses_it_in_the_same_words(composed, override):
    key, value = override.split("=")
    with pytest.raises(UsageError, match=rf"^{key} is {value}; allowed: "):
        parse(composed(override))


def test_fewer_epochs_of_fine_tuning_than_integer_epochs_name_the_key_to_lower(composed):
    with pytest.raises(
        UsageError, match=r"integer_epochs is 2; allowed: 0 to train\.finetune\.epochs, 1; set it too"
    ) as s:
        parse(composed("train.finetune.epochs=1"))
    assert str(s.value).endswith(" as train.finetune.integer_epochs=1.")


@pytest.mark.parametrize(("batch_size", "factor"), [(64, 1), (16, 0.5), (256, 2), (32, 0.5**0.5)])
def test_learning_rates_go_with_the_square_root_of_the_batch_size(batch_size, factor):
    assert TrainSettings(batch_size=batch_size).at_batch(0.03) == pytest.approx(0.03 * factor)
