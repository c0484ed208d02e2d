"""network_run: the functions of all nodes, one after another.

Where fast code is wanted it calls them. Where small code is wanted it loops over a table of them: a call with many
arguments takes more code than they take in a table.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from search.deploy.c.layout import Stored
from search.deploy.c.operation import Call
from search.deploy.c.source import PLACE, Source, block, comment
from search.integer.graph import Node
from search.integer.looping import parts
from search.integer.memory import Arena
from search.integer.program import Program

STEPS = """\
static const void *const pointers[] = {
%(pointers)s,
};

static const Step steps[] = {
%(steps)s
};
#define STEPS ((int32_t)(sizeof steps / sizeof steps[0]))

#ifdef NETWORK_TRACE
static void trace_after(int32_t done)
{
%(traces)s
}
#define TRACE_AFTER(done) trace_after(done)
#else
#define TRACE_AFTER(done) ((void)0)
#endif

void network_run(%(signature)s)
{
%(body)s
}
"""
INTEGER = re.compile(r"-?\d+")


@dataclass(frozen=True)
class Run:
    """What is called, and with what.

    Attributes:
        calls: node -> its call; None where no code runs.
        traced: tensors in the order of their numbers.
    """

    program: Program
    tensors: Mapping[str, Stored]
    calls: Mapping[str, Call | None]
    plan: Arena
    traced: Sequence[Stored]

    def direct(self) -> str:
        """With a call of each function."""
        program, places, lines = self.program, self._places(), list[str]()
        for name in program.inputs:
            lines += [self._copied_in(name, places), self._trace(name, places)]
        for loop, nodes in parts(program.nodes):
            called = [line for node in nodes for line in self._called(node, places)]
            lines += ["", *over_places(program.steps(nodes[0]), called)] if loop else called
        lines += ["", *self._copied_out(places)]
        return f"void network_run({signature(program, self.tensors)})\n{{\n{indented(lines)}\n}}\n"

    def _called(self, node: Node, places: Mapping[str, str]) -> list[str]:
        call, lines = self.calls[node.name], ["", f"/* {node.op}: {comment(node.name)} */"]
        if call is not None and not node.operator.stored:
            pointers = [*(places[name] for name in node.reads), places[node.output], *self._working(node, call)]
            lines.append(f"{call.function}({', '.join([*pointers, *call.arguments])});")
        return [*lines, *self._at_the_end(node, [self._trace(node.output, places)])]

    def _at_the_end(self, node: Node, lines: list[str]) -> list[str]:
        """Lines that run at the last place of the loop that a node is in, if any."""
        return block(f"if ({PLACE} == {self.program.steps(node) - 1})", lines) if node.loop else lines

    def stepped(self, source: Source) -> str:
        """With a table of functions and arguments."""
        program, places = self.program, self._places()
        numbers = {name: _numbers(call) for name, call in self.calls.items() if call is not None}
        source.number_type = _smallest([value for values in numbers.values() for value in values])
        pointers, steps, ends = list[str](), list[str](), list[int]()  # ends: the steps up to each node
        called: Node | None = None
        traces = [[self._trace(name, places) for name in program.inputs]]  # before the first step, and after each
        for node in program.nodes:
            call = self.calls[node.name]
            if call is not None and not node.operator.stored:
                own = [*(places[name] for name in node.reads), places[node.output], *self._working(node, call)]
                table = source.numbers(f"{node.name}_numbers", numbers[node.name])
                steps.append(f"{{{call.function}, pointers + {len(pointers)}, {table}}}, /* {comment(node.name)} */")
                pointers += [*own, *(each for each in call.arguments if not INTEGER.fullmatch(each))]
                traces.append([])
                called = node
            # A tensor without code of its own is traced behind the last code, which may be in a loop.
            traces[-1] += self._at_the_end(called or node, [self._trace(node.output, places)])
            ends.append(len(steps))
        cases = [
            line
            for step, lines in enumerate(traces)
            for line in (f"case {step}:", *(f"    {line}" for line in lines), "    break;")
        ]
        over = ["steps[i].run(steps[i].p, steps[i].n);", "TRACE_AFTER(i + 1);"]
        body = [
            *(self._copied_in(name, places) for name in program.inputs),
            "TRACE_AFTER(0);",
            *self._ranges(ends, over),
            *self._copied_out(places),
        ]
        return STEPS % {
            "pointers": ",\n".join(f"    {each}" for each in pointers),
            "steps": indented(steps),
            "traces": indented(block("switch (done)", [*cases, "default:", "    break;"])),
            "signature": signature(program, self.tensors),
            "body": indented(body),
        }

    def _ranges(self, ends: Sequence[int], over: Sequence[str]) -> list[str]:
        """Runs over all steps. Args: ends: of each node the number of steps up to it."""
        ranges, start, node = list[tuple[int, int, int]](), 0, 0  # first and last + 1; how often, 0 where in no loop
        for loop, nodes in parts(self.program.nodes):
            node += len(nodes)
            times = self.program.steps(nodes[0]) if loop else 0
            if ranges and not times and not ranges[-1][2]:
                ranges[-1] = (ranges[-1][0], ends[node - 1], 0)
            else:
                ranges.append((start, ends[node - 1], times))
            start = ends[node - 1]
        if len(ranges) == 1 and not ranges[0][2]:
            return block("for (int32_t i = 0; i < STEPS; ++i)", over)
        lines = list[str]()
        for first, end, times in ranges:
            inner = block(f"for (int32_t i = {first}; i < {end}; ++i)", over) if first < end else []
            lines += over_places(times, inner) if times else inner
        return lines

    def _places(self) -> dict[str, str]:
        """Tensor -> an expression of where it lies."""
        found = {name: self._pointer(name) for name in self.program.inputs}
        for node in self.program.nodes:
            call = self.calls[node.name]
            if call is None:
                found[node.output] = found[node.inputs[0]]
            else:
                found[node.output] = call.function if node.operator.stored else self._pointer(node.output)
        return found

    def _pointer(self, name: str) -> str:
        place = f"arena + {self.plan.offsets[name]}"
        return f"(uint16_t *)(void *)({place})" if self.tensors[name].info.bits > 8 else place

    def _working(self, node: Node, call: Call) -> list[str]:
        """Its working memory, if it has some."""
        return [f"({call.kind} *)(void *)(arena + {self.plan.offsets[f'{node.name}/scratch']})"] if call.scratch else []

    def _trace(self, name: str, places: Mapping[str, str]) -> str:
        number = next(number for number, each in enumerate(self.traced) if each.name == name)
        return f"TRACE({number}, {places[name]}, {self.tensors[name].bytes});"

    def _copied_in(self, name: str, places: Mapping[str, str]) -> str:
        return f"memcpy({places[name]}, {_given('in', self.program.inputs, name)}, {self.tensors[name].bytes});"

    def _copied_out(self, places: Mapping[str, str]) -> list[str]:
        names = self.program.outputs
        targets = ["out"] if len(names) == 1 else [f"out{number}" for number in range(len(names))]
        return [
            f"memcpy({target}, {places[name]}, {self.tensors[name].bytes});"
            for target, name in zip(targets, names, strict=True)
        ]


def signature(program: Program, tensors: Mapping[str, Stored]) -> str:
    """The parameters of network_run."""
    inputs = [f"const {tensors[n].ctype} *{_given('in', program.inputs, n)}" for n in program.inputs]
    outputs = [
        f"{tensors[n].ctype} *out{'' if len(program.outputs) == 1 else i}" for i, n in enumerate(program.outputs)
    ]
    return ", ".join([*inputs, *outputs])


def _numbers(call: Call) -> list[int]:
    """Those of its arguments, and then its own."""
    return [*(int(each) for each in call.arguments if INTEGER.fullmatch(each)), *call.numbers]


def _smallest(values: Sequence[int]) -> np.dtype[Any]:
    """The type that holds all of them in the fewest bytes."""
    fits = all(-(1 << 15) <= value < 1 << 15 for value in values)
    return np.dtype(np.int16) if fits else np.dtype(np.int32)


def over_places(count: int, lines: Sequence[str]) -> list[str]:
    """A loop over the places of a sequence."""
    return block(f"for ({PLACE} = 0; {PLACE} < {count}; ++{PLACE})", lines)


def indented(lines: Iterable[str]) -> str:
    return "\n".join(f"    {line}" if line else "" for line in lines)


def _given(what: str, names: tuple[str, ...], name: str) -> str:
    return what if len(names) == 1 else f"{what}{names.index(name)}"
