"""One training step: the forward pass, the losses of the task and the costs, the backward pass, and the optimizers."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from search import distributed
from search.objective.objective import Objective
from search.training.optimizers import optimizers_of
from search.training.phase import Phase
from search.training.recorded import CudaGraph, Recorder, detached, why_not_recorded
from search.training.runtime import Runtime
from spaces.space import Space, Trials


class Steps:
    """The steps of a phase: its optimizers, and the network that they move.

    Decisions and the steps of the activations' quantizers learn only in every `TURN`th step. In the others they are
    held constant.

    Attributes:
        rate: a factor on the learning rate that the schedule has, for all but decisions.
    """

    def __init__(self, space: Space, phase: Phase, runtime: Runtime) -> None:
        self.space, self.phase, self.runtime = space, phase, runtime
        self.optimizers = optimizers_of(space, phase)
        self._steers = phase.learning.objective is not None or not phase.learning.decision_lr
        self.model = self._wrapped()
        self.recorder = self._recorder() if runtime.graphs and not why_not_recorded(runtime.device) else None
        self.rate = 1.0
        self._turn = 0

    def _wrapped(self) -> nn.Module:
        return _shared(self.space, self._steers) if distributed.world_size() > 1 else self.space

    def _recorder(self) -> Recorder:
        return Recorder(self.space, self.loss, CudaGraph, self.runtime.monitor.note)

    def restart(self, rate: float) -> None:
        """Begins anew with the numbers that the network has now: optimizers have no past.

        Args:
            rate: a factor on the learning rate that the schedule has.
        """
        self.optimizers[:] = optimizers_of(self.space, self.phase)
        self.model = self._wrapped()  # the last pass may have had no backward pass, which the old one would wait for
        self.rate = rate

    def begin_epoch(self) -> None:
        self._turn, self.space.held, self.space.steered = 0, False, False
        if self.recorder is not None:
            self.recorder.begin_epoch()
        if self.phase.learning.objective is not None:
            self.phase.learning.objective.begin_epoch()

    def step(self, images: Tensor, targets: Tensor, progress: float) -> tuple[Tensor, Any]:
        """One step on one batch. Nothing of it is read, but where the costs of decisions are evaluated anew.

        Args:
            progress: share of the phase that is done, 0 to 1.

        Returns:
            The loss, (), and the outputs, both of this process and out of the graph.
        """
        self._set_rates(progress)
        self.space.held = self._turn % self.phase.learning.turn != 0
        self.space.steered = self._steers
        self._turn += 1
        objective = None if self.space.held else self.phase.learning.objective
        if self.recorder is None:
            value, outputs = self._forth_and_back(images, targets, objective)
        else:
            value, outputs = self._recorded(self.recorder, images, targets, objective)
        if objective is not None:
            objective.observe(self.space, images, lambda outputs: self.loss(images, outputs, targets), value)
            objective.steer(self.space, value, progress)
        self._move(objective)
        return value, outputs

    def _forth_and_back(self, images: Tensor, targets: Tensor, objective: Objective | None) -> tuple[Tensor, Any]:
        outputs = self.model(images, tried=self._trials(objective))
        loss = self.loss(images, outputs, targets)
        if objective is not None:
            objective.watch(self.space)
        loss.backward()
        return loss.detach(), detached(outputs)

    def _recorded(
        self, recorder: Recorder, images: Tensor, targets: Tensor, objective: Objective | None
    ) -> tuple[Tensor, Any]:
        selection = self.space.next_selection(self._trials(objective))
        if objective is not None:
            objective.watch(self.space)
        return recorder.step(selection, images, targets)

    def _trials(self, objective: Objective | None) -> Trials | None:
        return None if objective is None else partial(objective.due, self.space)

    def _set_rates(self, progress: float) -> None:
        factors = {False: self.phase.schedule.rate(progress) * self.rate, True: self.phase.learning.rate(progress)}
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factors[group["decides"]]
            optimizer.zero_grad()

    def _move(self, objective: Objective | None) -> None:
        before = [] if objective is None else _copies(self.space.decision_parameters())
        for optimizer in self.optimizers:
            if not (self.space.held and optimizer.param_groups[0]["decides"]):  # held decisions have no gradient
                optimizer.step()
        if self.phase.learning.decision_lr and not self.space.held:
            self.space.project()
            if objective is not None:
                objective.hold_back(self.space, before)

    def loss(self, images: Tensor, outputs: Any, targets: Tensor) -> Tensor:
        """(), the task's loss, and where there is a teacher the weighted mean with the distance from its outputs."""
        task, teacher = self.runtime.task, self.phase.teacher
        if teacher is None:
            return task.loss(outputs, targets, images)
        with torch.no_grad():
            taught = teacher.network(images)
        distance = task.distance(outputs, taught, teacher.temperature)
        return (1 - teacher.weight) * task.loss(outputs, targets, images) + teacher.weight * distance


def _copies(parameters: Sequence[Tensor]) -> list[Tensor]:
    """Of each, out of the graph, made at once."""
    if not parameters:
        return []
    each = torch.cat([p.detach().reshape(-1) for p in parameters]).split([p.numel() for p in parameters])
    return [copy.view(p.shape) for copy, p in zip(each, parameters, strict=True)]


def _shared(space: Space, steered: bool) -> nn.Module:
    """The space whose gradients are means over all processes.

    Decisions that are steered, and whole choices, get no gradient of the task. What steers them is the same in all
    processes.
    """
    apart = {p for d in space.decisions.values() if steered or d.whole for p in d.parameters()}
    names = [name for name, p in space.named_parameters() if p in apart]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(space, names)
    return DistributedDataParallel(space, find_unused_parameters=True)
