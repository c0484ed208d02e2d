"""What every network that converts must be: as a Space what the model computes, as a Program the same integers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from search.deploy.lower import lower
from search.integer.executor import Executor
from spaces.searchable import Options, searchable
from spaces.space import Space

SAMPLES = 3  # neither the batch with which a network is read nor that of its example
SHAPE = (3, 4, 6)  # of one sample, where a test says no other
EXACT = 1e-5  # of the largest output: sums of float32 in another order

Part = nn.Module | Tensor | None


class Parts(nn.Module):
    """Layers, parameters and buffers by name, and what a function makes of them and the inputs."""

    def __init__(self, form: Callable[..., object], **parts: Part) -> None:
        super().__init__()
        for name, part in parts.items():
            if isinstance(part, Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)
        self.form = form

    def forward(self, *inputs: Tensor) -> object:
        return self.form(self, *inputs)


LINEAR, CONV = nn.LazyLinear, (nn.LazyLinear, nn.LazyConv1d, nn.LazyConv2d, nn.LazyConv3d)


@dataclass(frozen=True)
class Form:
    """A way to write a part of a network.

    Attributes:
        operators: those that come out, in order; "" where a test says no more of them.
        form: (the network, *inputs) -> what it returns. Of the network's layers a and c have 8 channels and read the
            input. The convolution b and the linear layer h have 2 and read what the form gives them. A form uses those
            that it needs.
        others: what makes more layers, parameters and buffers, or others of these names.
        shapes: of one sample of each input.
        tolerance: of the largest output.
    """

    operators: str
    form: Callable[..., object]
    others: Callable[[], Mapping[str, Part]] = dict
    shapes: tuple[tuple[int, ...], ...] = (SHAPE,)
    tolerance: float = EXACT

    def network(self) -> Parts:
        torch.manual_seed(0)
        conv, one = CONV[len(self.shapes[0]) - 1], (1,) * (len(self.shapes[0]) > 1)
        layers = {"a": conv(8, *one), "c": conv(8, *one), "b": conv(2, *one), "h": LINEAR(2)} | self.others()
        network = Parts(self.form, **layers).eval()
        with torch.no_grad():
            network(*drawn(*self.shapes))  # which gives layers their shapes
        for name, layer in list(network.named_children()):
            if isinstance(layer, nn.modules.lazy.LazyModuleMixin):
                delattr(network, name)
        return network

    def check(self) -> Space:
        """Checks all that a form must be, and returns its Space."""
        space = converted(self.network(), *self.shapes, tolerance=self.tolerance)
        assert self.operators in ("", operators(space)), operators(space)
        decided(space)
        return space


def drawn(*shapes: tuple[int, ...], seed: int = 1, samples: int = SAMPLES) -> list[Tensor]:
    """A batch of so many samples for each shape of one sample."""
    random = torch.Generator().manual_seed(seed)
    return [torch.randn(samples, *shape, generator=random) for shape in shapes]


def converted(model: nn.Module, *shapes: tuple[int, ...], tolerance: float = EXACT) -> Space:
    """The Space of a model. It gives what the model gives on other samples than those of its example, and more."""
    space = searchable(model.eval(), drawn(*shapes, seed=0, samples=1), Options(weight_bits=(0, 8))).eval()
    inputs = drawn(*shapes)
    with torch.no_grad():
        _assert_close(_several(space(*inputs)), _several(model(*inputs)), tolerance)
    return space


def decided(space: Space, seed: int = 0) -> Space:
    """The network that a Space with some of its channels closed is decided to.

    It computes what the Space does, and the Program the same integers in every element of every tensor.
    """
    inputs = drawn(*space.spec.input_shapes)
    space.calibrate([tuple(inputs)])
    random = torch.Generator().manual_seed(seed)
    for gate in space.gates.values():
        keep = [int(value) for value in torch.rand(gate.groups, generator=random) < 0.6]
        gate.fix((1, *keep[1:]))
    small = space.decide().eval()
    for each in (space, small):
        each.set_mode("fake")
    with torch.no_grad():
        _assert_close(_several(small(*inputs)), _several(space(*inputs)), 1e-3)
    assert_integers_agree(small)
    return small


def assert_integers_agree(small: Space) -> None:
    """The Program of a decided network computes each element of each tensor as the network does."""
    inputs = drawn(*small.spec.input_shapes)
    found = Executor(lower(small))(*[x.numpy() for x in inputs], intermediate=True)
    wanted = small.codes(*inputs)
    assert found.keys() == wanted.keys()
    for name, codes in wanted.items():
        assert (found[name] == codes.numpy()).all(), name


def operators(space: Space) -> str:
    """The operators of a Space in order, in words."""
    return " ".join(block.op for block in space.spec.blocks)


def _several(outputs: object) -> tuple[Tensor, ...]:
    return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)


def _assert_close(found: tuple[Tensor, ...], wanted: tuple[Tensor, ...], tolerance: float) -> None:
    """tolerance: of the largest element of each."""
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == other.shape
        torch.testing.assert_close(one, other, rtol=0, atol=tolerance * other.abs().max().item())
