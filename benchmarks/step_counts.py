"""What a training step asks of torch: operators that are dispatched, and numbers that Python reads of tensors.

    python -m benchmarks.step_counts [network ...]

One JSON object a line: means over a round of steps, learning and held ones, after which the work of a search repeats.
Views are left out, since no code of theirs runs on a device. Reads wait for it: `.item()`, `.tolist()`, a comparison
that Python decides by. The plain network is the user's own module in the usual loop. See benchmarks.step_time for what
is trained.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.step_time import MODES, ROUND, SHAPES, ours, plain

READS = ("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select")
NO_WORK = ("detach", "alias", "lift_fresh", "_unsafe_view", "empty", "empty_like", "empty_strided", "new_empty")


class Counted(TorchDispatchMode):
    """Counts what is dispatched inside it.

    Attributes:
        operators: name -> how often, views left out.
        reads: name -> how often a number was read.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operators: Counter[str] = Counter()
        self.reads: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.partition("::")[2]
        if name in READS:
            self.reads[name] += 1
        elif not func.is_view and name not in NO_WORK:
            self.operators[name] += 1
        return func(*args, **(kwargs or {}))


def counted(step: Callable[[], None], steps: int) -> Counted:
    """What some steps ask for, after as many that prepare something."""
    for _ in range(steps):
        step()
    with Counted() as found:
        for _ in range(steps):
            step()
    return found


def compare(name: str, mode: str) -> dict[str, str | float]:
    base, other = counted(plain(name).step, ROUND), counted(ours(name, mode).step, ROUND)
    own, before = other.operators.total() / ROUND, base.operators.total() / ROUND
    return {
        "benchmark": "step_counts",
        "network": name,
        "mode": mode,
        "operators_ratio": round(own / before, 2),
        "plain_operators": round(before, 1),
        "operators": round(own, 1),
        "reads": round(other.reads.total() / ROUND, 1),
    }


def main() -> None:
    torch.set_num_threads(1)
    for name in sys.argv[1:] or SHAPES:
        for mode in MODES:
            print(json.dumps(compare(name, mode)), flush=True)


if __name__ == "__main__":
    main()
