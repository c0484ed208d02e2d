"""What every network of ours holds to. A new line in NETWORKS is tested here without a new test."""

import pytest
import torch
from torch import Tensor, nn

from benchmarks.robust_networks import MLP, TCN, SmallCNN
from cost_models import COST_MODELS
from search.budgets.feasibility import seed_architecture
from search.deploy.lower import lower
from search.integer.executor import Executor
from spaces.decisions.gates import Gate
from spaces.networks import NETWORKS
from spaces.searchable import searchable
from spaces.space import Space

ALL = {**NETWORKS, "mlp": MLP, "small_cnn": SmallCNN, "tcn": TCN}  # with those that only benchmarks have

# network -> an input that is smaller than what it was made for, and arguments that make it so
SMALL: dict[str, tuple[dict, tuple[int, ...]]] = {
    "autoencoder": ({"features": 24, "width": 16, "bottleneck": 4}, (2, 2, 12)),
    "crnn": ({"rows": 6, "width": 4, "hidden": 8, "layers": 2}, (2, 1, 6, 12)),
    "ds_cnn": ({"width": 16, "blocks": 2}, (2, 1, 25, 10)),
    "lenet5": ({"features": 256, "widths": (4, 8, 16, 12)}, (2, 1, 16, 16)),
    "inverted_residuals": (
        {"channels": (8, 8, 12), "strides": (1, 2, 2), "expansion": 2, "depth": 1, "kernels": (3,), "excite": False},
        (2, 3, 16, 16),
    ),
    "mlp": ({"inputs": 24, "width": 16}, (2, 2, 12)),
    "mobilenet_v1": ({"in_channels": 1, "width": 0.125}, (2, 1, 32, 32)),
    "mobilenet_v2": ({"width": 0.25, "strides": (2, 1, 2, 1, 1, 2, 1, 1), "last": 32}, (2, 3, 16, 16)),
    "resnet8": ({}, (2, 3, 16, 16)),
    "small_cnn": ({"width": 8, "hidden": 16}, (2, 1, 16, 16)),
    "tc_resnet": ({"in_channels": 10, "widths": (8, 12, 16, 16)}, (2, 10, 25)),
    "tcn": ({"in_channels": 6, "width": 16, "stride": 2}, (2, 6, 40)),
    "temponet": ({"features": 256, "width": 8, "hidden": 16}, (2, 4, 64)),
    "tiny_transformer": ({"features": 192, "width": 8, "hidden": 12, "patch": 4}, (2, 6, 32)),
    "wake_word": ({"in_channels": 6, "widths": (8, 8, 8), "kernels": (3, 3, 3)}, (2, 6, 7)),
    "unet_1d": ({"in_channels": 2, "width": 4}, (2, 2, 16)),
}

pytestmark = pytest.mark.parametrize("name", ALL)


def trained(name: str) -> tuple[nn.Module, Tensor]:
    """In evaluation, with norms that have seen data."""
    arguments, shape = SMALL[name]
    torch.manual_seed(0)
    model, x = ALL[name](**arguments), torch.randn(shape)
    for norm in [m for m in model.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]:
        nn.init.uniform_(norm.weight, -0.5, 2.0)
        nn.init.uniform_(norm.bias, -0.5, 0.5)
    model.train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(shape))
    return model.eval(), x


def fixed_at_random(name: str) -> tuple[Space, Tensor]:
    model, x = trained(name)
    space = searchable(model, x).eval()
    space.calibrate([x])
    space.set_mode("fake")
    generator = torch.Generator().manual_seed(1)
    for decision in space.decisions.values():
        index = torch.randint(0, len(decision.options), (decision.groups,), generator=generator).tolist()
        pick = [decision.options[i] for i in index]
        decision.fix([1, *pick[1:]] if isinstance(decision, Gate) else pick)
    return space, x


def test_the_float_space_is_the_network(name):
    model, x = trained(name)
    space = searchable(model, x).eval()
    with torch.no_grad():
        torch.testing.assert_close(space(x), model(x))


def test_every_layer_but_the_outside_ones_can_be_pruned(name):
    model, x = trained(name)
    space = searchable(model, x)
    fixed = [block for block in space.blocks if block.weights is not None and 0 in space.spec.slots[block.name]]
    inner = [
        b.name for b in fixed if not (b.spec.depthwise and b.spec.inputs == space.spec.inputs)
    ]  # of each input one
    assert inner == list(space.spec.outputs)
    assert [block.name for block in fixed] == list(space.spec.left_alone)
    assert sum(isinstance(decision, Gate) for decision in space.decisions.values()) >= 3


def test_torch_and_numpy_agree_to_the_bit(name):
    space, x = fixed_at_random(name)
    decided = space.decide()
    found, expected = Executor(lower(decided))(x.numpy(), intermediate=True), decided.codes(x)
    assert found.keys() == expected.keys()
    assert sum(int((found[tensor] != codes.numpy()).sum()) for tensor, codes in expected.items()) == 0


def test_the_arena_is_as_small_as_what_lives_at_once(name):
    space, _ = fixed_at_random(name)
    for program in (lower(space.decide()), lower(space.decide(seed_architecture(space)))):
        arena = program.arena()
        assert arena.size == arena.bound == program.peak_ram_bytes()


def test_costs_are_exact(name):
    space, _ = fixed_at_random(name)
    decided = space.decide()
    program = lower(decided)
    figures = {"flash_bytes": program.flash_bytes(), "peak_ram_bytes": program.peak_ram_bytes(), "macs": program.macs()}
    for cost, figure in figures.items():
        assert COST_MODELS[cost](space.describe()).item() == COST_MODELS[cost](decided.describe()).item() == figure


def test_a_step_reaches_every_parameter_and_decision(name):
    space, x = fixed_at_random(name)
    space.train()
    loss = space(x).square().mean()  # for outputs of any shape
    (loss + 1e-9 * COST_MODELS["flash_bytes"](space.describe())).backward()
    without = [key for key, p in space.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    for decision in space.decisions.values():
        gradient = next(p.grad for p in decision.parameters() if p.requires_grad)
        assert torch.isfinite(gradient).all() and gradient.abs().sum() > 0
