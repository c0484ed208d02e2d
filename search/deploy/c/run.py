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
from search.deploy.c.source import Source, block, comment
from search.integer.graph import Node
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
        for node in program.nodes:
            call = self.calls[node.name]
            lines += ["", f"/* {node.op}: {comment(node.name)} */"]
            if call is not None and not node.operator.stored:
                pointers = [*(places[name] for name in node.inputs), places[node.output], *self._working(node, call)]
                lines.append(f"{call.function}({', '.join([*pointers, *call.arguments])});")
            lines.append(self._trace(node.output, places))
        lines += ["", *self._copied_out(places)]
        return f"void network_run({signature(program, self.tensors)})\n{{\n{indented(lines)}\n}}\n"

    def stepped(self, source: Source) -> str:
        """With a table of functions and arguments."""
        program, places = self.program, self._places()
        numbers = {name: _numbers(call) for name, call in self.calls.items() if call is not None}
        source.number_type = _smallest([value for values in numbers.values() for value in values])
        pointers, steps = list[str](), list[str]()
        traces = [[self._trace(name, places) for name in program.inputs]]  # before the first step, and after each
        for node in program.nodes:
            call = self.calls[node.name]
            if call is not None and not node.operator.stored:
                own = [*(places[name] for name in node.inputs), places[node.output], *self._working(node, call)]
                table = source.numbers(f"{node.name}_numbers", numbers[node.name])
                steps.append(f"{{{call.function}, pointers + {len(pointers)}, {table}}}, /* {comment(node.name)} */")
                pointers += [*own, *(each for each in call.arguments if not INTEGER.fullmatch(each))]
                traces.append([])
            traces[-1].append(self._trace(node.output, places))
        cases = [
            line
            for step, lines in enumerate(traces)
            for line in (f"case {step}:", *(f"    {line}" for line in lines), "    break;")
        ]
        over = ["steps[i].run(steps[i].p, steps[i].n);", "TRACE_AFTER(i + 1);"]
        body = [
            *(self._copied_in(name, places) for name in program.inputs),
            "TRACE_AFTER(0);",
            *block("for (int32_t i = 0; i < STEPS; ++i)", over),
            *self._copied_out(places),
        ]
        return STEPS % {
            "pointers": ",\n".join(f"    {each}" for each in pointers),
            "steps": indented(steps),
            "traces": indented(block("switch (done)", [*cases, "default:", "    break;"])),
            "signature": signature(program, self.tensors),
            "body": indented(body),
        }

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


def indented(lines: Iterable[str]) -> str:
    return "\n".join(f"    {line}" if line else "" for line in lines)


def _given(what: str, names: tuple[str, ...], name: str) -> str:
    return what if len(names) == 1 else f"{what}{names.index(name)}"
