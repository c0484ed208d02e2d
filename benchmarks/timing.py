"""Time and memory of two rivals, measured in turns: a shared machine's noise falls on both alike."""

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

Step = Callable[[], object]


def in_turns(first: Step, second: Step, rounds: int, steps: int = 1, warmup: int = 3) -> tuple[float, float]:
    """Median milliseconds of a step of each.

    A round is `steps` steps of each, in alternation, and counts with its mean: work that is done every `steps` steps
    is in every round.
    """
    for _ in range(warmup):
        first(), second()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        sums = [0.0, 0.0]
        for _ in range(steps):
            for i, step in enumerate((first, second)):
                begin = time.perf_counter()
                step()
                sums[i] += time.perf_counter() - begin
        for all_of_one, total in zip(times, sums, strict=True):
            all_of_one.append(total / steps * 1e3)
    return statistics.median(times[0]), statistics.median(times[1])


def peak_bytes(step: Step, kept: list[Tensor]) -> int:
    """Most bytes of tensors alive at once during one step, on the CPU.

    The profiler reports each allocation and release of torch's CPU allocator, those inside operators included; the
    peak of their running sum, on top of what lives before the step, is the figure. Gradients must be released before
    (`zero_grad`), so that every release seen belongs to an allocation seen. A step may be the first after another.

    Args:
        kept: tensors that live before the step: parameters, buffers, optimizer state, batch.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        step()
    now = peak = 0
    events = (e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]")
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    storages = {
        t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in kept if isinstance(t, torch.Tensor)
    }
    return sum(storages.values()) + peak
