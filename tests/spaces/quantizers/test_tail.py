"""The fused norm, mask, clamp and quantization against the same as a chain of plain autograd operators."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from search.errors import UsageError
from spaces.blocks.norm import Norm
from spaces.passes.passes import Codes, Sum
from spaces.quantizers import tail as tails
from spaces.quantizers.scales import NormUse, scales_of, steps_of
from spaces.quantizers.tail import SLICE

QUANTIZED = [Codes(0, 15), Codes(-128, 127), Codes(-3, 12)]
PLAIN = [Codes(0.0, float("inf")), Codes(float("-inf"), float("inf")), Codes(0.0, 6.0)]
KEEPS = [None, (1.0, 1.0, 1.0, 1.0), (1.0, 0.0, 1.0, 0.0)]
SHAPES = [(3, 4), (5, 4, 6), (2, 4, 3, 5), (2, 4, 3, 2, 2)]


def channels(vector: Tensor, like: Tensor) -> Tensor:
    return vector.view(1, -1, *(1,) * (like.dim() - 2))


def quantized(x: Tensor, log_step: Tensor | None, codes: Codes) -> Tensor:
    """Clamp and rounding with the straight-through gradient; the step's gradient scaled as LSQ says (section 2.2)."""
    if log_step is None:
        return x.clamp(codes.low, codes.high)
    scale = (x[0].numel() * max(codes.high, 1.0)) ** -0.5
    step = (log_step * scale + (log_step - log_step * scale).detach()).exp()
    inside = (x / step).clamp(codes.low, codes.high)
    return (inside + (inside.round() - inside).detach()) * step


def leaves(shape: tuple, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """x, log_step and the gradient that comes back, in float64 so that the comparison can be sharp."""
    generator = torch.Generator().manual_seed(seed)
    x, grad = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    return (3 * x).requires_grad_(), torch.tensor(-1.3, dtype=torch.float64, requires_grad=True), grad


def step_of(log_step: Tensor | None) -> Tensor | None:
    return None if log_step is None else steps_of([log_step])[0]


def tail(x: Tensor, keep: Tensor | None, log_step: Tensor | None, codes: Codes) -> Tensor:
    return tails.tail(Sum(x), keep, step_of(log_step), codes)


def norm_tail(
    x: Tensor, norm: Norm, keep: Tensor | None, log_step: Tensor | None, codes: Codes, renormalized: bool = False
) -> Tensor:
    step = step_of(log_step)
    (scales,) = scales_of([NormUse(norm, keep, step)])
    return tails.norm_tail(x, norm, scales, keep, step, codes, renormalized=renormalized)


def norm(training: bool, seed: int = 1) -> Norm:
    generator = torch.Generator().manual_seed(seed)
    made = Norm(4).double().train(training)
    for tensor in (made.weight, made.bias, made.running_mean, made.running_var):
        tensor.data = torch.randn(4, generator=generator, dtype=torch.float64)
    made.running_var.abs_().add_(0.5)
    made.bias.data.abs_()  # some of each channel passes a ReLU
    return made


def mask(keep: tuple | None) -> Tensor | None:
    return None if keep is None else torch.tensor(keep, dtype=torch.float64, requires_grad=True)


def open_mask() -> Tensor:
    return torch.ones(4, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("keep", KEEPS, ids=str)
@pytest.mark.parametrize("codes", QUANTIZED + PLAIN, ids=str)
def test_tail_is_the_chain(shape, keep, codes):
    x, log_step, grad = leaves(shape)
    step = log_step if codes in QUANTIZED else None
    found = tail(x, mask(keep), step, codes)
    inputs = (x, log_step) if step is not None else (x,)
    expected = quantized(x if keep is None else x * channels(mask(keep).detach(), x), step, codes)
    torch.testing.assert_close(found, expected)
    for a, b in zip(torch.autograd.grad(found, inputs, grad), torch.autograd.grad(expected, inputs, grad), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("keep", KEEPS[1:], ids=str)
@pytest.mark.parametrize("codes", QUANTIZED + PLAIN, ids=str)
def test_a_mask_gets_the_gradient_of_an_open_channel(keep, codes):
    x, log_step, grad = leaves((2, 4, 3, 5))
    step = log_step if codes in QUANTIZED else None
    closed, opened = mask(keep), open_mask()
    tail(x, closed, step, codes).backward(grad)
    quantized(x * channels(opened, x), step, codes).backward(grad)
    torch.testing.assert_close(closed.grad, opened.grad)
    assert (closed.grad != 0).all()


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("keep", KEEPS, ids=str)
@pytest.mark.parametrize("codes", [*QUANTIZED, *PLAIN], ids=str)
def test_norm_tail_is_the_chain(shape, keep, codes, training):
    x, log_step, grad = leaves(shape)
    ours, theirs = norm(training), norm(training)
    step = log_step if codes in QUANTIZED else None
    found = norm_tail(x, ours, mask(keep), step, codes)
    y = F.batch_norm(
        x, theirs.running_mean, theirs.running_var, theirs.weight, theirs.bias, training, theirs.momentum, theirs.eps
    )
    expected = quantized(y if keep is None else y * channels(mask(keep).detach(), x), step, codes)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    inputs = (x, log_step) if step is not None else (x,)
    ours_grads = torch.autograd.grad(found, (*inputs, ours.weight, ours.bias), grad)
    theirs_grads = torch.autograd.grad(expected, (*inputs, theirs.weight, theirs.bias), grad)
    for a, b in zip(ours_grads, theirs_grads, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("codes", QUANTIZED, ids=str)
def test_a_mask_behind_a_norm_gets_the_gradient_of_an_open_channel(codes, training):
    x, log_step, grad = leaves((2, 4, 3, 5))
    closed, opened = mask((1.0, 0.0, 0.0, 1.0)), open_mask()
    norm_tail(x, norm(training), closed, log_step, codes).backward(grad)
    norm_tail(x, norm(training), opened, log_step, codes).backward(grad)
    torch.testing.assert_close(closed.grad, opened.grad)
    assert (closed.grad != 0).all()


def test_frozen_statistics_are_constants_though_in_training():
    x, log_step, grad = leaves((3, 4, 5))
    frozen, evaluated = norm(True), norm(False)
    frozen.frozen = True
    (ours,) = torch.autograd.grad(norm_tail(x, frozen, None, log_step, QUANTIZED[0]), x, grad)
    (theirs,) = torch.autograd.grad(norm_tail(x, evaluated, None, log_step, QUANTIZED[0]), x, grad)
    assert torch.equal(ours, theirs)
    assert torch.equal(frozen.running_mean, evaluated.running_mean)


def renormalized(x: Tensor, norm: Norm) -> Tensor:
    """Batch renormalization (arXiv 1702.03275, algorithm 1, without bounds on r and d) as plain operators."""
    dims = [d for d in range(x.dim()) if d != 1]
    mean, variance = x.mean(dims), x.var(dims, correction=0)
    deviation, running = (variance + norm.eps).sqrt(), (norm.running_var + norm.eps).sqrt()
    r, d = (deviation / running).detach(), ((mean - norm.running_mean) / running).detach()
    y = (x - channels(mean, x)) / channels(deviation, x) * channels(r, x) + channels(d, x)
    return y * channels(norm.weight, x) + channels(norm.bias, x)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("keep", KEEPS, ids=str)
@pytest.mark.parametrize("codes", [*QUANTIZED, *PLAIN], ids=str)
def test_a_renormalized_tail_has_the_gradients_of_batch_renormalization(shape, keep, codes):
    x, log_step, grad = leaves(shape)
    ours, theirs = norm(True), norm(True)
    step = log_step if codes in QUANTIZED else None
    found = norm_tail(x, ours, mask(keep), step, codes, renormalized=True)
    y = renormalized(x, theirs)
    expected = quantized(y if keep is None else y * channels(mask(keep).detach(), x), step, codes)
    torch.testing.assert_close(found, expected)
    inputs = (x, log_step) if step is not None else (x,)
    ours_grads = torch.autograd.grad(found, (*inputs, ours.weight, ours.bias), grad)
    theirs_grads = torch.autograd.grad(expected, (*inputs, theirs.weight, theirs.bias), grad)
    for a, b in zip(ours_grads, theirs_grads, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_renormalized_tail_has_the_values_of_evaluation_and_its_statistics_follow_the_batch(shape):
    x, log_step, _ = leaves(shape)
    ours, evaluated, training = norm(True), norm(False), norm(True)
    found = norm_tail(x, ours, None, log_step, QUANTIZED[1], renormalized=True)
    assert torch.equal(found, norm_tail(x, evaluated, None, log_step, QUANTIZED[1]))
    norm_tail(x, training, None, log_step, QUANTIZED[1])
    torch.testing.assert_close(ours.running_mean, training.running_mean)
    torch.testing.assert_close(ours.running_var, training.running_var)
    assert not torch.equal(ours.running_mean, evaluated.running_mean)


def test_a_renormalized_gradient_has_no_part_along_the_channel_or_its_mean():
    """So the size of weights and the mean of a channel, which the norm takes out, stay out of the gradient too."""
    x, _, grad = leaves((6, 4, 3, 5))
    made = norm(True)
    (found,) = torch.autograd.grad(norm_tail(x, made, None, None, PLAIN[1], renormalized=True), x, grad)
    (frozen,) = torch.autograd.grad(norm_tail(x, norm(False), None, None, PLAIN[1]), x, grad)
    for gradient, vanishes in ((found, True), (frozen, False)):
        along = torch.stack([gradient.sum((0, 2, 3)), (gradient * x).sum((0, 2, 3))]).abs()
        assert bool(along.max() < 1e-3) is vanishes  # eps is in the deviation


def test_a_frozen_norm_is_constant_even_where_it_would_be_renormalized():
    x, log_step, grad = leaves((3, 4, 5))
    frozen, evaluated = norm(True), norm(False)
    frozen.frozen = True
    (ours,) = torch.autograd.grad(norm_tail(x, frozen, None, log_step, QUANTIZED[0], renormalized=True), x, grad)
    (theirs,) = torch.autograd.grad(norm_tail(x, evaluated, None, log_step, QUANTIZED[0]), x, grad)
    assert torch.equal(ours, theirs) and torch.equal(frozen.running_mean, evaluated.running_mean)


def test_the_slice_of_a_batch_of_like_samples_is_the_whole():
    x, log_step, grad = leaves((1, 4, 3, 5))
    single, samples = tail(x, None, log_step, QUANTIZED[1]), 4 * SLICE
    (one,) = torch.autograd.grad(single, log_step, grad)
    many = tail(x.expand(samples, -1, -1, -1).contiguous(), None, log_step, QUANTIZED[1])
    (all_of_them,) = torch.autograd.grad(many, log_step, grad.expand(samples, -1, -1, -1))
    torch.testing.assert_close(all_of_them, samples * one)


def test_the_slice_is_right_on_average():
    """The mean over the rotations of a batch, each sample once in the slice, is the gradient of all samples."""
    x, log_step, grad = leaves((2 * SLICE, 4, 5))
    x = x.detach()

    def gradient(shift: int) -> Tensor:
        y = tail(x.roll(shift, 0), None, log_step, QUANTIZED[0])
        return torch.autograd.grad(y, log_step, grad.roll(shift, 0))[0]

    mean = torch.stack([gradient(shift) for shift in range(SLICE)]).mean()
    (whole,) = torch.autograd.grad(quantized(x, log_step, QUANTIZED[0]), log_step, grad)
    torch.testing.assert_close(mean, whole)
    assert not torch.isclose(gradient(0), whole, rtol=1e-3)  # or no slice was taken


@pytest.mark.parametrize("renormalized", [False, True])
def test_a_batch_of_one_value_a_channel_is_refused(renormalized):
    x, log_step, _ = leaves((1, 4))
    with pytest.raises(ValueError, match=r"one value a channel in a batch of shape \(1, 4\); two are needed"):
        norm_tail(x, norm(training=True), None, log_step, QUANTIZED[0], renormalized=renormalized)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # compiled passes, and torch's operators
def test_a_gradient_of_a_gradient_is_refused(dtype):
    x = torch.randn(4, 3, 5, dtype=dtype, requires_grad=True)
    y = tails.tail(Sum(x), None, torch.tensor(0.1, dtype=dtype), QUANTIZED[0]).square().sum()
    with pytest.raises(UsageError, match="create_graph=True"):
        torch.autograd.grad(y, x, create_graph=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # compiled passes, and torch's operators
@pytest.mark.parametrize("size", [3, 300])
def test_nan_stays_so_that_divergence_is_found(dtype, size):
    x = torch.ones(2, 4, size, dtype=dtype)
    x[1, 2] = float("nan")
    made = tails.tail(Sum(x), None, torch.tensor(0.1, dtype=dtype), QUANTIZED[0])
    assert torch.equal(made.isnan(), x.isnan())
