"""A program with a loop, built by hand."""

from search.integer.program import Program
from tests.search.integer.programs import Build

STEPS = 5
SEED = 10  # of constants with which every tensor varies


def recurrent(bits: int = 8) -> Program:
    """Two states, of which one reads the other, what is gathered, and a layer behind the last place."""
    build = Build((3, STEPS), bits, seed=SEED)
    build.loop = "cell"
    x, h, c = build.step("x"), build.state((4,)), build.state((4,))
    build.last = x
    read = build.linear(4, (8, 4, 2, 8))
    build.last = h
    c_next = build.add(read, build.mul(build.linear(4), c))
    h_next = build.add(c_next, h)
    build.carry(c, c_next)
    build.carry(h, h_next)
    build.last = h_next
    every = build.collect(STEPS)
    build.loop = ""
    build.last = every
    build.conv(2, (3,))
    build.last = h_next
    build.linear(6)
    return build.program()
