"""Lifetimes by hand, arenas against brute force."""

from itertools import combinations, permutations

import numpy as np
import pytest

from search.integer.memory import Use, dead_after, lifetimes, memories, peak, planned
from search.integer.program import Program
from tests.search.integer.programs import Build, residual_network

RESIDUAL = [Use(("x",), ("a",)), Use(("a",), ("b",)), Use(("a", "b"), ("c",)), Use(("c",), ("d",), "c")]


def test_a_tensor_lives_from_its_writer_to_its_last_reader():
    assert lifetimes(["x"], ["d"], RESIDUAL) == {"x": (0, 0), "a": (0, 2), "b": (1, 2), "c": (2, 3)}
    assert memories(["x"], RESIDUAL) == {"x": "x", "a": "a", "b": "b", "c": "c", "d": "c"}


def test_inputs_live_from_the_start_and_outputs_to_the_end():
    uses = [Use(("x",), ("a",)), Use(("y",), ("b",)), Use(("b",), ("c",))]
    assert lifetimes(["x", "y"], ["a", "c"], uses) == {"x": (0, 0), "y": (0, 1), "a": (0, 2), "b": (1, 2), "c": (2, 2)}


def test_steps_that_do_not_run_keep_nothing_alive():
    uses = [Use(("x",), ("a",)), None, Use(("a",), ("b",))]
    assert lifetimes(["x"], ["b"], uses) == {"x": (0, 0), "a": (0, 2), "b": (2, 2)}


def test_what_nothing_reads_any_more_is_dead_and_what_is_kept_is_not():
    assert dead_after(RESIDUAL, keep=["d"]) == [["x"], [], ["a", "b"], ["c"]]
    assert dead_after(RESIDUAL, keep=()) == [["x"], [], ["a", "b"], ["c", "d"]]
    assert dead_after([Use(("x",), ("unread",))], keep=()) == [["unread", "x"]]


def test_peak_by_hand():
    lives = lifetimes(["x"], ["d"], RESIDUAL)
    assert peak(lives, {"x": 1, "a": 10, "b": 100, "c": 1000}) == 1110
    assert peak({}, {}) == 0


def overlapping(offsets, lives, sizes):
    return [
        (a, b)
        for a, b in combinations(lives, 2)
        if lives[a][0] <= lives[b][1] and lives[b][0] <= lives[a][1]
        if sizes[a] and sizes[b] and offsets[a] < offsets[b] + sizes[b] and offsets[b] < offsets[a] + sizes[a]
    ]


def drawn(seed: int, count: int):
    rng = np.random.default_rng(seed)
    firsts = rng.integers(0, 8, count)
    lives = {f"t{i}": (int(first), int(first + rng.integers(0, 4))) for i, first in enumerate(firsts)}
    return lives, {name: int(rng.integers(0, 50)) for name in lives}


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("alignment", [1, 4, 16])
def test_memories_that_live_together_do_not_overlap(seed, alignment):
    lives, sizes = drawn(seed, 12)
    arena = planned(lives, sizes, alignment)
    assert arena.offsets.keys() == lives.keys() and not overlapping(arena.offsets, lives, sizes)
    assert all(offset % alignment == 0 for offset in arena.offsets.values())
    assert arena.size == max(arena.offsets[name] + sizes[name] for name in lives)
    assert arena.bound == peak(lives, sizes) <= arena.size


@pytest.mark.parametrize("seed", range(20))
def test_no_order_of_six_memories_gives_a_smaller_arena_by_more_than_a_tenth(seed):
    """Of all orders in which each takes its lowest place."""
    lives, sizes = drawn(seed, 6)

    def size_of(order):
        offsets = {}
        for name in order:
            beside = [o for o in offsets if lives[o][0] <= lives[name][1] and lives[name][0] <= lives[o][1]]
            places = [0, *(offsets[o] + sizes[o] for o in beside)]
            fits = [p for p in places if not overlapping({**{o: offsets[o] for o in beside}, name: p},
                                                         {o: lives[name] for o in (*beside, name)}, sizes)
                    or all(p + sizes[name] <= offsets[o] or p >= offsets[o] + sizes[o] for o in beside)]  # fmt: skip
            offsets[name] = min(fits)
        return max(offsets[name] + sizes[name] for name in lives)

    best = min(size_of(order) for order in permutations(lives))
    assert planned(lives, sizes).size <= 1.1 * best


def test_of_a_program_the_arena_is_as_small_as_what_lives_at_once():
    program = residual_network()
    arena = program.arena()
    assert arena.bound == arena.size == program.peak_ram_bytes()


def test_the_arena_holds_the_inputs_and_outputs_of_a_program_with_several():
    build = Build((10,))
    first = build.linear(40)
    second = build.linear(7)
    program = Program(("x",), (first, second), build.tensors, tuple(build.nodes), build.constants, {})
    assert program.lifetimes() == {"x": (0, 0), first: (0, 1), second: (1, 1)}
    assert program.peak_ram_bytes() == 50 == program.arena().size
