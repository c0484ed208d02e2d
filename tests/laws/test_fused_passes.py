"""Passes in Triton give the bits of torch's operators on a CPU, where Triton's interpreter runs their kernels.

What its interpreter cannot show is tested of the code that Triton makes for a GPU: that it rounds where torch does.
"""

import importlib
import random
import re
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.step_time import ours
from spaces.passes import chosen
from spaces.passes.channels import channels_of
from spaces.passes.chosen import only_eager
from spaces.passes.comparison import CPU, SHAPES, WIDTHS, cases, made_of, made_of_weights, same
from spaces.passes.eager import Eager
from spaces.passes.kernels import kernels
from spaces.passes.library import Library
from spaces.passes.memory import order_of
from spaces.passes.passes import EDGE, Affine, Codes, Moments, Passes, Running, Sum, Way
from tests.laws.test_passes import drawn_shape

FUSED = "spaces.passes.fused"
SMALL = 1600  # numbers, which two programs of a kernel share
BY_SIZE = [pytest.param(shape, marks=pytest.mark.slow if prod(shape) > SMALL else ()) for shape in SHAPES]


def loaded(patch: pytest.MonkeyPatch, interpret: str) -> ModuleType:
    """The module of the kernels, made for the interpreter or for a GPU, and known to this test alone."""
    pytest.importorskip("triton", reason="Triton is not installed")  # as others meet it, before it is told to interpret
    patch.setenv("TRITON_INTERPRET", interpret)
    patch.delitem(sys.modules, FUSED, raising=False)
    module = importlib.import_module(FUSED)
    patch.delitem(sys.modules, FUSED)
    return module


@pytest.fixture(scope="module")
def fused() -> Iterator[Passes]:
    with pytest.MonkeyPatch.context() as patch:
        module = loaded(patch, "1")
        interpreter = importlib.import_module("triton.runtime.interpreter")

        def fma(_: Any, x: Any, y: Any, z: Any) -> Any:
            """The interpreter's own rounds twice. A product of two float32 is exact in float64."""
            made = (x.data.astype(np.float64) * y.data + z.data).astype(np.float32)
            return interpreter.TensorHandle(made, z.dtype.scalar)

        patch.setattr(interpreter.InterpreterBuilder, "create_fma", fma)
        yield module.Fused(CPU)


def assert_same(shape: tuple[int, ...], passes: Passes, seed: int = 0) -> None:
    compared = 0
    for case in cases([shape], seed, ceilings=True):
        for (name, own), (_, eager) in zip(made_of(case, passes), made_of(case, Eager()), strict=True):
            assert same(own, eager), f"{name}, {shape}, {case.x.stride()}, {case.codes}, {case.part}"
            compared += 1
    assert compared > 100


@pytest.mark.parametrize("shape", BY_SIZE, ids=str)
def test_every_pass_gives_the_bits_of_torch(fused: Passes, shape: tuple[int, ...]) -> None:
    assert_same(shape, fused)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_every_pass_over_a_random_tensor_gives_the_bits_of_torch(fused: Passes, seed: int) -> None:
    assert_same(drawn_shape(random.Random(seed)), fused, seed)


@pytest.mark.parametrize("bits", [*WIDTHS, tuple(range(1, 9))], ids=str)
@pytest.mark.parametrize(
    "shapes", [[(1, 1)], [(2, 9)], [(3, 1, 3), (2, 3, 3, 3), (1, 27)], [(1, 16), (2, 1500)]], ids=str
)
def test_weights_have_the_bits_of_torch(
    fused: Passes, bits: tuple[int, ...], shapes: Sequence[tuple[int, ...]]
) -> None:
    made = partial(made_of_weights, bits, shapes, CPU)
    assert all(same(own, eager) for (_, own), (_, eager) in zip(made(fused), made(Eager()), strict=True))


STEP = 0.25  # so that a quotient is exact, and lies on a half or a bound where it should
CODES = Codes(-8, 7)


def odd_numbers() -> Tensor:
    """In units of the step: halves, bounds and their neighbours, large ones, the smallest, and those that are none."""
    edges = [edge for bound in (-8.0, -1.0, 0.0, 1.0, 7.0) for edge in (bound - EDGE, bound, bound + EDGE)]
    large = [2.0**22 + 0.5, 2.0**23 - 0.5, 2.0**23, 2.0**23 + 1, 2.0**24 + 2, 3e38]
    some = torch.tensor([*edges, *large, *(i / 2 for i in range(20)), 1e-40, float("inf")])
    near = [torch.nextafter(some, torch.full_like(some, end)) for end in (-float("inf"), float("inf"))]
    numbers = torch.cat([some, *near])
    return torch.cat([numbers, -numbers, torch.tensor([float("nan")])])


def as_told(made: Tensor, told: Tensor) -> bool:
    """Whether bits are the same, but for those of NaN."""
    return order_of(made) is order_of(told) and torch.equal(
        *(x.nan_to_num(nan=12345.0, posinf=float("inf"), neginf=-float("inf")).view(torch.int32) for x in (made, told))
    )


@pytest.mark.parametrize("step", [torch.tensor(STEP), None], ids=["step", "clamp"])
@pytest.mark.parametrize(
    "codes",
    [CODES, Codes(0, 15), Codes(0.0, float("inf")), Codes(0, torch.tensor(15.0, dtype=torch.float64))],
    ids=["signed", "unsigned", "relu", "of the device"],
)
@np.errstate(all="ignore")
def test_odd_numbers_are_met_as_torch_meets_them(fused: Passes, step: Tensor | None, codes: Codes) -> None:
    v = odd_numbers()
    x = (v if step is None else v * STEP).repeat(2, 3, 1)  # (2, 3, numbers)
    grad = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    grad[..., ::3], grad[..., 1::7], grad[0, 0, :2] = 0.0, -0.0, float("inf")
    part = None if step is None else slice(0, None, 1)
    number, eager = ~x.isnan(), Eager()
    for keep in (None, torch.tensor([0.0, 1.0, -0.0])):
        for plus in (None, torch.tensor([0.0, -0.0, 0.5])):
            made, told = (each.clamped_and_saved(Sum(x, plus), keep, step, codes, part) for each in (fused, eager))
            assert as_told(made[0], told[0]) and as_told(made[1][0], told[1][0])
            assert as_told(fused.clamped(Sum(x, plus), keep, step, codes), told[0])
            back, products = fused.clamped_back(grad, made[1], step, codes, part)
            of_torch, products_of_torch = eager.clamped_back(grad, told[1], step, codes, part)
            assert as_told(back[number], of_torch[number])  # the gradient of NaN is nobody's
            assert products is None or as_told(products[number], products_of_torch[number])
    running, affine = Running(torch.zeros(3), torch.ones(3), 0.1, 0.0), Affine(torch.ones(3), torch.zeros(3))
    assert as_told(fused.normalized(x, running, affine, step, codes), eager.normalized(x, running, affine, step, codes))
    still = Moments(*running[:2])
    way = Way((still, affine), still, affine.scale, of_batch=False)
    dx, told_dx = (each.norm_back(grad, x, way, codes, None)[0] for each in (fused, eager))
    assert as_told(dx[number], told_dx[number])


@pytest.mark.parametrize("bits", [(1, 2, 8), (4,)], ids=str)
@np.errstate(all="ignore")
def test_odd_weights_are_met_as_torch_meets_them(fused: Passes, bits: tuple[int, ...]) -> None:
    w = odd_numbers() * STEP
    of = channels_of([(1, len(w))], CPU)
    bound, step = torch.tensor([max(2.0 ** (b - 1) - 1, 0.5) for b in bits])[:, None], torch.full((len(bits), 1), STEP)
    g = torch.randn(w.shape, generator=torch.Generator().manual_seed(0))
    one_bit, picked, number, eager = 1 in bits, torch.tensor([[len(bits) - 1]]), ~w.isnan(), Eager()
    for p in range(len(bits)):
        made, told = (each.quantized([w], of, step[p], bound[p], one_bit=one_bit) for each in (fused, eager))
        assert as_told(made, told)
    made, told = (each.quantized_back([w], [g], of, step, bound, picked, one_bit=one_bit) for each in (fused, eager))
    assert all(as_told(own[..., number], of_torch[..., number]) for own, of_torch in zip(made, told, strict=True))


def test_what_lies_in_another_order_is_met_as_torch_meets_it(fused: Passes) -> None:
    x, other = torch.randn(2, 4, 3, 3, 5, generator=torch.Generator().manual_seed(0)).unbind(-1)[:2]
    x, other, step = x.contiguous(), other.contiguous(memory_format=torch.channels_last), torch.tensor(0.1)
    for plus in (other, other[:1].expand_as(x)):
        made, told = (each.clamped_and_saved(Sum(x, plus), None, step, CODES, None) for each in (fused, Eager()))
        assert same(made[0], told[0]) and same(made[1][0], told[1][0])
        pairs = zip(
            *(each.clamped_back(plus, (x,), step, CODES, slice(1, None, 1)) for each in (fused, Eager())), strict=True
        )
        assert all(same(own, of_torch) for own, of_torch in pairs)


def test_where_addcmul_rounds_twice_products_do(fused: Passes, monkeypatch) -> None:
    """As on GPUs."""
    monkeypatch.setattr(fused, "_once", False)
    x, grad = torch.randn(2, 3, 4, 50, generator=torch.Generator().manual_seed(0))
    back, products = fused.clamped_back(grad, (x,), torch.tensor(0.1), CODES, slice(0, None, 1))
    v = x / torch.tensor(0.1)
    assert products is not None and torch.equal(products, v.clamp(*CODES).round() * grad - v * back)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["qat_w8a8", "activation_bits"])
def test_a_training_has_the_same_bytes_with_kernels_and_without(fused: Passes, mode: str, monkeypatch) -> None:
    def trained() -> dict[str, Tensor]:
        torch.manual_seed(1)
        trainer = ours("ds_cnn", mode, batch=3)
        for _ in range(3):
            trainer.step()
        return trainer.network.state_dict()

    asked = []
    monkeypatch.setattr(chosen, "passes_of", lambda device: asked.append(device) or Library(fused, "interpreted"))
    own = trained()
    assert asked
    with only_eager():
        eager = trained()
    assert own.keys() == eager.keys() and all(torch.equal(own[name], eager[name]) for name in own)


ROUNDED_APART = {"add", "sub", "mul", "div", "max", "min", "abs", "neg", "cvt"}  # and rounded to nearest


def test_the_code_for_a_gpu_rounds_each_product_and_each_quotient_to_nearest(monkeypatch, tmp_path: Path) -> None:
    """As torch's kernels do, which are compiled one by one."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    codes = code_for_a_gpu(monkeypatch)
    assert len(codes) > 30
    assert {name for name, _ in codes} == {"_to_grid", "_clamp", "_back", "_quantize", "_quantize_back"}
    for name, code in codes:
        found = set(re.findall(r"^\s*(?:@\S+\s+)?([a-z]+)((?:\.\w+)*\.f32)\b", code, re.MULTILINE))
        arithmetic = {(word, kind) for word, kind in found if word not in ("mov", "setp", "selp", "ld", "st")}
        assert {word for word, _ in arithmetic} <= ROUNDED_APART, name
        assert all(kind == ".rn.f32" for word, kind in arithmetic if word in ("add", "sub", "mul", "div")), name
        assert "max.f32" not in code or "setp.nan.f32" in code, f"{name}: a maximum with NaN is the other number"


def code_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Names of kernels, and what Triton makes of them, without a GPU: one for each kind of arguments."""
    module = loaded(monkeypatch, "0")
    compiler, backends = (importlib.import_module(f"triton.{name}") for name in ("compiler", "backends.compiler"))
    target = backends.GPUTarget("cuda", 80, 32)
    kinds = {torch.float32: "*fp32", torch.int32: "*i32", torch.int64: "*i64"}
    made: dict[str, tuple[str, str]] = {}

    def compiled(kernel: Any, *arguments: Any, grid: Any, warmup: bool, **flags: Any) -> None:
        given = dict(zip(kernel.arg_names[: len(arguments)], arguments, strict=True)) | flags
        signature, constants = {}, {}
        for name in kernel.arg_names:
            number = given.pop(name)
            if isinstance(number, Tensor):
                signature[name] = kinds[number.dtype]
            elif number is None or name.isupper() or (name == "inner" and number == 1):
                signature[name], constants[name] = "constexpr", number
            else:
                signature[name] = "fp32" if isinstance(number, float) else "i32"
        key = f"{kernel.__name__} {signature} {constants}"
        if key not in made:
            source = compiler.ASTSource(kernel, signature, constants)
            made[key] = kernel.__name__, compiler.compile(source, target=target, options=given).asm["ptx"]

    monkeypatch.setattr(importlib.import_module("triton.runtime.jit").JITFunction, "run", compiled)
    monkeypatch.setattr(module, "_rounds_once", lambda device: False)
    passes = module.Fused(CPU)
    for case in cases([(3, 2, 3, 2)]):
        assert all(made_of(case, passes))
    for bits in WIDTHS:
        assert all(made_of_weights(bits, [(1, 1), (1, 3)], CPU, passes))
    return list(made.values())


def test_a_gpu_takes_them() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    pytest.importorskip("triton", reason="Triton is not installed")
    made = kernels(torch.device("cuda"))
    assert made.passes is not None, made.why
