"""The one promise: training, NumPy and the cost models mean the same network, to the bit, whatever the network."""

import copy
import math
import platform
import random
from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cost_models import COST_MODELS
from search.budgets.feasibility import decisions_as
from search.compilers import WARNINGS, compiler
from search.deploy.backends import SIZE, SPEED, backend
from search.deploy.backends import Options as Written
from search.deploy.c.manifest import Manifest
from search.deploy.c.traced import Traced
from search.deploy.onnx.model import OnnxNetwork, model_of
from search.errors import MissingTool
from search.integer.executor import Executor
from search.integer.program import Program
from spaces.architecture import Architecture
from spaces.blocks import BLOCKS, Block
from spaces.blocks.activations import ACTIVATIONS, ARITHMETIC
from spaces.blocks.reduce import NormalizeBlock
from spaces.space import Space
from tests.laws.costs import assert_open_equals_decided
from tests.laws.random_cases import Case, as_tuple, case_of, drawn_pick
from tests.laws.random_networks import random_network

NETWORKS = 100
SLOW_NETWORKS, SLOW_BATCH = 500, 50
SANITIZED = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=range(NETWORKS))
def case(request) -> Case:
    return case_of(request.param)


def assert_same_codes(found: dict[str, np.ndarray], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, codes in expected.items():
        assert found[name].shape == tuple(codes.shape), name
        assert int((found[name] != codes.numpy()).sum()) == 0, name


def test_the_float_space_is_the_model(case):
    case.floats.set_mode("float")
    with torch.no_grad():
        found, expected = case.floats(*case.examples), copy.deepcopy(case.model).eval()(*case.examples)
    assert_close(found, expected)


def assert_close(found, expected) -> None:
    """Output by output, but for the order in which floats were added."""
    for one, other in zip(as_tuple(found), as_tuple(expected), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * (1 + other.abs().max().item()))


def test_torch_and_numpy_agree_in_every_element_of_every_tensor(case):
    assert_same_codes(Executor(case.program)(*case.arrays, intermediate=True), case.codes)


@pytest.mark.parametrize("seed", range(0, NETWORKS, 5))
@pytest.mark.parametrize("optimized", [True, False])
def test_onnxruntime_agrees_in_every_element_of_every_tensor(seed, optimized):
    assert_onnx_agrees(case_of(seed), optimized)


@pytest.mark.parametrize("seed", range(0, NETWORKS, 5))
def test_c_agrees_in_every_element_of_every_tensor(seed, tmp_path):
    assert_c_agrees(case_of(seed), tmp_path, SIZE if seed % 2 else SPEED)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other processors have no products of bytes in the C")
@pytest.mark.parametrize("seed", range(0, NETWORKS, 4))
def test_c_with_all_that_this_processor_has_agrees(seed, tmp_path):
    assert_c_agrees(case_of(seed), tmp_path, SPEED, *(SANITIZED if seed % 3 == 0 else ("-O3",)), "-march=native")


@pytest.mark.parametrize("seed", range(0, NETWORKS, 5))
def test_an_emulated_core_agrees_in_every_element_of_every_tensor(seed, tmp_path):
    assert_a_core_agrees(case_of(seed), tmp_path, SPEED if seed % 2 else SIZE)


def assert_a_core_agrees(case: Case, folder: Path, optimize: str) -> None:
    emulated = backend("cortex_m")
    try:
        (way,) = emulated.opened(emulated.write(case.program, folder, Written(optimize=optimize))).values()
    except MissingTool as error:
        pytest.skip(str(error))
    few = [x[::3] for x in case.arrays]
    assert_same_codes(way.codes(*few), {name: each[::3] for name, each in case.codes.items()})


def assert_c_agrees(case: Case, folder: Path, optimize: str, *options: str) -> None:
    """Args: options: of the compiler, which may not warn."""
    c = backend("c")
    manifest = Manifest.read(c.write(case.program, folder, Written(optimize=optimize)))
    traced = Traced(folder, manifest, compiler(), [*WARNINGS, "-Werror", *(options or ("-O1",))])
    assert_same_codes(traced.codes(*case.arrays), case.codes)


def assert_onnx_agrees(case: Case, optimized: bool) -> None:
    network = OnnxNetwork(model_of(case.program), optimized=optimized)
    assert_same_codes(network.codes(*case.arrays), case.codes)


def test_the_output_is_the_decoded_code_in_both(case):
    case.decided.set_mode("integer")
    with torch.no_grad():
        expected = as_tuple(case.decided(*case.batches))
    found = as_tuple(Executor(case.program)(*case.arrays))
    assert all(np.array_equal(one, other.numpy()) for one, other in zip(found, expected, strict=True))


def test_integers_are_what_training_saw(case):
    """Block by block, on inputs that lie on the grid."""
    seen = []
    hooks = [b.register_forward_hook(lambda b, args, out: seen.append((b, args[1:], out))) for b in case.decided.blocks]
    case.decided.set_mode("fake")
    with torch.no_grad():
        case.decided(*map(torch.cat, zip(case.examples, case.enlarged, strict=True)))
        for hook in hooks:
            hook.remove()
        for block, inputs, fake in seen:
            if not block.spec.operator.keeps_codes:  # the others move codes and compute nothing
                difference = (block.exact(*inputs) - fake).abs().max().item() / block.output.step
                assert difference <= _allowed(block), block.name


def _allowed(block: Block) -> float:
    """Codes of the output. A tie takes one, and what float32 rounds little more."""
    operator, tie = block.spec.operator, 1.01 + 2.0 ** (block.output.bits - 20)
    if operator.exponentiates:  # each exponential is half a unit off, and so is each term of their sum, of 2^15 or more
        terms = block.spec.shape[block.spec.attributes["axis"]]
        return tie + (1 + terms) * 2.0 ** (block.output.bits - 16)
    if not operator.requantizes:
        return tie
    of_the_sum = _allowed_of_a_sum(block)
    if block.pre is None:
        return of_the_sum
    entries = block.table().unfold(0, min(2**block.pre.bits, 1 + int(of_the_sum)), 1)  # those that it may take instead
    return tie + (entries.amax(1) - entries.amin(1)).max().item()


def _allowed_of_a_sum(block: Block) -> float:
    """Codes behind the sum: half a unit of it for the bias, and 15 bits for the multiplier."""
    folded, codes = block.folded(), 2 ** block.sum_quantizer().bits
    if isinstance(block, NormalizeBlock):
        return 1.01 + _allowed_of_a_norm(block, codes)
    unit = torch.ldexp(folded.multiplier.double().abs(), -folded.shift).max().item() if folded.bias is not None else 0.0
    return 1.01 + unit / 2 + codes * (2.0**-14 + 2.0**-20)


def _allowed_of_a_norm(block: NormalizeBlock, codes: int) -> float:
    """Codes behind the sum, of values of at most the root of their number R.

    Their root has 15 bits, as the multiplier has. Half a unit of 2^-16 is for their rounding, and half of one for the
    bias. The variance R sum of squares - sum^2, which is R - 1 or more where not all values are the same, is off by the
    rounding of eps. Deviations from the mean have the 24 bits of float32 of the largest code. Where a gain is nearly 0,
    it is raised until the bias has 30 bits.
    """
    attributes, source, step = block.spec.attributes, block.sources[0], block.sum_quantizer().step
    count = prod(block.spec.shape[axis] for axis in attributes["axes"]) // attributes["groups"]
    eps = attributes["eps"] * (count / source.step) ** 2
    rounding = abs(math.floor(eps + 0.5) - eps) / (2 * (max(1, count - 1) + eps))
    gain = 1.0 if block.norm is None else block.norm.affine()[0].abs().max().item()
    of_a_value = 2.0**-14 + 2.0 ** (source.bits - 23) + rounding
    return gain / step * (2.0**-16 + count**0.5 * of_a_value) + (1 + count**0.5) * codes * 2.0**-14


def test_what_the_mask_hides_is_what_deciding_removes(case):
    """Float sums over fewer terms may be rounded otherwise: a value on a tie may then take the next code, no more."""
    case.decided.set_mode("fake")
    with torch.no_grad():
        masked, removed = as_tuple(case.space(*case.batches)), as_tuple(case.decided(*case.batches))
    for name, one, other in zip(case.decided.spec.outputs, removed, masked, strict=True):
        step = case.decided.quantizer(name).step
        torch.testing.assert_close(
            one, other, rtol=1e-6, atol=1.01 * step, msg=lambda said, name=name: f"{name}: {said}"
        )


def test_pruning_alone_removes_what_the_mask_hides(case):
    space = case.floats
    space.set_mode("fake")
    rng = random.Random(case.seed)
    picks = {name: drawn_pick(decision, rng) for name, decision in space.decisions.items()}
    with decisions_as(space, Architecture(space.name, picks)), torch.no_grad():
        masked, removed = space(*case.examples), space.decide()(*case.examples)
    assert_close(removed, masked)


def test_counted_costs_are_those_of_the_program(case):
    network = case.decided.describe()
    figures = {name: int(COST_MODELS[name](network)) for name in ("flash_bytes", "peak_ram_bytes", "macs")}
    program = case.program
    assert figures == {
        "flash_bytes": program.flash_bytes(),
        "peak_ram_bytes": program.peak_ram_bytes(),
        "macs": program.macs(),
    }


def test_costs_of_the_fixed_picks_are_those_of_the_decided_network(case):
    assert_open_equals_decided(case.space, case.space.decide())


def test_costs_of_the_narrowest_picks_are_those_of_the_decided_network(case):
    """One channel a gate: grouped convolutions read as many channels as they have groups, depthwise ones read one."""
    gates = {gate.name: (1,) + (0,) * (gate.groups - 1) for gate in case.space.gates.values()}
    with decisions_as(case.space, case.architecture.having(gates)):
        assert_open_equals_decided(case.space, case.space.decide())


def test_a_program_survives_its_file(case, tmp_path):
    case.program.save(tmp_path / "program.safetensors")
    loaded = Program.load(tmp_path / "program.safetensors")
    assert_same_codes(Executor(loaded)(*case.arrays, intermediate=True), case.codes)


def test_a_space_survives_its_file(case, tmp_path):
    for name, space in (("open", case.space), ("decided", case.decided)):
        space.save(tmp_path / name)
        loaded = Space.load(tmp_path / name)
        assert loaded.architecture() == space.architecture()
        codes = (loaded.decide() if name == "open" else loaded).codes(*case.batches)
        assert all(torch.equal(codes[tensor], case.codes[tensor]) for tensor in case.codes)


def test_the_model_is_left_as_it_was(case):
    assert case.model.training == (case.seed % 3 == 0)
    state = case.model.state_dict()
    assert state.keys() == case.state.keys()
    assert all(torch.equal(state[name], value) for name, value in case.state.items())


@pytest.mark.slow
@pytest.mark.parametrize("first", range(NETWORKS, NETWORKS + SLOW_NETWORKS, SLOW_BATCH))
def test_five_hundred_more(first, tmp_path):
    for seed in range(first, first + SLOW_BATCH):
        case = Case(seed)
        assert_same_codes(Executor(case.program)(*case.arrays, intermediate=True), case.codes)
        test_counted_costs_are_those_of_the_program(case)
        assert_onnx_agrees(case, optimized=seed % 2 == 0)
        for optimize in (SPEED, SIZE):
            native = ("-march=native",) if seed % 2 and platform.machine() == "x86_64" else ()
            assert_c_agrees(case, tmp_path, optimize, *(SANITIZED if seed % 5 == 0 else ("-O1",)), *native)
        if seed % 10 == 3:
            assert_a_core_agrees(case, tmp_path, SIZE)


def names_in(name, arguments):
    """An activation's name, and those of the steps that it is composed of."""
    steps = arguments.get("steps", ())
    return {name}.union(*(names_in(step["name"], step["arguments"]) for step in steps))


def test_the_networks_hold_every_operator_and_activation():
    specs = [case_of(seed).space.spec for seed in range(NETWORKS)]
    blocks = [block for spec in specs for block in spec.blocks]
    assert {block.op for block in blocks} == BLOCKS.keys()
    names = set().union(*(names_in(*block.activation) for block in blocks))
    assert names == (ACTIVATIONS.keys() | ARITHMETIC.keys()) - {"softsign"}
    assert {len(block.attributes["kernel"]) for block in blocks if block.op == "conv"} == {1, 2, 3}
    assert any(sum(block.weights is not None for block in spec.blocks) > len(spec.weights) for spec in specs)  # shared


def test_the_networks_are_no_constants():
    """A law about networks that give the same whatever they see would hold for nothing."""
    seeds = range(0, NETWORKS, 5)
    varied = 0.0
    for seed in seeds:
        case = case_of(seed)
        stored = {block.name for block in case.decided.spec.blocks if block.operator.stored}
        codes = {name: tensor for name, tensor in case.codes.items() if name not in stored}
        varied += sum(len(tensor[:2].unique()) > 1 for tensor in codes.values()) / len(codes)
    assert varied > 0.85 * len(seeds)


def test_every_kind_of_decision_is_made():
    roles = {decision.role for seed in range(NETWORKS) for decision in case_of(seed).space.decisions.values()}
    assert roles == {"channels", "bits", "activation_bits", "kernel", "receptive_field", "dilation", "branch"}


def test_networks_are_what_their_seed_says():
    for seed in (3, 4):
        (first, x), (second, y) = random_network(seed), random_network(seed)
        assert all(map(torch.equal, as_tuple(x), as_tuple(y))) and str(first) == str(second)
        assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert isinstance(random_network(5)[0], nn.Module)
