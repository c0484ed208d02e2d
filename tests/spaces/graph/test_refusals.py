"""What cannot be searched is refused by an error that names the module, says why, and what to do."""

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


def no_statistics() -> nn.Module:
    return nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4, track_running_stats=False))


def cumulative() -> nn.Module:
    return nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4, momentum=None))


IMAGE = (1, 3, 8, 8)
REFUSED = [
    # network, where, why, way out
    (Net(middle=Branches()), "body.middle", "cannot be exported, its path depends on the data", "out of forward"),
    (Net(middle=nn.Softmax(1)), "body.middle", "uses 'Softmax', for which there is no", "supported one"),
    (Net(lambda net, x: x.cumsum(1)), "cumsum", "uses 'cumsum'", "supported one"),
    (Net(lambda net, x: torch.exp(x)), "exp", "uses 'exp'", "supported one"),
    (Net(middle=nn.LSTM(6, 3)), "body.middle", "LSTM", "example_input"),
    (Net(middle=nn.Conv2d(5, 4, 1)), "body.middle", r"given a tensor of shape \(2, 3, 8, 8\)", "example_input of"),
    (nn.Sequential(nn.Conv2d(1, 4, 3)), "0", r"fails on a tensor of shape \(2, 3, 8, 8\), where", "Change the layer"),
    (Net(lambda net, x: x + x[:, :, 1:]), "add", r"shapes \(2, 4, 6, 6\) and \(2, 4, 5, 6\) at", "Change the layer"),
    (Net(middle=nn.Conv2d(4, 4, 3, 1, 1, padding_mode="reflect")), "body.middle", "pads by 'reflect'", "Zeros"),
    (Net(middle=nn.Upsample(scale_factor=2, mode="bilinear")), "body.middle", "by 'bilinear2d'", "whole factors"),
    (Net(middle=nn.Upsample((9, 12))), "body.middle", r"resizes \(6, 6\) to \(9, 12\)", "whole factors"),
    (Net(middle=nn.Linear(6, 6)), "body.middle", r"is linear over an input of shape \(2, 4, 6, 6\)", "Flatten"),
    (Net(middle=no_statistics()), "body.middle.1", "keeps no running statistics", "track_running_stats=True"),
    (Net(middle=cumulative()), "body.middle.1", "momentum None", "number"),
    (Net(lambda net, x: x, nn.MaxPool2d(2, return_indices=True)), "body.middle", "second result", "_indices"),
    (Net(lambda net, x: x[1].float(), nn.MaxPool2d(2, return_indices=True)), "body.middle", "second result", "_i"),
    (Net(middle=nn.AvgPool2d(3, 1, 1, count_include_pad=False)), "body.middle", "at the border", "count_include_pad"),
    (Net(middle=nn.AvgPool2d(4, ceil_mode=True)), "body.middle", "changes at the border", "ceil_mode=False"),
    (Net(middle=nn.AvgPool2d(2, divisor_override=3)), "body.middle", "changes at the border", "count_include_pad"),
    (Net(middle=nn.AdaptiveAvgPool2d(4)), "body.middle", "windows of different sizes", "divisor"),
    (Net(lambda net, x: x.mean(1)), "mean", r"mean over dimensions \(1,\)", "spatial"),
    (Net(lambda net, x: x.mean()), "mean", "mean over dimensions None", "spatial"),
    (Net(lambda net, x: x.view(2, 2, 2, 6, 6)), "view", "reshapes", "Flattening"),
    (Net(lambda net, x: x.reshape(-1, 36)), "reshape", "reshapes", "Flattening"),
    (Net(lambda net, x: x - net.conv(F.pad(x[:, :3], (1, 1, 1, 1)))), "slice", "takes a part", "Split"),
    (Net(lambda net, x: x / x[:, :1]), "slice", "takes a part", "Split"),
    (Net(lambda net, x: x / (net.other(x) + 1)), "div", "divides a tensor by another", "sums, differences"),
    (Net(lambda net, x: 1 / x), "reciprocal|div", "divides a number|uses", "scale|supported"),
    (Net(lambda net, x: x * torch.arange(6.0)), "mul", r"'mul' with a constant of shape \(6,\)", "for each channel"),
    (Net(lambda net, x: x / 0), "div", "divides by 0", "another number"),
    (Net(lambda net, x: x.pow(3)), "pow", "takes the power 3", "Squares"),
    (Net(lambda net, x: x + x.mean((2, 3))[:, :, None, None]), "unsqueeze", "reshapes", "Flattening"),
    (Net(lambda net, x: torch.cat((x, x), 2)), "cat", "concatenates along dimension 2", "dimension 1"),
    (Net(lambda net, x: torch.cat((x, torch.zeros(2, 1, 6, 6)), 1)), "cat", "concatenates .* constants", "dimension 1"),
    (Net(lambda net, x: F.conv2d(x, x.mean((0, 2, 3)).view(1, 4, 1, 1))), "mean", "over dimensions", "spatial"),
    (Net(lambda net, x: {"y": x}), "Net", "does not return a tensor", "Return the logits alone"),
    (TwoInputs(), "TwoInputs", "forward takes 2 tensors, and 1 examples", "an example of each"),
    (ANumberToo(), "ANumberToo", "does not return a tensor", "wrap the model"),
    (Branches(), "Branches", "its path depends on the data", "split the model"),
]  # fmt: skip


@pytest.mark.parametrize("network, where, why, way_out", REFUSED, ids=range(len(REFUSED)))
def test_a_refusal_names_the_module_the_reason_and_the_way_out(network, where, why, way_out):
    with pytest.raises(UnsupportedNetwork, match=rf"(?s)module '.*({where}).*'.*: .*({why}).*({way_out})") as caught:
        searchable(network, torch.randn(IMAGE))
    assert caught.value.way_out.endswith(".") and "\n" not in str(caught.value)


def test_a_convolution_without_a_batch_is_refused():
    with pytest.raises(UnsupportedNetwork, match=r"reads a tensor of shape \(2, 6, 6\) without a batch\. Feed batches"):
        searchable(nn.Sequential(nn.Conv2d(2, 3, 3)), torch.randn(1, 6, 6))


def test_a_refused_network_is_left_as_it_was():
    network = Net(middle=nn.Softmax(1)).train()
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
        searchable(Net(middle=nn.Softmax(1)), torch.randn(IMAGE))
    assert not refused.value.shows_cause
