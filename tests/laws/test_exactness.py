"""The one promise: training, NumPy and the cost models mean the same network, to the bit, whatever the network."""

import copy
import math
import random
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cost_models import COST_MODELS
from search.budgets.feasibility import decisions_as
from search.deploy.lower import lower
from search.integer.executor import Executor
from search.integer.program import Program
from spaces.architecture import Architecture
from spaces.blocks import BLOCKS, Block
from spaces.blocks.activations import ACTIVATIONS, ARITHMETIC
from spaces.decisions.decision import Decision, Gate
from spaces.patterns import Structured
from spaces.searchable import Options, searchable
from spaces.space import Space
from tests.laws.costs import assert_open_equals_decided
from tests.laws.random_networks import random_network

NETWORKS = 200
SLOW_NETWORKS, SLOW_BATCH = 2_000, 50
WEIGHT_BITS = ((0, 2, 4, 8), (0, 2, 3, 4, 5, 6, 7, 8), (0, 8), (2, 8), (0, 4), (0, 1, 2, 8), (1,))
ACTIVATION_BITS = (
    *((8, None, None), (8, 16, 16), (7, 8, None), (4, 8, 8), (2, None, None), (3, 2, 9)),
    *(((2, 4, 8), None, None), ((2, 4, 8), 16, 8), ((3, 6, 8), 4, None)),
)
LARGEST = float(np.finfo(np.float32).max)

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass
class Case:
    """A random network, searched at random. Odd seeds have steps that are powers of two, so that sums fall on ties."""

    seed: int

    def __post_init__(self) -> None:
        self.model, self.example = random_network(self.seed)
        self.model.train(self.seed % 3 == 0)
        self.state = copy.deepcopy(self.model.state_dict())
        rng = random.Random(self.seed)
        self.space = searchable(self.model, self.example, _options(rng, self.model)).eval()
        self.space.calibrate([self.example, 3 * self.example], rng.choice(("mse", "minmax", "lsq")))
        if self.seed % 2:
            _powers_of_two(self.space)
        generator = torch.Generator().manual_seed(self.seed)
        for weights in self.space.weights.values():
            if isinstance(weights.pattern, Structured):  # some of its structures are gone
                drawn = torch.randint(3, weights.pattern.v.shape, generator=generator)
                weights.pattern.v.data.copy_(torch.tensor([0.05, 0.7, 1.3])[drawn])
        self.space.set_mode("fake")
        picks = {name: _pick(decision, rng) for name, decision in self.space.decisions.items()}
        self.architecture = Architecture(self.space.name, picks)
        self.space.fix(self.architecture)
        self.decided = self.space.decide()
        self.program = lower(self.decided)

    @cached_property
    def batch(self) -> Tensor:
        """Plain samples, large ones, zeros, and the largest numbers that there are."""
        x = self.example
        return torch.cat([x, 100 * x, torch.zeros_like(x), torch.full_like(x, LARGEST), torch.full_like(x, -LARGEST)])

    @cached_property
    def codes(self) -> dict[str, Tensor]:
        return self.decided.codes(self.batch)


def _options(rng: random.Random, model: nn.Module) -> Options:
    granularity = rng.choice(("channel", "channel", "tensor"))
    weights, activations, kernels = rng.choice(WEIGHT_BITS), rng.choice(ACTIVATION_BITS), rng.choice(((), (1, 3)))
    causal = any(name.endswith("causal") for name, _ in model.named_modules())
    time = ("*.causal",) if causal and rng.random() < 0.7 else ()
    pattern = rng.choice(("", "", "1:2", "2:4", "columns", "channels", "blocks 2x3")) if 1 not in weights else ""
    if not any(isinstance(m, nn.Conv2d | nn.Conv3d) and max(m.kernel_size) > 1 for m in model.modules()):
        kernels = ()
    return Options(weights, granularity, *activations, kernel_sizes=kernels, time=time, pattern=pattern)


def _powers_of_two(space: Space) -> None:
    with torch.no_grad():
        for name, parameter in space.named_parameters():
            if name.endswith("log_step"):
                parameter.copy_((parameter / math.log(2)).round() * math.log(2))


def _pick(decision: Decision, rng: random.Random) -> tuple[int, ...]:
    if not isinstance(decision, Gate):
        return tuple(rng.choice(decision.options) for _ in range(decision.groups))
    keep = [int(rng.random() < 0.6) for _ in range(decision.groups)]
    keep[rng.randrange(len(keep))] = 1
    return tuple(keep)


@pytest.fixture(scope="module", params=range(NETWORKS))
def case(request) -> Case:
    return Case(request.param)


def assert_same_codes(found: dict[str, np.ndarray], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, codes in expected.items():
        assert found[name].shape == tuple(codes.shape), name
        assert int((found[name] != codes.numpy()).sum()) == 0, name


def test_the_float_space_is_the_model(case):
    space = searchable(case.model, case.example).eval()
    with torch.no_grad():
        found, expected = space(case.example), copy.deepcopy(case.model).eval()(case.example)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * (1 + expected.abs().max().item()))


def test_torch_and_numpy_agree_in_every_element_of_every_tensor(case):
    assert_same_codes(Executor(case.program)(case.batch.numpy(), intermediate=True), case.codes)


def test_the_output_is_the_decoded_code_in_both(case):
    case.decided.set_mode("integer")
    with torch.no_grad():
        expected = case.decided(case.batch)
    assert np.array_equal(Executor(case.program)(case.batch.numpy()), expected.numpy())


STEEPEST = 2.0  # slope of any activation here


def test_integers_are_what_training_saw(case):
    """Block by block: half a code for ties, half a unit of the sum for the bias, 15 bits for the multiplier."""
    seen = []
    hooks = [b.register_forward_hook(lambda b, args, out: seen.append((b, args[1:], out))) for b in case.decided.blocks]
    case.decided.set_mode("fake")
    with torch.no_grad():
        case.decided(torch.cat([case.example, 3 * case.example]))
        for hook in hooks:
            hook.remove()
        for block, inputs, fake in seen:
            if not block.spec.operator.keeps_codes:  # the others move codes and compute nothing
                difference = (block.exact(*inputs) - fake).abs().max().item() / block.output.step
                assert difference <= _allowed(block), block.name


def _allowed(block: Block) -> float:
    """Codes of the output."""
    if block.spec.op == "table":
        return 1.01
    folded, codes = block.folded(), 2 ** block.sum_quantizer().bits
    unit = torch.ldexp(folded.multiplier.double().abs(), -folded.shift).max().item() if folded.bias is not None else 0.0
    of_the_sum = 1.01 + unit / 2 + codes * 2.0**-14
    return of_the_sum if block.pre is None else 1.01 + STEEPEST * of_the_sum * block.pre.step / block.output.step


def test_what_the_mask_hides_is_what_deciding_removes(case):
    """Float sums over fewer terms may be rounded otherwise: a value on a tie may then take the next code, no more."""
    case.decided.set_mode("fake")
    step = case.decided.quantizer(case.decided.spec.outputs[0]).step
    with torch.no_grad():
        masked, removed = case.space(case.batch), case.decided(case.batch)
    torch.testing.assert_close(removed, masked, rtol=1e-6, atol=1.01 * step)


def test_pruning_alone_removes_what_the_mask_hides(case):
    space = searchable(case.model, case.example, Options((0,), activation_bits=None)).eval()
    space.set_mode("fake")
    rng = random.Random(case.seed)
    space.fix(Architecture(space.name, {name: _pick(gate, rng) for name, gate in space.decisions.items()}))
    with torch.no_grad():
        masked, removed = space(case.example), space.decide()(case.example)
    torch.testing.assert_close(removed, masked, rtol=1e-4, atol=1e-5 * (1 + masked.abs().max().item()))


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
    assert_same_codes(Executor(loaded)(case.batch.numpy(), intermediate=True), case.codes)


def test_a_space_survives_its_file(case, tmp_path):
    for name, space in (("open", case.space), ("decided", case.decided)):
        space.save(tmp_path / name)
        loaded = Space.load(tmp_path / name)
        assert loaded.architecture() == space.architecture()
        codes = (loaded.decide() if name == "open" else loaded).codes(case.batch)
        assert all(torch.equal(codes[tensor], case.codes[tensor]) for tensor in case.codes)


def test_the_model_is_left_as_it_was(case):
    assert case.model.training == (case.seed % 3 == 0)
    state = case.model.state_dict()
    assert state.keys() == case.state.keys()
    assert all(torch.equal(state[name], value) for name, value in case.state.items())


@pytest.mark.slow
@pytest.mark.parametrize("first", range(NETWORKS, NETWORKS + SLOW_NETWORKS, SLOW_BATCH))
def test_two_thousand_more(first):
    for seed in range(first, first + SLOW_BATCH):
        case = Case(seed)
        assert_same_codes(Executor(case.program)(case.batch.numpy(), intermediate=True), case.codes)
        test_counted_costs_are_those_of_the_program(case)


def names_in(name, arguments):
    """An activation's name, and those of the steps that it is composed of."""
    steps = arguments.get("steps", ())
    return {name}.union(*(names_in(step["name"], step["arguments"]) for step in steps))


def test_the_networks_hold_every_operator_and_activation():
    specs = [searchable(*random_network(seed)).spec for seed in range(NETWORKS // 2)]
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
        codes = Case(seed).codes
        varied += sum(len(tensor[:2].unique()) > 1 for tensor in codes.values()) / len(codes)
    assert varied > 0.85 * len(seeds)


def test_every_kind_of_decision_is_made():
    roles = {decision.role for seed in range(NETWORKS // 2) for decision in Case(seed).space.decisions.values()}
    assert roles == {"channels", "bits", "activation_bits", "kernel", "receptive_field", "dilation", "branch"}


def test_networks_are_what_their_seed_says():
    for seed in (3, 4):
        (first, x), (second, y) = random_network(seed), random_network(seed)
        assert torch.equal(x, y) and str(first) == str(second)
        assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert isinstance(random_network(5)[0], nn.Module)
