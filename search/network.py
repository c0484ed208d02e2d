"""From a user's network to the space of an experiment; what a run cannot take is refused in the words of a run."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict

import torch
from torch import Tensor, nn

from search.data.data import Data
from search.errors import UsageError
from search.settings.run import Settings
from search.settings.target_options import offered
from search.tasks import Task
from spaces.graph.errors import UnsupportedNetwork
from spaces.patterns import DENSE, SINGLE
from spaces.searchable import Options, searchable
from spaces.space import Space

SHOWN = 5  # names of layers in a note, at most


def network_of(settings: Settings, data: Data, task: Task, model: nn.Module) -> tuple[Space, list[str]]:
    """The space of the model, with what of it is on offer, and notes on that.

    Raises:
        UnsupportedNetwork: the model cannot be searched.
        IllegalLayer: the target cannot run a layer, whatever is decided.
        UsageError: the options ask for what the target or the strategy cannot do, or the last layer does not fit.
    """
    s = settings
    options, notes = offered(Options(**asdict(s.space), input_grid=data.preprocessing.grid), s.target)
    if options.pattern == SINGLE and s.strategy.name != "magnitude":
        raise UsageError(
            f"space.pattern 'weights': strategy '{s.strategy.name}' prunes no single weights. "
            "Take strategy=magnitude strategy.structure=weights, or another pattern."
        )
    if options.pattern:
        notes.append(f"space.pattern '{options.pattern}': {DENSE}")
    space = space_of_one_input(model, data.normalise(data.train.images[:2]), options, s.name)
    notes += frozen_parts(space, s.train.warmup.epochs)
    task.check_output(*(space.spec.shapes[name] for name in space.spec.outputs))
    s.target.check(space.describe())  # whatever is on offer, branches and all
    return space, notes


def frozen_parts(space: Space, warmup: int) -> list[str]:
    """A note on parameters that the model froze.

    Raises:
        UsageError: all are frozen, so that no warm-up can train anything.
    """
    frozen = space.frozen()
    if not frozen:
        return []
    if warmup and not any(p.requires_grad for name, p in space.named_parameters() if name in space.float_names()):
        raise UsageError(
            "model: all its parameters are frozen (requires_grad is False), so that no training changes them. Unfreeze "
            "those that may learn with requires_grad_(True), or keep the weights with train.warmup.epochs=0."
        )
    listed = ", ".join(frozen[:SHOWN]) + (f" and {len(frozen) - SHOWN} more" if len(frozen) > SHOWN else "")
    return [f"frozen: {listed}: their float parameters stay as they are; pruning and the steps of codes are open."]


def begins_with_convolutions(space: Space) -> bool:
    """Whether only convolutions read the inputs, so that the network treats all places of an example alike."""
    reading = [block for block in space.spec.blocks if set(block.inputs) & set(space.spec.inputs)]
    return all(block.operator.convolves for block in reading)


def space_of_one_input(model: nn.Module, images: Tensor, options: Options, name: str) -> Space:
    """As `searchable` does. Raises UnsupportedNetwork in the words of a run: by what the images should be."""
    try:
        with _logs_nothing_twice():
            return searchable(model, images, options, name)
    except UnsupportedNetwork as error:
        if error.takes is None and images.dim() > 3 and images.shape[1] == 1 and _runs_on(model, images.squeeze(1)):
            found, wanted = tuple(images.shape[1:]), tuple(images.shape[2:])
            way_out = (
                f"The network runs on examples of shape {wanted}. If axis 1 of your arrays is the channels, set "
                "data.has_channels=true (has_channels=True of from_arrays)."
            )
            raise UnsupportedNetwork(
                error.where, f"fails on examples of shape {found}, of which 1 is channels.", way_out
            ) from error
        if error.takes is None:
            raise
        reason = f"forward takes {error.takes} tensors, and a run gives it one: the images of its data."
        way_out = (
            "Give a network of one input. Networks of several go through spaces.searchable, in a loop of your own."
        )
        raise UnsupportedNetwork(error.where, reason, way_out, takes=error.takes) from error


@contextmanager
def _logs_nothing_twice() -> Iterator[None]:
    """Inside it `spaces` does not log which layers are left alone, since the monitor of a run says so."""
    log = logging.getLogger("spaces")
    level = log.level
    log.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        log.setLevel(level)


@torch.no_grad()
def _runs_on(model: nn.Module, images: Tensor) -> bool:
    try:
        deepcopy(model).eval()(images)
    except Exception:  # whatever the user's code raises
        return False
    return True
