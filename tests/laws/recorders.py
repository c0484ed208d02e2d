"""A recorder of steps that counts what it repeats."""

from typing import Any, ClassVar

from torch import Tensor

from search.training.recorded import Recorder
from spaces.decisions.selection import Selection


class Counted(Recorder):
    """Attributes: replays: how often recordings of steps in which decisions learn were repeated, by all recorders."""

    replays: ClassVar[int] = 0

    def _replayed(self, recording: Any, selection: Selection, images: Tensor, targets: Tensor) -> Any:
        Counted.replays += bool(selection.learns or selection.alpha is not None) and not selection.held
        return super()._replayed(recording, selection, images, targets)
