"""A Program that hears a sequence place by place: the whole one as a step, with its states as inputs and outputs.

What runs over a sequence runs over the places that are new. A window that reaches back reads what it needs of the past
from a state, and a loop runs once. The codes are those that the whole Program has at that place: states begin as what
the Program puts before a sequence. Where a window has nothing put before it, as that of a network for a whole number of
frames, states begin as zero, and codes are those of the whole Program on the last places as soon as all windows are
full. No state may read what such a window gives before: it would never forget it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

import numpy as np

from search.errors import UsageError
from search.integer.graph import Array, Node, State, TensorInfo
from search.integer.program import Program
from search.integer.shapes import window_shape
from search.integer.traits import Border, Channels, Work

MOST_PLACES = 64  # of a step
UNIT, UNIT_SHIFT = 1 << 14, 14  # a multiplier and a shift that keep codes


class NoStep(UsageError):
    """A Program needs more of a sequence than its past."""


PADDING = "Pad convolutions before the sequence (ConstantPadNd), or not at all."
LAST_AXIS = "Time is the last axis of what a step hears: feed (N, features, T), and transpose in the network."


class _Uneven(NoStep):
    """A step has another number of places than a node takes, which is named."""


def stepped(program: Program) -> Program:
    """The Program as a step: as few new places at a time as its strides allow.

    Its first input is new places, (C, *size, places), its others are states. Its last outputs are what those states are
    in the next step: `states` names the pairs, and `first_states` what they begin as. Where the whole Program reads its
    last place, the step reads its newest.

    Raises:
        NoStep: there are several inputs, no sequence, or a node looks ahead or at all places at once. It is named.
    """
    if len(program.inputs) > 1 or len(program.tensors[program.inputs[0]].shape) < 2:
        raise NoStep(f"inputs {list(program.inputs)}: a step has one sequence, (C, .., T), and no other input.")
    names: dict[str, None] = {}
    for places in (1 << power for power in range(MOST_PLACES.bit_length())):
        try:
            return _Step(program, places).program()
        except _Uneven as uneven:
            names[str(uneven)] = None
    raise NoStep(
        f"no number of new places, up to {MOST_PLACES}, is what all of it takes at a time ({', '.join(names)}): a loop "
        "takes one, and a window as many as its stride. Put strides along time before recurrent layers."
    )


def first_states(program: Program) -> dict[str, Array]:
    """What the states of a step begin as: input -> codes of its shape."""
    infos = {name: program.tensors[name] for name in program.states}
    return {name: np.full(info.shape, program.states[name].first, info.dtype) for name, info in infos.items()}


@dataclass
class _Step:
    """A step while it is made.

    Attributes:
        fresh: tensor -> how many of its places are new in a step, of sequences; others are of now.
        filling: sequences that are not yet those of the whole until windows are full.
    """

    whole: Program
    places: int
    tensors: dict[str, TensorInfo] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    fresh: dict[str, int] = field(default_factory=dict)
    filling: set[str] = field(default_factory=set)
    states: dict[str, State] = field(default_factory=dict)

    def program(self) -> Program:
        whole, (name,) = self.whole, self.whole.inputs
        self.fresh[name] = self.places
        self.tensors[name] = _resized(whole.tensors[name], self.places)
        for node in whole.nodes:
            self._add(node)
        states = tuple(self.states)
        given = whole.preprocessing
        return replace(
            whole,
            inputs=(name, *states),
            outputs=(*whole.outputs, *(state.next for state in self.states.values())),
            tensors=self.tensors,
            nodes=tuple(self.nodes),
            constants=self.constants,
            preprocessing=None if given is None or given.frontend is not None else given,
            states=dict(self.states),
        )

    def _add(self, node: Node) -> None:
        """Adds what a node of the whole is in a step."""
        info, border = self.whole.tensors[node.output], node.operator.loops
        plain = replace(node, loop="")
        if border is Border.CARRY:
            self.tensors[node.output] = info
            self.states[node.output] = State(node.attributes["next"], info.zero_point)
        elif border is not None:
            if border is Border.READ:
                if self._fresh(node, node.inputs[0]) != 1:
                    raise _Uneven(node.name)
                self._refuse_filling(node)
            shape = info.shape if border is Border.READ else (*info.shape[:-1], 1)
            self._node(replace(plain, op="reshape", attributes={"shape": list(shape)}), replace(info, shape=shape))
            if border is Border.GATHER:
                self.fresh[node.output] = 1
        elif not any(name in self.fresh for name in node.inputs):
            self._node(plain, info)
        else:
            self._of_sequence(plain, info)

    def _of_sequence(self, node: Node, info: TensorInfo) -> None:
        operator, channels = node.operator, node.operator.channels
        self.filling |= {node.output} if self.filling & set(node.inputs) else set()
        if operator.border is not None and not operator.spreads:
            self._window(node, info)
            return
        counts = {self.fresh[name] for name in node.inputs if name in self.fresh}
        (count,) = counts if len(counts) == 1 else (0,)
        length = self.whole.tensors[next(name for name in node.inputs if name in self.fresh)].shape[-1]
        if length == count == 1 and channels is Channels.RESHAPED:  # all that there is
            self._node(node, info)
            return
        attributes: dict[str, Any] = {**node.attributes}
        if channels is Channels.TAKEN:
            *others, last = attributes["indices"]
            if last and list(last) != [length - 1]:
                raise self._refused(node, "takes places other than the last", "Read the last place, or all.")
            attributes["indices"] = [*others, [count - 1] if last else []]
            self._node(replace(node, attributes=attributes), _resized(info, 1 if last else count))
            if not last:
                self.fresh[node.output] = count
            return
        if channels is Channels.RESHAPED and info.shape[-1] == length:
            attributes["shape"] = [*info.shape[:-1], count]
        elif not self._keeps_time(node, info, length) or not count:
            raise self._refused(node, "needs all places of its input at once, or moves time to another axis", LAST_AXIS)
        self._node(replace(node, attributes=attributes), _resized(info, count))
        self.fresh[node.output] = count

    def _keeps_time(self, node: Node, info: TensorInfo, length: int) -> bool:
        """Whether each place of the output is made of those at its place in the inputs alone."""
        axis = len(info.shape) - 1
        if node.operator.channels is Channels.PERMUTED:
            return bool(node.attributes["axes"][-1] == axis)
        if node.operator.channels is Channels.STACKED:
            return bool(node.attributes["axis"] != axis) and all(name in self.fresh for name in node.inputs)
        if node.operator.work is Work.REDUCTION:
            return axis not in [node.attributes.get("axis"), *node.attributes.get("axes", ())]
        others = (self.whole.tensors[name].shape[-1] for name in node.inputs if name not in self.fresh)
        return node.operator.elementwise and info.shape[-1] == length and all(size == 1 for size in others)

    def _window(self, node: Node, info: TensorInfo) -> None:
        """A window along time, which reads its past from a state."""
        (name,), attributes = node.inputs, node.attributes
        source, count = self.whole.tensors[name], self.fresh[name]
        (before, behind), kernel, stride = (attributes[key][-1] for key in ("padding", "kernel", "stride"))
        reach = attributes.get("dilation", [1] * len(attributes["kernel"]))[-1] * (kernel - 1)
        least = max(0, reach - stride + 1)  # places of the past that a step needs
        slides = not before and (reach + 1) % stride == 0
        if behind or not (slides or least <= before <= reach):
            raise self._refused(
                node,
                f"looks ahead: of {reach + 1} places, {before} are padded before the sequence and {behind} behind it; "
                f"none, or {least} to {reach} before and none behind are allowed",
                PADDING,
            )
        if before:
            self._refuse_filling(node)
        elif least:
            self.filling.add(node.output)
        before = before or least
        if count % stride:
            raise _Uneven(node.name)
        here = name
        if before:
            here, past = f"{node.name}.window", f"{node.name}.past"
            self.tensors[past] = _resized(source, before)
            self._joined(here, (past, name), _resized(source, before + count))
            indices: list[list[int]] = [[] for _ in source.shape[:-1]] + [list(range(count, before + count))]
            following = f"{past}.next"
            self._node(
                Node(following, "take", (here,), (following,), {"indices": indices}, {}), _resized(source, before)
            )
            self.states[past] = State(following, 0 if node.operator.border == -inf else source.zero_point)
        padding = [*attributes["padding"][:-1], [0, 0]]
        moved = replace(node, inputs=(here,), attributes={**attributes, "padding": padding})
        shape = window_shape(moved.attributes, self.tensors[here].shape[1:])
        self._node(moved, replace(info, shape=(info.shape[0], *shape)))
        self.fresh[node.output] = count // stride

    def _joined(self, name: str, parts: Sequence[str], info: TensorInfo) -> None:
        """Places behind places: their codes stay as they are."""
        multiplier, shift = np.full(len(parts), UNIT, np.int16), np.full(len(parts), UNIT_SHIFT, np.uint8)
        self.constants |= {f"{name}.multiplier": multiplier, f"{name}.shift": shift}
        ends = {"axis": len(info.shape) - 1, "zero_point": info.zero_point, "clip": [0, info.largest_code]}
        roles = {role: f"{name}.{role}" for role in ("multiplier", "shift")}
        self._node(Node(name, "concat", tuple(parts), (name,), ends, roles), info)

    def _node(self, node: Node, info: TensorInfo) -> None:
        self.nodes.append(node)
        self.tensors[node.output] = info
        self.constants |= {
            name: self.whole.constants[name] for name in node.constants.values() if name not in self.constants
        }

    def _fresh(self, node: Node, name: str) -> int:
        if name not in self.fresh:
            raise self._refused(node, f"reads '{name}', which is no sequence that is heard place by place", LAST_AXIS)
        return self.fresh[name]

    def _refuse_filling(self, node: Node) -> None:
        """Raises NoStep where a state would read what windows that are not full give."""
        if self.filling & set(node.inputs):
            what = "keeps of its input what a window without padding gives before it is full, which the whole never has"
            raise self._refused(node, what, "Pad the windows before it, before the sequence (ConstantPadNd).")

    def _refused(self, node: Node, what: str, way_out: str) -> NoStep:
        return NoStep(f"node '{node.name}' ({node.op}): {what}. {way_out}")


def _resized(info: TensorInfo, places: int) -> TensorInfo:
    return replace(info, shape=(*info.shape[:-1], places))
