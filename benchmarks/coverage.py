"""How many public networks convert, and how far the others come.

`python -m benchmarks.coverage` makes a small network of each family of the zoos that are installed, with random
weights, and takes it as far as it goes. (`pip install --no-deps pytorchcv timm`; what they import of torchvision is not
needed.) It prints a JSON object for each: the stage that was reached, and the reason where that is not the last. The
last lines hold the shares and count the reasons.

Stages: "made", "converted" to a Space, "lowered" to a Program, and "exact": all tensors of the Program, as the executor
computes them, are those of training in integer semantics.
"""

import argparse
import json
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stdout
from functools import partial
from multiprocessing import get_context
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.robust import count
from benchmarks.zoos import ZOOS, Entry
from search.deploy.lower import lower
from search.errors import PicojouleError
from search.integer.executor import Executor
from spaces.graph.errors import UnsupportedNetwork
from spaces.searchable import Options, searchable
from spaces.space import INTEGER

SECONDS = 60  # that a network may take
EXACT = "exact"


class TooLong(Exception):
    """A network takes more than its seconds."""


def measured(entry: Entry, seconds: int) -> dict[str, Any]:
    """How far a network comes."""
    torch.set_num_threads(1)
    line: dict[str, Any] = {"benchmark": "coverage", "zoo": entry.zoo, "family": entry.family, "network": entry.name}
    line |= {"stage": None, "reason": None}
    began = time.perf_counter()
    signal.signal(signal.SIGALRM, _ring)
    signal.alarm(seconds)
    try:
        torch.manual_seed(0)
        with redirect_stdout(sys.stderr):  # zoos print
            model, examples = entry.made()
            line["stage"] = "made"
            _convert(model, examples, line)
    except UnsupportedNetwork as error:
        line |= {"reason": error.reason, "where": f"{error.where}{error.line}"}
    except PicojouleError as error:
        line["reason"] = str(error)
    except TooLong:
        line["reason"] = f"takes more than {seconds} seconds"
    except Exception as error:  # what has no reason of ours is a defect, and is counted as one
        line["reason"] = f"DEFECT {type(error).__name__}: {error}" if line["stage"] else f"not made: {error}"
    finally:
        signal.alarm(0)
    return line | {"seconds": round(time.perf_counter() - began, 1)}


def _ring(number: int, frame: FrameType | None) -> None:
    raise TooLong


def _convert(model: nn.Module, examples: tuple[Tensor, ...], line: dict[str, Any]) -> None:
    space = searchable(model, examples, Options()).eval()
    line |= {"stage": "converted", "operators": len(space.spec.blocks)}
    space.calibrate([examples if len(examples) > 1 else examples[0]])
    network = space.decide().eval()
    network.set_mode(INTEGER)
    program = lower(network)
    line["stage"] = "lowered"
    wanted = network.codes(*examples)
    found = Executor(program)(*[x.numpy() for x in examples], intermediate=True)
    differ = sum(int((codes.numpy() != found[name]).sum()) for name, codes in wanted.items())
    line |= {"elements": sum(codes.numel() for codes in wanted.values()), "mismatches": differ}
    if differ:
        raise RuntimeError(f"{differ} elements differ")
    line["stage"] = EXACT


def sums(lines: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The share of each zoo, and of all, and how many networks each reason holds back."""
    made = [line for line in lines if line["stage"]]
    for zoo in (*dict.fromkeys(line["zoo"] for line in made), None):
        own = [line for line in made if zoo in (None, line["zoo"])]
        exact = sum(line["stage"] == EXACT for line in own)
        yield {
            "benchmark": "coverage",
            "zoo": zoo or "all",
            "networks": len(own),
            "exact": exact,
            "share": round(exact / max(1, len(own)), 4),
            "elements": sum(line.get("elements", 0) for line in own),
            "longest": max((line["seconds"] for line in own), default=0.0),
        }
    kinds = Counter(kind(line["reason"]) for line in made if line["reason"])
    yield {"benchmark": "coverage", "reasons": dict(kinds.most_common())}


def kind(reason: str) -> str:
    """A reason without the shapes, numbers and lines of files in it."""
    return re.sub(r" at \S+:\d+|\([^()]*\)", "", re.sub(r"\d+(\.\d+)?", "0", reason))[:100]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="networks whose ZOO/NAME has this in it")
    parser.add_argument("--jobs", type=count, default=2, help="networks at once, a thread each")
    parser.add_argument("--seconds", type=count, default=SECONDS, help="that a network may take")
    arguments = parser.parse_args()
    entries = [e for zoo in ZOOS.values() for e in zoo() if arguments.only in f"{e.zoo}/{e.name}"]
    if not entries:
        sys.exit("No network is left. `pip install --no-deps pytorchcv timm` installs the zoos.")
    lines = []
    with get_context("spawn").Pool(arguments.jobs, maxtasksperchild=20) as pool:  # new processes free their memory
        for line in pool.imap(partial(measured, seconds=arguments.seconds), entries):
            lines.append(line)
            print(json.dumps(line), flush=True)
    for line in sums(lines):
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
