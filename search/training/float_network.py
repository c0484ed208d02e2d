"""Float networks: they are taken over from other runs, and copied to teach."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from search.training import checkpoint
from spaces.space import FLOAT, Space


def float_network(space: Space, path: Path) -> dict[str, Any]:
    """The checkpoint of another run's warm-up, of the same network, whatever that run decided over.

    Raises:
        CheckpointError: there is no checkpoint, it is not finished, or it is of another network.
    """
    state = checkpoint.load(path)
    if state is None or not state["finished"]:
        raise checkpoint.CheckpointError(
            f"train.warmup.source: {path} is {'not there' if state is None else 'not finished'}, so there is no float "
            "network to take over. Name the folder of a run that has warmed up, or leave it out."
        )
    own, other = space.state_dict(), state["space"]
    differing = sorted(n for n in space.float_names() if n not in other or other[n].shape != own[n].shape)
    if differing:
        raise checkpoint.CheckpointError(
            f"train.warmup.source: {path} is of another network; {[n.strip('_') for n in differing[:3]]} differ. "
            "Name a run of this one."
        )
    return state


def float_copy(space: Space, make: Callable[[], Space]) -> Space:
    """A frozen copy in float mode, which teaches."""
    teacher = make()
    teacher.load_state_dict(space.state_dict())
    teacher.set_mode(FLOAT)
    return teacher.eval().requires_grad_(False)
