"""Branches that were not picked go, with all that only they have. A select becomes the branch that it picks."""

import copy
from collections.abc import Mapping

from spaces.architecture import Picks
from spaces.spec import SpaceSpec


def resolved(spec: SpaceSpec, picks: Picks) -> SpaceSpec:
    """The description without choices of branches. All other decisions and all names are as they were."""
    branches = {name: picks[name][0] for name, choice in spec.choices.items() if choice.branches}
    return _without(spec, branches) if branches else spec


def _without(spec: SpaceSpec, picks: Mapping[str, int]) -> SpaceSpec:
    """picks: choice of branches -> the branch that it took."""
    spec = copy.deepcopy(spec)
    passes_on: dict[str, str] = {}
    kept = []
    for block in spec.blocks:
        if any(picks[choice] != option for choice, option in block.when):
            continue
        block.inputs = tuple(passes_on.get(name, name) for name in block.inputs)
        block.when = ()
        if block.operator.picks:
            passes_on[block.name] = block.inputs[picks[block.attributes["choice"]]]
        else:
            kept.append(block)
    spec.blocks = kept
    spec.outputs = tuple(passes_on.get(name, name) for name in spec.outputs)
    stays = {*spec.inputs, *(block.name for block in spec.blocks)}
    scales = {name: _scale(spec, passes_on, name) for name in stays}
    spec.scale_of = {name: scales[name] for name in spec.scale_of if name in stays}
    spec.slots = {name: places for name, places in spec.slots.items() if name in stays}
    spec.quantizers = {name: q for name, q in spec.quantizers.items() if name in scales.values()}
    spec.weights = {n: w for n, w in spec.weights.items() if any(b.weights == n for b in spec.blocks)}
    spec.norms = {n: a for n, a in spec.norms.items() if any(b.norm == n for b in spec.blocks)}
    named = {q.choice for q in spec.quantizers.values()} | {w.bits for w in spec.weights.values()}
    named |= {choice for w in spec.weights.values() for choice in w.taps.values()}
    spec.choices = {name: choice for name, choice in spec.choices.items() if name in named}
    spec.left_alone = {name: why for name, why in spec.left_alone.items() if name.split("/")[0] in stays}
    return spec


def _scale(spec: SpaceSpec, passes_on: dict[str, str], name: str) -> str:
    """The tensor whose scale a tensor has, also where that tensor was behind a select."""
    scale = spec.scale_of[name]
    while scale in passes_on:
        scale = spec.scale_of[passes_on[scale]]
    return scale
