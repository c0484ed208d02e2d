"""The Space itself: gradients on both sides of a channel, decisions, modes."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from cost_models import COST_MODELS
from spaces.architecture import Architecture
from spaces.quantizers import ActivationChoice, ActivationQuantizer
from spaces.quantizers.grids import grids_of
from spaces.searchable import Options, searchable
from spaces.space import Space
from tests.search.small import TARGET
from tests.spaces.small import IMAGE, OPEN_BODY, OPEN_STEM, Plain, half_closed, images, space_of

IS_OPEN = torch.tensor([1, 0, 1, 1, 0, 0, 1, 1], dtype=torch.bool)  # of stem

# Gradients


def test_macs_of_a_channel_fall_on_its_layer_and_on_its_readers_open_or_closed():
    space = half_closed()
    COST_MODELS["macs"](space.describe()).backward()
    stem = 36 * (3 * 9 + 9 + OPEN_BODY)  # its own row, its depthwise filter, its column in each open row of body
    body = 36 * OPEN_STEM + 4  # its row over the open inputs, its column in the head
    assert space.gates["stem/channels"].shadow.grad.tolist() == [stem] * 8
    assert space.gates["body/channels"].shadow.grad.tolist() == [body] * 6


@pytest.mark.parametrize("name", COST_MODELS)
def test_every_cost_pulls_at_every_gate(name):
    space = half_closed()
    COST_MODELS[name](space.describe()).backward()
    grads = torch.cat([gate.shadow.grad for gate in space.gates.values() if gate.shadow.grad is not None])
    assert (grads >= 0).all() and grads.sum() > 0


def test_precision_has_a_price_in_flash_for_open_channels_only():
    space = half_closed()
    COST_MODELS["flash_bytes"](space.describe()).backward()
    grad = space.decisions["stem/bits"].logits.grad
    assert (grad[IS_OPEN][:, -1] > 0).all() and (grad[IS_OPEN][:, 0] < 0).all()
    assert (grad[~IS_OPEN] == 0).all()


@pytest.mark.parametrize("options", [None, Options((0,), activation_bits=None)], ids=["quantized", "float"])
def test_the_task_loss_reaches_closed_gates(options):
    space = half_closed(options)
    space(images((8, 3, 6, 6))).square().sum().backward()
    for gate in space.gates.values():
        assert torch.isfinite(gate.shadow.grad).all() and (gate.shadow.grad.abs() > 1e-5).all()


class ReadTwice(nn.Module):
    """stem is read by a depthwise layer, through a pool, and by a layer that mixes channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.depthwise = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.mix, self.head = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1)

    def forward(self, x):
        x = nn.functional.max_pool2d(self.stem(x), 2)
        return self.head(self.depthwise(x) + self.mix(x))


def test_a_gate_is_applied_once_on_each_path_and_on_every_path():
    """Of two masks in a row each would hide the other's gradient where the gate is closed, and double it where open."""
    assert space_of(Plain()).select().keep.keys() == {"depthwise", "body"}
    assert space_of(ReadTwice()).select().keep.keys() == {"stem", "depthwise", "mix"}


class Residual(nn.Module):
    """Two layers that share a gate: where it is closed, the ReLU behind the sum and the pool see zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, x):
        return self.head(torch.relu(self.a(x) + self.b(x)).mean((2, 3)))


@pytest.mark.parametrize("options", [None, Options((0,), activation_bits=None)], ids=["quantized", "float"])
def test_the_task_loss_reaches_a_closed_gate_through_a_sum_and_a_pool(options):
    space = space_of(Residual(), options=options).train()
    space.decisions["a/channels"].fix((1, 0, 0, 1))
    space(images()).square().sum().backward()
    assert (space.gates["a/channels"].shadow.grad != 0).all()


def test_the_task_loss_reaches_the_reader_of_a_closed_channel_only_through_open_ones():
    space = half_closed()
    space(images()).square().sum().backward()
    columns = space.weights["body"].weight.grad.flatten(1).abs().sum(0) > 0
    assert not columns[~IS_OPEN].any() and columns[IS_OPEN].sum() >= 3


def test_every_precision_and_its_steps_learn():
    space = half_closed()
    space(images()).square().sum().backward()
    for weights in space.weights.values():
        assert space.choices[weights.spec.bits].logits.grad.abs().sum() > 0
        assert (weights.quantizer.log_step.grad.abs().sum(1) > 0).all()


# Held passes


def test_a_held_pass_computes_the_same_and_leaves_decisions_and_activation_steps_without_gradient():
    space = half_closed()
    first = space(images())
    space.held = True
    again = space(images())
    assert torch.equal(first, again)
    again.square().sum().backward()
    decisions = [p.grad for p in space.decision_parameters()]
    activations = [m.log_step.grad for m in space.modules() if isinstance(m, ActivationQuantizer)]
    assert all(g is None for g in decisions) and all(g is None for g in activations)
    assert all(w.weight.grad.abs().sum() > 0 and w.quantizer.log_step.grad is not None for w in space.weights.values())


@pytest.mark.parametrize("mode", ["hard", "soft"])
def test_precisions_that_are_chosen_have_constant_steps_in_a_held_pass(mode):
    space = space_of(Plain(), options=Options((8,), activation_bits=(4, 8), mode=mode)).train()
    drifts = [q.drift for q in space.quantizers.values() if isinstance(q, ActivationChoice)]
    space(images()).square().sum().backward()
    assert drifts and all(drift.grad is not None for drift in drifts)
    space.zero_grad()
    space.held = True
    space(images()).square().sum().backward()
    assert all(drift.grad is None for drift in drifts)


def test_weights_get_the_same_gradient_in_a_held_pass():
    space = half_closed()
    space(images()).square().sum().backward()
    whole = {name: w.weight.grad.clone() for name, w in space.weights.items()}
    space.zero_grad()
    space.held = True
    space(images()).square().sum().backward()
    for name, w in space.weights.items():
        assert torch.equal(w.weight.grad, whole[name])


def test_evaluation_is_never_held():
    space = half_closed()
    space(images())
    space.held = True
    space.decisions["stem/channels"].fix((1,) * 8)
    assert space.eval()(images()).requires_grad and int(space.selection.alpha.sum()) == 1 + 8 + OPEN_BODY


# Steered passes

OPEN = {
    "gates and precisions of channels": Options((0, 2, 4, 8)),
    "mixtures": Options((0, 8), activation_bits=(4, 8), mode="soft"),
    "layers": Options((0, 4, 8), "tensor", activation_bits=(4, 8)),
}


def gradients(options: Options, steered: bool) -> tuple[Space, dict[str, torch.Tensor | None]]:
    """The space behind a pass forth and back, and the gradients of its leaves."""
    space = half_closed(options)
    space.steered = steered
    y = space(images((8, 3, 6, 6)))
    leaves = {n: leaf for n, leaf in space.selection.leaves().items() if n not in space.selection.whole}
    for leaf in leaves.values():
        leaf.retain_grad()
    y.square().sum().backward()
    return space, {name: leaf.grad for name, leaf in leaves.items()}


@pytest.mark.parametrize("options", OPEN.values(), ids=OPEN)
def test_a_steered_pass_has_the_gradients_of_leaves_and_networks_and_passes_none_on(options):
    (space, own), (other, expected) = (gradients(options, steered) for steered in (True, False))
    assert own.keys() == expected.keys() and all(torch.equal(own[name], expected[name]) for name in own)
    for ours, theirs in zip(space.network_parameters(), other.network_parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)
    assert all(p.grad is None for p in space.decision_parameters())


def test_evaluation_is_never_steered():
    space = half_closed()
    space.steered = True
    space.eval()(images()).square().sum().backward()
    assert all(gate.shadow.grad is not None for gate in space.gates.values())


# Memory formats


@pytest.mark.parametrize("channels", [1, 3])
def test_images_and_what_convolutions_make_of_them_have_channels_last(channels):
    stem = nn.Conv2d(channels, 4, 3)
    space = space_of(nn.Sequential(stem, nn.ReLU(), nn.Conv2d(4, 2, 1)), (2, channels, 6, 6))
    kept = space.tensors(torch.randn(2, channels, 6, 6))
    assert all(tensor.is_contiguous(memory_format=torch.channels_last) for tensor in kept.values())
    assert kept[space.spec.outputs[0]].stride() == (32, 1, 8, 2)


# Decisions


def test_new_spaces_are_open_and_start_at_the_highest_precision():
    space = space_of(Plain())
    assert {name: set(d.pick()) for name, d in space.decisions.items()} == {
        "stem/channels": {1}, "body/channels": {1},
        **{f"{layer}/bits": {8} for layer in ("stem", "depthwise", "body", "head")},
    }  # fmt: skip


def test_decisions_and_network_share_no_parameter_and_leave_none_out():
    space = space_of(Plain())
    decisions, network = ({id(p) for p in ps} for ps in (space.decision_parameters(), space.network_parameters()))
    frozen = {id(gate.threshold) for gate in space.gates.values()}
    assert not decisions & network
    assert decisions | network | frozen == {id(p) for p in space.parameters()}


def test_an_architecture_comes_back():
    space = half_closed()
    architecture = space.architecture()
    other = space_of(Plain())
    other.fix(architecture)
    assert other.architecture() == architecture and architecture.picks["body/channels"] == (0, 1, 1, 0, 1, 0)


def test_a_foreign_architecture_is_refused_and_its_differences_are_named():
    space = space_of(Plain())
    picks = dict(space.architecture().picks)
    picks["tail/bits"] = picks.pop("head/bits")
    with pytest.raises(ValueError, match=r"'Other'\): missing \['head/bits'\], unknown \['tail/bits'\]"):
        space.fix(Architecture("Other", picks))


def test_a_pick_of_another_length_is_refused():
    space = space_of(Plain())
    picks = {**space.architecture().picks, "stem/channels": (1, 1)}
    with pytest.raises(ValueError, match=r"'stem/channels': takes 8 values .* got 2"):
        space.fix(Architecture(space.name, picks))


def test_projecting_brings_a_shadow_back_to_where_it_gets_gradients():
    space = half_closed()
    with torch.no_grad():
        space.gates["stem/channels"].shadow.copy_(torch.tensor([1.5, -0.5, 0.3, 1, 0, 0, 2, 1]))
    before = space.architecture()
    space.project()
    assert space.gates["stem/channels"].shadow.tolist() == pytest.approx([1, 0, 0.3, 1, 0, 0, 1, 1])
    assert space.architecture() == before


# Costs


def test_costs_are_those_of_the_cost_models_and_pull_at_decisions():
    space = half_closed()
    costs = space.costs()
    assert {name: cost.item() for name, cost in costs.items()} == {
        name: COST_MODELS[name](space.describe()).item() for name in ("flash_bytes", "peak_ram_bytes", "macs")
    }
    sum(costs.values()).backward()
    assert all(gate.shadow.grad.any() for gate in space.gates.values())
    assert space.costs(["parameters"])["parameters"] == COST_MODELS["parameters"](space.describe())


def test_latency_needs_a_target():
    with pytest.raises(ValueError, match="reads a target's tables and no target is given"):
        half_closed().costs(["latency_cycles"])
    rates = {f"{kernel}/a8w8": 2.0 for kernel in ("conv", "depthwise", "pointwise", "linear")}
    target = replace(TARGET, cycles_per_mac=rates, cycles_per_element={"avg_pool": 1.0})
    space = space_of(Plain(), options=Options((0, 8)))
    cycles = 2 * space.costs()["macs"] + 6 * 36  # and the elements of the pool's windows
    assert space.costs(["latency_cycles"], target)["latency_cycles"] == cycles


@pytest.mark.parametrize(
    "options, message",
    [
        ({"granularity": "filter"}, r"granularity 'filter' is not one of"),
        ({"activation_bits": None}, r"give weight_bits and activation_bits, or neither"),
        ({"weight_bits": (0,)}, r"give weight_bits and activation_bits, or neither"),
    ],
)
def test_options_that_contradict_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Options(**options)


def test_an_exclusion_that_matches_nothing_is_refused():
    with pytest.raises(ValueError, match=r"exclude 'conv\*' matches no layer; there are: stem, depthwise, body, head"):
        searchable(Plain(), torch.randn(IMAGE), Options(exclude=("conv*",)))


# Activation precisions

MIXED = Options((0, 4, 8), activation_bits=(2, 4, 8))


def test_tensors_between_layers_choose_their_precision_and_input_and_output_do_not():
    space = space_of(Plain(), options=MIXED)
    names = {name for name in space.choices if name.endswith("/activation_bits")}
    assert names == {f"{tensor}/activation_bits" for tensor in ("stem", "depthwise", "body", "mean.pool")}
    assert space.quantizer("input").bits == space.quantizer("head").bits == 8


@pytest.mark.parametrize("mode", ["hard", "soft", "gumbel"])
def test_activation_precisions_learn_from_cost_and_where_they_are_mixed_from_the_task(mode):
    space = space_of(Plain(), options=Options((0, 4, 8), activation_bits=(2, 4, 8), mode=mode)).train()
    space(images((8, 3, 6, 6))).square().sum().backward()
    choices = [c for name, c in space.choices.items() if name.endswith("/activation_bits")]
    assert all((c.logits.grad is not None) == (mode == "soft") for c in choices)  # others are tried
    space.zero_grad()
    COST_MODELS["peak_ram_bytes"](space.describe()).backward()
    assert any(c.logits.grad[0, -1] > 0 for c in choices if c.logits.grad is not None)


def test_the_precision_in_use_learns_for_all():
    space = space_of(Plain(), options=MIXED).train()
    space(images((8, 3, 6, 6))).square().sum().backward()
    stem = space.quantizer("stem")
    assert stem.drift.grad != 0 and all(m.log_step.grad is None for m in stem.members)
    before = [grid.step.item() for grid in grids_of(stem.members, [stem.drift] * 3)]
    with torch.no_grad():
        stem.drift.add_(math.log(2))
    after = [grid.step.item() for grid in grids_of(stem.members, [stem.drift] * 3)]
    assert after == pytest.approx([2 * step for step in before])


def test_deciding_keeps_the_picked_precision_with_its_step_and_computes_the_same():
    space = space_of(Plain(), options=MIXED)
    for bits, name in zip((2, 4, 8, 4), ("stem", "depthwise", "body", "mean.pool"), strict=True):
        space.choices[f"{name}/activation_bits"].fix((bits,))
    with torch.no_grad():
        space.quantizer("stem").drift.fill_(0.25)
    decided = space.decide()
    decided.set_mode("fake")
    assert [decided.quantizer(t).bits for t in ("stem", "depthwise", "body", "mean.pool")] == [2, 4, 8, 4]
    stem = space.quantizer("stem")
    assert torch.equal(decided.quantizer("stem").log_step, stem.members[0].log_step + 0.25)
    with torch.no_grad():
        torch.testing.assert_close(decided(images()), space(images()))


# Passes that leave nothing behind


@pytest.mark.parametrize("options", [Options((0,), activation_bits=()), Options((0, 4, 8))], ids=["float", "quantized"])
def test_a_space_is_copied_whatever_its_last_pass_left(options):
    space = space_of(Plain(), options=options).train()
    space(images())
    copied = copy.deepcopy(space).eval()
    with torch.no_grad():
        assert torch.equal(copied(images()), space.eval()(images()))


def test_costs_in_inference_mode_leave_later_ones_their_gradients():
    def sizes(channels: int) -> Space:
        return space_of(nn.Sequential(nn.Conv2d(3, channels, 3), nn.ReLU(), nn.Conv2d(channels, 2, 3)))

    for channels in (5, 7):  # sizes that no other test has, so that nothing is known of them
        space = sizes(channels).train()
        with torch.inference_mode():
            space(images())
            before = {name: cost.item() for name, cost in space.costs().items()}
        costs = space.costs()
        sum(costs.values()).backward()
        assert {name: cost.item() for name, cost in costs.items()} == before
        assert all(gate.shadow.grad.abs().sum() > 0 for gate in space.gates.values())
        space(images()).square().sum().backward()


def test_a_part_of_which_all_is_frozen_is_no_part_of_the_graph():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
    for parameter in network[:2].parameters():
        parameter.requires_grad_(False)
    space = space_of(network, options=Options((0,), activation_bits=())).decide().train()
    space.set_mode("fake")
    found = space.tensors(images())
    assert [found[name].requires_grad for name in ("0", "3")] == [False, True]
