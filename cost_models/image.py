"""What the built image takes of a chip, flash and RAM, before it is built.

The image is the C of search.deploy.c, written for small code, with what starts it up. Its constants follow from the
network. Its code follows from which functions are in it, and those from what the layers are: a target's table has the
bytes of each, so that a width pays for the kernel that it brings.
"""

from collections import defaultdict
from collections.abc import Container, Mapping

import torch
from torch import Tensor

from cost_models.kernels import (
    COLUMNS,
    STORED,
    by_stored_width,
    groups_left,
    is_alone,
    is_called,
    is_narrow,
    is_wide,
    kernels,
    own_function,
)
from cost_models.layer import LayerUse, Network, UnsupportedLayer
from cost_models.peak_ram import Picks, largest, runs
from cost_models.rules import total
from cost_models.steps import ceil, used
from cost_models.target import Target
from search.errors import UsageError
from search.integer.memory import Use, in_place, lifetimes, reordered
from search.integer.traits import Count

WORD = 4  # bytes, to which arrays are aligned
ROWS = 36  # bytes of what describes the rows of one width of a layer
END = 24  # and of what says what becomes of its sums, which layers with rectified outputs share
BASE = "base"  # the key of what every image has
LOOP = "loop"  # and of what runs a loop


def _words(x: Tensor) -> Tensor:
    """Bytes, rounded up to whole words."""
    return WORD * ceil(x / WORD)


def _even(x: Tensor) -> Tensor:
    return 2 * ceil(x / 2)


def constants(layer: LayerUse) -> Tensor:
    """(), bytes of all arrays of a layer but its weights."""
    operator, channels = layer.operator, layer.out_channels
    if operator.stored:
        return _words(layer.out_elements * _bytes_a_code(layer.out_bits, layer.out_share))
    found = channels.new_zeros(())
    if layer.table_entries:
        each = 2 if operator.exponentiates else _bytes_a_code(layer.out_bits, layer.out_share)
        found = found + _words(channels.new_tensor(each) * layer.table_entries)
    if operator.multipliers is not Count.CHANNELS:
        return found
    if not operator.weighted or layer.runs_depthwise:
        return found + 4 * channels + _words(2 * channels) + _words(channels)
    widths = by_stored_width(layer).values()
    several = sum(float(count > 0) for count in widths) > 1
    groups = groups_left(layer)
    for count in (each / groups for each in widths):
        found = found + groups * (4 * count + _words(2 * count) + _words(count) + ROWS * used(count))
        found = found + groups * _words(2 * count) if several else found
    return found


def weights(layer: LayerUse) -> Tensor:
    """(), bytes of the weights as they lie in the image. Rows are whole words, or of a depthwise layer even taps."""
    widths = by_stored_width(layer)
    if not layer.runs_depthwise:
        rows = [count * _words(layer.fan_in * bits / 8) for bits, count in widths.items()]
        return torch.stack(rows).sum()
    taps, channels = _even(layer.fan_in), layer.out_channels
    if not is_narrow(layer):
        return _words(_even(channels) * taps)
    packed = torch.stack([count * ceil(taps * bits / 8) for bits, count in widths.items()]).sum()
    return _words(packed) + _words(channels)


class ImageFlash:
    """Bytes of constants, tables, code, vectors and start-up code, as they are linked."""

    name = "image_flash_bytes"
    unit = "B"

    def __init__(self, target: Target) -> None:
        """Raises UsageError where the target has no table of code."""
        self.target = _with_code(self.name, target)
        self.source = target.code_bytes_source

    def __call__(self, network: Network) -> Tensor:
        """(), bytes; differentiable in channels and widths.

        Raises:
            UnsupportedLayer: the table lacks a function.
        """
        users = defaultdict[str, list[Tensor | float]](list)
        terms: list[Tensor | float] = [self.target.code_bytes[BASE]]
        ends = _ends(network)
        for layer in network.layers:
            terms.append(network.weighed(layer, constants(layer)))
            if not is_called(layer):
                continue
            if _ends_by_itself(layer, ends):
                terms.append(network.weighed(layer, END))
            own = own_function(layer)
            terms.append(network.weighed(layer, self._bytes("step_bytes", own, layer)))
            for function, count in ((own, 1.0), *kernels(layer)):
                self._bytes("code_bytes", function, layer)
                users[function].append(network.weighed(layer, count))
        for loop in {layer.loop: layer for layer in network.layers if layer.loop}.values():
            terms.append(network.weighed(loop, self._bytes("code_bytes", LOOP, loop)))
        terms += [weights(layer) * network.stored(layer) for layer in network.weight_owners]
        terms += [self.target.code_bytes[function] * used(total(counts)) for function, counts in users.items()]
        return total(terms)

    def _bytes(self, table: str, function: str, layer: LayerUse) -> float:
        found: dict[str, float] = getattr(self.target, table)
        if function not in found:
            raise UnsupportedLayer(
                f"{self.name}: layer '{layer.name}' needs '{function}', which {table} of target '{self.target.name}' "
                f"lacks; it has {', '.join(found)}. Add a measurement (benchmarks.mcu), or take {self.name} out of the "
                "costs and budgets."
            )
        return found[function]


class ImageRam:
    """Bytes of the arena, in which tensors and working memory lie, and of the stack.

    A code of up to 8 bits takes a byte. What an elementwise operator computes lies in the memory of an input that
    nothing reads later.
    """

    name = "image_ram_bytes"
    unit = "B"

    def __init__(self, target: Target) -> None:
        """Raises UsageError where the target has no table of code."""
        self.target = _with_code(self.name, target)
        self.source = target.code_bytes_source

    def __call__(self, network: Network) -> Tensor:
        """(), bytes. The gradient is that of the layers where the peak is."""
        sizes = _sizes(network)
        return largest(network, sizes, lambda picks: _live(network, picks, sizes)) + self.target.stack_bytes


def _ends(network: Network) -> set[str]:
    """The network's outputs, and what a choice passes on as one."""
    found = set(network.outputs)
    for layer in reversed(network.layers):
        if layer.choice is not None and layer.output in found:
            found.update(layer.inputs)
    return found


def _ends_by_itself(layer: LayerUse, ends: Container[str]) -> bool:
    """Whether what becomes of its sums is likely described for it alone: its zero point or its table is its own."""
    if not layer.operator.weighted:
        return layer.operator.multipliers is not Count.NONE
    return bool(layer.table_entries) or layer.output in ends


def _with_code(cost: str, target: Target) -> Target:
    if not target.code_bytes:
        raise UsageError(
            f"cost model '{cost}' reads the bytes of functions, code_bytes, which target '{target.name}' lacks. Choose "
            "target=cortex_m4_size, or measure it (benchmarks.mcu)."
        )
    return target


def _working(layer: LayerUse) -> Tensor:
    """(), bytes of working memory: columns, or what a depthwise layer unpacks, and a place of zero points."""
    if not layer.operator.weighted:
        return layer.out_channels.new_zeros(())
    wide = is_wide(layer)
    if layer.runs_depthwise:
        zeros = _words(layer.in_channels * (2 if wide else 1))
        return zeros + _even(layer.out_channels) * _even(layer.fan_in) if is_narrow(layer) else zeros
    widths = [bits for bits, count in by_stored_width(layer).items() if bool(count > 0)] or [max(STORED)]
    codes = 8 * WORD // min(widths)  # that a row is a multiple of
    depth = codes * ceil(layer.fan_in / codes)
    return (2 * (1 if is_alone(layer) else COLUMNS) + (0 if wide else 1)) * depth


def _sizes(network: Network) -> Tensor:
    """(n_inputs + 2 n_layers,), bytes of the inputs, of the layers' outputs, and of their working memory."""
    names = [*network.inputs, *(layer.output for layer in network.layers)]
    tensors = [network.tensors[name] for name in names]
    sizes = [
        tensor.elements * (0 if tensor.in_flash else _bytes_a_code(tensor.bits, tensor.share)) for tensor in tensors
    ]
    return _words(torch.stack([*sizes, *(_working(layer) for layer in network.layers)]))


def _live(network: Network, picks: Picks, sizes: Tensor) -> Tensor:
    """(n_steps, n_memories) of zeros and ones, of the memories of `_sizes`; see `search.integer.memory`.

    It is found anew for each network, since sizes decide in which order layers run, and what lies in whose memory.
    """
    names = [*network.inputs, *(layer.output for layer in network.layers)]
    schedule = _schedule(network, picks, dict(zip(names, sizes.tolist(), strict=False)))
    lives = lifetimes(network.inputs, network.outputs, schedule)
    spans = [lives.get(name, (1, 0)) for name in names]
    working = {layer.output: place for place, layer in enumerate(network.layers)}
    live = [[first <= step <= last for first, last in spans] + [False] * len(working) for step in range(len(schedule))]
    for step, use in enumerate(schedule):
        if not use.outputs:  # the second step of a layer
            live[step][len(names) + working[use.inputs[0]]] = True
    live += [[False] * len(live[0])] * (2 * len(network.layers) - len(live))  # as many as with any other picks
    return torch.tensor(live, dtype=torch.float64)


def _schedule(network: Network, picks: Picks, sizes: Mapping[str, float]) -> list[Use]:
    """Two steps a layer: what it reads and writes, and the same once more, while its working memory is live."""
    running = [
        (layer, layer.inputs if layer.choice is None else (layer.inputs[picks[layer.choice]],))
        for layer in network.layers
        if runs(layer, picks)
    ]
    plain = [layer.use(inputs, inputs[0] if _is_alias(layer) else None) for layer, inputs in running]
    running = [running[place] for place in reordered(network.inputs, network.outputs, plain, sizes)]
    plain = [layer.use(inputs, inputs[0] if _is_alias(layer) else None) for layer, inputs in running]

    def fits(place: int, name: str) -> bool:
        return _fits(network, running[place][0], name)

    uses = in_place(network.inputs, network.outputs, plain, fits)
    return [
        step
        for (layer, inputs), use in zip(running, uses, strict=True)
        for step in (use, Use((layer.output, *inputs), (), loop=layer.loop))
    ]


def _is_alias(layer: LayerUse) -> bool:
    return layer.choice is not None or layer.operator.aliases


def _fits(network: Network, layer: LayerUse, name: str) -> bool:
    """Whether the output of a layer can lie where one of its inputs lies."""
    if not layer.operator.elementwise:
        return False
    x, y = network.tensors[name], network.tensors[layer.output]
    alike = bool(x.elements == y.elements) and _bytes_a_code(x.bits, x.share) == _bytes_a_code(y.bits, y.share)
    return alike and not x.in_flash


def _bytes_a_code(bits: tuple[int, ...], share: Tensor) -> int:
    return 2 if any(width > 8 and bool(part > 0) for width, part in zip(bits, share, strict=True)) else 1
