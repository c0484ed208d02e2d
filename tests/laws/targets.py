"""Targets whose tables have a figure for every layer of a random network, so that latency can be compared on all."""

from dataclasses import replace
from itertools import product

from cost_models.target import Target
from search.config import composed
from tests.cost_models.networks import CODE

KINDS = ("conv", "pointwise", "depthwise", "linear")
TRANSPOSED = "conv_transpose"  # of which no target that ships has a figure
ELEMENTS = {"softmax": 31.0, "normalize": 37.0}  # and of these neither
ACTIVATIONS, WEIGHTS = range(2, 17), range(1, 9)  # bits
WIDTHS = tuple(product(ACTIVATIONS, WEIGHTS))


def completed(name: str) -> Target:
    """A target that ships, with further widths: each takes the cycles of the next larger width in the table."""
    chip = composed([f"target={name}"]).target

    def listed(bits: int, widths: tuple[int, ...]) -> int:
        return min((width for width in widths if width >= bits), default=max(widths))

    cycles = {
        f"{kind}/a{a}w{w}": chip.cycles_per_mac[
            f"{kind}/a{listed(a, chip.activation_bits)}w{listed(w, chip.weight_bits)}"
        ]
        for kind, (a, w) in product(KINDS, WIDTHS)
    }
    cycles |= {f"{TRANSPOSED}/a{a}w{w}": cycles[f"conv/a{a}w{w}"] for a, w in WIDTHS}
    return replace(
        chip,
        weight_bits=tuple(WEIGHTS),
        activation_bits=tuple(ACTIVATIONS),
        cycles_per_mac=cycles,
        cycles_per_element=ELEMENTS | chip.cycles_per_element,
        **CODE,
    )


def distinct() -> Target:
    """A made-up target on which no two kinds of layer and no two widths take the same cycles."""
    keys = [f"{kind}/a{a}w{w}" for kind, (a, w) in product((*KINDS, TRANSPOSED), WIDTHS)]
    chip = composed(["target=cortex_m4"]).target
    return replace(
        chip,
        name="distinct",
        weight_bits=tuple(WEIGHTS),
        activation_bits=tuple(ACTIVATIONS),
        cycles_per_mac={key: 1 + place / len(keys) for place, key in enumerate(keys)},
        cycles_per_element=ELEMENTS | chip.cycles_per_element,
        **CODE,
    )


TARGETS = (completed("cortex_m4"), completed("cortex_m4_size"), completed("mpic"), distinct())
