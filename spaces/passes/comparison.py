"""Whether passes give the bits of torch's operators: all that they make of tensors of a few shapes, compared."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from spaces.passes.channels import as_used, channels_of
from spaces.passes.eager import Eager
from spaces.passes.memory import order_of
from spaces.passes.passes import ONE_BIT, Affine, Codes, Moments, Passes, Running, Sum, Way


class Case(NamedTuple):
    """What the passes are given. Attributes: step: None: nothing is rounded."""

    x: Tensor
    grad: Tensor
    running: Running
    affine: Affine
    step: Tensor | None
    codes: Codes
    part: slice | None


# They leave numbers over behind whole vectors of 16 numbers, and have channels of whole vectors.
SHAPES = (
    (5, 3, 7, 5),
    (4, 8, 5, 3),
    (5, 24, 3, 4),
    (6, 16, 4, 4),
    (2, 16, 40, 40),
    (4, 48, 3, 11),
    (3, 512, 2, 3),
    (5, 42, 2, 3),
    (1, 2, 1, 2),
    (5, 24),
    (3, 7, 50),
    (2, 3, 2, 5, 4),
)
STEPS = ((0.37, Codes(0, 15)), (0.05, Codes(-128, 127)), (None, Codes(0.0, float("inf"))), (None, Codes(0.0, 6.0)))
CPU = torch.device("cpu")
ORDERS = {4: torch.channels_last, 5: torch.channels_last_3d}
MOMENTUM = 0.1
TINY = 1e-39  # fewer digits than float32 has elsewhere; some compilers make 0 of it
WEIGHTS = ((2, 1), (1, 7), (3, 1, 3, 3), (2, 32), (4, 11, 3, 1), (2, 6, 5, 5), (1, 120, 3, 3))  # shapes
WIDTHS = ((8,), (2, 4, 8), (1, 4), (1,))  # bits of weights on offer


def cases(
    shapes: Sequence[tuple[int, ...]] = SHAPES, seed: int = 0, device: torch.device = CPU, ceilings: bool = False
) -> Iterator[Case]:
    """Tensors of shapes on a device, in each order of memory, with and without a step. They are drawn on the CPU.

    Args:
        ceilings: whether the highest code is a number of the device too, as of a ceiling.
    """
    draws = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draws).to(device)

    for shape in shapes:
        for order in (torch.contiguous_format, *([ORDERS[len(shape)]] if len(shape) in ORDERS else [])):
            x, grad = (drawn(*shape).to(memory_format=order) for _ in range(2))
            if x.dim() > 2:
                x[:, 0].select(-1, 0).fill_(TINY)
            mean, scale, shift = (drawn(shape[1]) for _ in range(3))
            variance = torch.rand(shape[1], generator=draws).to(device) + 0.5
            highest = torch.tensor(9.0, dtype=torch.float64, device=device)
            for step, codes in (*STEPS, *([(0.37, Codes(0, highest))] if ceilings else [])):
                over = 1.0 if step is None else 1 / step
                running, affine = Running(mean, variance, MOMENTUM, 1e-5), Affine(scale * over, shift * over)
                learned = None if step is None else torch.tensor(step, device=device)
                for part in (None,) if step is None else (None, slice(len(x) // 3, None, 2)):
                    yield Case(x, grad, running, affine, learned, codes, part)


def differing(passes: Passes, device: torch.device = CPU) -> list[str]:
    """The passes that do not make what torch's operators make of tensors on a device."""
    made: Callable[[Passes], Iterator[tuple[str, Tensor | None]]]
    found = set()
    with torch.no_grad(), CPU, _single():
        for made in (
            *(partial(made_of, case) for case in cases(device=device, ceilings=device.type != "cpu")),
            *(partial(made_of_weights, bits, WEIGHTS, device) for bits in WIDTHS),
        ):
            pairs = zip(made(passes), made(Eager()), strict=True)
            found |= {name for (name, ours), (_, theirs) in pairs if not same(ours, theirs)}
    return sorted(found)


@contextmanager
def _single() -> Iterator[None]:
    """Inside it numbers are float32 by default."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def same(ours: Tensor | None, theirs: Tensor | None) -> bool:
    if ours is None or theirs is None:
        return ours is theirs
    bits = [made.view(torch.int32) for made in (ours, theirs)]
    return order_of(ours) is order_of(theirs) and torch.equal(*bits)


def made_of(case: Case, passes: Passes) -> Iterator[tuple[str, Tensor | None]]:
    """All that each pass makes."""
    x, grad, running, affine, step, codes, part = case
    own = running._replace(mean=running.mean.clone(), variance=running.variance.clone())
    out, batch = passes.trained(x, own, affine, step, codes)
    yield from (("trained", made) for made in (out, *batch, own.mean, own.variance))
    yield "normalized", passes.normalized(x, running, affine, step, codes)
    still = Moments(running.mean, running.variance.rsqrt())
    for forth, moments, of_batch in ((batch, batch, True), (still, batch, True), (still, still, False)):
        way = Way((forth, affine), moments, affine.scale, of_batch)
        yield from (("norm_back", made) for made in passes.norm_back(grad, x, way, codes, part))
    every_second = (torch.arange(x.shape[1], device=x.device) % 2).float()
    for plus, keep in ((None, None), (grad, None), (affine.shift, None), (None, every_second), (grad, every_second)):
        yield "clamped", passes.clamped(Sum(x, plus), keep, step, codes)
        out, saved = passes.clamped_and_saved(Sum(x, plus), keep, step, codes, part)
        yield "clamped", out
        for kept in (saved, (Sum(x, plus).made(),)):
            yield from (("clamped_back", made) for made in passes.clamped_back(grad, kept, step, codes, part))


def made_of_weights(
    bits: Sequence[int], shapes: Sequence[tuple[int, ...]], device: torch.device, passes: Passes
) -> Iterator[tuple[str, Tensor | None]]:
    """All that is made of layers whose weights have some shapes, with precisions on offer; the last has no gradient."""
    draws = torch.Generator().manual_seed(0)

    def drawn(shape: Sequence[int]) -> Tensor:
        return torch.randn(shape, generator=draws)

    of = channels_of(shapes, device)
    weights, grads = ([drawn(shape).to(device) for shape in shapes] for _ in range(2))
    for w in weights:
        w.view(-1)[::5], w.view(-1)[1::7] = 0, TINY
    used = [as_used(grad, taps) for grad, taps in zip(grads, of.taps, strict=True)]
    channels = len(of.layer)
    step = 0.1 + torch.rand(len(bits), channels, generator=draws).to(device)
    picked, one_bit = torch.randint(len(bits), (1, channels), generator=draws).to(device), 1 in bits
    bounds = (2.0 ** (torch.tensor(bits, device=device) - 1) - 1).clamp_min(ONE_BIT)[:, None].expand_as(step)
    for bound in (bounds, bounds[:, :1]):
        yield "quantized", passes.quantized(weights, of, step[0], bound[0], one_bit=one_bit)
        for given in (grads, used, [*used[:-1], None]):
            back = passes.quantized_back(weights, given, of, step, bound, picked, one_bit=one_bit)
            yield from (("quantized_back", made) for made in back)
