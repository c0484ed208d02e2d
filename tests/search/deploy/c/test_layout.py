"""Where tensors lie: never two at once in one place, and in the place of an input where nothing reads that."""

import pytest

from search.deploy.c.layout import arena, stored
from search.deploy.c.network import generated
from search.deploy.c.order import ordered
from search.integer.program import Program
from tests.search.integer.programs import Build, attention_network, residual_network, resized_network


def lives(program: Program) -> dict[str, tuple[int, int]]:
    """First and last step of each tensor: inputs from the beginning, outputs to the end."""
    found = {name: [0, 0] for name in program.inputs}
    for step, node in enumerate(program.nodes):
        found[node.output] = [step, step]
        for name in node.inputs:
            found[name][1] = step
    for name in program.outputs:
        found[name][1] = len(program.nodes)
    return {name: (first, last) for name, (first, last) in found.items()}


@pytest.mark.parametrize("network", [residual_network, attention_network, resized_network])
def test_tensors_that_live_together_do_not_overlap(network):
    program = ordered(network())
    made = generated(program)
    tensors, each = {t.name: t for t in made.tensors}, lives(program)
    in_ram = [name for name in each if not tensors[name].constant]
    for one in in_ram:
        for other in in_ram:
            (a, b), (c, d) = each[one], each[other]
            if one < other and max(a, c) < min(b, d):  # at one step one may take the place of the other
                at, there = made.arena.offsets[one], made.arena.offsets[other]
                apart = at + tensors[one].bytes <= there or there + tensors[other].bytes <= at
                aliases = any(n.operator.aliases and {one, other} <= {*n.inputs, n.output} for n in program.nodes)
                assert apart or aliases, (one, other)
    assert made.arena.bound <= made.arena.size <= 1.1 * made.arena.bound + 64


def test_an_elementwise_output_takes_the_place_of_an_input_that_nothing_reads_later():
    build = Build((4, 5, 5))
    first = build.conv(4, (1, 1))
    second = build.conv(4, (1, 1))
    total = build.add(first, second)
    build.lookup()
    program = build.program()
    offsets = arena(program, stored(program), {}).offsets
    assert offsets[total] in (offsets[first], offsets[second]) and offsets[build.last] == offsets[total]


def test_it_does_not_where_something_reads_it_later():
    build = Build((4, 5, 5))
    first = build.conv(4, (1, 1))
    table = build.lookup()
    build.add(first, table)
    program = build.program()
    offsets = arena(program, stored(program), {}).offsets
    assert offsets[table] != offsets[first]


def test_nodes_run_in_an_order_that_needs_less_memory():
    """Two branches grow before they shrink: one after the other takes less than both at once."""
    build = Build((2, 8, 8))
    wide = []
    for _ in range(2):
        build.last = "x"
        wide.append(build.conv(16, (1, 1)))
    narrow = []
    for name in wide:
        build.last = name
        narrow.append(build.conv(2, (1, 1)))
    build.add(*narrow)
    program = build.program()
    order = [node.output for node in ordered(program).nodes]
    assert order == [wide[0], narrow[0], wide[1], narrow[1], build.last]
    assert ordered(program).peak_ram_bytes() < program.peak_ram_bytes()
    chain = residual_network()
    assert ordered(chain).nodes == chain.nodes


def test_channels_are_last_where_windows_slide_and_features_are_multiplied_as_they_lie():
    build = Build((4, 5, 6))
    build.conv(3, (3, 3))
    flat = build.reshape(3 * 3 * 4)
    build.linear(2)
    found = stored(build.program())
    assert found["x"].order == (1, 2, 0) and found["conv0"].order == (1, 2, 0)
    assert found[flat].factors == (3, 3, 4) and found[flat].order == (1, 2, 0)  # nothing is copied
