"""What a convolution of one tap with a stride reads, alone and beside other convolutions."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from spaces.blocks.norm import frozen
from spaces.blocks.places import at_places, every, places_of, shared_places, with_places
from spaces.networks.resnet8 import ResNet8
from spaces.searchable import Options
from spaces.space import Space
from tests.spaces.small import space_of

SHAPE = (2, 3, 8, 8)
IMAGES = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))


class Reads(nn.Module):
    """A tensor that is read by a shortcut and by something else."""

    def __init__(
        self, beside: nn.Module | None = None, identity: bool = False, strides: tuple[int, ...] = (2,)
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.few = nn.ModuleList(nn.Conv2d(4, 4, 1, stride) for stride in strides)
        self.beside, self.identity = beside, identity

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        parts = [few(x).mean((2, 3)) for few in self.few]
        if self.beside is not None:
            parts.append(self.beside(x).mean((2, 3)))
        if self.identity:
            parts.append(x.mean((2, 3)))
        return sum(parts[1:], parts[0])


def wide() -> nn.Conv2d:
    return nn.Conv2d(4, 4, 3, 2, 1)


@pytest.mark.parametrize(
    ("network", "shared"),
    [
        (Reads(wide()), ["stem"]),
        (Reads(wide(), strides=(2, 2)), ["stem"]),
        (Reads(nn.Conv2d(4, 4, 1, 2, padding=1)), ["stem"]),  # pads, so that it reads a new tensor
        (Reads(), []),  # alone
        (Reads(wide(), strides=(2, 4)), []),  # not the same places
        (Reads(wide(), identity=True), []),  # a mean reads it too, whose gradient may be another's
    ],
)
def test_places_are_shared_where_convolutions_alone_read_a_tensor(network, shared):
    assert list(shared_places(space_of(network, SHAPE).blocks, ())) == shared


def test_the_shortcuts_of_a_residual_network_share_places():
    space = space_of(ResNet8(), (2, 3, 16, 16))
    few = [block for block in space.blocks if places_of(block) is not None]
    shared = shared_places(space.blocks, space.spec.outputs)
    assert len(few) == len(shared) == 2 and {block.spec.inputs[0] for block in few} == set(shared)


class Returns(Reads):
    """Returns the tensor that is read, too, and what was added to it."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        y = F.relu(self.stem(x))
        return y, self.beside(y), self.few[0](y)


def test_the_gradient_of_an_output_is_the_users():
    space = space_of(Returns(wide()), SHAPE).train()
    assert not space._walk._shared_places and "stem" in shared_places(space.blocks, ())
    y, _, few = space(IMAGES)
    given = torch.ones_like(y)
    torch.autograd.backward([y, few.sum()], [given, None])
    assert torch.equal(given, torch.ones_like(y))
    assert space.weights["stem"].weight.grad.isfinite().all()


@pytest.mark.parametrize("shape", [(2, 3, 7, 5), (1, 2, 9), (2, 1, 4, 5, 3)])
def test_the_gradient_of_both_is_the_sum(shape):
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    places = every((2,) * (len(shape) - 2))
    a, b = torch.randn(shape), torch.randn(x[places].shape)
    expected = torch.autograd.grad((x * a).sum() + (x[places] * b).sum(), x)[0]
    whole, few = with_places(x, places)
    assert torch.equal(whole, x) and torch.equal(few, x[places])
    assert torch.equal(torch.autograd.grad((whole * a).sum() + (few * b).sum(), x)[0], expected)
    whole, few = with_places(x, places)
    assert torch.equal(torch.autograd.grad((whole * a).sum(), x)[0], a.double())
    alone = torch.autograd.grad((at_places(x, places) * b).sum(), x)[0]
    whole, few = with_places(x, places)
    assert torch.equal(torch.autograd.grad((few * b).sum(), x)[0], alone)
    assert alone[places].equal(b.double()) and alone.count_nonzero() == b.count_nonzero()


class Seen(TorchDispatchMode):
    """The operators that are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func._schema.name)
        return func(*args, **(kwargs or {}))


def gradients(space: Space, images: Tensor = IMAGES) -> list[Tensor]:
    space.zero_grad()
    space(images).square().sum().backward()
    return [p.grad.clone() for p in space.parameters() if p.grad is not None]


RESIDUAL = (4, 3, 16, 16)


@pytest.mark.parametrize("mode", ["float", "fake", "integer"])
@pytest.mark.parametrize("bits", [(8,), (2, 8), (0, 2, 4, 8)])
def test_a_residual_network_has_the_same_gradients(bits, mode):
    images = torch.randn(RESIDUAL, generator=torch.Generator().manual_seed(0))
    space = space_of(ResNet8(), RESIDUAL, Options(bits))
    space = (space.decide() if mode == "integer" else space).train()
    space.set_mode(mode)
    with frozen(space.norms.values()):
        shared = gradients(space, images)
        space._walk._shared_places.clear()
        apart = gradients(space, images)
    assert len(shared) == len(apart) > 20 and all(map(torch.equal, shared, apart))


@pytest.mark.parametrize("mode", ["float", "fake"])
def test_a_pass_writes_no_zeros_and_has_the_same_gradients(mode):
    torch.manual_seed(0)
    space = space_of(Reads(wide()), SHAPE, Options((8,))).train()
    space.calibrate([IMAGES])
    space.set_mode(mode)
    with Seen() as seen:
        shared = gradients(space)
    assert "aten::zero_" not in seen.names
    space._walk._shared_places.clear()
    with Seen() as seen:
        apart = gradients(space)
    assert "aten::zero_" in seen.names and len(shared) >= 6
    assert all(map(torch.equal, shared, apart))


def test_the_gradient_of_a_tensor_of_a_pass_is_whole():
    space = space_of(Reads(wide()), SHAPE).train()
    values = space.tensors(IMAGES)
    (output,) = (values[name].sum() for name in space.spec.outputs)
    whole, back = torch.autograd.grad(output, (values["stem"], values["beside"]), retain_graph=True)
    (beside,) = torch.autograd.grad(values["beside"], values["stem"], back)
    by_few = whole != beside
    assert by_few[:, :, ::2, ::2].any() and not by_few[:, :, 1::2].any() and not by_few[..., 1::2].any()
