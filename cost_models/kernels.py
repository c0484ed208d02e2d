"""Which functions of the generated C run a layer, and how much of it they take at once."""

from collections.abc import Container, Iterator
from math import prod

from torch import Tensor

from cost_models.layer import LayerUse
from cost_models.steps import used
from search.integer.traits import Work

STORED = (2, 4, 8)  # bits of a weight in the image; other widths take the next
TRANSPOSED, GROUPED = SPECIAL = "transposed", "grouped"  # kinds that a target's table may have rows for
WORD_BITS = 32
OVERHEADS = (  # all that `overheads` and `overheads_of_elements` count
    *("output", "gathered", "copies", "uneven", "alone", "filled", "call", "unpacked", "activated"),
    *("long", "wide"),
)
UNROLLED = 16  # passes of a loop that GCC writes one behind another with -O3, at most: max-completely-peel-times
COLUMNS = 4  # places that meet two channels at once, and channels of a depthwise layer that do


def _last_axis(layer: LayerUse) -> int:
    """Taps along the last axis of the kernel that is in use; a smaller kernel is as long along all axes."""
    used, whole = int(taps(layer)), prod(layer.kernel)
    return (layer.kernel or (1,))[-1] if used == whole else round(used ** (1 / len(layer.kernel)))


def gathered(layer: LayerUse) -> Tensor:
    """(), codes that are brought into windows at all places. A depthwise layer, which reads in place, has taps."""
    read = layer.in_channels.new_tensor(1) if layer.runs_depthwise else layer.in_channels
    return read * taps(layer) * layer.positions


def taps(layer: LayerUse) -> Tensor | int:
    """(), taps of the kernel that are in use."""
    return prod(layer.kernel) if layer.taps is None else layer.taps


def overheads(layer: LayerUse, kind: str = "") -> dict[str, Tensor]:
    """(), what a layer takes cycles for beside its products. Each is a count over all places of the output.

    output: elements of the output, each requantized, clipped and stored.
    gathered: codes that are brought into windows, or taps of a depthwise layer, which reads in place.
    copies: of neighbours that are brought at once, those of the last axis of a window.
    uneven: of the codes, those that do not lie in whole words, since the channels are no multiple of four.
    alone: products of channels or places that are left when the others have met in blocks.
    filled: products of codes that fill rows of weights up to whole words.
    call: calls of kernels: one for each width, and each block of places.
    unpacked: weights of a depthwise layer that are widened to bytes before it begins.
    activated: elements of the output that end in a table.

    Args:
        kind: that the layer is priced as, see `kernel_kind`.
    """
    if kind in SPECIAL:
        return _overheads_in_groups(layer, kind)
    channels, positions, none = layer.out_channels, layer.positions, layer.out_channels.new_zeros(())
    brought = gathered(layer)
    found = {"output": channels * positions, "gathered": brought, "alone": none, "filled": none, "call": none}
    found["activated"] = found["output"] if ends_in_table(layer) else none
    if layer.runs_depthwise:
        left = (channels % COLUMNS).detach()
        unpacked = channels * layer.fan_in if is_narrow(layer) else none
        return found | {"alone": layer.fan_in * left * positions, "unpacked": unpacked}
    copies = brought / layer.in_channels / _last_axis(layer)
    blocks, rest = -(-positions // COLUMNS), positions % COLUMNS if positions > 1 else 0
    for width, count in by_stored_width(layer).items():
        odd = (count % 2).detach()
        left = odd * positions + (count - odd) * rest
        found["alone"] = found["alone"] + layer.fan_in * left
        found["filled"] = found["filled"] + _filled(layer, width) * count * positions
        found["call"] = found["call"] + used(count) * blocks
    return found | {"copies": copies, "uneven": brought if bool(layer.in_channels % COLUMNS > 0) else none}


def _overheads_in_groups(layer: LayerUse, kind: str) -> dict[str, Tensor]:
    """Of a transposed or grouped layer: each group brings its own windows, a tap at a time, and has its own calls."""
    groups, positions, none = groups_left(layer), places(layer, kind), layer.out_channels.new_zeros(())
    brought = layer.in_channels * taps(layer) * positions
    found = {"output": layer.out_channels * positions, "gathered": brought, "alone": none, "filled": none, "call": none}
    blocks, rest = -(-positions // COLUMNS), positions % COLUMNS if positions > 1 else 0
    for width, count in by_stored_width(layer).items():
        odd = (count / groups % 2).detach() * groups
        left = odd * positions + (count - odd) * rest
        found["alone"] = found["alone"] + layer.fan_in * left
        found["filled"] = found["filled"] + _filled(layer, width) * count * positions
        found["call"] = found["call"] + used(count) * (groups * blocks)
    found["activated"] = found["output"] if ends_in_table(layer) else none
    uneven = bool(layer.in_channels / groups % COLUMNS > 0)
    copies = brought / layer.in_channels * groups
    return found | {"copies": copies, "uneven": brought if uneven else none}


def overheads_of_elements(layer: LayerUse) -> dict[str, Tensor]:
    """(), what an operator without weights takes cycles for beside its elements, which are those of its windows if any.

    output: elements of the output, where each has a window.
    long: elements of windows whose last axis is so long that the compiler leaves a loop over it.
    wide: elements of the output that are made of codes of more than 8 bits.
    activated: elements of the output that end in a table.
    """
    elements, none, kernel = layer.out_elements, layer.out_channels.new_zeros(()), layer.kernel
    return {
        "output": elements if kernel else none,
        "long": elements * prod(kernel) if kernel and kernel[-1] > UNROLLED else none,
        "wide": elements if is_wide(layer) else none,
        "activated": elements if ends_in_table(layer) else none,
    }


def products_by_width(layer: LayerUse, kind: str) -> Tensor:
    """(n_widths,), products at each width."""
    return layer.fan_in * layer.out_per_width * places(layer, kind)


def places(layer: LayerUse, kind: str) -> int:
    """Places at which windows meet weights. Those of a transposed convolution are all of its output.

    Its window meets zero points there too, which stand between the elements of its input.
    """
    return prod(layer.out_size) if kind == TRANSPOSED else layer.positions


def _filled(layer: LayerUse, width: int) -> Tensor:
    """(), codes that fill a row of weights of a stored width up to whole words; without a slope, as a row has that."""
    return -layer.fan_in.detach() % (WORD_BITS // width)


def kernel_kind(layer: LayerUse, known: Container[str] = ()) -> str:
    """What a layer with weights is priced as: depthwise, pointwise (every tap count 1), conv or linear.

    Args:
        known: kinds of SPECIAL that have prices of their own; others have those of plain layers.
    """
    if layer.runs_depthwise:
        return "depthwise"
    special = _special_kind(layer)
    if special in known:
        return special
    plain = layer.kernel and (layer.groups == 1 or layer.depthwise)
    return "pointwise" if plain and bool(taps(layer) == 1) else layer.operator.priced_as or layer.op


def _special_kind(layer: LayerUse) -> str:
    """The one of SPECIAL that a layer is which does not run as a depthwise one; "": none."""
    if layer.operator.spreads:
        return TRANSPOSED
    return GROUPED if groups_left(layer) > 1 else ""


def groups_left(layer: LayerUse) -> int:
    """Groups of a layer that does not run as a depthwise one: one that was depthwise has a single channel left."""
    return 1 if layer.depthwise else layer.groups


def stored_width(bits: int) -> int:
    """Bits of a weight in the image."""
    return min(each for each in STORED if each >= bits)


def by_stored_width(layer: LayerUse) -> dict[int, Tensor]:
    """(), channels of each width in the image, of those on offer."""
    found: dict[int, Tensor] = {}
    for bits, count in zip(layer.weight_bits, layer.out_per_width, strict=True):
        width = stored_width(bits)
        found[width] = found[width] + count if width in found else count
    return found


def is_wide(layer: LayerUse) -> bool:
    """Whether its input has more than 8 bits."""
    return any(bits > 8 and bool(share > 0) for bits, share in zip(layer.in_bits, layer.in_share, strict=True))


def is_called(layer: LayerUse) -> bool:
    """Whether code runs for it."""
    operator = layer.operator
    return not (operator.stored or operator.aliases or operator.picks)


def own_function(layer: LayerUse) -> str:
    """The function of C that a layer calls."""
    spatial = f"{len(layer.kernel)}d"
    if not layer.operator.weighted:
        return f"{layer.op}_{spatial}" if layer.operator.work is Work.WINDOW else layer.op
    if layer.runs_depthwise:
        return f"depthwise_{spatial}{'_packed' if is_narrow(layer) else ''}"
    operator, grouped = layer.operator, groups_left(layer) > 1 or layer.operator.spreads
    plain = not operator.convolves or (not grouped and bool(taps(layer) == 1) and layer.in_size == layer.out_size)
    own = "rows" if plain else f"{layer.op}_{spatial}{'_grouped' if groups_left(layer) > 1 else ''}"
    return f"{own}_single" if is_alone(layer) else own


def kernels(layer: LayerUse) -> Iterator[tuple[str, Tensor | float]]:
    """The functions that this one calls, and how many channels need each."""
    if layer.runs_depthwise:
        plain = is_wide(layer) or bool(layer.out_channels != layer.in_channels)  # what no kernel takes by pairs
        yield "depthwise_place_plain" if plain else "depthwise_place", layer.out_channels
    elif layer.operator.weighted:
        for bits, count in by_stored_width(layer).items():
            yield f"{'single' if is_alone(layer) else 'products'}_{bits}", count


def ends_in_table(layer: LayerUse) -> bool:
    """Whether what it computes is looked up in a table, which is no work of its own."""
    own = layer.operator.looks_up or layer.operator.exponentiates
    return not own and bool(layer.table_entries > 0)


def is_narrow(layer: LayerUse) -> bool:
    """Whether some of its weights have fewer bits than the kernel reads."""
    return any(bits < max(STORED) and bool(count > 0) for bits, count in by_stored_width(layer).items())


def is_alone(layer: LayerUse) -> bool:
    """Whether its weights meet one column in all."""
    return prod(layer.out_size) == 1
