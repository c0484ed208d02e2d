"""Values of any scale between layers, and outliers in calibration, leave integers as good as floats."""

import pytest
import torch
from torch import nn

from search.deploy.lower import lower
from search.integer.executor import Executor
from spaces import searchable as module
from spaces.graph.errors import UnsupportedNetwork
from spaces.searchable import Options, searchable
from spaces.space import FLOAT

X = torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def network(scale: float) -> nn.Module:
    """What the second layer reads is `scale` times what it would be, and what comes out is as it would be."""
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(512, 4)),
    )
    with torch.no_grad():
        model[0].weight *= scale
        model[0].bias *= scale
        model[2].weight /= scale
    return model.eval()


def errors(scale: float, images: torch.Tensor, seen: torch.Tensor, method: str = "mse") -> float:
    """Of the integers on images, relative to the floats, after calibrating on what was seen."""
    space = searchable(network(scale), images, Options(weight_bits=(8,)))
    space.calibrate([seen], method)
    found = torch.from_numpy(Executor(lower(space.decide()))(images.numpy()))
    with space.running(FLOAT, training=False), torch.no_grad():
        expected = space(images)
    return ((found - expected).norm() / (expected - expected.mean(0)).norm()).item()


@pytest.mark.parametrize("method", ["mse", "minmax", "lsq"])
@pytest.mark.parametrize("scale", [1e-25, 1e-10, 1e10, 1e25])
def test_the_scale_between_layers_does_not_matter(scale, method):
    plain = errors(1.0, X, X, method)
    assert errors(scale, X, X, method) == pytest.approx(plain, rel=0.2) and plain < (0.5 if method == "lsq" else 0.05)


@pytest.mark.parametrize("factor", [1e3, 1e8])
def test_one_pixel_in_one_image_of_twenty_leaves_the_others_as_they_were(factor):
    seen = X.clone()
    for index in range(0, 64, 20):
        seen[index, 1, 3, 5] = factor
    assert errors(1.0, X, seen) < 1.5 * errors(1.0, X, X)
    assert errors(1.0, X, seen, "minmax") > 0.9  # nothing of the signal is left


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e20])
def test_a_network_that_is_converted_wrongly_is_refused_at_any_scale(scale, monkeypatch):
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    with torch.no_grad():
        model[1].weight *= scale
        model[1].bias *= scale
    searchable(model, X)
    plain = module._inherit

    def wrongly(space, blocks):
        plain(space, blocks)
        with torch.no_grad():
            next(iter(space.weights.values())).weight[0] *= 1.1

    monkeypatch.setattr(module, "_inherit", wrongly)
    with pytest.raises(UnsupportedNetwork, match="converts to a network whose output differs"):
        searchable(model, X)


def test_weights_that_are_no_numbers_are_named():
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    nn.init.constant_(model[1].bias, float("nan"))
    with pytest.raises(UnsupportedNetwork, match="gives NaN or infinity on the example"):
        searchable(model, X)
