"""What each task does with a batch reads nothing, and what it does with many is read at the end."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from benchmarks.waits import Waits
from search.data import Data, from_arrays
from search.settings.tasks import BALANCED
from search.tasks import SETTINGS, TASKS, Task
from search.training.evaluation import mean_loss, scores_of
from spaces.searchable import Options, searchable
from spaces.space import FAKE, Space
from tests.laws.host_reads.counted import FEW, IMAGES, MANY, META, in_batches, reads_of
from tests.search.tasks import made


class Apart(made.Both):
    """A task of a user's with one output."""

    def loss(self, outputs, targets, images):
        return (outputs[:, 0] - targets[:, 0]).square().mean()

    def metric_of(self, outputs, targets, images):
        return -(outputs[:, 0] - targets[:, 0]).abs()


def masks_of_all_places() -> Data:
    x = np.random.default_rng(0).normal(size=(IMAGES, 1, 8, 8)).astype(np.float32)
    return from_arrays({"x_train": x, "y_train": (x[:, 0] > 0.5).astype(np.int64)}, targets="masks")


CUSTOM = {"kind": f"{__name__}.Apart"}
CASES = {
    "classification": ("classification", made.bright, made.Head, {}),
    "classification, balanced": ("classification", made.bright, made.Head, {"class_weights": BALANCED}),
    "regression": ("regression", made.numbers, made.Head, {}),
    "tagging": ("tagging", made.tags, made.Head, {}),
    "tagging, balanced": ("tagging", made.tags, made.Head, {"tag_weights": BALANCED}),
    "segmentation": ("segmentation", made.masks, made.Maps, {}),
    "segmentation, balanced": ("segmentation", masks_of_all_places, made.Maps, {"class_weights": BALANCED}),
    "anomaly": ("anomaly", made.anomalies, made.Again, {}),
    "custom": ("custom", made.numbers, made.Head, CUSTOM),
}


@dataclass
class Learned:
    task: Task
    data: Data
    space: Space


@pytest.fixture(scope="module", params=CASES)
def learned(request: pytest.FixtureRequest) -> Learned:
    """A task, its data, and a space that could learn it."""
    name, data_of, network, options = CASES[request.param]
    data = data_of()
    torch.manual_seed(0)
    space = searchable(network(), torch.zeros(2, *data.input_shape), Options(weight_bits=(2, 4, 8)))
    space.calibrate([data.normalise(data.train.images[:16])])
    space.set_mode(FAKE)
    return Learned(TASKS[name].of(SETTINGS[name](**options), data, 0.1), data, space)


def test_every_task_is_here() -> None:
    assert {name for name, *_ in CASES.values()} == TASKS.keys()


def test_scores_on_validation_data_are_read_at_the_end(learned: Learned) -> None:
    def scored(count: int) -> Counter[str]:
        batches = in_batches(learned.data, "val", count)
        return reads_of(lambda: scores_of(learned.space, batches, learned.task, FAKE).value)

    scored(FEW)  # zero points are read once
    assert len(in_batches(learned.data, "val", MANY)) > len(in_batches(learned.data, "val", FEW))
    assert scored(FEW) == scored(MANY)


@pytest.mark.parametrize("comparing", [False, True], ids=["loss", "comparison_loss"])
def test_a_mean_loss_is_read_once(learned: Learned, comparing: bool) -> None:
    loss = learned.task.comparison_loss if comparing else learned.task.loss
    few, many = (list(in_batches(learned.data, "train", count).epoch(0)) for count in (FEW, MANY))
    mean_loss(learned.space, few, loss)  # zero points are read once
    assert len(few) == FEW and len(many) == MANY
    assert reads_of(lambda: mean_loss(learned.space, few, loss)) == {"tolist": 1}
    assert reads_of(lambda: mean_loss(learned.space, many, loss)) == {"tolist": 1}


def test_weighted_masks_with_places_of_no_class_read_how_many_are_left() -> None:
    """The sum of their weights is rounded as it is over those places alone, so a batch is read: it is the exception."""
    data = made.masks()
    task = TASKS["segmentation"].of(SETTINGS["segmentation"](class_weights=BALANCED), data, 0.0)
    images, targets = next(in_batches(data, "train", FEW).epoch(0))
    outputs = torch.randn(len(images), 2, *images.shape[2:])
    assert reads_of(lambda: task.loss(outputs, targets, images)) == {"mask": 1}


def test_what_a_task_does_with_a_batch_reads_nothing_and_waits_for_no_copy(learned: Learned) -> None:
    images, targets = next(in_batches(learned.data, "train", FEW).epoch(0))
    outputs = learned.space(images).detach()
    images, targets, outputs = (each.to(META) for each in (images, targets, outputs))
    task, scored = learned.task, learned.task.scores()

    def batch() -> None:
        task.loss(outputs, targets, images)
        task.comparison_loss(outputs, targets, images)
        task.distance(outputs, outputs, 2.0)
        scored.add(outputs, targets, images)

    batch()  # what it needs on the device is there from the first batch on
    with Waits() as waits:
        batch()
    assert not +waits.reads and not +waits.copies
