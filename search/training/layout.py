"""Whether what a checkpoint holds is of this network and of this phase, before any of it is taken over."""

from collections.abc import Iterator, Mapping
from reprlib import repr as short
from typing import Any

import torch
from torch import Tensor

from search.kinds import unlike
from search.objective.objective import STATE
from search.training.optimizers import OWN
from spaces.decisions.selection import GATES
from spaces.space import Space

MOST_NAMED = 3
KEPT = {"SGD": {"momentum_buffer"}, "Adam": {"step", "exp_avg", "exp_avg_sq"}}  # of each parameter, by an optimizer


def misfits(
    saved: Mapping[str, Any], space: Space, optimizers: list[torch.optim.Optimizer], has_objective: bool
) -> list[str]:
    """What of a checkpoint does not fit, in words; at most a few of each kind.

    Args:
        saved: of the kinds that search.training.checkpoint checks.
    """
    own, best, retreat = space.state_dict(), saved["best"], saved.get("retreat", {})
    found = list(_of_tensors("space", saved["space"], own))
    if best is not None:
        found += _of_tensors("best", best[1], own)
    if retreat.get("numbers"):
        found += _of_tensors("retreat", retreat["numbers"], own)
    found += _of_optimizers(saved["optimizers"], [optimizer.state_dict() for optimizer in optimizers], optimizers)
    if has_objective:
        found += unlike(saved, {"objective": STATE}).values() or _of_objective(saved["objective"], space)
    rng = torch.get_rng_state()
    if saved["rng"].shape != rng.shape or saved["rng"].dtype != rng.dtype:
        found.append("rng is of another generator")
    return found


def _of_tensors(place: str, saved: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Iterator[str]:
    differing = [name for name in own.keys() | saved.keys() if _form(saved.get(name)) != _form(own.get(name))]
    for name in sorted(differing)[:MOST_NAMED]:
        shown = name.strip("_")
        yield f"{place} has {_written(saved.get(name))} for '{shown}', the network has {_written(own.get(name))}"


def _form(tensor: Tensor | None) -> Any:
    return None if tensor is None else (tensor.shape, tensor.dtype)


def _written(tensor: Tensor | None) -> str:
    return "nothing" if tensor is None else f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def _of_optimizers(
    saved: list[dict[str, Any]], own: list[dict[str, Any]], optimizers: list[torch.optim.Optimizer]
) -> Iterator[str]:
    if len(saved) != len(own):
        yield f"there are {len(saved)} optimizers, the phase has {len(own)}"
        return
    for number, (theirs, ours) in enumerate(zip(saved, own, strict=True)):
        groups, state = theirs.get("param_groups"), theirs.get("state")
        if not isinstance(state, dict) or _groups(groups) != _groups(ours["param_groups"]):
            yield f"optimizer {number} is {short(theirs)}, of other groups than the phase has"
            continue
        parameters = dict(enumerate(p for group in optimizers[number].param_groups for p in group["params"]))
        kept = KEPT[type(optimizers[number]).__name__]
        wrong = [
            place
            for place, values in state.items()
            if place not in parameters or not _is_of(parameters[place], values, kept)
        ]
        if wrong:
            yield f"optimizer {number} has a state for {short(wrong)}, which the phase has not"


def _groups(groups: Any) -> Any:
    """Of each group its parameters and, for all that is set, the kind of its value; None where there are no groups."""
    if not isinstance(groups, list) or not all(isinstance(group, dict) for group in groups):
        return None
    return [
        {key: value if _numbered(value) else _kind(value) for key, value in group.items() if key not in OWN}
        for group in groups
    ]


def _numbered(value: Any) -> bool:
    """Whether these are the parameters of a group, by their numbers."""
    return isinstance(value, list) and all(isinstance(number, int) for number in value)


def _kind(value: Any) -> type:
    """Numbers are of one kind, because the learning rate may be a whole one."""
    return float if isinstance(value, int) and not isinstance(value, bool) else type(value)


def _is_of(parameter: Tensor, values: Any, kept: set[str]) -> bool:
    """Whether all that an optimizer keeps of a parameter has its shape, or is one number such as a count of steps."""
    if not isinstance(values, dict) or values.keys() != kept:
        return False
    return all(
        value is None or (isinstance(value, Tensor) and (value.dim() == 0 or value.shape == parameter.shape))
        for value in values.values()
    )


def _of_objective(saved: Mapping[str, Any], space: Space) -> Iterator[str]:
    groups = {name: (decision.groups, len(decision.options)) for name, decision in space.choices.items()}
    gates = 1 + sum(gate.groups for gate in space.gates.values())  # with the channel that is always open
    shapes = groups | ({GATES: (gates,)} if space.gates else {})
    for name, square in saved["fisher"]["squares"].items():
        if tuple(square.shape) != shapes.get(name):
            yield f"objective has {_written(square)} for '{name}', which the network has not"
    for name, values in saved["tried"]["values"].items():
        if (1, *values.shape) != groups.get(name):
            yield f"objective has {_written(values)} for '{name}', which the network has not"
