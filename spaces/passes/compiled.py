"""Passes in C, for float32 on a CPU. Their functions run on as many threads as torch's."""

from collections.abc import Sequence
from ctypes import CDLL, POINTER, Array, Structure, byref, c_double, c_float, c_int, c_int32, c_int64, c_void_p
from functools import lru_cache

import torch
from torch import Tensor

from spaces.passes.channels import Channels, as_used
from spaces.passes.eager import batch_norm, batch_norm_back
from spaces.passes.memory import in_order, lies_alike, order_of
from spaces.passes.passes import EDGE, Affine, Codes, Moments, NormGradients, Running, Saved, Sum, Way

LANES = 8  # channels, of whose multiples torch's batch norm makes vectors
ROW = 512  # numbers of a span that holds whole rows of channels, about


class _Layout(Structure):
    _fields_ = (
        *((name, c_int64) for name in ("samples", "size", "spans", "length", "channels")),
        *((name, c_int32) for name in ("by_number", "threads")),
    )


class _Codes(Structure):
    _fields_ = (*((name, c_float) for name in ("low", "high", "above", "below")), ("step", c_void_p))


class _Part(Structure):
    _fields_ = (("first", c_int64), ("every", c_int64), ("products", c_void_p))


NOTHING = _Part(0, 1, None)


class _Norm(Structure):
    _fields_ = (
        *((name, c_void_p) for name in ("mean", "spread", "scale", "shift")),
        ("eps", c_float),
        ("kind", c_int32),
    )


class _Running(Structure):
    _fields_ = (("mean", c_void_p), ("variance", c_void_p), ("momentum", c_double), ("eps", c_double))


class _Table(Structure):
    _fields_ = (("numbers", c_void_p), ("by_precision", c_int64), ("by_channel", c_int64))


class _Channels(Structure):
    _fields_ = (
        *(("starts", c_void_p), ("layer", c_void_p), ("taps", POINTER(c_int64)), ("begins", c_void_p)),
        *(("channels", c_int64), ("threads", c_int32)),
    )


INVERSE, VARIANCE, AGAIN = range(3)  # kinds of spread, see passes.h
_NUMBERS = (c_int64, c_int32)  # count, threads
_LAYOUT, _NORM, _CODES, _PART = map(POINTER, (_Layout, _Norm, _Codes, _Part))
_CHANNELS, _TABLE = map(POINTER, (_Channels, _Table))
SIGNATURES = {
    "to_grid": (*_NUMBERS, c_void_p, _CODES),
    "normalized": (_LAYOUT, *(c_void_p,) * 2, _NORM, _CODES),
    "normalized_back": (_LAYOUT, *(c_void_p,) * 3, _NORM, _CODES, _PART),
    "clamped": (_LAYOUT, *(c_void_p,) * 2, c_int32, *(c_void_p,) * 3, _CODES, _PART),
    "clamped_back": (_LAYOUT, *(c_void_p,) * 3),
    "clamped_again": (_LAYOUT, *(c_void_p,) * 3, _CODES, _PART),
    "products_of": (c_int64, *_NUMBERS, *(c_void_p,) * 2, _CODES, _PART),
    "quantized": (_CHANNELS, *(c_void_p,) * 3, _TABLE),
    "quantized_back": (
        *(_CHANNELS, c_int64),
        *(c_void_p,) * 3,
        *(_TABLE, c_void_p, c_float, c_float),
        *(c_void_p,) * 2,
    ),
    "trained": (_LAYOUT, *(c_void_p,) * 6, POINTER(_Running), _CODES),
    "trained_back": (_LAYOUT, *(c_void_p,) * 3, _NORM, *(c_void_p,) * 3, c_int32, _CODES, _PART, *(c_void_p,) * 2),
}
NEED_MEMORY = (
    "clamped",
    "normalized",
    "normalized_back",
    "trained",
    "trained_back",
)  # they return 1 where there is none


class Compiled:
    """See spaces.passes.passes.Passes. x is of those that `takes` allows.

    Args:
        library: passes.c and batch.c.
    """

    def __init__(self, library: CDLL) -> None:
        self._library = library
        for name, arguments in SIGNATURES.items():
            function = getattr(library, name)
            function.argtypes, function.restype = arguments, c_int if name in NEED_MEMORY else None

    def call(self, name: str, *arguments: object) -> None:
        """A function of the library, without Python's lock.

        Raises:
            MemoryError: it has none.
        """
        if getattr(self._library, name)(*arguments):
            raise MemoryError(f"{name}: no memory for a few numbers of each channel.")

    def trained(
        self, x: Tensor, running: Running, affine: Affine, step: Tensor | None, codes: Codes
    ) -> tuple[Tensor, Moments]:
        own = byref(_codes(codes, step))
        if not _sums_by_rows(x):
            v, moments = batch_norm(x, running, affine)
            self.call("to_grid", v.numel(), torch.get_num_threads(), v.data_ptr(), own)
            return v, moments
        out, moments = torch.empty_like(x), Moments(torch.empty_like(affine.scale), torch.empty_like(affine.scale))
        state = _Running(*_places(*running[:2]), *running[2:])
        self.call("trained", byref(_layout_of(x)), *_places(x, out, *moments, *affine), byref(state), own)
        return out, moments

    def normalized(self, x: Tensor, running: Running, affine: Affine, step: Tensor | None, codes: Codes) -> Tensor:
        out = torch.empty_like(x, memory_format=order_of(x))  # as torch's batch norm, and not with the strides of x
        norm = _Norm(*_places(running.mean, running.variance, *affine), running.eps, VARIANCE)
        self.call("normalized", byref(_layout_of(x)), *_places(x, out), byref(norm), byref(_codes(codes, step)))
        return out

    def norm_back(self, grad: Tensor, x: Tensor, way: Way, codes: Codes, part: slice | None) -> NormGradients:
        order = order_of(x)
        out, grad = torch.empty_like(x, memory_format=order), in_order(grad, order)
        products = None if part is None else torch.empty_like(x[part])
        moments, affine = way.forth
        forth = byref(_Norm(*_places(*moments, *affine), 0.0, AGAIN))
        shared = byref(_codes(codes, None)), byref(_part(part, products))
        if not _sums_by_rows(x):
            self.call("normalized_back", byref(_layout_of(x)), *_places(grad, x, out), forth, *shared)
            return *batch_norm_back(out, x, way), products
        d_scale, d_shift = torch.empty_like(way.gain), torch.empty_like(way.gain)
        own = *_places(*way.moments, way.gain), way.of_batch
        made = _places(d_scale, d_shift)
        self.call("trained_back", byref(_layout_of(x)), *_places(grad, x, out), forth, *own, *shared, *made)
        return out, d_scale, d_shift, products

    def clamped(self, x: Sum, keep: Tensor | None, step: Tensor | None, codes: Codes) -> Tensor:
        return self._clamped(x, keep, step, codes)

    def clamped_and_saved(
        self, x: Sum, keep: Tensor | None, step: Tensor | None, codes: Codes, part: slice | None
    ) -> tuple[Tensor, Saved]:
        at = _layout_of(x.x)
        bits = x.x.new_empty(at.samples * at.spans * ((at.length + 7) // 8), dtype=torch.uint8)
        sums = None if part is None else torch.empty_like(x.x[part])
        out = self._clamped(x, keep, step, codes, bits, _part(part, sums))
        return out, (bits,) if sums is None else (bits, sums)

    def _clamped(
        self,
        added: Sum,
        keep: Tensor | None,
        step: Tensor | None,
        codes: Codes,
        bits: Tensor | None = None,
        part: _Part = NOTHING,
    ) -> Tensor:
        x, plus = added if lies_alike(added) else (in_order(added.made(), order_of(added.x)), None)
        out = torch.empty_like(x)
        own = _place(plus), plus is not None and plus.dim() == 1, _place(keep)
        made = out.data_ptr(), _place(bits), byref(_codes(codes, step)), byref(part)
        self.call("clamped", byref(_layout_of(x)), x.data_ptr(), *own, *made)
        return out

    def clamped_back(
        self, grad: Tensor, saved: Saved, step: Tensor | None, codes: Codes, part: slice | None
    ) -> tuple[Tensor, Tensor | None]:
        first, *of_part = saved
        out, at, own = torch.empty_like(grad), byref(_layout_of(grad)), byref(_codes(codes, step))
        products = None if part is None else torch.empty_like(grad[part])
        if first.dtype is grad.dtype:  # x itself
            self.call("clamped_again", at, *_places(grad, first, out), own, byref(_part(part, products)))
            return out, products
        self.call("clamped_back", at, *_places(grad, first, out))
        if products is not None:
            (x,) = of_part
            numbers = len(x), x[0].numel(), torch.get_num_threads()
            self.call("products_of", *numbers, *_places(grad, x), own, byref(_part(part, products)))
        return out, products

    def quantized(
        self, weights: Sequence[Tensor], of: Channels, step: Tensor, bound: Tensor, *, one_bit: bool
    ) -> Tensor:
        stored = [w.contiguous() for w in weights]
        out = step.new_empty(len(of.row))
        own = _array(stored), *_places(out, step), byref(_table(bound[None]))
        self.call("quantized", byref(_channels(of)), *own)
        return out

    def quantized_back(
        self,
        weights: Sequence[Tensor],
        grads: Sequence[Tensor | None],
        of: Channels,
        step: Tensor,
        bound: Tensor,
        picked: Tensor | None,
        *,
        one_bit: bool,
    ) -> tuple[Tensor, Tensor]:
        stored = [w.contiguous() for w in weights]
        used = [None if g is None else as_used(g, taps) for g, taps in zip(grads, of.taps, strict=True)]
        dw, products = step.new_empty(len(of.row)), step.new_empty(2, len(step), len(of.row))
        own = _array(stored), _array(used), step.data_ptr(), byref(_table(bound)), _place(picked), -1 - EDGE, 1 + EDGE
        self.call("quantized_back", byref(_channels(of)), len(step), *own, *_places(dw, products))
        return dw, products


def _array(tensors: Sequence[Tensor | None]) -> Array[c_void_p]:
    """Places in memory, one of each."""
    return (c_void_p * len(tensors))(*map(_place, tensors))


def _places(*tensors: Tensor) -> tuple[int, ...]:
    """In memory."""
    return tuple(tensor.data_ptr() for tensor in tensors)


def _place(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _sums_by_rows(x: Tensor) -> bool:
    """Whether torch's batch norm sums x in the order of batch.c: whole vectors of channels, several rows a thread."""
    if x.dim() != 4 or x.shape[1] % LANES or x.is_contiguous():
        return False
    return x.is_contiguous(memory_format=torch.channels_last) and x.numel() // x.shape[1] > torch.get_num_threads()


def _layout_of(x: Tensor) -> _Layout:
    return _layout(x.shape, x.is_contiguous(), torch.get_num_threads())


@lru_cache(maxsize=256)
def _layout(shape: torch.Size, contiguous: bool, threads: int) -> _Layout:
    samples, channels, *inner = shape
    length = torch.Size(inner).numel()
    size = channels * length
    if contiguous and length > 1:
        return _Layout(samples, size, channels, length, channels, 0, threads)
    length = min(size, channels * max(1, ROW // channels))
    return _Layout(samples, size, -(-size // length), length, channels, 1, threads)


def _channels(of: Channels) -> _Channels:
    taps = (c_int64 * len(of.taps))(*of.taps)
    places = of.starts.data_ptr(), of.layer.data_ptr(), taps, of.begins.data_ptr()
    return _Channels(*places, len(of.layer), torch.get_num_threads())


def _table(numbers: Tensor) -> _Table:
    """(P, C) or (P, 1)."""
    by_precision, by_channel = numbers.stride()
    return _Table(numbers.data_ptr(), by_precision, by_channel if numbers.shape[1] > 1 else 0)


def _codes(codes: Codes, step: Tensor | None) -> _Codes:
    return _Codes(*_bounds(codes), None if step is None else step.data_ptr())


@lru_cache(maxsize=1024)
def _bounds(codes: Codes) -> tuple[float | Tensor, ...]:
    return *codes, *codes.edges


def _part(part: slice | None, products: Tensor | None) -> _Part:
    if part is None or products is None:
        return NOTHING
    return _Part(part.start, part.step, products.data_ptr())
