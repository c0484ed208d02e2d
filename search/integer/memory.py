"""How long each tensor lives, and where it lies: lifetimes, the peak of what lives at once, and the arena of a chip.

A schedule is a list of uses in execution order. A step that does not run is None. A tensor lives from the step that
writes it to the last step that reads it. A network's input lives from the start, and its output to the end. A tensor
that lies in the memory of another has none of its own, and keeps that one alive. Sizes are given, in any unit.

Steps of a loop follow each other, and run again and again. What they read from before the loop, what is carried from
one time to the next, and what is gathered live as long as the loop.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from random import Random
from typing import TypeVar

MOST_ATTEMPTS, WORK = 400, 2_000_000  # to make an arena smaller, and pairs of memories that are compared for it
Size = TypeVar("Size", int, float)
Lives = Mapping[str, tuple[int, int]]  # memory -> the first and the last step at which it is live


@dataclass(frozen=True)
class Use:
    """One step: what it reads and writes.

    Attributes:
        memory: the tensor in whose memory its outputs lie, where not in their own.
        loop: the name of the loop that it is in; "": in none.
        throughout: tensors that live as long as the loop: what it carries, or gathers.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    memory: str | None = None
    loop: str = ""
    throughout: tuple[str, ...] = ()


Schedule = Sequence[Use | None]


@dataclass(frozen=True)
class Arena:
    """Where each memory lies.

    Attributes:
        offsets: memory -> its first byte.
        size: bytes of the whole arena.
        bound: the most bytes that are live at once. No arena can be smaller.
    """

    offsets: Mapping[str, int]
    size: int
    bound: int


@dataclass(frozen=True)
class Loop:
    """Steps of a schedule that run again and again: numbers of the first and the last, and what lives throughout."""

    first: int
    last: int
    throughout: frozenset[str]


def loops(schedule: Schedule) -> Iterator[Loop]:
    """The loops of a schedule, in order."""
    named = [(step, use) for step, use in enumerate(schedule) if use is not None]
    for name, group in groupby(named, lambda each: each[1].loop):
        steps = list(group)
        if name:
            written = {output for _, use in steps for output in use.outputs}
            read = {each for _, use in steps for each in use.inputs}
            kept = {each for _, use in steps for each in use.throughout}
            yield Loop(steps[0][0], steps[-1][0], frozenset(read - written | kept))


def memories(inputs: Iterable[str], schedule: Schedule) -> dict[str, str]:
    """Tensor -> the tensor whose bytes hold it, of all that the steps that run read or write."""
    held = {name: name for name in inputs}
    for use in filter(None, schedule):
        for name in use.outputs:
            held[name] = name if use.memory is None else held[use.memory]
    return held


def lifetimes(inputs: Sequence[str], outputs: Sequence[str], schedule: Schedule) -> dict[str, tuple[int, int]]:
    """First and last step at which each memory is live. A tensor that nothing reads is live where it is written."""
    held = memories(inputs, schedule)
    lives = {held[name]: (0, 0) for name in inputs}
    for step, use in enumerate(schedule):
        for name in () if use is None else (*use.inputs, *use.outputs):
            lives[held[name]] = lives.get(held[name], (step, step))[0], step
    for loop in loops(schedule):
        for memory in {held[name] for name in loop.throughout}:
            first, last = lives[memory]
            lives[memory] = min(first, loop.first), max(last, loop.last)
    for name in outputs:
        lives[held[name]] = lives[held[name]][0], max(0, len(schedule) - 1)
    return lives


def in_place(
    inputs: Sequence[str], outputs: Sequence[str], schedule: Sequence[Use], fits: Callable[[int, str], bool]
) -> list[Use]:
    """The schedule, in which what can be computed where an input lies is computed there.

    That is where nothing reads the input later, and the step reads nothing else that lies in the same memory.

    Args:
        fits: (number of a step, one of its inputs) -> whether its output can be written over it, element by element.
    """
    last = {name: step for step, use in enumerate(schedule) for name in use.inputs}
    last |= {name: max(last.get(name, 0), loop.last + 1) for loop in loops(schedule) for name in loop.throughout}
    last |= dict.fromkeys(outputs, len(schedule))
    held = {name: name for name in inputs}  # tensor -> the memory that it lies in
    ends = {name: last.get(name, 0) for name in inputs}  # memory -> the last step that reads a tensor in it
    found = []
    for step, use in enumerate(schedule):
        memory = use.memory
        if memory is None:
            memories = [held[name] for name in use.inputs]
            memory = next(
                (
                    name
                    for name in dict.fromkeys(use.inputs)
                    if ends[held[name]] == step
                    and fits(step, name)
                    and memories.count(held[name]) == use.inputs.count(name)
                ),
                None,
            )
        for name in use.outputs:
            held[name] = own = name if memory is None else held[memory]
            ends[own] = max(ends.get(own, step), last.get(name, step))
        found.append(replace(use, memory=memory))
    return found


def dead_after(schedule: Schedule, keep: Iterable[str]) -> list[list[str]]:
    """For each step the tensors that no later step reads, so that they can be forgotten. `keep` is never forgotten."""
    last = {name: step for step, use in enumerate(schedule) if use for name in use.outputs}
    last |= {name: step for step, use in enumerate(schedule) if use for name in use.inputs}
    last |= {name: max(last[name], loop.last) for loop in loops(schedule) for name in loop.throughout}
    dead: list[list[str]] = [[] for _ in schedule]
    kept = set(keep)
    for name, step in last.items():
        if name not in kept:
            dead[step].append(name)
    return dead


def peak(lives: Lives, sizes: Mapping[str, Size]) -> Size:
    """The largest sum of sizes that are live at one step. It changes only where something begins to live."""
    starts = {first for first, _ in lives.values()}
    return max(
        (sum(sizes[name] for name, (first, last) in lives.items() if first <= step <= last) for step in starts),
        default=0,
    )


def reordered(
    inputs: Sequence[str], outputs: Sequence[str], schedule: Sequence[Use], sizes: Mapping[str, float]
) -> list[int]:
    """Numbers of the steps in the order of a greedy search, where that lowers the peak of what lives; else as they are.

    Of the steps that can run, the one that leaves least live runs next; of several the one that comes first. A loop is
    one of them.
    """
    whole = _loops_as_one(schedule)
    order = [step for place in _greedy(inputs, outputs, [use for use, _ in whole], sizes) for step in whole[place][1]]
    plain = list(range(len(schedule)))
    if order == plain:
        return plain

    def most(steps: Sequence[int]) -> float:
        lives = lifetimes(inputs, outputs, [schedule[step] for step in steps])
        return peak(lives, {name: sizes[name] for name in lives})

    return order if most(order) < most(plain) else plain


def _loops_as_one(schedule: Sequence[Use]) -> list[tuple[Use, Sequence[int]]]:
    """What each step, or each loop, reads and writes, and the numbers of its steps."""
    found, start = list[tuple[Use, Sequence[int]]](), 0
    for loop in loops(schedule):
        found += [(schedule[step], (step,)) for step in range(start, loop.first)]
        start = loop.last + 1
        steps = range(loop.first, start)
        written = tuple(name for step in steps for name in schedule[step].outputs)
        read = dict.fromkeys(name for step in steps for name in schedule[step].inputs if name not in written)
        found.append((Use(tuple(read), written), steps))
    return [*found, *((schedule[step], (step,)) for step in range(start, len(schedule)))]


def _greedy(
    inputs: Sequence[str], outputs: Sequence[str], schedule: Sequence[Use], sizes: Mapping[str, float]
) -> list[int]:
    readers = Counter(name for use in schedule for name in set(use.inputs))
    readers.update(outputs)
    written, left, found = set(inputs), list(range(len(schedule))), list[int]()

    def grown(step: int) -> float:
        """What is live after a step, less what is before it."""
        use = schedule[step]
        freed = sum(sizes[name] for name in set(use.inputs) if readers[name] == 1)
        return (0 if use.memory is not None else sum(sizes[name] for name in use.outputs)) - freed

    while left:
        chosen = min((step for step in left if written.issuperset(schedule[step].inputs)), key=grown)
        for name in set(schedule[chosen].inputs):
            readers[name] -= 1
        written.update(schedule[chosen].outputs)
        found.append(chosen)
        left.remove(chosen)
    return found


def planned(lives: Lives, sizes: Mapping[str, int], alignment: int = 1) -> Arena:
    """Offsets such that memories that are live together do not overlap.

    One memory after another takes the lowest place where it fits ("greedy by size", Pisarchyk and Lee, arXiv
    2001.03288, section 5). Several orders are tried. While the best arena is larger than what is live at once, the
    memory that ends it goes to the front of its order, or changes places with another that is drawn.

    Args:
        alignment: every offset is a multiple of it.
    """
    orders: list[Callable[[str], tuple[int, ...]]] = [
        lambda name: (-sizes[name], lives[name][0]),
        lambda name: (-sizes[name] * (lives[name][1] - lives[name][0] + 1), lives[name][0]),
        lambda name: (lives[name][0] - lives[name][1], -sizes[name]),
        lambda name: (lives[name][0], -sizes[name]),
        lambda name: (-lives[name][1], -sizes[name]),
    ]
    bound, each = peak(lives, sizes), [sorted(lives, key=order) for order in orders]
    tried = [(order, _placed(order, lives, sizes, alignment)) for order in each]
    order, offsets = min(tried, key=lambda one: _size(one[1], sizes))
    rng = Random(0)
    for attempt in range(min(MOST_ATTEMPTS, WORK // max(1, len(lives)) ** 2)):
        size = _size(offsets, sizes)
        if size <= bound + alignment - 1:
            break
        other = _changed(order, offsets, sizes, None if attempt % 2 else rng)
        found = _placed(other, lives, sizes, alignment)
        if _size(found, sizes) <= size:
            order, offsets = other, found
    return Arena(offsets, _size(offsets, sizes), bound)


def _changed(
    order: Sequence[str], offsets: Mapping[str, int], sizes: Mapping[str, int], rng: Random | None
) -> list[str]:
    """Another order: the memory that ends last at the front, or two memories in each other's place."""
    changed = list(order)
    if rng is None:
        last = max(order, key=lambda name: offsets[name] + sizes[name])
        return [last, *(name for name in order if name != last)]
    one, other = rng.randrange(len(order)), rng.randrange(len(order))
    changed[one], changed[other] = changed[other], changed[one]
    return changed


def _placed(order: Sequence[str], lives: Lives, sizes: Mapping[str, int], alignment: int) -> dict[str, int]:
    offsets: dict[str, int] = {}
    for name in order:
        first, last = lives[name]
        beside = [other for other in offsets if lives[other][0] <= last and first <= lives[other][1]]
        offset = 0
        for other in sorted(beside, key=lambda other: offsets[other]):
            if offset + sizes[name] <= offsets[other]:
                break
            end = offsets[other] + sizes[other]
            offset = max(offset, -(-end // alignment) * alignment)
        offsets[name] = offset
    return offsets


def _size(offsets: Mapping[str, int], sizes: Mapping[str, int]) -> int:
    return max((offset + sizes[name] for name, offset in offsets.items()), default=0)
