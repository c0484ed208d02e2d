"""Gradients through blocks in training are those of the operators of torch that they stand for."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.spaces.graph.converting import SHAPE, Form, converted, drawn

FORMS = {
    "take": Form("", lambda n, x: n.b(n.a(x)[:, [1, 0, 0, 5]].roll(1, 2))),
    "permute": Form("", lambda n, x: n.b(n.a(x).transpose(2, 3))),
    "reshape": Form("", lambda n, x: n.b(n.a(x).view(-1, 4, 8, 6))),
    "resample": Form("", lambda n, x: n.b(F.interpolate(n.a(x), (7, 11), mode="bilinear", align_corners=True))),
    "conv_transpose": Form("", lambda n, x: n.b(n.d(n.a(x))), lambda: {"d": nn.ConvTranspose2d(8, 6, 3, 2, groups=2)}),
    "matmul": Form("", lambda n, x: n.b(n.a(x) @ n.c(x).transpose(2, 3))),
    "softmax": Form("", lambda n, x: n.b(n.a(x).softmax(-1))),
    "normalize": Form("", lambda n, x: n.b(n.d(n.a(x))), lambda: {"d": nn.GroupNorm(2, 8)}),
    "a norm without a mean": Form("", lambda n, x: n.b(n.d(n.a(x))), lambda: {"d": nn.RMSNorm((8, 4, 6))}),
    "constant": Form("", lambda n, x: n.b(n.a(x) * n.p), lambda: {"p": nn.Parameter(torch.randn(8, 4, 6))}),
}


@pytest.mark.parametrize("name", FORMS)
def test_gradients_are_those_of_torch(name):
    model = FORMS[name].network()
    space = converted(model, SHAPE).train()
    (x,) = drawn(SHAPE)
    found, wanted = x.clone().requires_grad_(), x.clone().requires_grad_()
    space(found).square().sum().backward()
    model(wanted).square().sum().backward()
    torch.testing.assert_close(found.grad, wanted.grad, rtol=1e-4, atol=1e-4 * wanted.grad.abs().max().item())
    for layer in ("a", "b"):
        expected = getattr(model, layer).weight.grad
        torch.testing.assert_close(
            space.weights[layer].weight.grad, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item()
        )


def test_gradients_of_a_constant_are_those_of_its_parameter():
    model = FORMS["constant"].network()
    space = converted(model, SHAPE).train()
    for each in (space, model):
        each(*drawn(SHAPE)).square().sum().backward()
    (constant,) = [block for block in space.blocks if block.spec.op == "constant"]
    torch.testing.assert_close(constant.values.grad, model.p.grad)


def test_gradients_of_a_transposed_convolution_are_those_of_its_kernels_mirrored():
    model = FORMS["conv_transpose"].network()
    space = converted(model, SHAPE).train()
    for each in (space, model):
        each(*drawn(SHAPE)).square().sum().backward()
    found = space.weights["d"].weight.grad.view(2, 3, 4, 3, 3).transpose(1, 2).reshape(8, 3, 3, 3).flip(2, 3)
    torch.testing.assert_close(found, model.d.weight.grad)
