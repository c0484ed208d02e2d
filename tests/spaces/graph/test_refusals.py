"""What cannot be searched is refused by an error that names the module, says why, and what to do."""

from math import inf
from pathlib import Path
from traceback import extract_tb

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from spaces.graph.errors import UnsupportedNetwork
from spaces.searchable import Options, searchable


class Net(nn.Module):
    """conv -> `middle` -> what forward makes of it."""

    def __init__(self, forward=None, middle: nn.Module | None = None) -> None:
        super().__init__()
        self.conv, self.norm, self.other = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1)
        self.body = nn.ModuleDict({"middle": middle or nn.ReLU()})
        self.then = forward or (lambda net, x: x)

    def forward(self, x):
        return self.then(self, self.body["middle"](self.norm(self.conv(x))))


class TwoInputs(nn.Module):
    def forward(self, x, y):
        return x + y


class ANumberToo(nn.Module):
    def forward(self, x):
        return F.relu(x), 3


class Branches(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else F.relu(x)


class Misspelt(nn.Module):
    def forward(self, x):
        return F.relu(x).no_such_method()


def overwritten(net, x):
    y = x.clone()
    y[:, :1] = torch.ones(1, 6, 6)
    return y


class Sums(nn.Module):
    """Has no integer operator."""

    def forward(self, x):
        return x.cumsum(1)


def no_statistics() -> nn.Module:
    return nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4, track_running_stats=False))


def cumulative() -> nn.Module:
    return nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4, momentum=None))


def running_instance_norm() -> nn.Module:
    return nn.InstanceNorm2d(4, track_running_stats=True)


def of_features(form):
    """A form of (N, 4) features."""
    return Net(lambda net, x: form(x.mean((2, 3))))


def turned(form):
    """A form of a tensor whose batch is its dimension 1, (4, N, 6, 6)."""
    return Net(lambda net, x: form(x.transpose(0, 1)))


def attending(**arguments):
    return Net(lambda net, x: F.scaled_dot_product_attention(x, x, x, **arguments))


IMAGE = (1, 3, 8, 8)
ALONE = "Each sample is run by itself"
REFUSED = [
    # network, where, why, way out
    (Net(middle=Branches()), "body.middle", "cannot be exported, its path depends on the data", "out of forward"),
    (Net(lambda net, x: x.cumsum(1)), "cumsum", "uses 'cumsum'", "supported one"),
    (Net(middle=nn.LSTM(6, 3)), "body.middle", "LSTM", "example_input"),
    (Net(middle=nn.Conv2d(5, 4, 1)), "body.middle", r"given a tensor of shape \(2, 3, 8, 8\)", "example_input of"),
    (nn.Sequential(nn.Conv2d(1, 4, 3)), "0", r"fails on a tensor of shape \(2, 3, 8, 8\), where", "Change the layer"),
    (Net(lambda net, x: x + x[:, :, 1:]), "add", r"shapes \(2, 4, 6, 6\) and \(2, 4, 5, 6\) at", "Change the layer"),
    # weights and norms
    (of_features(lambda x: F.linear(x, x)), "linear", "weights that are computed from the data", "a parameter"),
    (
        of_features(lambda x: F.linear(x, torch.ones(2, 4), x.mean(1))),
        "linear",
        "has a bias that is",
        "behind the layer",
    ),
    (of_features(lambda x: F.linear(x, torch.ones(4))), "linear", r"weights of shape \(4,\)", "two dimensions"),
    (Net(lambda net, x: F.linear(x.movedim(0, 3), torch.ones(3, 2))), "linear", "is linear over the batch", ALONE),
    (Net(middle=nn.ConvTranspose2d(4, 4, 2, padding=2)), "body.middle", "cuts its border off", "less padding"),
    (Net(middle=no_statistics()), "body.middle.1", "keeps no running statistics", "track_running_stats=True"),
    (Net(middle=cumulative()), "body.middle.1", "momentum None", "number"),
    (Net(middle=running_instance_norm()), "body.middle", "by running statistics", "a batch norm: use one"),
    # resizing
    (Net(lambda net, x: x, nn.MaxPool2d(2, return_indices=True)), "body.middle", "second result", "_indices"),
    (Net(lambda net, x: x[1].float(), nn.MaxPool2d(2, return_indices=True)), "body.middle", "second result", "_i"),
    (Net(middle=nn.AvgPool2d(2, divisor_override=3)), "body.middle", "by a number of its own", "Multiply behind"),
    (Net(middle=nn.AdaptiveMaxPool2d(4)), "body.middle", "windows of different sizes", "divisor"),
    # element by element
    (Net(lambda net, x: x / 0), "div", "divides by 0", "another number"),
    (Net(lambda net, x: torch.div(x, 2, rounding_mode="floor")), "div", "rounds a quotient", "without rounding_mode"),
    (Net(lambda net, x: 2**x), "pow", "exponent is a tensor", "as a number"),
    (Net(lambda net, x: x.clamp(min=x.mean(1, keepdim=True))), "clamp", "clamps by a tensor", "by numbers"),
    (Net(lambda net, x: torch.ops.aten.elu(x, 1.0, 2.0, 1.0)), "elu", "is an ELU with scale 2.0", "nn.SELU"),
    (Net(lambda net, x: F.prelu(x[:, :2], x.mean((1, 2, 3)))), "prelu", "a slope that is computed", "a parameter"),
    (Net(lambda net, x: x + torch.ones(2, 1, 1, 1).cumsum(0)), "add", r"constant of shape \(2, 1, 1, 1\)", "1 for the"),
    (Net(lambda net, x: x[:, :2] + x[:, :2].transpose(0, 1)), "add", "combines shapes", "number of dimensions"),
    (Net(lambda net, x: x[:, :, :2] * x.mean((1, 2))), "mul", r"shapes \(2, 4, 2, 6\) and \(2, 6\)", "of dimensions"),
    (Net(lambda net, x: torch.maximum(x, torch.ones(4, 6, 6))), "maximum", "shapes, or a constant", "Use clamp"),
    (Net(lambda net, x: torch.maximum(x, x[:, :1])), "maximum", "of different shapes", "Use clamp"),
    (Net(lambda net, x: torch.min(x, torch.ones(4, 6, 6))), "min", "compares a tensor with a constant", "clamp"),
    (Net(lambda net, x: x * (x > net.other(x))), "gt", "compares two tensors", "their difference with 0"),
    (
        Net(lambda net, x: x.view(2, 2, 2, 6, 6).flatten(1, 2)),
        "Net",
        "a batch of 2 and fails on one of 1",
        "from the input",
    ),
    (Net(lambda net, x: x.transpose(0, 1)), "transpose", "dimension 0 is not the batch", "Transpose it before"),
    (Net(lambda net, x: torch.linalg.vector_norm(x, 1, 1)), "vector_norm", "takes another norm", "by sums and powers"),
    (
        Net(lambda net, x: x.view(-1, 4, 2, 3, 2, 3).mean((2, 4))),
        *("mean", "reduces every other one of 5", "Bring them side by side"),
    ),
    # products and attention
    (
        of_features(lambda x: torch.addmm(torch.ones(3), x, torch.ones(4, 3), beta=2)),
        *("addmm", "adds products with factors", "by matmul and sums"),
    ),
    (Net(lambda net, x: torch.ones(6, 6) @ x), "matmul", "a constant by a tensor", "Transpose both"),
    (
        Net(lambda net, x: x[..., :2] @ x.mean((1, 2))),
        *("matmul", r"multiplies \(2, 4, 6, 2\) by \(2, 6\)", "the same dimensions"),
    ),
    (Net(lambda net, x: x + torch.full((6, 6), -torch.inf).triu(1)), "add", "infinite or NaN", "a finite number"),
    (Net(lambda net, x: F.pad(x, (1, 1), value=-inf).relu()), "pad", "puts -inf around", "a finite number"),
    (
        Net(lambda net, x: F.max_pool2d(F.pad(x, (3, 0), value=-inf), 2, 1)),
        *("max_pool2d", r"some lie in a border of \[\[0, 0\], \[3, 0\]\], whole", "pad less"),
    ),
    (Net(lambda net, x: x[:, :0]), "slice", "a part without elements", "Leave it out"),
    (Net(lambda net, x: (x, net.other.weight * 2)), "Net", "output 1, which depends on no input", "the same for every"),
    (
        Net(lambda net, x: F.pixel_unshuffle(x.unflatten(1, (2, 2)).flatten(0, 1), 2)),
        "pixel",
        "joined with",
        "Part them",
    ),
    # moves
    (Net(lambda net, x: x.roll(1)), "roll", "rolls the flattened tensor", "Name the dimensions"),
    (Net(lambda net, x: x[:, [0, 1], [1, 0]]), "index", "in several dimensions", "Index one dimension"),
    (Net(lambda net, x: x.repeat_interleave(2)), "repeat_interleave", "without a dimension", "Give a number and"),
    (
        Net(lambda net, x: x.repeat_interleave(torch.tensor([1, 2, 1, 1]), 1, output_size=5)),
        *("repeat_interleave", "repeats by a tensor", "Give a number and"),
    ),
    (
        Net(lambda net, x: torch.slice_scatter(x, x[:, :, ::2], 2, 0, 6, 2)),
        *("slice_scatter", "with a step", "Concatenate the parts"),
    ),
    (Net(overwritten), "copy", "overwrites a tensor with a constant", "Use the constant itself"),
    (Net(lambda net, x: F.dropout(x, 0.5, True)), "dropout", "drops in evaluation", "training=self.training"),
    (Net(lambda net, x: x.long()), "to", "makes a tensor of torch.int64", "leave the cast out"),
    # the batch
    (Net(middle=nn.Softmax(0)), "body.middle", "works along the batch", ALONE),
    (Net(lambda net, x: x.mean(0)), "mean", "works along the batch", ALONE),
    (Net(lambda net, x: x.mean()), "mean", "reduces all dimensions", "Name the dimensions"),
    (Net(lambda net, x: x.amax()), "amax", "reduces all dimensions", "Name the dimensions"),
    (Net(lambda net, x: x[0]), "select", "works along the batch", ALONE),
    (Net(lambda net, x: x[:1]), "slice", "works along the batch", ALONE),
    (Net(lambda net, x: x.flip(0)), "flip", "works along the batch", ALONE),
    (Net(lambda net, x: torch.cat((x, x))), "cat", "works along the batch", ALONE),
    (Net(lambda net, x: x.repeat(2, 1, 1, 1)), "repeat", "repeats the batch", ALONE),
    (Net(lambda net, x: F.pad(x, (0, 0, 0, 0, 0, 0, 1, 0))), "pad", "pads the batch", ALONE),
    (Net(lambda net, x: x.reshape(-1, 36)), "reshape", "joins the batch", ALONE),
    (Net(lambda net, x: x.reshape(3, 96)), "reshape", r"reshapes \(2, 4, 6, 6\) to \(3, 96\)", ALONE),
    (turned(lambda x: F.max_pool2d(x, 2)), "max_pool2d", "batch is not its dimension 0", "Transpose it before"),
    (turned(lambda x: F.batch_norm(x, torch.zeros(2), torch.ones(2))), "batch_norm", "batch is not", "Transpose it"),
    (turned(lambda x: F.group_norm(x, 1)), "group_norm", "batch is not its dimension 0", "Transpose it before"),
    (turned(lambda x: F.prelu(x, torch.ones(2))), "prelu", "batch is not its dimension 0", "Transpose it before"),
    # what is returned
    (Net(lambda net, x: x.mean((1, 2, 3))), "forward", "returns a number for each sample", "drop the last squeeze"),
    (Net(lambda net, x: x / x[:, :1]), "Net", "gives NaN or infinity", "mend them"),
    (Net(lambda net, x: {"y": x}), "Net", "does not return a tensor", "Return the logits alone"),
    (TwoInputs(), "TwoInputs", "forward takes 2 tensors, and 1 examples", "an example of each"),
    (ANumberToo(), "ANumberToo", "does not return a tensor", "wrap the model"),
    (Branches(), "Branches", "its path depends on the data", "split the model"),
]


@pytest.mark.parametrize("network, where, why, way_out", REFUSED, ids=range(len(REFUSED)))
def test_a_refusal_names_the_module_the_reason_and_the_way_out(network, where, why, way_out):
    with pytest.raises(UnsupportedNetwork, match=rf"(?s)module '.*({where}).*'.*: .*({why}).*({way_out})") as caught:
        searchable(network, torch.randn(IMAGE))
    assert caught.value.way_out.endswith(".") and "\n" not in str(caught.value)


@pytest.mark.parametrize("layer", [nn.Conv2d, nn.ConvTranspose2d])
def test_a_convolution_without_a_batch_is_refused(layer):
    with pytest.raises(UnsupportedNetwork, match=r"reads a tensor of shape \(2, 6, 6\) without a batch\. Feed batches"):
        searchable(nn.Sequential(layer(2, 3, 3)), torch.randn(1, 6, 6))


def test_a_refused_network_is_left_as_it_was():
    network = Net(middle=Sums()).train()
    with pytest.raises(UnsupportedNetwork):
        searchable(network, torch.randn(IMAGE))
    assert network.training and network.norm.num_batches_tracked == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_bits": 0}, "input_bits 0: 2 to 16 are possible"),
        ({"output_bits": 17}, "output_bits 17: 2 to 16 are possible"),
        ({"input_bits": 8, "activation_bits": None, "weight_bits": (0,)}, "where activation_bits are given"),
        ({"kernel_sizes": (0, 3)}, r"kernel_sizes \[0, 3\]: 1 or more"),
        ({"pattern": "124"}, "YAML reads 2:4 as a number of base 60. Put it in quotes"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Options(**options)


def test_an_excluded_layer_that_is_called_twice_is_excluded():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.c, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 2, 1)

        def forward(self, x):
            return self.head(torch.relu(self.c(torch.relu(self.c(torch.relu(self.stem(x)))))))

    space = searchable(Twice(), torch.zeros(2, 3, 6, 6), Options((0, 2, 8), kernel_sizes=(1,), exclude=("c",)))
    assert not {"c/bits", "c/kernel", "c/channels"} & space.decisions.keys() and "head/bits" in space.decisions


@pytest.mark.parametrize(
    ("middle", "shape"),
    [(nn.Conv2d(5, 4, 1), "(2, 4, 6, 6)"), (nn.Linear(7, 4), "(2, 4, 6, 6)"), (nn.BatchNorm1d(4), "(2, 4, 6, 6)")],
)
def test_a_layer_that_does_not_fit_is_told_in_one_line_with_its_shape_and_the_line_of_the_file(middle, shape):
    with pytest.raises(UnsupportedNetwork) as refused:
        searchable(Net(middle=middle), torch.randn(IMAGE))
    texts = enumerate(Path(__file__).read_text().splitlines(), 1)
    (line,) = [number for number, text in texts if text.startswith("        return self.then(")]
    found = f"module 'body.middle': fails on a tensor of shape {shape} at {__file__}:{line}, where the network is given"
    assert str(refused.value).startswith(found)
    assert not refused.value.shows_cause


def test_an_error_in_forward_is_the_cause_that_a_command_shows_with_its_line():
    for middle, code in ((Branches(), "if x.sum() > 0"), (Misspelt(), "no_such_method()")):
        with pytest.raises(UnsupportedNetwork) as refused:
            searchable(Net(middle=middle), torch.randn(IMAGE))
        frames = extract_tb(refused.value.__cause__.__traceback__)
        assert refused.value.shows_cause
        assert [frame for frame in frames if frame.filename == __file__ and code in frame.line]
    with pytest.raises(UnsupportedNetwork) as refused:
        searchable(Net(middle=Sums()), torch.randn(IMAGE))
    assert not refused.value.shows_cause
