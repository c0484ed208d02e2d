"""Weights and activations: gradients against plain autograd, first steps, codes, refusals."""

import math

import pytest
import torch
from torch import Tensor

from spaces.blocks.block import activation_table
from spaces.passes.passes import Sum
from spaces.quantizers import ActivationQuantizer, WeightQuantizer
from spaces.quantizers.calibrate import Sample, activation_range, weight_steps
from spaces.quantizers.grids import grids_of
from spaces.quantizers.tail import tail

METHODS = ("lsq", "minmax", "mse")
SHAPE = (3, 4, 3, 3)
FAN_IN = 36


def plain(w: Tensor, log_step: Tensor, bound: Tensor) -> Tensor:
    """LSQ of rows by autograd alone: straight-through rounding, the step's gradient scaled by 1/sqrt(N Q_p)."""
    scale = (FAN_IN * bound) ** -0.5
    step = (log_step * scale + (log_step - log_step * scale).detach()).exp().view(-1, 1, 1, 1)
    limit = bound.view(-1, 1, 1, 1)
    inside = torch.minimum(torch.maximum(w / step, -limit), limit)
    return (inside + (inside.round() - inside).detach()) * step


def quantizer(widths: tuple[int, ...] = (2, 4, 8)) -> tuple[WeightQuantizer, Tensor, Tensor]:
    """A quantizer in tune, weights, and the gradient that comes back."""
    generator = torch.Generator().manual_seed(0)
    w, grad = (torch.randn(SHAPE, generator=generator, dtype=torch.float64) for _ in range(2))
    made = WeightQuantizer(widths, SHAPE[0]).double()
    made.calibrate(w, "mse")
    with torch.no_grad():
        made.log_step.sub_(0.01)  # or the largest weight would lie on the clamp, where the slope is a matter of taste
    return made, w.requires_grad_(), grad


def one_hot(*picks: int) -> Tensor:
    return torch.nn.functional.one_hot(torch.tensor(picks), 3).double().requires_grad_()


def test_one_precision_is_plain_lsq():
    made, w, grad = quantizer((4,))
    found, expected = made(w, None, None), plain(w, made.log_step[0], made.bound[0])
    torch.testing.assert_close(found, expected)
    inputs = (w, made.log_step)
    for a, b in zip(torch.autograd.grad(found, inputs, grad), torch.autograd.grad(expected, inputs, grad), strict=True):
        torch.testing.assert_close(a, b)


def test_a_hard_mixture_computes_the_picked_precision_of_each_channel():
    made, w, _ = quantizer()
    each = [plain(w, made.log_step[p], made.bound[p]) for p in range(3)]
    found = made(w, one_hot(2, 0, 1), torch.full((3, 3), 1 / 3, dtype=torch.float64))
    torch.testing.assert_close(found, torch.stack((each[2][0], each[0][1], each[1][2])))


def test_gradients_of_a_hard_mixture():
    """Weights through the picked precision, shares as in the sum over precisions, steps by their probability."""
    made, w, grad = quantizer()
    share = one_hot(2, 0, 1)
    probability = torch.tensor([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1]], dtype=torch.float64)
    d_w, d_step, d_share = torch.autograd.grad(made(w, share, probability), (w, made.log_step, share), grad)
    each = torch.stack([plain(w, made.log_step[p], made.bound[p]) for p in range(3)], 1)  # (C, P, ...)
    mixture = (each * share[..., None, None, None]).sum(1)
    torch.testing.assert_close((d_w, d_share), torch.autograd.grad(mixture, (w, share), grad, retain_graph=True))
    by_precision = torch.autograd.grad(each, made.log_step, grad[:, None].expand_as(each))[0]
    torch.testing.assert_close(d_step, by_precision * probability.t())


def test_a_choice_for_the_whole_tensor_sums_the_gradients_of_its_channels():
    made, w, grad = quantizer()
    share = one_hot(1)
    made(w, share, torch.full((1, 3), 1 / 3, dtype=torch.float64)).backward(grad)
    each = torch.stack([plain(w, made.log_step[p], made.bound[p]) for p in range(3)])
    torch.testing.assert_close(share.grad[0], (each * grad).flatten(1).sum(1))


def test_a_soft_mixture_is_the_weighted_sum_with_its_gradients():
    made, w, grad = quantizer()
    logits = torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    share = torch.softmax(logits, 1).requires_grad_()
    found = made(w, share, share.detach(), soft=True)
    each = torch.stack([plain(w, made.log_step[p], made.bound[p]) for p in range(3)], 1)
    expected = (each * share[..., None, None, None]).sum(1)
    torch.testing.assert_close(found, expected)
    inputs = (w, made.log_step, share)
    for a, b in zip(torch.autograd.grad(found, inputs, grad), torch.autograd.grad(expected, inputs, grad), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("bits", range(2, 9))
def test_codes_are_symmetric_and_are_what_training_used(bits):
    w = torch.randn(SHAPE, generator=torch.Generator().manual_seed(bits)) * 3
    made = WeightQuantizer((bits,), SHAPE[0], [bits] * SHAPE[0])
    made.calibrate(w, "mse")
    codes, step = made.integers(w)
    bound = 2 ** (bits - 1) - 1
    assert torch.equal(codes, codes.round()) and codes.abs().max() == bound
    assert torch.equal(codes * step.view(-1, 1, 1, 1), made(w, None, None))


def test_integers_of_open_precisions_are_refused():
    with pytest.raises(RuntimeError, match=r"before the precisions were decided; call Space\.decide"):
        WeightQuantizer((2, 8), 3).integers(torch.zeros(SHAPE))


@pytest.mark.parametrize("bits", [0, 9])
def test_impossible_weight_bits_are_refused(bits):
    with pytest.raises(ValueError, match=rf"weight bits \[{bits}\]: possible are \[1, 2, 3, 4, 5, 6, 7, 8\]"):
        WeightQuantizer((4, bits), 3)


# First steps


def error(rows: Tensor, step: Tensor, bound: Tensor) -> Tensor:
    limit = bound[:, None]
    codes = torch.minimum(torch.maximum((rows / step[:, None]).round(), -limit), limit)
    return (codes * step[:, None] - rows).square().sum(1)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_mse_is_never_worse_than_minmax(bits):
    rows = torch.randn(16, 200, generator=torch.Generator().manual_seed(bits))
    bound = torch.full((16,), 2.0 ** (bits - 1) - 1)
    best, widest = (error(rows, weight_steps(rows, bound, method), bound) for method in ("mse", "minmax"))
    assert (best <= widest).all()
    assert bits == 8 or (best < widest).any()


def test_first_weight_steps_by_hand():
    rows = torch.tensor([[3.0, -1.0, 0.0, 2.0]])
    bound = torch.tensor([4.0])
    assert weight_steps(rows, bound, "minmax").item() == 3.0 / 4
    assert weight_steps(rows, bound, "lsq").item() == 2 * 1.5 / 2


@pytest.mark.parametrize("method", METHODS)
def test_weights_of_zero_have_a_step(method):
    step = weight_steps(torch.zeros(2, 5), torch.tensor([1.0, 127.0]), method)
    assert (step > 0).all() and torch.isfinite(step.log()).all()


def sample_of(values: Tensor) -> Sample:
    """Of one example."""
    return Sample([values[None]], values.min().item(), values.max().item())


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("nonnegative", [True, False])
def test_mse_of_activations_is_never_worse_than_minmax(bits, nonnegative):
    sample = torch.randn(2000, generator=torch.Generator().manual_seed(bits)) ** 3
    sample = sample.clamp(min=0) if nonnegative else sample

    def squared_error(method: str) -> float:
        step, zero = activation_range(sample_of(sample), bits, method, nonnegative)
        assert zero == 0 or not nonnegative
        return (((sample / step).round().clamp(-zero, 2**bits - 1 - zero) * step - sample) ** 2).sum().item()

    assert squared_error("mse") <= squared_error("minmax")


@pytest.mark.parametrize("scale", [1e-35, 1e-10, 1.0, 1e25, 1e35])
@pytest.mark.parametrize("nonnegative", [True, False])
def test_a_range_goes_with_the_scale_of_the_values(scale, nonnegative):
    values = torch.randn(20, 64, generator=torch.Generator().manual_seed(0))
    one, scaled = (
        activation_range(Sample([values * by], -4.0 * by, 4.0 * by), 8, "mse", nonnegative) for by in (1.0, scale)
    )
    assert scaled[0] == pytest.approx(one[0] * scale, rel=1e-6) and scaled[1] == one[1]
    rows = values * scale
    bound = torch.full((20,), 7.0)
    torch.testing.assert_close(weight_steps(rows, bound, "mse"), weight_steps(values, bound, "mse") * scale)


@pytest.mark.parametrize("factor", [1e3, 1e6, -1e3, 1e12])
def test_one_value_of_one_example_does_not_set_the_range_of_all_others(factor):
    values = torch.rand(20, 64, generator=torch.Generator().manual_seed(0)) * 2 - 0.5  # -0.5 .. 1.5
    step, zero = activation_range(Sample([values], -0.5, 1.5), 8, "mse", False)
    values[7, 13] = factor
    with_outlier = activation_range(Sample([values], min(-0.5, factor), max(1.5, factor)), 8, "mse", False)
    assert with_outlier[0] == pytest.approx(step, rel=0.1) and with_outlier[1] == pytest.approx(zero, abs=8)


def test_minmax_of_activations_covers_them_and_zero():
    step, zero = activation_range(sample_of(torch.tensor([-1.0, 2.0, 4.14])), 8, "minmax", False)
    assert step == pytest.approx(5.14 / 255) and zero == 50  # 49.6 steps below zero
    step, zero = activation_range(sample_of(torch.tensor([2.0, 4.0])), 8, "minmax", False)
    assert step == pytest.approx(4.0 / 255) and zero == 0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("nonnegative", [True, False])
def test_a_dead_tensor_has_a_step_that_can_be_lowered(method, nonnegative):
    step, zero = activation_range(sample_of(torch.zeros(10)), 8, method, nonnegative)
    assert step == 1 and zero == (0 if nonnegative else 128)


# Activations


def calibrated(sample: Tensor, **options) -> ActivationQuantizer:
    made = ActivationQuantizer(**{"bits": 8, **options})
    made.observe(sample)
    made.calibrate("minmax")
    return made


def test_codes_come_back_from_their_values():
    made = calibrated(torch.tensor([-2.0, 5.0]))
    codes = torch.arange(256)
    assert torch.equal(made.codes(made.decode(codes)), codes)
    assert torch.equal(made.encode(made.decode(codes)), codes)


def test_encode_rounds_half_up_and_clips():
    made = ActivationQuantizer(8)
    with torch.no_grad():
        made.log_step.zero_()  # a step of 1, zero point 128
    values = torch.tensor([-1e30, -128.0, -0.5, 0.5, 1.5, 127.4, 1e30])
    assert made.encode(values).tolist() == [0, 0, 128, 129, 130, 255, 255]


def test_quantizing_does_the_work_of_the_relu_and_of_its_ceiling():
    made = calibrated(torch.tensor([0.0, 3.0, 9.0]), nonnegative=True, ceiling=6.0)
    (grid,) = grids_of([made], [None])
    values = tail(Sum(torch.tensor([[-1.0, 5.9, 7.0, 100.0]])), None, *grid)
    assert values[0, 0] == 0
    assert values[0, 3] == values[0, 2] and values[0, 3].item() == pytest.approx(6.0, abs=made.step / 2)
    assert made.zero_point == 0 and made.bounds()[1] <= 255


def test_an_activation_table_rounds_half_up_and_clips():
    source, output = ActivationQuantizer(3), ActivationQuantizer(2)  # zero points 4 and 2
    with torch.no_grad():
        source.log_step.zero_()
        output.log_step.fill_(math.log(2))
    table = activation_table(source, output, ("scale", {"factor": 1.0, "offset": 1.0}))
    assert table.tolist() == [1, 1, 2, 2, 3, 3, 3, 3]  # (code - 4 + 1) / 2, half up, + 2; at most 3


def test_calibrating_before_observing_is_refused():
    with pytest.raises(RuntimeError, match="run a batch through the network first"):
        ActivationQuantizer(8).calibrate("mse")


@pytest.mark.parametrize("bits", [1, 17])
def test_impossible_activation_bits_are_refused(bits):
    with pytest.raises(ValueError, match=f"activation bits {bits}: 2 to 16 are possible"):
        ActivationQuantizer(bits)


def test_one_bit_is_the_sign_with_the_gradients_of_a_clamp():
    made = WeightQuantizer((1,), 2)
    w = torch.tensor([[0.5, -0.1, 0.0], [3.0, -1.5, 1.0]], requires_grad=True)
    made.calibrate(w, "mse")
    steps = made.log_step[0].exp()
    torch.testing.assert_close(steps.detach(), w.detach().abs().mean(1))
    y = made(w, None, None)
    torch.testing.assert_close(y.detach(), torch.tensor([[1.0, -1, 1], [1, -1, 1]]) * steps.detach()[:, None])
    y.sum().backward()
    assert w.grad.tolist() == [[0.0, 1.0, 1.0], [0.0, 1.0, 1.0]]  # 0.5 lies beyond the step of 0.2, 3.0 beyond 1.83
    codes, _ = made.integers(w)
    assert codes.tolist() == [[1, -1, 1], [1, -1, 1]]
