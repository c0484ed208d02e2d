"""An experiment: all that a run is made from, as one value; whatever can be refused is refused before it exists."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import inf, prod
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from cost_models import HELD_BY, cost_model
from cost_models.rules import CostModel
from cost_models.target import Target
from search import data as data_sets
from search import distributed
from search.budgets.feasibility import BudgetError, Budgets, costs_at, refuse_impossible, seed_architecture
from search.data.augment import Augment
from search.data.batches import Batches
from search.data.data import Data
from search.data.outliers import outliers
from search.deploy.cortex_m.cores import core_of
from search.errors import UsageError
from search.network import SHOWN, begins_with_convolutions, network_of
from search.settings.front import Point, points_of
from search.settings.run import Settings
from search.strategies import STRATEGIES
from search.strategies.strategy import Strategy
from search.tasks import TASKS, Task
from search.training import checkpoint
from search.training.checkpoint import checkpoint_file
from search.training.fingerprint import fingerprint_of
from search.training.float_network import float_network
from search.training.process import seeded
from spaces.space import Space

EVALUATION_BATCH = 256

ModelMaker = Callable[[Data], nn.Module]


@dataclass(frozen=True)
class Experiment:
    """What a run is made from. Nothing here changes while a run goes on.

    Attributes:
        space: the network in which decisions are open, with its first numbers; a run trains a copy of it.
        random_state: of torch's generator behind the first numbers; a run draws on from there.
        models: cost -> its model, of all costs that the settings name.
        seed_costs: cost -> what the seed network comes to: all channels, the highest precision.
        augment: how training examples are changed.
        points: of the front, in the order in which a search meets them; without a front it is one.
        plan: label of a phase -> its epochs, in the order in which phases run.
        notes: what those who watch a run should know of it.
        fingerprint: name -> what tells this experiment from others, see search.training.fingerprint.
        seconds: what it took to prepare.
    """

    settings: Settings
    data: Data
    task: Task
    space: Space
    random_state: Tensor
    models: Mapping[str, CostModel]
    seed_costs: Mapping[str, float]
    augment: Augment
    points: tuple[Point, ...]
    strategy: Strategy
    plan: Mapping[str, int]
    notes: tuple[str, ...]
    fingerprint: Mapping[str, Any]
    seconds: float

    def batches(self, split: str, device: torch.device) -> Batches:
        """Batches of a split, the part of this process: shuffled and augmented where it is "train"."""
        return batches_of(self.settings, self.data, self.augment, split, device)


def prepare(settings: Settings, make_model: ModelMaker, folder: Path | None = None) -> Experiment:
    """The experiment of these settings. Writes nothing, and gives torch's generators back as they were.

    Args:
        make_model: makes the network once the data is known.
        folder: of a run that may have begun: it can hold a float network that was taken over from another run.

    Raises:
        PicojouleError: what the settings ask for cannot be done: a DataError, BudgetError, UnsupportedNetwork ...
    """
    began = time.perf_counter()
    models = cost_models_of(settings)
    strategy = STRATEGIES[settings.strategy.name](settings.strategy)
    refuse_idle_lambdas(settings)
    data = data_sets.load(settings.data)
    settings, sized = with_batches_that_fit(settings, data)
    task = TASKS[settings.task.name].of(settings.task, data, settings.train.label_smoothing)
    with seeded(settings.seed):
        space, notes = network_of(settings, data, task, make_model(data))
        augment = settings.train.augment.settled(shifts=begins_with_convolutions(space))
        steps = steps_of(settings, data, augment)
        seed_costs = costs_at(space, seed_architecture(space), models)
        points = feasible_points(settings, strategy, space, models, seed_costs)
        rounds = strategy.rounds(space, models, points)
        plan = plan_of(settings, strategy, rounds, warmup_epochs(settings, space, folder))
        if any(plan.values()):
            refuse_batches_without_variance(settings, space)
        random_state = torch.get_rng_state()
    return Experiment(
        settings=settings,
        data=data,
        task=task,
        space=space,
        random_state=random_state,
        models=MappingProxyType(models),
        seed_costs=MappingProxyType(seed_costs),
        augment=augment,
        points=points,
        strategy=strategy,
        plan=MappingProxyType(plan),
        notes=(*data.notes, *filter(None, [outliers(data)]), *sized, *notes, *strategy.advice(plan, steps)),
        fingerprint=MappingProxyType(fingerprint_of(settings, data, space, seed_costs)),
        seconds=time.perf_counter() - began,
    )


def with_batches_that_fit(settings: Settings, data: Data) -> tuple[Settings, list[str]]:
    """The settings with batches no larger than the training data, so that an epoch has a step; and a note on that."""
    wanted, images, world = settings.train.batch_size, len(data.train), distributed.world_size()
    if wanted <= images or images < world:
        return settings, []
    size = images // world * world
    note = f"train.batch_size: {wanted} are more than the {images} training images, so a batch is of {size}."
    return replace(settings, train=replace(settings.train, batch_size=size)), [note]


def refuse_batches_without_variance(settings: Settings, space: Space) -> None:
    """Raises UsageError where a process has one image a step and a norm sees one value of a channel."""
    norms = space.spec.norms
    layers = [
        block.name
        for block in space.spec.blocks
        if block.norm and norms[block.norm].get("statistics", True) and prod(block.shape[1:]) == 1
    ]
    if layers and settings.train.batch_size == distributed.world_size():
        raise UsageError(
            f"train.batch_size: 1 image a step and process gives the batch norm of {', '.join(layers[:SHOWN])} one "
            "value a channel; two are needed in training. Take a train.batch_size of at least "
            f"{2 * distributed.world_size()}."
        )


def batches_of(settings: Settings, data: Data, augment: Augment, split: str, device: torch.device) -> Batches:
    """See `Experiment.batches`."""
    train = split == "train"
    return Batches(
        data,
        split,
        settings.train.batch_size if train else EVALUATION_BATCH,
        seed=settings.seed,
        shuffle=train,
        augment=augment if train else None,
        device=device,
        rank=distributed.rank(),
        world_size=distributed.world_size(),
    )


def steps_of(settings: Settings, data: Data, augment: Augment) -> int:
    """Steps in an epoch.

    Raises:
        DataError: a batch size or an augmentation does not fit the data or the number of processes.
    """
    train, _ = (
        batches_of(settings, data, augment, split, torch.device("cpu")) for split in ("train", "val")
    )  # nothing is copied
    return len(train)


def cost_models_of(settings: Settings) -> dict[str, CostModel]:
    """Cost -> model. Raises BudgetError: a cost that does not exist, or a limit that is not positive."""
    s = settings
    names = list(dict.fromkeys([*s.costs, *s.budgets, *s.lambdas, *s.front.budgets, *s.front.lambdas]))
    try:
        models = {name: cost_model(name, s.target) for name in names}
    except UsageError as error:
        raise BudgetError(f"budgets, lambdas, costs: {error}") from error
    wrong = {n: v for n, v in {**s.budgets, **s.lambdas}.items() if not 0 < v < inf}
    if wrong:
        raise BudgetError(f"budgets, lambdas: {wrong}: must be finite and over 0. Leave a cost out to leave it free.")
    return models


def refuse_idle_lambdas(settings: Settings) -> None:
    """Raises BudgetError for lambdas that the strategy does not read."""
    lambdas = {**settings.lambdas, **settings.front.lambdas}
    if lambdas and settings.strategy.name != "gradient":
        raise BudgetError(
            f"lambdas {sorted(lambdas)}: strategy '{settings.strategy.name}' has nothing to trade off. Leave them out."
        )


def feasible_points(
    settings: Settings,
    strategy: Strategy,
    space: Space,
    models: Mapping[str, CostModel],
    seed_costs: Mapping[str, float],
) -> tuple[Point, ...]:
    """The points of the front, each of which can be met.

    Raises:
        BudgetError: a budget is over the target's memory, or no architecture meets it.
        UsageError: the strategy cannot do what is asked for, in this space.
    """
    points = points_of(settings.front, settings.budgets, settings.lambdas, seed_costs)
    refuse_more_than_the_target_holds(settings.target, points)
    if settings.target.core:
        core_of(settings.target.core)
    strategy.check(space, models, points)
    refuse_impossible(Budgets(space, models, tightest(points)))
    return points


def refuse_more_than_the_target_holds(target: Target, points: tuple[Point, ...]) -> None:
    """Raises BudgetError for a budget over the target's own memory."""
    holds = {cost: getattr(target, memory) for cost, memory in HELD_BY.items()}
    limits = [(name, limit) for point in points for name, limit in point.budgets.items()]
    beyond = {name: limit for name, limit in limits if limit > holds.get(name, limit)}
    if beyond:
        raise BudgetError(f"budgets {beyond}: more than target '{target.name}' holds, {holds}. Lower them.")


def tightest(points: tuple[Point, ...]) -> dict[str, float]:
    """Cost -> its lowest budget at any point."""
    found: dict[str, float] = {}
    for point in points:
        for name, limit in point.budgets.items():
            found[name] = min(limit, found.get(name, limit))
    return found


def warmup_epochs(settings: Settings, space: Space, folder: Path | None) -> int:
    """Epochs of warm-up: as set, or as many as the run took whose float network is taken over.

    Raises:
        CheckpointError: there is no such float network, or it is of another network.
    """
    w = settings.train.warmup
    if w.source is None:
        return w.epochs
    own = None if folder is None else checkpoint.load(checkpoint_file(folder, "warmup"))
    return int((own or float_network(space, checkpoint_file(Path(w.source), "warmup")))["epoch"])


def plan_of(settings: Settings, strategy: Strategy, rounds: int, warmup: int) -> dict[str, int]:
    """Label of a phase -> its epochs, in order. Raises UsageError where a limit of epochs is too low."""
    limit = settings.limits.epochs
    left = None if limit is None else limit - warmup
    return {"warmup": warmup, **strategy.plan(rounds, settings.train.finetune.epochs, left)}
