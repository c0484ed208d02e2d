"""Constants in the graph, learned and frozen; and how tensors enter and leave a network."""

import pytest
import torch
from torch import Tensor, nn

from spaces.space import Space
from tests.spaces.graph.converting import Form, Parts, converted, decided, drawn

MAPS = (8, 4, 6)  # of what the layers a and c make


def learned(*shape):
    return nn.Parameter(torch.randn(*shape))


def tokens(x):
    return x.flatten(2).transpose(1, 2)


def with_class(n, x):
    """As vision transformers have it: a token of the class before the others, and positions."""
    y = torch.cat([n.token.expand(x.shape[0], -1, -1), tokens(n.a(x))], 1) + n.positions
    return n.h(y[:, 0] * y[:, 1:].mean(1))


def whole(make, form):
    return Form("conv constant add conv", lambda n, x: n.b(form(n.a(x), n.number)), lambda: {"number": make()})


POSITIONS = {
    "of all elements": whole(lambda: learned(1, *MAPS), lambda x, p: x + p),
    "of a sample": whole(lambda: learned(*MAPS), lambda x, p: p + x),
    "of maps": whole(lambda: learned(4, 6), lambda x, p: x + p),
    "of rows": whole(lambda: learned(1, 8, 4, 1), lambda x, p: x + p),
    "taken from": whole(lambda: learned(*MAPS), lambda x, p: p - x),
    "taken away": Form(
        "conv constant table add conv", lambda n, x: n.b(n.a(x) - n.number), lambda: {"number": learned(*MAPS)}
    ),
    "taken away twice": Form(
        "conv constant table add conv",
        lambda n, x: n.b(torch.sub(n.a(x), n.number, alpha=2)),
        lambda: {"number": learned(*MAPS)},
    ),
    "of tokens": Form(
        "conv constant reshape add conv avg_pool reshape",
        lambda n, x: n.h(tokens(n.a(x)) + n.number).mean(1),
        lambda: {"number": learned(1, 24, 8)},
    ),
    "an embedding": Form(
        "conv constant reshape add conv avg_pool reshape",
        lambda n, x: n.h(tokens(n.a(x)) + n.number(torch.arange(24))).mean(1),
        lambda: {"number": nn.Embedding(24, 8)},
    ),
}

MASKS = {
    "of maps": Form(
        "conv constant mul conv", lambda n, x: n.b(n.a(x) * n.mask), lambda: {"mask": torch.eye(4, 6)[None, None]}
    ),
    "that is divided by": Form(
        "conv constant mul conv", lambda n, x: n.b(n.a(x) / n.mask), lambda: {"mask": 1 + torch.rand(8, 4, 6)}
    ),
    "that is divided": Form(
        "conv constant mul conv",
        lambda n, x: n.b(n.mask / (n.a(x).abs() + 1)),
        lambda: {"mask": 1 + torch.rand(8, 4, 6)},
    ),
    "of more channels": Form(
        "conv constant mul conv",
        lambda n, x: n.b(n.a(x) * n.mask),
        lambda: {"a": nn.Conv2d(3, 1, 1), "mask": torch.randn(1, 8, 4, 6)},
    ),
}

JOINED = {
    "a class": Form(
        "conv constant reshape concat constant add take take avg_pool reshape reshape mul linear",
        with_class,
        lambda: {"token": learned(1, 1, 8), "positions": learned(1, 25, 8)},
    ),
    "a class by repeat": Form(
        "conv constant reshape concat conv avg_pool reshape",
        lambda n, x: n.h(torch.cat([n.token.repeat(x.shape[0], 1, 1), tokens(n.a(x))], 1)).mean(1),
        lambda: {"token": learned(1, 1, 8)},
    ),
    "coordinates": Form(
        "conv constant concat conv",
        lambda n, x: n.b(torch.cat((n.a(x), n.where.expand(x.shape[0], -1, -1, -1)), 1)),
        lambda: {"where": torch.randn(1, 2, 4, 6)},
    ),
    "zeros of a size": Form(
        "conv constant concat conv",
        lambda n, x: n.b(torch.cat((torch.zeros(x.shape[0], 2, *x.shape[2:]), n.a(x)), 1)),
    ),
    "zeros_like": Form("conv constant concat conv", lambda n, x: n.b(torch.cat((n.a(x), torch.zeros_like(x)), 1))),
    "new_ones": Form("conv constant add conv", lambda n, x: n.b((y := n.a(x)) + y.new_ones(y.shape[1:]).cumsum(1))),
    "arange of a size": Form(
        "conv constant add conv", lambda n, x: n.b(n.a(x) + torch.arange(x.shape[-1], dtype=torch.float32))
    ),
    "a stack": Form(
        "conv reshape constant concat max_pool reshape conv",
        lambda n, x: n.b(torch.stack([n.a(x), torch.zeros(x.shape[0], *MAPS)], 1).amax(1)),
    ),
    "slice_scatter into zeros": Form(
        "conv take constant concat conv",
        lambda n, x: n.b(torch.slice_scatter(torch.zeros(x.shape[0], *MAPS), n.a(x)[:, :, 1:], 2, 0, 3)),
    ),
    "slice_scatter into a constant": Form(
        "conv take constant constant concat conv",
        lambda n, x: n.b(torch.slice_scatter(n.others.expand(len(x), -1, -1, -1), n.a(x)[:, :, 1:3], 2, 1, 3)),
        lambda: {"others": torch.randn(1, *MAPS)},
    ),
}

ALL = {"positions": POSITIONS, "mask": MASKS, "joined": JOINED}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, forms in ALL.items() for name in forms])
def test_a_constant_in_the_graph_is_exact(kind, name):
    ALL[kind][name].check()


def constants(space: Space):
    return [block for block in space.blocks if block.spec.op == "constant"]


def after_a_step_back(form: Form) -> list:
    """The constants of a Space behind a backward pass in fake mode."""
    space = converted(form.network(), *form.shapes)
    space.calibrate(drawn(*form.shapes))
    space.set_mode("fake")
    space.train()(*drawn(*form.shapes)).square().sum().backward()
    return constants(space)


@pytest.mark.parametrize("name", POSITIONS)
def test_learned_positions_get_a_gradient(name):
    (constant,) = after_a_step_back(POSITIONS[name])
    assert not constant.spec.frozen and constant.values.grad.abs().sum() > 0


def test_a_learned_class_and_its_positions_get_a_gradient():
    token, positions = after_a_step_back(JOINED["a class"])
    assert token.values.shape == (8, 1) and positions.values.shape == (8, 25)
    for constant in (token, positions):
        assert constant.values.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.randn(*MAPS),  # a buffer
        lambda: nn.Parameter(torch.randn(*MAPS), requires_grad=False),
    ],
)
def test_a_frozen_constant_gets_none(make):
    form = whole(make, lambda x, p: x + 2 * p)
    (constant,) = after_a_step_back(form)
    assert constant.spec.frozen and not constant.values.requires_grad and constant.values.grad is None


def test_what_is_computed_from_a_parameter_is_learned_as_it_is():
    (constant,) = after_a_step_back(whole(lambda: learned(*MAPS), lambda x, p: x + 2 * p.sigmoid()))
    assert constant.values.grad.abs().sum() > 0


def test_a_number_for_each_channel_is_no_constant_of_the_graph():
    form = Form("conv conv", lambda n, x: n.b((n.a(x) + n.number).relu()), lambda: {"number": learned(1, 8, 1, 1)})
    space = form.check()
    assert list(space.norms) == ["number.offset"] and not constants(space)


def test_a_constant_keeps_the_values_of_the_channels_that_stay():
    form = POSITIONS["of all elements"]
    network = form.network()
    space = converted(network, *form.shapes)
    space.calibrate(drawn(*form.shapes))
    space.decisions["a/channels"].fix((1, 0, 0, 1, 0, 1, 0, 0))
    (constant,) = constants(space.decide())
    assert torch.equal(constant.values, network.number[0, [0, 3, 5]])


# What enters and leaves


def test_a_module_that_is_called_at_several_depths_gives_several_outputs():
    def form(n, x):
        first = n.c(n.a(x))
        second = n.c(first.relu())
        return [first, second, n.c(second.relu()).mean((2, 3))]

    space = Form("conv conv table conv table conv avg_pool reshape", form, lambda: {"c": nn.Conv2d(8, 8, 1)}).check()
    assert space.spec.outputs == ("c", "c@2", "mean") and set(space.weights) == {"a", "c"}


def test_inputs_may_be_args():
    def form(n, *xs):
        return n.b(n.a(xs[0]) + xs[1] * n.a(xs[2]))

    space = Form("conv conv mul add conv", form, shapes=((3, 4, 6), MAPS, (3, 4, 6))).check()
    assert space.spec.inputs == ("inputs_0", "inputs_1", "inputs_2")
    assert space.spec.input_shapes == ((3, 4, 6), MAPS, (3, 4, 6))


def test_several_inputs_and_outputs_of_several_shapes():
    def form(n, x, y):
        z = n.a(x) * n.h(y).sigmoid()[:, :, None, None]
        return n.b(z), z.transpose(1, 2), z.amax((2, 3))

    space = Form(
        "conv linear reshape mul conv max_pool permute reshape",
        form,
        lambda: {"h": nn.Linear(5, 8)},
        ((3, 4, 6), (5,)),
    ).check()
    assert [block.shape for block in space.spec.blocks if block.name in space.spec.outputs] == [
        (2, 4, 6),
        (4, 8, 6),
        (8,),
    ]


@pytest.mark.parametrize(
    "form",
    [
        lambda n, x: x[:, 1:],
        lambda n, x: x.transpose(1, 2).flip(1),
        lambda n, x: (x.flatten(1), x),
        lambda n, x: x.mean((1, 2, 3), keepdim=True).flatten(1),
    ],
)
def test_a_network_without_layers_is_exact(form):
    decided(converted(Parts(form), (3, 4, 6)))


def test_what_reads_a_shape_alone_is_no_operator():
    def form(n, x):
        y = n.a(x)
        size = y.shape[2] * y.size(3)
        return n.h(y.view(x.shape[0], -1, size).transpose(1, 2).mean(1)) + torch.zeros_like(y).shape[1]

    Form("conv reshape avg_pool reshape linear", form).check()


def test_values_of_a_constant_are_on_the_grid_of_its_codes():
    """In integer mode the constant is what the Program stores."""
    form = POSITIONS["of all elements"]
    small = form.check()
    small.calibrate(drawn(*form.shapes))
    found: Tensor = decided(small).codes(*drawn(*form.shapes))["add.constant"]
    assert found.min() >= 0 and found.max() <= 255 and torch.equal(found[0], found[1])
