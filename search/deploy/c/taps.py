"""Loops over the taps of a window that slides over an input, and what they meet at its border."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

from search.deploy.c.loops import sum_of
from search.deploy.c.operation import Operation
from search.deploy.c.source import block, loop, number


@dataclass(frozen=True)
class Taps:
    """The taps of a window, in their order. Where small code is wanted, the lines are those of any window.

    Attributes:
        spread: whether the input's elements lie as many places apart as the stride says, with zero points between.
        inside: from where taps meet the input, and how many of them lie side by side, to lines.
        outside: from a number of taps that meet nothing to lines.
        joined: whether taps that meet neighbours are taken together.
    """

    operation: Operation
    spread: bool
    inside: Callable[[str, int], list[str]]
    outside: Callable[[int], list[str]]
    joined: bool = False

    def lines(self, first: int = 0) -> list[str]:
        """Of the window at the place o0, o1, .. of the output, from its axis `first` on."""
        a, x = self.operation.node.attributes, self.operation.inputs[0]
        if first == len(a["kernel"]):
            return self.inside(self._sum([(f"at{axis}", step) for axis, step in enumerate(x.strides[1:])]), 1)
        taps, rest = a["kernel"][first], prod(a["kernel"][first + 1 :])
        dilation, stride, (low, high) = a.get("dilation", [1] * 3)[first], a["stride"][first], a["padding"][first]
        size = x.shape[1 + first]
        tap = f"t{first}"
        if self.spread:
            lines = [f"const int32_t spread{first} = {self._sum([(f'o{first}', 1), (tap, dilation)], -low)};"]
            step, whole = number(stride), f"spread{first} / {number(stride)}"
            met = f"spread{first} >= 0 && spread{first} % {step} == 0 && {whole} < {number(size)}"
            at = f"const int32_t at{first} = {whole};"
            lines += [*block(f"if ({met})", [at, *self.lines(first + 1)]), *block("else", self.outside(rest))]
            return loop(tap, taps, lines)
        begin, small = self._sum([(f"o{first}", stride)], -low), self.operation.small
        if taps == 1 and not low and not high and not small:
            return [f"const int32_t at{first} = {begin};", *self.lines(first + 1)]
        at = f"const int32_t at{first} = {self._sum([(f'o{first}', stride), (tap, dilation)], -low)};"
        if not low and not high and not small:
            lines = [at, *self.lines(first + 1)]
        else:
            within = block(f"if (at{first} >= 0 && at{first} < {number(size)})", self.lines(first + 1))
            lines = [at, *within, *block("else", self.outside(rest))]
        lines = loop(tap, taps, lines)
        if not self.joined or first + 1 < len(a["kernel"]) or (dilation > 1 and not small):
            return lines
        terms = [*((f"at{axis}", step) for axis, step in enumerate(x.strides[1 : 1 + first])), ("begin", x.strides[-1])]
        joined = self.inside(self._sum(terms), taps)
        if not low and not high and not small:
            return [f"const int32_t begin = {begin};", *joined]
        condition = f"if (begin >= 0 && begin + {number(taps)} <= {number(size)})"
        if small:
            condition = condition.replace("if (", f"if ({number(dilation)} == 1 && ")
        return [f"const int32_t begin = {begin};", *block(condition, joined), *block("else", lines)]

    def _sum(self, terms: Sequence[tuple[str, int]], constant: int = 0) -> str:
        return sum_of(terms, constant, self.operation.small)


def over_places(operation: Operation, lines: Sequence[str]) -> list[str]:
    """Loops over the places o0, o1, .. of the output."""
    found = list(lines)
    for axis, size in reversed(list(enumerate(operation.output.shape[1:]))):
        found = loop(f"o{axis}", size, found)
    return found
