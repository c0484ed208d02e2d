"""Targets: their files, their values, what they refuse."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from cost_models import cost_model
from cost_models.kernels import SPECIAL
from cost_models.target import IllegalLayer, Target
from search.integer.operators import OPERATORS
from search.integer.traits import Work
from tests.cost_models.networks import ELEMENTS, layer, network, scalar, small_network, target, vector

FOLDER = Path(__file__).parents[2] / "conf" / "target"
MPIC_MACS_A_CYCLE = {2: (6.5, 4.0, 2.2), 4: (3.9, 3.5, 2.1), 8: (2.5, 2.3, 2.1)}  # rows: activation bits


def shipped(path: Path) -> Target:
    values = OmegaConf.load(path)
    del values["defaults"]
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Target), values))


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_target_weighs_every_width_that_it_allows(path):
    chip = shipped(path)
    assert chip.name == path.stem
    keys = {f"a{a}w{w}" for a in chip.activation_bits for w in chip.weight_bits}
    kinds = ("conv", "pointwise", "depthwise", "linear")
    special = [kind for kind in SPECIAL if f"{kind}/a8w8" in chip.cycles_per_mac]
    assert set(chip.cycles_per_mac) == {f"{kind}/{key}" for kind in (*kinds, *special) for key in keys}
    assert set(ELEMENTS) <= set(chip.cycles_per_element) <= set(OPERATORS)
    chip.check(small_network())
    assert cost_model("latency_cycles", chip)(small_network()) > 0


def test_mpic_is_the_published_table():
    cycles = shipped(FOLDER / "mpic.yaml").cycles_per_mac
    for a, row in MPIC_MACS_A_CYCLE.items():
        for w, macs in zip((2, 4, 8), row, strict=True):
            assert 1 / cycles[f"conv/a{a}w{w}"] == pytest.approx(macs, rel=1e-5)


@pytest.mark.parametrize("name", ["cortex_m4", "cortex_m4_size"])
def test_on_a_cortex_m4_transposed_and_grouped_layers_have_rows_of_their_own(name):
    chip = shipped(FOLDER / f"{name}.yaml")
    overheads = {key.partition("/")[0] for key in chip.overhead_cycles}
    assert set(SPECIAL) <= overheads and all(f"{kind}/a8w2" in chip.cycles_per_mac for kind in SPECIAL)
    window = {"in_channels": scalar(16), "out_channels": scalar(8), "kernel": (2, 2), "out_per_width": vector(8)}
    up = layer("up", "conv_transpose", "x", "y", in_size=(8, 8), out_size=(16, 16), **window)
    macs = 64 * 64 * 8
    assert cost_model("latency_cycles", chip)(network(up)) > 4 * macs  # each place of the output meets all weights


@pytest.mark.parametrize("name", ["cortex_m4", "cortex_m4_size"])
def test_on_a_cortex_m4_each_operator_has_a_row_of_its_own(name):
    """A concatenation requantizes what it copies; copies of whole codes do not."""
    chip = shipped(FOLDER / f"{name}.yaml")
    without_weights = {key for key, each in OPERATORS.items() if not each.weighted and each.work is not Work.NOTHING}
    assert set(chip.cycles_per_element) == without_weights
    rows = chip.cycles_per_element
    assert all(1.4 * rows[op] < rows["concat"] for op in ("take", "permute", "step", "state", "collect"))
    assert all(chip.overhead_cycles[f"{op}/activated"] > 0 for op in ("add", "conv"))


def test_on_a_cortex_m4_fewer_weight_bits_cost_time():
    chip = shipped(FOLDER / "cortex_m4.yaml")
    for kind in ("conv", "pointwise", "linear"):
        assert chip.cycles_per_mac[f"{kind}/a8w4"] > chip.cycles_per_mac[f"{kind}/a8w8"]
    assert chip.overhead_cycles["depthwise/unpacked"] > 0


@pytest.mark.parametrize(
    "field, value",
    [
        ("flash_bytes", 0),
        ("weight_bits", (0, 8)),
        ("activation_bits", (32,)),
        ("granularity", "tensor"),
        ("channel_multiple", 0),
        ("cycles_per_mac", {"conv/a8w8": -1.0}),
        ("overhead_cycles", {"conv/output": -1.0}),
        ("code_bytes", {"base": -1.0}),
        ("step_bytes", {"rows": -1.0}),
        ("optimize", "small"),
    ],
)
def test_a_value_out_of_range_is_named(field, value):
    with pytest.raises(ValueError, match=f"target 'bench': {field} is .*allowed"):
        target(**{field: value})


@pytest.mark.parametrize(
    "changes, fault",
    [
        ({"weight_bits": [8]}, r"'stem' \(conv\) has weights at \[4, 8\] bits; allowed: \[8\]"),
        ({"activation_bits": [4]}, r"'stem' \(conv\) has inputs at \[8\] bits; allowed: \[4\]"),
        ({"granularity": "layer"}, r"'stem' \(conv\) has channels at \[4, 8\] bits; allowed: one width"),
        ({"channel_multiple": 8}, r"'spatial' \(conv\) has 4 output channels; allowed: multiples of 8"),
    ],
)
def test_what_the_target_cannot_run_is_refused(changes, fault):
    with pytest.raises(IllegalLayer, match=fault):
        target(**changes).check(small_network())


def test_widths_without_channels_and_the_classes_are_not_refused():
    body = layer(
        "body", "linear", "x", "a", out_channels=scalar(8), weight_bits=(3, 8), out_per_width=vector(0, 8),
        in_bits=(2, 8), in_share=vector(0, 1),
    )  # fmt: skip
    classes = layer("classes", "linear", "a", "y", out_channels=scalar(10), out_bits=(16,))
    target(channel_multiple=8, granularity="layer", activation_bits=[8]).check(network(body, classes))
