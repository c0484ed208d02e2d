"""Cycles of one inference, from a target's table of cycles a MAC and cycles an element."""

from collections.abc import Callable, Mapping
from functools import partial
from math import prod

from torch import Tensor

from cost_models.kernels import OVERHEADS, kernel_kind, overheads, overheads_of_elements, products_by_width
from cost_models.layer import LayerUse, Network, UnsupportedLayer
from cost_models.rules import Rules, nothing, summed
from cost_models.target import Target
from search.errors import UsageError
from search.integer.operators import ELEMENTWISE
from search.integer.traits import Work


class Latency:
    """The sum over all layers, which do not overlap. Any measured table will do; the figure is as good as the table."""

    name = "latency_cycles"
    unit = "cycles"

    def __init__(self, target: Target) -> None:
        self.target = target
        self.source = f"{target.cycles_per_mac_source}; {target.cycles_per_element_source}"
        by_element: Rules = dict.fromkeys((*ELEMENTWISE, Work.WINDOW, Work.REDUCTION, Work.COPY), self.element_cycles)
        products: Rules = {Work.PRODUCTS: self.mac_cycles, Work.PAIRS: self.pair_cycles}
        self._kinds = {key.partition("/")[0] for key in target.cycles_per_mac}
        self._overheads: dict[str, dict[str, float]] = {}
        for key, rate in target.overhead_cycles.items():
            kind, _, name = key.partition("/")
            if name not in OVERHEADS:
                raise UsageError(
                    f"target '{target.name}': overhead_cycles has '{key}', which nothing counts; a key is a kind of "
                    f"layer or an operator, and behind a slash one of {', '.join(OVERHEADS)}."
                )
            if rate:
                self._overheads.setdefault(kind, {})[name] = rate
        self._rules: Rules = {**products, **by_element, Work.NOTHING: nothing}

    def __call__(self, network: Network) -> Tensor:
        """(), cycles; differentiable in channels, widths and activation shares.

        Raises:
            UnsupportedLayer: an operator has no rule, or the target's table lacks a combination that is on offer.
        """
        return summed(self.name, self._rules, network)

    def mac_cycles(self, layer: LayerUse, network: Network) -> Tensor:
        """(), share * MACs * cycles a MAC, over all widths, and the overheads of its kind."""
        kind = kernel_kind(layer, self._kinds)
        rows = [[self._cycles_a_mac(layer, f"{kind}/a{a}w{w}") for w in layer.weight_bits] for a in layer.in_bits]
        a_product = layer.in_share @ layer.in_share.new_tensor(rows)  # (n_widths,)
        cycles = a_product @ products_by_width(layer, kind)
        return self._with_overheads(cycles, kind, partial(overheads, layer, kind))

    def pair_cycles(self, layer: LayerUse, network: Network) -> Tensor:
        """(), products of two activations: from their own row, or as those of a linear layer with 8-bit weights."""
        if layer.op in self.target.cycles_per_element:
            return self.element_cycles(layer, network)
        rows = [self._cycles_a_mac(layer, f"linear/a{a}w8") for a in layer.in_bits]
        return layer.out_elements * prod(layer.kernel) * (layer.in_share @ layer.in_share.new_tensor(rows))

    def _cycles_a_mac(self, layer: LayerUse, key: str) -> float:
        target = self.target
        if key not in target.cycles_per_mac:
            raise UnsupportedLayer(
                f"latency_cycles: layer '{layer.name}' needs '{key}', which cycles_per_mac of target "
                f"'{target.name}' lacks; it has {', '.join(target.cycles_per_mac)}. "
                "Add a measurement or take the width out of the space."
            )
        return target.cycles_per_mac[key]

    def element_cycles(self, layer: LayerUse, network: Network) -> Tensor:
        """(), cycles an element times output elements, or elements of their windows, and overheads.

        An operator that the target has no row for may take that of another, see Operator.priced_as.
        """
        rows = self.target.cycles_per_element
        key = layer.op if layer.op in rows else layer.operator.priced_as or layer.op
        if key not in rows:
            raise UnsupportedLayer(
                f"latency_cycles: layer '{layer.name}' has op '{layer.op}' and needs '{key}', which cycles_per_element "
                f"of target '{self.target.name}' lacks; it has {', '.join(rows)}. Add a measurement."
            )
        cycles = layer.out_elements * (prod(layer.kernel) * rows[key])
        return self._with_overheads(cycles, key, partial(overheads_of_elements, layer))

    def _with_overheads(self, cycles: Tensor, kind: str, counted: Callable[[], Mapping[str, Tensor]]) -> Tensor:
        rates = self._overheads.get(kind, {})
        counts = counted() if rates else {}  # a target without these has none of their work in a step
        for name, rate in rates.items():
            cycles = cycles + rate * counts[name] if name in counts else cycles
        return cycles
