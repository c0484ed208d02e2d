"""Activations: unsigned codes with one step and zero point for each tensor and precision. The step is learned (LSQ)."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from search.errors import UsageError
from spaces.quantizers.calibrate import Sample, activation_range

SAMPLES = 16_384  # values of a batch that are kept for calibration


class ActivationQuantizer(nn.Module):
    """real = step * (code - zero_point), code in 0 .. 2^bits - 1.

    Args:
        bits: 2..16.
        nonnegative: whether the tensor comes out of a ReLU. Its zero point is then 0, and its clamp is the ReLU.
        ceiling: the largest real value (6 for ReLU6); None: there is none.
        grid: step and zero point, which then stay; None: they are calibrated, and the step learns.
    """

    zero: Tensor

    def __init__(
        self,
        bits: int,
        nonnegative: bool = False,
        ceiling: float | None = None,
        grid: tuple[float, int] | None = None,
    ) -> None:
        super().__init__()
        if not 2 <= bits <= 16:
            raise UsageError(f"activation bits {bits}: 2 to 16 are possible.")
        self.bits, self.nonnegative, self.ceiling = bits, nonnegative, ceiling
        self.log_step = nn.Parameter(torch.tensor(-4.0))
        self.register_buffer("zero", torch.tensor(0 if nonnegative else 2 ** (bits - 1)))
        self.given = grid is not None
        if grid is not None:
            self._set(*grid)
            self.log_step.requires_grad_(False)
        self._zero_point: int | None = None
        self._together: _Steps | None = None
        self.observing = False
        self._seen: list[tuple[Tensor, Tensor, Tensor]] = []  # rows, the lowest and the highest value of a batch

    @property
    def step(self) -> float:
        return self.step_there.item() if self._together is None else self._together.of(self)

    @property
    def step_there(self) -> Tensor:
        """(), float64: the same on its device, so that nothing is read."""
        return self.log_step.detach().exp().double()

    @property
    def largest_code(self) -> int:
        return (1 << self.bits) - 1

    @property
    def zero_point(self) -> int:
        if self._zero_point is None:
            self._zero_point = int(self.zero)
        return self._zero_point

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)
        self._zero_point = None

    def bounds(self, step: float | None = None) -> tuple[int, int]:
        """Bounds of the codes relative to the zero point, for its own step or the step that is given."""
        low, high = -self.zero_point, 2**self.bits - 1 - self.zero_point
        if self.ceiling is not None:
            high = min(high, int(self.ceiling / (self.step if step is None else step) + 0.5))
        return low, high

    @torch.no_grad()
    def codes(self, x: Tensor) -> Tensor:
        """Codes (int64) of values that are on the grid."""
        return (x / self.log_step.exp()).round().long() + self.zero_point

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """Codes (int64) of real values: floor(x / step + 0.5) + zero point in float32, clipped, as in the executor."""
        low, high = self.bounds()
        scaled = torch.floor(x.float() / self.log_step.exp() + 0.5)
        return scaled.clamp(low, high).long() + self.zero_point

    @torch.no_grad()
    def on_grid(self, x: Tensor) -> Tensor:
        """decode(encode(x)), computed without integers."""
        step = self.log_step.exp()
        return torch.floor_(x.float() / step + 0.5).clamp_(*self.bounds()).mul_(step)

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """step * (code - zero point) in float32."""
        return (codes - self.zero_point).float() * self.log_step.exp()

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        """Remembers a sample of x (N, ...) for `calibrate`."""
        if self.given:
            return
        rows = x.reshape(len(x), -1)
        stride = max(1, x.numel() // SAMPLES) | 1  # odd, or it would meet the same places in every line
        self._seen.append((rows[:, ::stride].clone(), x.min(), x.max()))

    def forget(self) -> None:
        """Forgets what was observed."""
        self._seen.clear()

    @torch.no_grad()
    def inherit(self, old: "Quantizer") -> None:
        """Takes step and zero point of another quantizer, or of the one of a choice that has its bits."""
        if isinstance(old, ActivationChoice):
            member = old.members[old.widths.index(self.bits)]
            source, log_step = member, member.log_step.cpu() + old.drift.cpu()
        else:
            source, log_step = old, old.log_step
        self.log_step.copy_(log_step)
        self.zero.copy_(source.zero)
        self._zero_point = source.zero_point

    @torch.no_grad()
    def calibrate(self, method: str) -> None:
        """Sets step and zero point from what was observed, but not those that were given.

        Raises:
            RuntimeError: nothing was observed.
        """
        if self.given:
            return
        if not self._seen:
            raise RuntimeError("quantizer: calibrate() before any observe(); run a batch through the network first.")
        self.fit(self.seen(), method)
        self.forget()

    def seen(self) -> Sample:
        """All that was observed."""
        rows, lows, highs = zip(*self._seen, strict=True)
        low, high = torch.stack([torch.stack(lows).min(), torch.stack(highs).max()]).tolist()
        return Sample(rows, low, high)

    @torch.no_grad()
    def fit(self, sample: Sample, method: str) -> None:
        """Sets step and zero point."""
        sample = sample.clamp(0.0 if self.nonnegative else None, self.ceiling)
        step, zero = activation_range(sample, self.bits, method, self.nonnegative)
        self._set(step, zero)
        self._zero_point = None

    @torch.no_grad()
    def _set(self, step: float, zero_point: int) -> None:
        self.log_step.copy_(torch.tensor(step, dtype=torch.float64).log())
        self.zero.fill_(zero_point)


class ActivationChoice(nn.Module):
    """A tensor's quantizers, one for each precision on offer. `choice` names the decision among them.

    The one in use learns for all. What training adds to its log step, `drift`, is added to the others as well, so that
    each fits the tensor when it is tried.
    """

    def __init__(self, choice: str, widths: Sequence[int], nonnegative: bool, ceiling: float | None) -> None:
        super().__init__()
        self.choice = choice
        members = nn.ModuleList(ActivationQuantizer(bits, nonnegative, ceiling) for bits in widths).requires_grad_(
            False
        )
        self.members = cast("Sequence[ActivationQuantizer]", members)
        self.drift = nn.Parameter(torch.tensor(0.0))

    @property
    def widths(self) -> tuple[int, ...]:
        return tuple(member.bits for member in self.members)

    @property
    def observing(self) -> bool:
        return self.members[-1].observing

    @observing.setter
    def observing(self, value: bool) -> None:
        self.members[-1].observing = value

    def observe(self, x: Tensor) -> None:
        self.members[-1].observe(x)

    def forget(self) -> None:
        self.members[-1].forget()

    @torch.no_grad()
    def calibrate(self, method: str) -> None:
        sample = self.members[-1].seen()
        for member in self.members:
            member.fit(sample, method)
        self.drift.zero_()
        self.forget()


Quantizer = ActivationQuantizer | ActivationChoice


class _Steps:
    """The steps of quantizers, read of their device all at once when the first is asked for."""

    def __init__(self, quantizers: Sequence[ActivationQuantizer]) -> None:
        self._quantizers, self._read = quantizers, dict[ActivationQuantizer, float]()

    def of(self, quantizer: ActivationQuantizer) -> float:
        if not self._read:
            each = torch.stack([q.step_there for q in self._quantizers]).tolist()
            self._read = dict(zip(self._quantizers, each, strict=True))
        return self._read[quantizer]


@contextmanager
def read_together(quantizers: Collection[Quantizer]) -> Iterator[None]:
    """Inside it no step changes, and steps that Python asks for are read at once."""
    single = [q for q in quantizers if isinstance(q, ActivationQuantizer)]
    steps = _Steps(single)
    try:
        for q in single:
            q._together = steps
        yield
    finally:
        for q in single:
            q._together = None


@contextmanager
def observing(quantizers: Collection[Quantizer]) -> Iterator[None]:
    """Inside it quantizers remember samples of what passes, and of nothing that passed before."""
    try:
        for quantizer in quantizers:
            quantizer.forget()
            quantizer.observing = True
        yield
    finally:
        for quantizer in quantizers:
            quantizer.observing = False
