"""Nothing that runs over batches waits for the device a batch at a time: counted, since it holds without a device too.

Where a routine goes over the same images in twice as many batches, Python reads as many values of tensors. And what is
done with a batch runs on the device "meta", of which nothing can be read, without a copy that the host waits for.
"""

from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from inspect import signature

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.waits import Waits
from search.data import Data, from_arrays
from search.data.augment import Augment
from search.data.batches import Batches
from search.data.data import Split
from search.deploy.lower import lower
from search.deploy.verify import scores_of_program, verify
from search.experiment import EVALUATION_BATCH
from search.settings.run import SpaceSettings
from search.settings.strategies import BlackBoxSettings, MagnitudeSettings
from search.settings.tasks import BALANCED
from search.strategies.black_box.proxy import Proxy
from search.strategies.problem import Problem
from search.strategies.pruning.parts import Channels, SingleWeights
from search.strategies.pruning.ranking import GRADIENT, scores
from search.strategies.sensitivity.increases import estimated_table, loss_at, measured_table, passes
from search.tasks import SETTINGS, TASKS, Task
from search.training import reporting
from search.training.evaluation import mean_loss, reestimate_norms, scores_of
from search.training.ledger import Ledger
from search.training.loop import PhaseRun
from search.training.losses import TOGETHER
from search.training.phase import Phase, Schedule
from spaces.searchable import Options, searchable
from spaces.space import FAKE, FLOAT, INTEGER, Space
from tests.laws.test_networks import ALL as NETWORKS
from tests.laws.test_networks import fixed_at_random
from tests.search.small import cross_entropy, problem_of, settings, write_stripes
from tests.search.tasks import made

IMAGES, FEW, MANY = 160, 4, 8  # batches of the same images; a few are what statistics are taken of at most
AUGMENTS = {
    "none": None,
    "shift": Augment(shift=0.25),
    "flip": Augment(flip=True),
    "cutout": Augment(cutout=0.3),
    "noise": Augment(noise=0.1),
    "all": Augment(shift=0.25, flip=True, cutout=0.3, noise=0.1),
}
META = torch.device("meta")


def reads_of(run: Callable[[], object]) -> Counter[str]:
    with Waits() as waits:
        run()
    return +waits.reads


def in_batches(data: Data, split: str, count: int, augment: Augment | None = None) -> Batches:
    size = len(data.split(split)) // count
    return Batches(data, split, size, seed=0, shuffle=split == "train", augment=augment)


# Data


def images_of(device: torch.device, augment: Augment | None, count: int = IMAGES) -> Batches:
    """Batches of 16 of so many images, which share their bytes before they are on the device."""
    images = torch.zeros(1, 3, 32, 32, dtype=torch.uint8).expand(count, -1, -1, -1)
    split = Split(images, torch.zeros(1, dtype=torch.long).expand(count))
    data = Data("images", split, split, split, ("a", "b"), (0.5,) * 3, (0.2,) * 3)
    return Batches(data, "train", 16, seed=0, shuffle=True, augment=augment, device=device)


@pytest.mark.parametrize("augment", AUGMENTS.values(), ids=AUGMENTS)
def test_an_epoch_of_training_data_reads_nothing_and_waits_for_no_copy(augment: Augment | None) -> None:
    assert not reads_of(lambda: list(images_of(torch.device("cpu"), augment).epoch(0)))
    batches = images_of(META, augment)
    with Waits() as waits:
        found = list(batches.epoch(0))
    assert len(found) == IMAGES // 16 and not +waits.reads and not +waits.copies
    assert all(images.device == targets.device == META for images, targets in found)


def test_sixty_thousand_images_stay_on_the_device_as_bytes() -> None:
    batches = images_of(META, AUGMENTS["all"], count=60_000)
    held = batches._images
    assert (held.device, held.dtype, tuple(held.shape)) == (META, torch.uint8, (60_000, 3, 32, 32))
    assert batches._targets.device == batches.some(1000)._images.device == META
    with Waits() as waits:
        images, targets = next(batches.epoch(0))
    assert images.device == targets.device == META and images.dtype == torch.float32
    assert not +waits.reads and not +waits.copies


# Tasks


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


# Spaces


@pytest.mark.parametrize("mode", [FLOAT, FAKE])
@pytest.mark.parametrize("training", [False, True])
def test_a_pass_of_a_space_runs_where_nothing_can_be_read(mode: str, training: bool) -> None:
    space = searchable(nn.Sequential(*made.Head(4)), torch.zeros(2, 1, 8, 8), Options(weight_bits=(0, 2, 4, 8)))
    space.calibrate([torch.randn(4, 1, 8, 8)])
    space.set_mode(FAKE)
    space(torch.zeros(2, 1, 8, 8))  # zero points are read once
    space, images = space.to(META), torch.zeros(2, 1, 8, 8, device=META)
    with space.running(mode, training=training):
        space(images)  # tables of sizes are made once
        with Waits() as waits:
            assert space(images).device == META
    assert not +waits.reads and not +waits.copies


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("mode", [FAKE, INTEGER])
def test_a_pass_of_a_decided_network_in_evaluation_reads_nothing(mode: str, name: str) -> None:
    space, images = fixed_at_random(name)
    network = space.decide().eval()
    with network.running(mode):
        network(images)  # what it keeps in evaluation is made in its first pass
        found = reads_of(lambda: network(images))
    bounded = any(quantizer.ceiling is not None for quantizer in network.quantizers.values())
    assert found.total() <= bounded  # the steps of tensors behind a ReLU6, all at once


# What strategies do with batches


@pytest.fixture(scope="module")
def warmed_up(tmp_path_factory: pytest.TempPathFactory) -> Problem:
    """What a strategy is given, with channels, weights and precisions open."""
    folder = tmp_path_factory.mktemp("run")
    chosen = settings(write_stripes(folder / "stripes.npz", count=IMAGES), "magnitude")
    chosen.space = SpaceSettings(weight_bits=[0, 2, 8], pattern="weights")
    chosen.strategy = MagnitudeSettings(fraction=0.5)
    return problem_of(folder / "run", chosen)


@pytest.fixture
def problem(warmed_up: Problem) -> Problem:
    """It is the same for every test: what a test does to the space is undone behind it."""
    before = {name: value.clone() for name, value in warmed_up.space.state_dict().items()}
    yield warmed_up
    warmed_up.space.load_state_dict(before)


@pytest.fixture(scope="module")
def data() -> Data:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(IMAGES, 1, 8, 8, generator=generator)
    split = Split(images, torch.arange(IMAGES) % 4)
    return Data("noise", split, split, split, tuple("abcd"), (0.0,), (1.0,))


def with_batches(problem: Problem, data: Data, count: int) -> Problem:
    train, val = in_batches(data, "train", count), in_batches(data, "val", count)
    return replace(problem, runtime=replace(problem.runtime, train=train, whole=train, val=val, ledger=Ledger()))


def _calibrate(problem: Problem) -> None:
    problem.space.calibrate([images for images, _ in problem.sample(MANY)])


def _norms(problem: Problem) -> None:
    reestimate_norms(problem.space, problem.runtime.whole, MANY)


def _candidate(problem: Problem) -> None:
    Proxy(problem, BlackBoxSettings("random")).score_of(problem.space.architecture())


def _table(table: Callable[..., object]) -> Callable[[Problem], None]:
    def made(problem: Problem) -> None:
        task = problem.runtime.task
        table(problem.space, problem.sample(MANY), task.comparison_loss, facts=task.facts)

    return made


def _loss(problem: Problem) -> None:
    loss_at(problem.space, problem.space.architecture(), problem.sample(MANY), problem.runtime.task.comparison_loss)


def _ranking(parts: Callable[..., object]) -> Callable[[Problem], None]:
    return lambda problem: scores(problem, parts(problem.space, problem.space.architecture()), GRADIENT)


def _integers(problem: Problem) -> None:
    network = problem.space.decide().eval()
    scores_of(network, problem.runtime.val, problem.runtime.task, INTEGER).value  # noqa: B018  it is what is read


ROUTINES: dict[str, Callable[[Problem], object]] = {
    "calibration": _calibrate,
    "norms": _norms,
    "a candidate": _candidate,
    "measured table": _table(measured_table),
    "estimated table": _table(estimated_table),
    "loss of an architecture": _loss,
    "ranking of channels": _ranking(Channels),
    "ranking of weights": _ranking(SingleWeights),
    "scores in integers": _integers,
}


@pytest.mark.parametrize("routine", ROUTINES.values(), ids=ROUTINES)
def test_reads_do_not_grow_with_the_batches(routine: Callable[[Problem], object], problem: Problem, data: Data) -> None:
    few, many = with_batches(problem, data, FEW), with_batches(problem, data, MANY)
    routine(few)  # zero points and tables of sizes are read once
    assert reads_of(lambda: routine(few)) == reads_of(lambda: routine(many))


def test_candidates_are_cut_out_of_a_copy_on_the_host(problem: Problem, data: Data) -> None:
    """The space is read once for all candidates: where nothing can be read of it any more, they are what they were."""
    space = deepcopy(problem.space)
    proxy = Proxy(replace(with_batches(problem, data, FEW), space=space), BlackBoxSettings("random"))
    architecture = space.architecture()
    first = proxy.score_of(architecture)
    space.to(META)
    assert proxy.score_of(architecture) == first


def test_an_estimate_of_whole_choices_reads_its_picks_on_the_host(data: Data) -> None:
    options = Options(weight_bits=(2, 4, 8), granularity="tensor")
    space = searchable(made.Head(4), torch.zeros(2, 1, 8, 8), options)
    few, many = (list(in_batches(data, "train", count).epoch(0)) for count in (FEW, MANY))
    space.calibrate([images for images, _ in few])

    def estimated(batches: list[tuple[torch.Tensor, torch.Tensor]]) -> Counter[str]:
        return reads_of(lambda: estimated_table(space, batches, cross_entropy, facts={}))

    assert all(choice.whole for choice in space.choices.values())
    estimated(few)  # zero points are read once
    assert estimated(many) - estimated(few) == {"tolist": MANY - FEW}  # a pass reads its picks of a copy on the host


def test_a_measured_table_is_read_once_a_decision(problem: Problem, data: Data) -> None:
    space, loss = problem.space, problem.runtime.task.comparison_loss
    batches = with_batches(problem, data, FEW).sample(FEW)
    found = reads_of(lambda: measured_table(space, batches, loss, facts={}))
    decisions, weights = len(space.decisions), len(space.float_names())
    assert passes(space) > 50 > 3 * decisions
    assert found["tolist"] == 1 + 2 * decisions  # the loss that is reached; each decision's pick, and its losses
    assert found["numpy"] == weights  # for the fingerprint


# Training


@pytest.mark.parametrize("mode", [FLOAT, FAKE])
def test_an_epoch_of_training_reads_its_losses_many_at_a_time(
    mode: str, problem: Problem, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of steps that decide, which read costs as well, see tests/benchmarks/test_step_counts.py."""
    monkeypatch.setattr(reporting, "TICK_SECONDS", float("inf"))  # what is shown is read by the clock

    def epoch(steps: int) -> Counter[str]:
        phase = Phase("finetune", Schedule(1, 1e-3, mode))
        run = PhaseRun(problem.space, phase, with_batches(problem, data, steps).runtime)
        run.prepare_epoch()
        return reads_of(run.run_epoch)

    epoch(TOGETHER)
    assert epoch(2 * TOGETHER) - epoch(TOGETHER) == {"tolist": 1}


# Export


def test_verification_reads_what_numpy_needs_and_nothing_beyond_its_limit(problem: Problem, data: Data) -> None:
    network = problem.space.decide().eval()
    program = lower(network, preprocessing=data.preprocessing)
    tensors = len(program.tensors)

    def verified(count: int, limit: int) -> int:
        batches = with_batches(problem, data, count).runtime.val
        return reads_of(lambda: verify(network, program, batches, limit=limit)).total()

    verified(FEW, IMAGES)
    size = IMAGES // MANY
    assert verified(MANY, 2 * size) == verified(MANY // 2, 4 * size) == verified(MANY, size + 1)
    a_batch = verified(MANY, 2 * size) - verified(MANY, size)
    folding = reads_of(lambda: network.codes(data.normalise(data.val.images[:size]))).total()
    assert a_batch == folding + 2 * (tensors + 1)  # each tensor, and the raw images: brought to the host, and read
    assert signature(verify).parameters["limit"].default == EVALUATION_BATCH  # so that a run verifies one batch


def test_scores_of_a_program_read_the_batches_that_numpy_runs(problem: Problem, data: Data) -> None:
    program = lower(problem.space.decide().eval(), preprocessing=data.preprocessing)

    def scored(count: int) -> Counter[str]:
        runtime = with_batches(problem, data, count).runtime
        return reads_of(lambda: scores_of_program(program, runtime.val, runtime.task).value)

    grown = scored(MANY) - scored(FEW)
    assert grown == {"cpu": 3 * (MANY - FEW), "numpy": MANY - FEW}  # raw images, normalised ones and targets
