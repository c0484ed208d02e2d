"""Whether the exported Program computes what was measured, in every element of every tensor."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from search.deploy.backends import Runner, agreements_on_sound, different
from search.integer.executor import Executor
from search.integer.graph import Array
from search.integer.program import Program
from search.tasks import Scores, Task
from search.training.evaluation import Examples
from spaces.space import Space


@dataclass(frozen=True)
class Verification:
    """In how many elements the executor and torch's integer semantics differ, and how many were compared.

    Attributes:
        first: the first tensor, in execution order, in which they differ.
        others: backend -> in how many elements it and torch differ; of several ways to run it, in the worst.
    """

    mismatches: int
    tensors: int
    elements: int
    first: str | None
    others: dict[str, int] = field(default_factory=dict)


def verify(
    space: Space,
    program: Program,
    batches: Examples,
    backends: Mapping[str, Mapping[str, Runner]] | None = None,
    limit: int = 256,
) -> Verification:
    """Compares every tensor on the first `limit` images, and a front end on sounds that are drawn.

    The program preprocesses raw images by itself. Of sound the data hold features, which the front end has made.

    Args:
        backends: name -> what runs what it wrote, of the backends to compare beside the executor.
    """
    executor, backends = Executor(program), backends or {}
    ways = {(name, how): way for name, each in backends.items() for how, way in each.items()}
    others = dict.fromkeys(ways, 0)
    wrong, tensors, elements, first, seen = 0, 0, 0, None, 0
    for (images, _), (raw, _) in zip(batches.epoch(0), batches.raw().epoch(0), strict=True):
        images, raw = images[: limit - seen], raw[: limit - seen]
        expected = {name: codes.cpu().numpy() for name, codes in space.codes(images).items()}
        found = executor(read(program, raw), intermediate=True)
        tensors = len(expected)
        for (name, how), way in ways.items():
            others[name, how] += _differing(way.codes(images.cpu().numpy()), expected)
        for name, codes in expected.items():
            differ = int(different(found[name], codes).sum())
            wrong, elements = wrong + differ, elements + codes.size
            first = first or (name if differ else None)
        seen += len(images)
        if seen >= limit:
            break
    for name, each in backends.items():
        for how, on_sound in agreements_on_sound(program, each).items():
            others[name, how] += on_sound.mismatches
    worst = {name: max(count for (other, _), count in others.items() if other == name) for name in backends}
    return Verification(wrong, tensors, elements, first, worst)


def _differing(found: Mapping[str, Array], expected: Mapping[str, Array]) -> int:
    return sum(int(different(found[name], codes).sum()) for name, codes in expected.items())


def scores_of_program(program: Program, batches: Examples, task: Task) -> Scores:
    """What the program scores on the batches, run by the executor."""
    executor, scores = Executor(program), task.scores()
    for (images, _), (raw, targets) in zip(batches.epoch(0), batches.raw().epoch(0), strict=True):
        scores.add(as_tensors(executor(read(program, raw))), targets.cpu(), images.cpu())
    return scores


def as_tensors(outputs: Array | tuple[Array, ...]) -> Tensor | tuple[Tensor, ...]:
    """An output, or several, as a task takes them."""
    return tuple(map(torch.from_numpy, outputs)) if isinstance(outputs, tuple) else torch.from_numpy(outputs)


def read(program: Program, raw: Tensor) -> Array:
    """Codes of raw images (n, C, *size), as the program's own preprocessing makes them."""
    if program.preprocessing is None:
        raise ValueError("the program has no preprocessing, so it reads no raw images.")
    return program.preprocessing.codes_of_images(raw.cpu().numpy(), program.tensors[program.inputs[0]])
