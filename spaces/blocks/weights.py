"""Stored weights of convolutions and linear layers: what is trained, and what a pass uses of it."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from spaces import patterns
from spaces.blocks import kernel_taps
from spaces.decisions.selection import Selection
from spaces.quantizers.weight import WeightQuantizer, WeightUse, quantized
from spaces.spec import ChoiceSpec, WeightsSpec


class Kept(NamedTuple):
    """What stays of weights (C_out, C_in / groups, *kernel).

    Attributes:
        rows: indices of the output channels. The index of a copied channel stands there several times.
        columns: indices of the input channels of a group, in the same way.
        taps: indices for each dimension of the kernel; () where all taps stay.
    """

    rows: Tensor
    columns: Tensor
    taps: Sequence[Tensor] = ()

    def of(self, values: Tensor) -> Tensor:
        """The part of a tensor (C_out, C_in / groups, *kernel) that stays."""
        values = values[self.rows][:, self.columns]
        for dimension, stays in enumerate(self.taps, start=2):
            values = values.index_select(dimension, stays)
        return values

    def parts(self) -> Tensor:
        """(columns,), the part of each column in the one that it is a copy of. The parts of a column sum to 1.

        Copies together give what the column gave (Net2Net, arXiv 1511.05641). Their parts are unequal, or they would
        train alike.
        """
        order = self.columns.argsort(stable=True)
        counts = torch.bincount(self.columns)
        before = counts.cumsum(0) - counts
        rank = torch.empty_like(self.columns)
        rank[order] = torch.arange(len(self.columns)) - before[self.columns[order]]
        count = counts[self.columns]
        return 2 * (rank + 1) / (count * (count + 1))


class Weights(nn.Module):
    """Parameters of one convolution or linear layer, with their quantizer."""

    mask: Tensor

    def __init__(self, name: str, spec: WeightsSpec, choices: Mapping[str, ChoiceSpec]) -> None:
        super().__init__()
        self.name, self.spec = name, spec
        self.weight = nn.Parameter(torch.zeros(spec.shape))
        self.bias = nn.Parameter(torch.zeros(spec.shape[0])) if spec.bias else None
        for part in spec.constant:
            getattr(self, part).requires_grad_(False)
        has_codes = bool(spec.widths) or spec.assigned is not None
        self.quantizer = WeightQuantizer(spec.widths, spec.shape[0], spec.assigned) if has_codes else None
        self.pattern = patterns.made(spec.pattern, spec.shape) if spec.pattern else None
        if spec.masked:
            self.register_buffer("mask", torch.ones(spec.shape, dtype=torch.bool))
        self._taps: dict[str, Tensor] = {}  # on the CPU, as costs are
        for role, choice in spec.taps.items():
            self._taps[role] = kernel_taps.masks(role, spec.shape[2:], choices[choice].options)
            self.register_buffer(f"{role}_masks", self._taps[role].clone(), persistent=False)

    @property
    def is_patterned(self) -> bool:
        return self.pattern is not None or self.spec.masked

    @property
    def reads_open_inputs(self) -> bool:
        """Whether `patterned` has to be told which inputs are open."""
        return isinstance(self.pattern, patterns.NM)

    def patterned(self, inputs: Tensor | None = None) -> Tensor:
        """The weights in their pattern. inputs: indices of the inputs that are open; None: all are open."""
        if self.spec.masked:
            return self.weight * self.mask
        if self.pattern is None:
            return self.weight
        made: Tensor = self.pattern(self.weight, inputs if inputs is None else inputs.to(self.weight.device))
        return made

    def tap_mask(self, share: Mapping[str, Tensor]) -> Tensor | None:
        """(*kernel), differentiable in the shares of the choices of taps; None where there are none.

        It is where the shares are: on the CPU for costs, or on the device of the weights.
        """
        mask = None
        for role, choice in self.spec.taps.items():
            masks, own = self.get_buffer(f"{role}_masks"), share[choice]
            masks = masks if own.device == masks.device else self._taps[role]
            part = (own @ masks.flatten(1).to(own.dtype)).view(masks.shape[1:])
            mask = part if mask is None else mask * part
        return mask

    @torch.no_grad()
    def calibrate(self, method: str, inputs: Tensor | None) -> None:
        """Sets the first steps of the quantizer, if any; see spaces.quantizers.calibrate. inputs: as in `patterned`."""
        if self.quantizer is not None:
            self.quantizer.calibrate(self.patterned(inputs), method)

    @torch.no_grad()
    def inherit(self, old: "Weights", kept: Kept) -> None:
        """Takes what stays of open weights: the weights, the mask of a pattern, and the steps of the precisions in use.

        Where channels were copied, steps are calibrated anew, because the weights that read them are smaller.
        """
        inputs = kept.columns.unique() if old.reads_open_inputs else None
        values = old.weight if old.pattern is None else old.patterned(inputs)
        parts = kept.parts()
        shares = parts.view(1, -1, *(1,) * (values.dim() - 2))
        self.weight.copy_(kept.of(values.cpu()) * shares)
        if self.bias is not None and old.bias is not None:
            self.bias.copy_(old.bias.cpu()[kept.rows])
        if self.spec.masked:
            mask = old.mask if old.pattern is None else old.pattern.mask(old.weight, inputs)
            self.mask.copy_(kept.of(mask.cpu()))
        if self.quantizer is not None and old.quantizer is not None:
            self.quantizer.inherit(old.quantizer, kept.rows)
            if parts.min() < 1:
                self.quantizer.calibrate(self.weight, "mse")


def weights_in_use(
    weights: Mapping[str, Weights], selection: Selection, open_inputs: Callable[[str], Tensor | None]
) -> dict[str, Tensor]:
    """Weights as a pass uses them: fake-quantized, in their pattern, and without the taps that are masked.

    Args:
        open_inputs: gives the indices of the inputs of stored weights that are open, see Selector.open_inputs.

    Returns:
        Weights name -> weights in use. Weights that are used as they are stored are left out.
    """
    patterned = {name: w for name, w in weights.items() if w.is_patterned}
    used = {n: w.patterned(open_inputs(n) if w.reads_open_inputs else None) for n, w in patterned.items()}
    uses = {}
    for name, w in weights.items():
        if w.quantizer is not None:
            bits = w.spec.bits or ""
            probability = None if selection.held else selection.probability.get(bits)
            uses[name] = WeightUse(
                w.quantizer, used.get(name, w.weight), selection.share.get(bits), probability, bits in selection.soft
            )
    used |= dict(zip(uses, quantized(list(uses.values())), strict=True))
    for name, w in weights.items():
        mask = w.tap_mask(selection.share)
        if mask is not None:
            used[name] = used.get(name, w.weight) * mask
    return used
