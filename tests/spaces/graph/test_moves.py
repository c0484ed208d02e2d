"""Calls that move, cut and copy elements: what they become, and that all of it agrees."""

from math import inf

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.spaces.graph.converting import SHAPE, Form

PLACES = torch.tensor([7, 1, 1, 4])
MASK = torch.tensor([True, False] * 4)


def shuffled(x, groups):
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).contiguous().view(n, c, h, w)


def doubled(x):
    y = x.clone()
    y[:, 2:4] = 2 * x[:, :2]
    return y


def with_row(x, other):
    y = x.clone()
    y[:, :, -1] = other[:, :, 0]
    return y


def shifted(x):
    """As temporal shift modules write it: half of the channels from the place before."""
    y = torch.zeros_like(x)
    y[:, :4, :, 1:] = x[:, :4, :, :-1]
    y[:, 4:] = x[:, 4:]
    return y


def in_blocks(x, size):
    """(N, C, H, W) to (N, H / size * W / size, size * size * C), as a patch embedding writes it."""
    n, c, h, w = x.shape
    blocks = x.view(n, c, h // size, size, w // size, size).permute(0, 2, 4, 3, 5, 1)
    return blocks.reshape(n, -1, size * size * c)


PARTS = {
    "channels": Form("conv take conv", lambda n, x: n.b(n.a(x)[:, 2:6])),
    "places": Form("conv take conv", lambda n, x: n.b(n.a(x)[:, :, 1:4:2, ::3])),
    "from the end": Form("conv take conv", lambda n, x: n.b(n.a(x)[:, -3:, :-1])),
    "of a part": Form("conv take conv", lambda n, x: n.b(n.a(x)[:, 1:7][:, 1:4, :, 2:])),
    "an ellipsis": Form("conv take conv", lambda n, x: n.b(n.a(x)[..., 1:])),
    "all": Form("conv conv", lambda n, x: n.b(n.a(x)[:, :])),
    "chunk": Form("conv take take mul conv", lambda n, x: n.b(torch.mul(*n.a(x).chunk(2, 1)))),
    "uneven chunks": Form("conv take take concat conv", lambda n, x: n.b(torch.cat(n.a(x).chunk(3, 1)[1:], 1))),
    "split by sizes": Form("conv take conv", lambda n, x: n.b(n.a(x).split([2, 6], 1)[1])),
    "split by a size": Form("conv take take add conv", lambda n, x: n.b(torch.add(*n.a(x).split(4, 1)))),
    "split of places": Form("conv take take concat conv", lambda n, x: n.b(torch.cat(n.a(x).split(3, 3)[::-1], 2))),
    "tensor_split": Form("conv take conv", lambda n, x: n.b(n.a(x).tensor_split((1, 3), 1)[2])),
    "unbind": Form("conv take reshape linear", lambda n, x: n.h(n.a(x).unbind(2)[1].flatten(1))),
    "select": Form("conv take reshape conv", lambda n, x: n.h(n.a(x)[:, :, 2]), lambda: {"h": nn.Conv1d(8, 2, 1)}),
    "select from the end": Form("conv take reshape linear", lambda n, x: n.h(n.a(x).select(-1, -2).flatten(1))),
    "select a channel": Form("conv take reshape linear", lambda n, x: n.h(n.a(x)[:, 3].flatten(1))),
    "index": Form("conv take conv", lambda n, x: n.b(n.a(x)[:, PLACES])),
    "index by a list": Form("conv take conv", lambda n, x: n.b(n.a(x)[:, [7, -1, 2]])),
    "index of places": Form("conv take conv", lambda n, x: n.b(n.a(x)[:, :, :, PLACES % 6])),
    "index by a mask": Form("conv take conv", lambda n, x: n.b(n.a(x)[:, MASK])),
    "index by a table": Form("conv take conv", lambda n, x: n.b(n.a(x)[:, PLACES.view(2, 2)].flatten(1, 2))),
    "index by a buffer": Form("conv take conv", lambda n, x: n.b(n.a(x)[:, n.places]), lambda: {"places": PLACES}),
    "index_select": Form("conv take conv", lambda n, x: n.b(torch.index_select(n.a(x), 2, PLACES % 4))),
    "narrow": Form("conv take conv", lambda n, x: n.b(n.a(x).narrow(1, 2, 3).narrow(-1, 1, 4))),
    "flip": Form("conv take conv", lambda n, x: n.b(n.a(x).flip(1, -1))),
    "roll": Form("conv take conv", lambda n, x: n.b(torch.roll(n.a(x), (1, -2), (2, 3)).roll(3, 1))),
}

SHAPES = {
    "unsqueeze": Form("conv avg_pool conv", lambda n, x: n.b(n.a(x).mean(2).unsqueeze(2))),
    "squeeze": Form(
        "conv avg_pool reshape linear", lambda n, x: n.h(n.a(x).mean((2, 3), keepdim=True).squeeze(-1).squeeze(-1))
    ),
    "squeeze two": Form(
        "conv max_pool reshape linear", lambda n, x: n.h(n.a(x).amax((2, 3), keepdim=True).squeeze((2, 3)))
    ),
    "none": Form(
        "conv avg_pool reshape linear reshape conv", lambda n, x: n.b(n.h(n.a(x).mean((2, 3)))[:, :, None, None])
    ),
    "view as a sequence": Form(
        "conv reshape conv", lambda n, x: n.h(n.a(x).view(-1, 8, 24)), lambda: {"h": nn.Conv1d(8, 2, 1)}
    ),
    "view as groups": Form("conv reshape avg_pool reshape conv", lambda n, x: n.b(n.a(x).view(-1, 4, 2, 4, 6).sum(2))),
    "view as fewer channels": Form("conv reshape conv", lambda n, x: n.b(n.a(x).view(-1, 4, 8, 6))),
    "view as more channels": Form("conv reshape conv", lambda n, x: n.b(n.a(x).view(-1, 16, 2, 6))),
    "view as what divides nothing": Form("conv reshape conv", lambda n, x: n.b(n.a(x).reshape(-1, 12, 4, 4))),
    "unflatten": Form("conv reshape conv reshape conv", lambda n, x: n.b(n.a(x).unflatten(1, (2, 4)).mean(1))),
    "transpose of maps": Form("conv permute conv", lambda n, x: n.b(n.a(x).transpose(2, 3))),
    "swapaxes": Form("conv permute conv", lambda n, x: n.b(n.a(x).swapaxes(2, 3))),
    "swapdims": Form("conv permute conv", lambda n, x: n.b(torch.swapdims(n.a(x), -1, -2))),
    "movedim": Form("conv permute conv", lambda n, x: n.b(torch.movedim(n.a(x), (2, 3), (3, 2)))),
    "transpose of channels": Form("conv permute conv", lambda n, x: n.b(n.a(x).transpose(1, 2).relu())),
    "there and back": Form("conv conv", lambda n, x: n.b(n.a(x).permute(0, 2, 3, 1).relu().movedim(-1, 1))),
    "channels last": Form("conv conv", lambda n, x: n.h(n.a(x).permute(0, 2, 3, 1)).moveaxis(-1, 1)),
    "linear over rows": Form(
        "conv permute conv permute conv", lambda n, x: n.b(n.d(n.a(x))), lambda: {"d": nn.Linear(6, 5)}
    ),
    "tokens": Form("conv reshape conv avg_pool reshape", lambda n, x: n.h(n.a(x).flatten(2).transpose(1, 2)).mean(1)),
    "flatten behind channels last": Form(
        "conv reshape permute reshape linear", lambda n, x: n.h(n.a(x).permute(0, 2, 3, 1).flatten(1))
    ),
    "patches": Form(
        "conv reshape permute reshape conv avg_pool reshape", lambda n, x: n.h(in_blocks(n.a(x), 2)).mean(1)
    ),
    "channel_shuffle": Form("conv take conv", lambda n, x: n.b(F.channel_shuffle(n.a(x), 2))),
    "ChannelShuffle": Form("conv take conv", lambda n, x: n.b(n.s(n.a(x))), lambda: {"s": nn.ChannelShuffle(4)}),
    "shuffle by hand": Form("conv take conv", lambda n, x: n.b(shuffled(n.a(x), 4))),
    "shuffle and back": Form("conv conv", lambda n, x: n.b(shuffled(shuffled(n.a(x), 4), 2))),
    "pixel_shuffle": Form("conv reshape permute reshape conv", lambda n, x: n.b(F.pixel_shuffle(n.a(x), 2))),
    "pixel_unshuffle": Form("conv reshape permute reshape conv", lambda n, x: n.b(F.pixel_unshuffle(n.a(x), 2))),
    "pixels by hand": Form(
        "conv reshape permute reshape conv",
        lambda n, x: n.b(n.a(x).view(-1, 2, 2, 2, 4, 6).permute(0, 1, 4, 2, 5, 3).reshape(-1, 2, 8, 12)),
    ),
    "six dimensions": Form(
        "conv take conv",
        lambda n, x: n.b((n.a(x) + 1).view(-1, 2, 2, 2, 4, 3, 2).transpose(2, 3).reshape(-1, 8, 4, 6)),
    ),
}

COPIES = {
    "expand": Form("conv avg_pool take conv", lambda n, x: n.b(n.a(x).mean((2, 3), keepdim=True).expand(-1, -1, 4, 5))),
    "expand of a new dimension": Form(
        "conv reshape take avg_pool reshape conv",
        lambda n, x: n.b(n.a(x).unsqueeze(1).expand(-1, 2, -1, -1, -1).mean(1)),
    ),
    "expand for a product": Form(
        "conv conv avg_pool mul conv",
        lambda n, x: n.b(n.a(x) * n.c(x).mean((2, 3), keepdim=True).expand(-1, -1, 4, 6)),
    ),
    "expand_as": Form(
        "conv conv avg_pool mul conv",
        lambda n, x: n.b((y := n.a(x)) * n.c(x).mean((2, 3), keepdim=True).expand_as(y)),
    ),
    "expand of channels for a product": Form(
        "conv conv mul conv",
        lambda n, x: n.b(n.a(x) * n.c(x).expand(-1, 8, -1, -1)),
        lambda: {"c": nn.Conv2d(3, 1, 1)},
    ),
    "broadcast_to": Form(
        "conv avg_pool take conv",
        lambda n, x: n.b(torch.broadcast_to(n.a(x).mean(3, keepdim=True), (x.shape[0], 8, 4, 6))),
    ),
    "repeat": Form("conv take conv", lambda n, x: n.b(n.a(x).repeat(1, 2, 1, 3))),
    "tile": Form("conv take conv", lambda n, x: n.b(n.a(x).tile((1, 1, 2, 1)))),
    "repeat_interleave": Form(
        "conv take conv", lambda n, x: n.b(n.a(x).repeat_interleave(2, 1).repeat_interleave(3, dim=2))
    ),
    "concat of places": Form("conv conv concat conv", lambda n, x: n.b(torch.cat((n.a(x), n.c(x)), -2))),
    "stack and sum": Form(
        "conv conv reshape reshape concat avg_pool reshape conv",
        lambda n, x: n.b(torch.stack([n.a(x), n.c(x)], 1).sum(1)),
    ),
    "stack at the end": Form(
        "conv conv reshape reshape concat max_pool reshape conv",
        lambda n, x: n.b(torch.stack([n.a(x), n.c(x)], -1).amax(-1)),
    ),
    "slice_scatter": Form(
        "conv conv take take take concat conv",
        lambda n, x: n.b(torch.slice_scatter(n.a(x), n.c(x)[:, :3], 1, 2, 5)),
    ),
    "slice_scatter at an end": Form(
        "conv conv take take concat conv",
        lambda n, x: n.b(torch.slice_scatter(n.a(x), n.c(x)[:, :, :2], 2, 2, 4)),
    ),
    "assignment to channels": Form("conv take table take take concat conv", lambda n, x: n.b(doubled(n.a(x)))),
    "assignment to one row": Form("conv conv take take concat conv", lambda n, x: n.b(with_row(n.a(x), n.c(x)))),
    "a shift in time": Form(
        "conv take constant concat constant concat take take concat conv", lambda n, x: n.b(shifted(n.a(x)))
    ),
    "slice_scatter of all": Form("conv conv", lambda n, x: n.b(torch.slice_scatter(n.a(x), n.c(x), 1, 0, 8))),
}

BORDERS = {
    **{
        f"F.pad by {mode}": Form("conv take conv", lambda n, x, m=mode: n.b(F.pad(n.a(x), (1, 2, 2, 1), mode=m)))
        for mode in ("reflect", "replicate", "circular")
    },
    **{
        pad.__name__: Form("conv take conv", lambda n, x: n.b(n.p(n.a(x))), lambda pad=pad: {"p": pad((1, 2, 0, 1))})
        for pad in (nn.ReflectionPad2d, nn.ReplicationPad2d, nn.CircularPad2d)
    },
    **{
        f"Conv2d by {mode}": Form(
            "conv take conv",
            lambda n, x: n.d(n.a(x)),
            lambda mode=mode: {"d": nn.Conv2d(8, 2, 3, padding=(1, 0), padding_mode=mode)},
        )
        for mode in ("reflect", "replicate", "circular")
    },
    "zeros before a convolution": Form("conv conv", lambda n, x: n.b(F.pad(F.pad(n.a(x), (1, 0)), (0, 2, 1, 0)))),
    "zeros before an average": Form(
        "conv avg_pool conv", lambda n, x: n.b(F.avg_pool2d(F.pad(n.a(x), (1, 1, 1, 1)), 2))
    ),
    "zeros before a maximum": Form(
        "conv resample max_pool conv", lambda n, x: n.b(F.max_pool2d(F.pad(n.a(x), (1, 1, 1, 1)), 3, 2))
    ),
    "nothing before a maximum": Form(
        "conv max_pool conv",
        lambda n, x: n.b(F.max_pool2d(F.pad(F.pad(n.a(x), (0, 1, 0, 0), value=-inf), (1, 0, 0, 1), value=-inf), 3, 2)),
    ),
    "zeros before a function": Form("conv resample conv", lambda n, x: n.b(F.pad(n.a(x), (1, 2)).sigmoid())),
    "zeros that two layers read": Form(
        "conv conv conv add",
        lambda n, x: n.b(y := F.pad(n.a(x), (1, 1))) + n.d(y),
        lambda: {"d": nn.Conv2d(8, 2, (3, 1), padding=(1, 0))},
    ),
    "zeros at the end": Form("conv resample", lambda n, x: F.pad(n.a(x), (1, 2, 0, 0))),
    "zeros before tokens": Form(
        "conv reshape conv", lambda n, x: n.d(F.pad(n.a(x).flatten(2), (2, 0))), lambda: {"d": nn.Conv1d(8, 2, 3)}
    ),
    "channels of zeros": Form(
        "conv constant constant concat conv", lambda n, x: n.b(F.pad(n.a(x), (0, 0, 0, 0, 1, 2)))
    ),
    "channels of zeros in a shortcut": Form(
        "conv conv constant concat add conv",
        lambda n, x: n.b(n.c(x) + F.pad(n.a(x), (0, 0, 0, 0, 0, 4))),
        lambda: {"c": nn.Conv2d(3, 12, 1)},
    ),
    "channels and places of zeros": Form(
        "conv constant concat conv", lambda n, x: n.b(F.pad(n.a(x), (0, 1, 0, 0, 1, 0)))
    ),
    "a border of another number": Form(
        "conv constant concat constant constant concat conv", lambda n, x: n.b(F.pad(n.a(x), (1, 2, 0, 1), value=0.5))
    ),
    "ConstantPad2d": Form(
        "conv constant concat conv", lambda n, x: n.b(n.p(n.a(x))), lambda: {"p": nn.ConstantPad2d((0, 1, 0, 0), -1.0)}
    ),
    "a cut": Form("conv take conv", lambda n, x: n.b(F.pad(n.a(x), (-1, 0, 0, -2)))),
    "a cut and zeros": Form("conv take conv", lambda n, x: n.b(F.pad(n.a(x), (-1, 2, 0, -2)))),
}

ALL = {"part": PARTS, "shape": SHAPES, "copy": COPIES, "border": BORDERS}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, forms in ALL.items() for name in forms])
def test_what_moves_elements_is_exact(kind, name):
    ALL[kind][name].check()


def test_operators_are_named_after_their_calls():
    def form(n, x):
        first, second = n.a(x).chunk(2, 1)
        y = F.channel_shuffle(torch.cat((second, first), 1), 2) * x.mean(1, keepdim=True)
        return n.b(y[:, :, 1:].reshape(-1, 12, 4, 3))

    space = Form("conv take take concat conv take mul take reshape conv", form).check()
    names = ["a", "chunk.0", "chunk.1", "cat", "mean", "channel_shuffle", "mul", "slice_1", "reshape", "b"]
    assert [block.name for block in space.spec.blocks] == names


def test_the_same_order_is_brought_about_once():
    def form(n, x):
        y = n.a(x).transpose(2, 3)
        return n.b(y) + n.d(y)

    Form("conv permute conv conv add", form, lambda: {"d": nn.Conv2d(8, 2, 1)}).check()


def test_what_only_repeats_elements_for_a_sum_moves_nothing():
    """The sum reads (N, 8, 1, 1) as it is."""
    form = COPIES["expand for a product"]
    assert form.check().spec.blocks[2].shape == (8, 1, 1)


def test_shapes_of_one_sample_are_those_of_tensors_as_they_are_stored():
    space = SHAPES["pixel_unshuffle"].check()
    shapes = [block.shape for block in space.spec.blocks]
    assert space.spec.input_shapes == (SHAPE,)
    assert shapes == [(8, 4, 6), (8, 2, 2, 3, 2), (8, 2, 2, 2, 3), (32, 2, 3), (2, 2, 3)]
