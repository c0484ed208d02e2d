"""The costs of the image: by hand, and against what is linked."""

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from benchmarks.mcu_networks import Inception, UNet
from cost_models import IMAGE_COSTS, cost_model, kernels
from cost_models.image import ImageFlash, ImageRam
from cost_models.layer import UnsupportedLayer
from search.config import composed
from search.deploy.backends import SIZE, Options, backend, linked
from search.deploy.c import weights
from search.deploy.c.kernels import PIXELS
from search.deploy.c.network import generated
from search.deploy.c.operators.depthwise import AT_ONCE
from search.deploy.cortex_m import cores
from search.deploy.lower import lower
from search.errors import MissingTool, UsageError
from spaces.architecture import Architecture
from spaces.networks import NETWORKS
from spaces.searchable import Options as Offered
from spaces.searchable import searchable
from tests.cost_models.networks import CODE, layer, network, scalar, target, vector
from tests.laws.random_cases import drawn_pick

CHIP = composed(["target=cortex_m4_size"]).target
FREE = {"code_bytes": dict.fromkeys(CODE["code_bytes"], 0.0), "step_bytes": dict.fromkeys(CODE["step_bytes"], 0.0)}
CONV = {"in_channels": scalar(3), "kernel": (3, 3), "in_size": (6, 6), "out_size": (6, 6)}
INPUT = 108
END = 24  # bytes of what ends the sums of the network's output


def conv(name="c", reads="x", writes="y", counts=(3, 4), bits=(4, 8), **changes):
    """3 channels to 7, of which 3 have 4 bits."""
    changes = {"out_channels": scalar(sum(counts)), **CONV, **changes}
    return layer(name, "conv", reads, writes, weight_bits=bits, out_per_width=vector(*counts), **changes)


def flash(*layers, **changes) -> float:
    return ImageFlash(target(**{**FREE, **changes}))(network(*layers, input_elements=INPUT)).item()


def test_constants_of_a_convolution_of_two_widths():
    """27 codes a row: 16 bytes at 4 bits, 28 at 8. Arrays are whole words, and 36 bytes describe each width."""
    weights = 3 * 16 + 4 * 28
    small = (12 + 8 + 4 + 8) + (16 + 8 + 4 + 8)  # biases, multipliers, shifts, places: of 3 channels and of 4
    assert flash(conv()) == weights + small + 2 * 36 + END


def test_one_width_needs_no_places():
    assert flash(conv(counts=(0, 7))) == 7 * 28 + (28 + 16 + 8) + 36 + END


def test_depthwise_weights_lie_in_pairs_or_packed():
    pairs = {"in_channels": scalar(5), "out_channels": scalar(5), "groups": 5, "depthwise": True}
    assert flash(conv(counts=(0, 5), **pairs)) == 6 * 10 + (20 + 12 + 8) + END
    packed = 3 * 5 + 2 * 10  # 10 taps of 4 bits, or of 8
    assert flash(conv(counts=(3, 2), **pairs)) == -(-packed // 4) * 4 + 8 + (20 + 12 + 8) + END


def test_a_precision_pays_for_its_kernel_once():
    code = dict.fromkeys(CODE["code_bytes"], 0.0) | {"base": 1.0, "products_4": 1000.0, "conv_2d": 10.0}
    first, second = conv(writes="a"), conv("d", "a", in_channels=scalar(7))
    alone = [flash(*layers, code_bytes=code) - flash(*layers) for layers in ((first,), (first, second))]
    assert alone == [1011.0, 1011.0]
    assert flash(conv(counts=(0, 7)), code_bytes=code) - flash(conv(counts=(0, 7))) == 11.0


def test_the_gradient_shares_a_kernel_among_the_channels_that_need_it():
    code = dict.fromkeys(CODE["code_bytes"], 0.0) | {"products_4": 1000.0}
    slopes = []
    for bytes_ in (code, FREE["code_bytes"]):
        counts = vector(4, 3)
        use = layer("c", "conv", "x", "y", weight_bits=(4, 8), out_per_width=counts, out_channels=scalar(7), **CONV)
        ImageFlash(target(**{**FREE, "code_bytes": bytes_}))(network(use, input_elements=INPUT)).backward()
        slopes.append(counts.grad)
    assert (slopes[0] - slopes[1]).tolist() == [250.0, 0.0]


def test_ram_by_hand():
    """The input, the output, four columns of 28 codes of 16 bits with one of bytes, and the stack."""
    chip = target(**FREE, stack_bytes=200.0)
    assert ImageRam(chip)(network(conv(counts=(0, 7)), input_elements=INPUT)).item() == 108 + 252 + 9 * 28 + 200


def test_an_elementwise_operator_needs_no_memory_of_its_own():
    chip, plane = target(**FREE), {"out_channels": scalar(3), "in_size": (6, 6), "out_size": (6, 6)}
    one = layer("t", "table", "x", "y", **plane)
    two = layer("s", "add", "x a", "y", **plane), layer("t", "table", "x", "a", **plane)
    assert ImageRam(chip)(network(one, input_elements=INPUT)).item() == INPUT
    assert ImageRam(chip)(network(two[1], two[0], input_elements=INPUT)).item() == 2 * INPUT  # the sum reads x again


def test_a_target_without_code_says_so():
    with pytest.raises(UsageError, match=r"image_flash_bytes.*code_bytes.*'mpic' lacks"):
        cost_model("image_flash_bytes", composed(["target=mpic"]).target)


def test_a_function_that_the_table_lacks_says_so():
    code = {"base": 1.0}
    with pytest.raises(UnsupportedLayer, match=r"layer 'c' needs 'products_4', which code_bytes of target 'bench'"):
        flash(conv(), code_bytes={**code, "conv_2d": 1.0})


class Tcn(nn.Sequential):
    def __init__(self) -> None:
        first = nn.Conv1d(6, 18, 5, padding=2), nn.ReLU(), nn.Conv1d(18, 18, 5, padding=4, dilation=2, groups=18)
        super().__init__(*first, nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(18, 5))


class Branches(nn.Module):
    """Two branches of which one is large in the middle, and activations that are tables."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.left = nn.Sequential(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 8, 3, 2, 1), nn.ReLU())
        self.right = nn.Sequential(
            nn.Conv2d(16, 32, 3, padding=1), nn.LeakyReLU(), nn.Conv2d(32, 8, 3, 2, 1), nn.ReLU()
        )
        self.head = nn.Linear(16 * 64, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        y: Tensor = self.head(torch.cat([self.left(x), self.right(x)], 1).flatten(1))
        return y


class Tables(nn.Sequential):
    """Activations of every sort, and two pools."""

    def __init__(self) -> None:
        first = (
            nn.Conv2d(3, 16, 3, padding=1),
            nn.LeakyReLU(),
            nn.MaxPool2d(3, 2, 1),
            nn.Conv2d(16, 16, 3, 1, 1, groups=16),
        )
        second = nn.Hardswish(), nn.Conv2d(16, 48, 1), nn.ReLU6(), nn.MaxPool2d(2), nn.Conv2d(48, 64, 3, 2, 1, groups=4)
        super().__init__(*first, *second, nn.SiLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(64, 10))


class Wave(nn.Sequential):
    """Down by groups and up by transposed convolutions, over time; the last ones in groups, and of one place."""

    def __init__(self) -> None:
        down = nn.Conv1d(6, 16, 5, padding=2), nn.ReLU(), nn.Conv1d(16, 32, 4, 2, 1, groups=4), nn.ReLU()
        up = nn.ConvTranspose1d(32, 16, 4, 2, 1), nn.ReLU(), nn.ConvTranspose1d(16, 12, 4, 2, 1, groups=2), nn.ReLU()
        super().__init__(*down, *up, nn.Conv1d(12, 8, 64, groups=2), nn.Flatten())


class Spread(nn.Sequential):
    """Up by transposed convolutions in groups."""

    def __init__(self) -> None:
        up = nn.ConvTranspose2d(16, 12, 4, 2, 1, groups=2), nn.ReLU(), nn.ConvTranspose2d(12, 8, 2, 2, groups=4)
        super().__init__(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), *up, nn.ReLU(), nn.Conv2d(8, 4, 8, 4, groups=2))


MODELS = {
    "spread": (Spread, (3, 16, 16)),
    "unet": (UNet, (3, 16, 16)),
    "wave": (Wave, (6, 32)),
    "inception": (Inception, (3, 16, 16)),
    "branches": (Branches, (3, 16, 16)),
    "tables": (Tables, (3, 16, 16)),
    "resnet8": (lambda: NETWORKS["resnet8"](in_channels=3), (3, 32, 32)),
    "ds_cnn": (lambda: NETWORKS["ds_cnn"](in_channels=1), (1, 49, 10)),
    "mobilenet_v1": (lambda: NETWORKS["mobilenet_v1"](in_channels=1), (1, 28, 28)),
    "tcn": (Tcn, (6, 64)),
    "crnn": (lambda: NETWORKS["crnn"](in_channels=1), (1, 10, 49)),
}


@pytest.mark.parametrize("bits", [(8,), (0, 2, 4, 8)], ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_the_image_is_foretold(name: str, bits: tuple[int, ...], tmp_path: Path):
    try:
        cores.toolchain(cores.CORES["cortex_m4"])
    except MissingTool as error:
        pytest.skip(str(error))
    space, program, network_ = drawn(*MODELS[name], bits)
    built = linked(backend("cortex_m"), backend("cortex_m").write(program, tmp_path, Options(optimize=SIZE)))
    assert built.keys() == IMAGE_COSTS
    foretold = {cost: cost_model(cost, CHIP)(network_).item() for cost in built}
    assert foretold == pytest.approx(built, rel=0.02)
    assert {cost: cost_model(cost, CHIP)(space.describe()).item() for cost in built} == pytest.approx(foretold)


def drawn(make: Callable[[], nn.Module], shape: tuple[int, ...], bits: tuple[int, ...]):
    """A network whose weights are drawn, norms and biases too, as if it were trained; widths are drawn by channel."""
    torch.manual_seed(0)
    model, rng = make(), random.Random(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    examples = torch.randn(4, *shape)
    space = searchable(model, (examples,), Offered(weight_bits=bits)).eval()
    space.calibrate([(examples,)])
    space.fix(Architecture(space.name, {key: drawn_pick(each, rng) for key, each in space.decisions.items()}))
    decided = space.decide().eval()
    return space, lower(decided), decided.describe()


def test_ram_depends_on_nothing_that_was_asked_before():
    """Of one order of layers, with 8 bits and with 16, which take memory of their own."""
    chip, plane = target(**FREE), {"out_channels": scalar(3), "in_size": (6, 6), "out_size": (6, 6)}
    narrow = layer("t", "table", "x", "y", **plane)
    wide = layer("t", "table", "x", "y", **plane, out_bits=(16,))
    costs = [ImageRam(chip)(network(each, input_elements=INPUT)).item() for each in (narrow, wide, narrow, wide)]
    assert costs == [INPUT, 3 * INPUT, INPUT, 3 * INPUT]


def test_the_cost_models_and_the_generator_have_the_same_numbers():
    assert kernels.STORED == weights.STORED
    assert kernels.COLUMNS == PIXELS == AT_ONCE


@pytest.mark.parametrize("bits", [(8,), (0, 2, 4, 8)], ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_functions_and_arena_are_those_of_the_generated_c(name: str, bits: tuple[int, ...]):
    """Without a compiler: the functions that are priced are those that are there, and so is the arena."""
    _, program, network_ = drawn(*MODELS[name], bits)
    made = generated(program, small=True)
    there = set(re.findall(r"^static (?:KERNEL )?void (\w+)\(", made.files["network.c"], re.MULTILINE)) - {
        "trace_after"
    }
    called = [use for use in network_.layers if kernels.is_called(use)]
    priced = {kernels.own_function(use) for use in called}
    priced |= {kernel for use in called for kernel, count in kernels.kernels(use) if float(count) > 0}
    assert there == priced
    arena = ImageRam(CHIP)(network_).item() - CHIP.stack_bytes
    assert arena == -(-made.arena.size // 4) * 4
