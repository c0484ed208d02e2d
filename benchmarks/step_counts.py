"""What a training step asks of torch: operators that are dispatched, and numbers that Python reads of tensors.

    python -m benchmarks.step_counts [network ...]

One JSON object a line: means over a round of steps, learning and held ones, after which the work of a search repeats.
Views are left out, since no code of theirs runs on a device. "waits" is how often Python waits for a device, counted on
one in software (benchmarks.software_device). The plain network is the user's own module in the usual loop;
benchmarks.step_time says what is trained.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any, Self, cast
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.software_device import SoftwareDevice
from benchmarks.step_time import MODES, ROUND, SHAPES, ours, plain
from spaces.passes.compiled import Compiled

NO_WORK = (
    "detach",
    "alias",
    "lift_fresh",
    "_unsafe_view",
    "empty",
    "empty_like",
    "empty_strided",
    "new_empty",
    "_local_scalar_dense",
)


class Operators(TorchDispatchMode):
    """Counts what is dispatched inside it, and each call of a pass in C (spaces.passes.compiled) as one operator.

    Attributes:
        each: name -> how often, views left out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.each: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.partition("::")[2]
        if not func.is_view and name not in NO_WORK:
            self.each[name] += 1
        return func(*args, **(kwargs or {}))

    def __enter__(self) -> Self:
        call = Compiled.call

        def counted(passes: Compiled, name: str, *arguments: object) -> None:
            self.each[name] += 1
            call(passes, name, *arguments)

        self._patch = mock.patch.object(Compiled, "call", counted)
        self._patch.start()
        return cast(Self, super().__enter__())

    def __exit__(self, *error: Any) -> None:
        self._patch.stop()
        super().__exit__(*error)


def counted(step: Callable[[], None], steps: int) -> float:
    """Operators of a step, a mean over some steps, after as many that prepare something."""
    for _ in range(steps):
        step()
    with Operators() as operators:
        for _ in range(steps):
            step()
    return operators.each.total() / steps


def waits(name: str, mode: str, steps: int) -> float:
    """How often a step waits for a device, in the same way. To be called before anything of the process has learned."""
    with SoftwareDevice() as software:
        trainer = ours(name, mode, device=software.device)
        for _ in range(steps):
            trainer.step()
        software.counts.clear()
        for _ in range(steps):
            trainer.step()
        return software.waits / steps


def compare(name: str, mode: str) -> dict[str, str | float]:
    before, own = counted(plain(name).step, ROUND), counted(ours(name, mode).step, ROUND)
    return {
        "benchmark": "step_counts",
        "network": name,
        "mode": mode,
        "operators_ratio": round(own / before, 2),
        "plain_operators": round(before, 1),
        "operators": round(own, 1),
    }


def main() -> None:
    torch.set_num_threads(1)
    for name in sys.argv[1:] or SHAPES:
        for mode in MODES:
            waited = round(waits(name, mode, ROUND), 3)
            print(json.dumps(compare(name, mode) | {"waits": waited}), flush=True)


if __name__ == "__main__":
    main()
