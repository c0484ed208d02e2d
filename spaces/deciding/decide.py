"""From open to decided: what was closed is physically gone, in its layer, its norm and every reader."""

import copy

import torch
from torch import Tensor

from spaces.blocks.kernel_taps import cropped
from spaces.deciding.resolve import resolved
from spaces.spec import BlockSpec, WeightsSpec


def decided(space):
    """A new Space without decisions; the weights of what stays are inherited, precisions are fixed."""
    from spaces.space import Space

    space = resolved(space)
    keep = _kept(space)
    sources = {b.name: b.spec.inputs[0] for b in space.blocks}
    spec = copy.deepcopy(space.spec)
    spec.gates, spec.choices, spec.slots = {}, {}, {name: [0] * len(index) for name, index in keep.items()}
    first_use: dict[str, BlockSpec] = {}
    for block in spec.blocks:
        if block.weights:
            first_use.setdefault(block.weights, block)
        _shrink_block(block, keep)
    taps: dict[str, list[Tensor]] = {}  # of each dimension that stay, where some go
    picks = {name: _bits_and_rows(space, w) for name, w in space.weights.items()}
    index = {name: _weight_index(space, use.name, sources[use.name], keep) for name, use in first_use.items()}
    for block in spec.blocks:
        if block.weights and spec.weights[block.weights].taps:
            chosen = {role: space.choices[name].pick()[0] for role, name in spec.weights[block.weights].taps.items()}
            block.attributes, taps[block.weights] = cropped(block.attributes, chosen)
    for name, (rows, columns) in index.items():
        spec.weights[name] = _shrunk(spec.weights[name], picks[name], rows, columns, taps.get(name))
    for quantizer in spec.quantizers.values():
        if quantizer.choice is not None:
            quantizer.widths, quantizer.choice = space.choices[quantizer.choice].pick(), None
    small = Space(spec)
    state = _inherited(space, small, picks, index, keep, taps)
    small.load_state_dict(state)
    for name, (_, columns) in index.items():
        weights = small.weights[name]
        if weights.quantizer is not None and _parts(columns).min() < 1:
            weights.quantizer.calibrate(weights.weight, "mse")
    small.train(space.training)
    return small.to(next(space.parameters()).device)


def _kept(space) -> dict[str, Tensor]:
    """Tensor -> the channels that stay, in order; one that is to stand there several times, several times."""
    times = torch.cat([torch.ones(1, dtype=torch.long), *[torch.tensor(g.pick()) for g in space.gates.values()]])
    keep = {}
    for name, places in space.spec.slots.items():
        each = times[torch.tensor(places)]
        keep[name] = torch.arange(len(places)).repeat_interleave(each)
    for block in space.spec.blocks:
        if block.operator.aliases:  # a copied channel's values stand together
            channels, size = keep[block.inputs[0]], len(space.spec.slots[block.name])
            size //= len(space.spec.slots[block.inputs[0]])
            keep[block.name] = (channels[:, None] * size + torch.arange(size)).flatten()
    return keep


def _parts(columns: Tensor) -> Tensor:
    """Of each column, its part in the one that it is a copy of; they sum to 1.

    Copies give what they gave together (Net2Net, arXiv 1511.05641), in unequal parts, or they would train alike.
    """
    order = columns.argsort(stable=True)
    counts = torch.bincount(columns)
    before = counts.cumsum(0) - counts
    rank = torch.empty_like(columns)
    rank[order] = torch.arange(len(columns)) - before[columns[order]]
    count = counts[columns]
    return 2 * (rank + 1) / (count * (count + 1))


def _shrink_block(block: BlockSpec, keep: dict[str, Tensor]) -> None:
    block.shape = (len(keep[block.name]), *block.shape[1:])
    if block.depthwise:
        block.attributes["groups"] = len(keep[block.inputs[0]])
    if block.operator.aliases:
        block.attributes["shape"] = [len(keep[block.name])]


def _bits_and_rows(space, weights) -> tuple[tuple[int, ...] | None, Tensor | None]:
    """Bits of each channel, and the row of steps that belongs to them."""
    channels = weights.spec.shape[0]
    if weights.quantizer is None:
        return None, None
    if weights.spec.assigned is not None:
        return weights.spec.assigned, torch.zeros(channels, dtype=torch.long)
    if weights.spec.bits is None:
        return weights.spec.widths * channels, torch.zeros(channels, dtype=torch.long)
    pick = space.choices[weights.spec.bits].pick()
    pick = pick * channels if len(pick) == 1 else pick
    return pick, torch.tensor([weights.spec.widths.index(b) for b in pick])


def _weight_index(space, block: str, source: str, keep: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Rows and columns of the weight that stay."""
    spec = next(b for b in space.spec.blocks if b.name == block)
    groups, inputs = spec.attributes.get("groups", 1), len(space.spec.slots[source])
    columns = keep[source]
    if groups > 1:
        columns = torch.zeros(1, dtype=torch.long) if spec.depthwise else columns[columns < inputs // groups]
    return keep[block], columns


def _shrunk(spec: WeightsSpec, picks, rows: Tensor, columns: Tensor, taps: list[Tensor] | None) -> WeightsSpec:
    bits, _ = picks
    assigned = None if bits is None else tuple(bits[r] for r in rows.tolist())
    kernel = spec.shape[2:] if taps is None else tuple(map(len, taps))
    shape = (len(rows), len(columns), *kernel)
    return WeightsSpec(shape, spec.bias, (), assigned, masked=bool(spec.pattern) or spec.masked)


def _inherited(space, small, picks, index, keep, taps) -> dict[str, Tensor]:
    from spaces.space import key_of

    old = space.state_dict()
    for name, weights in space.weights.items():
        if weights.pattern is not None:
            inputs = space._open_inputs(name)
            old[f"_weights.{key_of(name)}.weight"] = weights.patterned(inputs).detach()
            old[f"_weights.{key_of(name)}.mask"] = weights.pattern.mask(weights.weight, inputs)
    name_of = {key_of(name): name for name in (*small.weights, *small.norms, *small.spec.quantizers)}
    state = {}
    for key, value in small.state_dict().items():
        kind, name, *rest = key.split(".")
        name = name_of.get(name, name)
        state[key] = old[key].cpu() if key in old else value
        if kind == "_weights":
            state[key] = _weight_part(state[key], rest, picks[name], *index[name])
            for dim, stays in enumerate(taps.get(name, ()) if rest in (["weight"], ["mask"]) else (), start=2):
                state[key] = state[key].index_select(dim, stays)
            if rest[-1] == "bits":
                state[key] = value
        elif kind == "_quantizers" and key not in old:  # of a choice: its pick's
            spec_of = space.spec.quantizers[name]
            index_of = spec_of.widths.index(space.choices[spec_of.choice].pick()[0])
            choice = f"{kind}.{key.split('.')[1]}"
            state[key] = old[f"{choice}.members.{index_of}.{rest[0]}"].cpu()
            if rest == ["log_step"]:
                state[key] = state[key] + old[f"{choice}.drift"].cpu()
        elif kind == "_norms":
            block = next(b.name for b in space.spec.blocks if b.norm == name)
            state[key] = state[key][keep[block]]
    return state


def _weight_part(value: Tensor, rest: list[str], picks, rows: Tensor, columns: Tensor) -> Tensor:
    if rest == ["weight"]:
        return value[rows][:, columns] * _parts(columns).view(1, -1, *(1,) * (value.dim() - 2))
    if rest == ["mask"]:
        return value[rows][:, columns]
    if rest == ["bias"]:
        return value[rows]
    if rest == ["quantizer", "log_step"]:
        return value[picks[1], torch.arange(value.shape[1])][rows][None]
    return value
