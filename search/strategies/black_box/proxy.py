"""How good a candidate is, by less than a whole training."""

from copy import deepcopy
from dataclasses import replace
from functools import cached_property

from search.monitor.events import Monitor, Monitors
from search.settings.strategies import BlackBoxSettings
from search.strategies.problem import FORWARD, Problem
from search.training.evaluation import reestimate_norms, scores_of
from search.training.ledger import Ledger
from search.training.loop import PhaseRun
from search.training.phase import Learning, Phase, Schedule
from spaces.architecture import Architecture
from spaces.space import FAKE, Space

NORM_BATCHES = 10  # of norms' statistics


class Proxy:
    """Measures candidates on validation data.

    "inherited" takes the weights of the warmed-up network and estimates the norms anew. "tuned" trains for some epochs
    from there. "scratch" trains for some epochs from the space's first numbers.
    """

    def __init__(self, problem: Problem, settings: BlackBoxSettings) -> None:
        self.problem, self.settings = problem, settings

    def score_of(self, architecture: Architecture, watch: Monitor | None = None) -> float:
        """The metric of a candidate.

        Args:
            watch: is told of every epoch of its training.
        """
        s, runtime = self.settings, self.problem.runtime
        network = self._decided(architecture)
        network.set_mode(FAKE)
        if s.evaluation == "inherited":
            reestimate_norms(network, runtime.whole, NORM_BATCHES)
        else:
            self._train(network, watch or Monitors([]))
        images = runtime.val if s.val_images is None else runtime.val.some(s.val_images)
        return scores_of(network, images, runtime.task, FAKE).value

    @property
    def epochs(self) -> float:
        """What a candidate takes, in epochs of training.

        A forward pass alone counts a third, on validation data too. The pass over validation data that belongs to an
        epoch of training is not counted.
        """
        s, runtime = self.settings, self.problem.runtime
        if s.evaluation != "inherited":
            return float(s.candidate_epochs)
        steps, every = len(runtime.whole), runtime.val.images
        images = every if s.val_images is None else min(every, s.val_images)
        return FORWARD * (min(NORM_BATCHES, steps) / steps + images / runtime.whole.images)

    def _decided(self, architecture: Architecture) -> Space:
        problem, device = self.problem, self.problem.runtime.device
        if self.settings.evaluation != "scratch":
            return self._warmed_up.decide(architecture).to(device)
        space = Space(problem.space.spec).to(device)
        space.load_state_dict(problem.initial)
        problem.calibrate(space)
        return space.decide(architecture).to(device)

    @cached_property
    def _warmed_up(self) -> Space:
        """The space on the host, where candidates are cut out of it. So each tensor is read of the device once."""
        return deepcopy(self.problem.space).cpu()

    def _train(self, network: Space, monitor: Monitor) -> None:
        s, train = self.settings, self.problem.settings.train
        learning = Learning(weight_decay=train.finetune.weight_decay)
        schedule = Schedule(s.candidate_epochs, train.at_batch(train.finetune.lr))
        phase = Phase("candidate", schedule, learning=learning)
        alone = replace(self.problem.runtime, monitor=monitor, ledger=Ledger())
        PhaseRun(network, phase, alone, kept=False).run()
