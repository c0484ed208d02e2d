"""Networks that take and return several tensors: one Space, one Program, the same integers."""

import json

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cost_models import cost_model
from cost_models.steps import exact
from search.deploy.lower import lower
from search.integer.executor import Executor
from spaces.graph.errors import UnsupportedNetwork
from spaces.searchable import Options, searchable
from spaces.space import Space
from spaces.spec import SpaceSpec
from tests.spaces.small import Plain, images, space_of


class Camera(nn.Module):
    """An image and a vector of numbers -> classes and a number."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.numbers = nn.Linear(5, 8)
        self.classes, self.size = nn.Linear(16, 4), nn.Linear(16, 1)

    def forward(self, image: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        features = F.relu(self.norm(self.stem(image))).mean((2, 3))
        joined = torch.cat((features, F.relu(self.numbers(numbers))), 1)
        return self.classes(joined), torch.sigmoid(self.size(joined))


def examples(count: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, 6, 6, generator=random), torch.randn(count, 5, generator=random)


@pytest.fixture
def space() -> Space:
    torch.manual_seed(0)
    made = searchable(Camera().eval(), examples(), Options(weight_bits=(0, 2, 4, 8))).eval()
    made.calibrate([examples(16, seed=1)])
    made.set_mode("fake")
    return made


def test_inputs_and_outputs_have_names_and_fixed_channels(space):
    assert space.spec.inputs == ("image", "numbers_input")  # a layer has the name of the second argument
    assert space.spec.input_shapes == ((3, 6, 6), (5,))
    assert space.spec.outputs == ("classes", "size")
    assert set(space.gates) == {"stem/channels", "numbers/channels"}


def test_float_outputs_are_the_models():
    torch.manual_seed(0)
    model = Camera().eval()
    space = searchable(model, examples()).eval()
    with torch.no_grad():
        for wanted, found in zip(model(*examples(seed=3)), space(*examples(seed=3)), strict=True):
            torch.testing.assert_close(found, wanted)


def test_every_output_gives_gradients(space):
    classes, size = space.train()(*examples(8))
    (classes.square().sum() + size.sum()).backward()
    for name in ("stem", "numbers", "classes", "size"):
        assert space.weights[name].weight.grad.abs().sum() > 0, name


def test_the_program_computes_what_the_decided_space_does(space, tmp_path):
    space.decisions["stem/channels"].fix((1, 0, 1, 1, 0, 1, 1, 0))
    space.decisions["numbers/channels"].fix((0, 1) * 4)
    decided = space.decide()
    decided.set_mode("integer")
    program = lower(decided)
    program.save(tmp_path / "program.safetensors")
    given = examples(9, seed=5)
    found = Executor(program.load(tmp_path / "program.safetensors"))(*[x.numpy() for x in given], intermediate=True)
    expected = decided.codes(*given)
    assert found.keys() == expected.keys()
    for name, codes in expected.items():
        assert (found[name] == codes.numpy()).all(), name
    outputs = decided(*given)
    for one, other in zip(outputs, Executor(program)(*[x.numpy() for x in given]), strict=True):
        assert torch.equal(one.detach(), torch.from_numpy(other))


def test_costs_are_those_of_the_program(space):
    decided = space.decide()
    program, network = lower(decided), decided.describe()
    assert exact(cost_model("flash_bytes")(network)) == program.flash_bytes()
    assert exact(cost_model("peak_ram_bytes")(network)) == program.peak_ram_bytes()
    assert exact(cost_model("macs")(network)) == program.macs()


def test_files_hold_all_inputs_and_outputs(space, tmp_path):
    space.save(tmp_path / "model.safetensors")
    loaded = Space.load(tmp_path / "model.safetensors").eval()
    loaded.set_mode("fake")
    for one, other in zip(space(*examples()), loaded(*examples()), strict=True):
        assert torch.equal(one, other)


def test_a_description_of_the_version_before_is_read():
    """One input, one output, and no word of what is depthwise."""
    spec = space_of(Plain()).spec
    document = json.loads(json.dumps(spec.to_json()))
    old = {key: value for key, value in document.items() if key not in ("inputs", "outputs", "input_shapes")}
    old |= {"input": "input", "output": "head", "input_shape": [3, 6, 6], "version": 2}
    old["blocks"] = [{k: v for k, v in block.items() if k != "depthwise"} for block in document["blocks"]]
    assert SpaceSpec.from_json(old) == SpaceSpec.from_json(document)
    assert [block.name for block in SpaceSpec.from_json(old).blocks if block.depthwise] == ["depthwise"]


class Doubled(nn.Module):
    """Pixels twice from left to right and three times from top to bottom, and a layer over all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 2, 3), nn.Linear(2 * 12 * 8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.interpolate(self.stem(x), scale_factor=(3, 2)).flatten(1))


@pytest.mark.parametrize("version", [3, 4])
def test_a_description_before_version_5_flattens_and_upsamples(version):
    space = space_of(Doubled())
    document = json.loads(json.dumps(space.spec.to_json()))
    before = {
        "take": {"op": "upsample", "attributes": {"factor": [3, 2]}},
        "reshape": {"op": "flatten", "attributes": {"shape": [192]}},
    }
    old = {**document, "version": version}
    old["blocks"] = [
        {k: v for k, v in block.items() if k != "frozen"} | before.get(block["op"], {}) for block in document["blocks"]
    ]
    assert [block["op"] for block in old["blocks"]] == ["conv", "upsample", "flatten", "linear"]
    spec = SpaceSpec.from_json(old)
    assert document["version"] == 6 and spec == SpaceSpec.from_json(document)
    repeated = [[], [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3], [0, 0, 1, 1, 2, 2, 3, 3]]
    assert spec.blocks[1].attributes == {"indices": repeated} and spec.blocks[2].attributes == {"shape": [192]}
    assert Space(spec)(images()).shape == (2, 4)


def test_an_output_that_is_an_input_or_stands_twice_stays():
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)

        def forward(self, x: Tensor) -> list[Tensor]:
            y = self.conv(x)
            return [y, x, F.relu(y), y]

    space = space_of(Odd())
    decided = space.decide()
    assert space.spec.outputs == ("conv", "input", "relu", "conv")
    found = Executor(lower(decided))(images().numpy())
    decided.set_mode("integer")
    for one, other in zip(decided(images()), found, strict=True):
        assert torch.equal(one.detach(), torch.from_numpy(other))


@pytest.mark.parametrize("count", [1, 2])
def test_a_tuple_of_one_tensor_is_as_good_as_the_tensor(count):
    class One(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)

        def forward(self, x: Tensor) -> tuple[Tensor]:
            return (self.conv(x),)

    model, x = One(), torch.randn(count, 3, 6, 6)
    with torch.no_grad():
        torch.testing.assert_close(searchable(model, x)(x), model(x)[0])


@pytest.mark.parametrize("given", [examples()[0], (*examples(), torch.zeros(2, 1))])
def test_another_number_of_examples_is_refused(given):
    with pytest.raises(UnsupportedNetwork, match=r"'Camera': forward takes 2 tensors, and [13] examples are given"):
        searchable(Camera(), given)


def test_inputs_of_other_shapes_are_refused(space):
    image, numbers = examples()
    with pytest.raises(ValueError, match=r"input of shape \(2, 5\), \(2, 3, 6, 6\); expected \(N, 3, 6, 6\), \(N, 5\)"):
        space(numbers, image)
    with pytest.raises(ValueError, match=r"input of shape \(2, 3, 6, 6\); expected"):
        space(image)
    with pytest.raises(ValueError, match=r"input of shape \(2, 3, 6, 6\), \(1, 5\); expected"):
        space(image, numbers[:1])
    with pytest.raises(ValueError, match=r"input is Tensor, ndarray; expected tensors, one for each of \('image', "):
        space(image, numbers.numpy())


def test_numbers_of_another_type_are_taken_as_floats(space):
    image, numbers = examples()
    for mode in ("float", "fake"):
        space.set_mode(mode)
        for one, other in zip(space(image, numbers), space(image.double(), numbers.double()), strict=True):
            torch.testing.assert_close(one, other)
