"""Grids: the steps and the bounds of codes that a pass quantizes activations with, made at once for many quantizers."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from spaces.constants import constant
from spaces.passes.passes import Codes
from spaces.quantizers.activation import ActivationQuantizer
from spaces.quantizers.scales import steps_of


class Grid(NamedTuple):
    """What a pass quantizes with: a step, (), as spaces.quantizers.scales makes it, and the bounds of the codes."""

    step: Tensor
    codes: Codes


def grids_of(quantizers: Sequence[ActivationQuantizer], drifts: Sequence[Tensor | None]) -> list[Grid]:
    """The grids of quantizers, made at once. Where steps are on another device than the CPU, none of them is read.

    Args:
        drifts: (), of the choice to which a quantizer belongs; None: it belongs to none.
    """
    each = list(zip(quantizers, drifts, strict=True))
    learned, offsets = [q.log_step if drift is None else drift for q, drift in each], None
    if any(drift is not None for drift in drifts):
        zero = torch.zeros_like(learned[0])
        offsets = [zero if drift is None else q.log_step for q, drift in each]
    steps = steps_of(learned, offsets)
    bounds = bounds_of(quantizers, [step.detach() for step in steps])
    return [Grid(*grid) for grid in zip(steps, bounds, strict=True)]


def bounds_of(quantizers: Sequence[ActivationQuantizer], steps: Sequence[Tensor]) -> list[Codes]:
    """The bounds of codes with steps, () each. Where steps are on another device than the CPU, none of them is read."""
    below = [(q, step) for q, step in zip(quantizers, steps, strict=True) if q.ceiling is not None]
    ceilings = iter(_bounds_below(*zip(*below, strict=True)) if below else ())
    return [Codes(*q.bounds()) if q.ceiling is None else next(ceilings) for q in quantizers]


def _bounds_below(quantizers: Sequence[ActivationQuantizer], steps: Sequence[Tensor]) -> list[Codes]:
    """The bounds of quantizers with ceilings."""
    together = torch.stack(list(steps))
    if together.device.type == "cpu":
        return [Codes(*q.bounds(step)) for q, step in zip(quantizers, together.tolist(), strict=True)]
    ceilings = tuple(float("inf") if q.ceiling is None else q.ceiling for q in quantizers)
    limits = constant(_limits(ceilings, tuple(q.largest_code - q.zero_point for q in quantizers), together.device))
    highest = (limits.ceilings / together.double() + 0.5).floor_().minimum(limits.codes).unbind()
    return [Codes(-q.zero_point, high) for q, high in zip(quantizers, highest, strict=True)]


class _Limits(NamedTuple):
    """Attributes: ceilings: (n,), real values. codes: (n,), relative to the zero point. Both are in float64."""

    ceilings: Tensor
    codes: Tensor


@lru_cache(maxsize=64)
def _limits(ceilings: tuple[float, ...], codes: tuple[int, ...], device: torch.device) -> _Limits:
    with torch.inference_mode(False):  # what is kept serves passes that learn too
        return _Limits(*torch.tensor([ceilings, codes], dtype=torch.float64, device=device))
