"""Tensors of the user's in the form that operators need: each axis one stored axis, in an order that is asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from search.integer.traits import Channels
from spaces.graph.errors import UnsupportedNetwork
from spaces.graph.op import Op
from spaces.graph.value import Value
from spaces.graph.view import Shape, View


@dataclass
class Forms:
    """The operators of a network as far as it is read, among them those that bring tensors into other forms."""

    ops: list[Op] = field(default_factory=list)
    known: dict[tuple[str, View, Shape], Value] = field(default_factory=dict)
    by_name: dict[str, Op] = field(default_factory=dict)
    constants: dict[tuple[int, Shape, int, Shape], Value] = field(default_factory=dict)

    def add(self, op: Op) -> None:
        """Puts an operator behind those that are there."""
        assert op.name not in self.by_name, f"two operators are called '{op.name}'"
        self.ops.append(op)
        self.by_name[op.name] = op

    def forget(self, count: int) -> None:
        """Takes back all but so many of the operators."""
        gone = {op.name for op in self.ops[count:]}
        del self.ops[count:]
        self.by_name = {op.name: op for op in self.ops}
        self.constants = {key: value for key, value in self.constants.items() if value.name not in gone}
        self.known = {key: value for key, value in self.known.items() if value.name not in gone}

    def stored(self, value: Value, order: Sequence[int] | None = None) -> Value:
        """The value with its own axes stored in that order. None: in the order that moves least.

        Raises:
            UnsupportedNetwork: the batch was joined with other axes, or there are no elements.
        """
        if not value.name:
            raise UnsupportedNetwork(value.label or "forward", "takes a part without elements.", "Leave it out.")
        view, batch = value.seen, value.batch
        order = view.order if order is None else tuple(order)
        key = (value.name, view, order)
        if key not in self.known:
            self.known[key] = self._made(value, view, order, batch)
        return replace(self.known[key], shape=value.shape)

    def reshaped(self, value: Value, shape: Sequence[int]) -> Value:
        """The elements in row-major order under another shape, with the batch. Mostly nothing moves for it."""
        view = value.seen.reshaped(shape)
        if view is not None:
            return replace(value, shape=tuple(shape), view=view)
        plain = self.stored(value, range(value.rank))
        if plain.batch or tuple(shape)[:1] != plain.shape[:1]:
            raise UnsupportedNetwork(
                value.label or value.name,
                f"reshapes {value.shape} to {tuple(shape)}, and the batch with it.",
                "Each sample is run by itself on the chip: leave the batch alone.",
            )
        name = self._reshape(plain.name, plain.own, tuple(shape[1:]), value.label)
        return Value(name, tuple(shape), label=value.label)

    def taken(self, value: Value, places: Mapping[int, Sequence[int]], label: str) -> Value:
        """The elements at places that are listed for some of the own axes."""
        if not all(map(len, places.values())):
            own = [0 if axis in places and not places[axis] else size for axis, size in enumerate(value.own)]
            return Value("", (*own[: value.batch], value.shape[value.batch], *own[value.batch :]), label=label)
        if not all(value.seen.lies_together(axis) for axis in places):
            value = self.stored(value)
        view, batch = value.seen, value.batch
        indices: list[list[int]] = [[] for _ in view.stored]
        for axis, each in places.items():
            if list(each) != list(range(value.own[axis])):
                view, place, found = view.taking(axis, each)
                indices[place] = _in_turn(indices[place], found)
        if not any(indices):
            return value
        name = self._take(value.name, view.stored, indices, label)
        own = [view.size(factors) for factors in view.own]
        return Value(name, (*own[:batch], value.shape[batch], *own[batch:]), view, label)

    def _made(self, value: Value, view: View, order: Shape, batch: int) -> Value:
        name, shape = value.name, view.stored
        target = tuple(view.size(view.own[axis]) for axis in order)
        places, runs = view.shuffled(order), view.runs(order)
        if places:
            name = self._take(name, shape, [places, *([] for _ in shape[1:])], value.label)
        elif len(runs) > 1 and view.is_whole:
            axes, shape = [view.own[axis][0] - 1 for axis in order], target
            name = self._add("permute", name, shape, {"axes": axes}, value.label)
        elif len(runs) > 1:
            lying = sorted(runs)
            sizes = tuple(view.size(run) for run in lying)
            name = self._reshape(name, shape, sizes, value.label)
            axes = [lying.index(run) for run in runs]
            shape = tuple(sizes[axis] for axis in axes)
            name = self._add("permute", name, shape, {"axes": axes}, value.label)
        name = self._reshape(name, shape, target, value.label)
        return Value(name, value.shape, View.ordered(target, order, batch), value.label)

    def _reshape(self, name: str, shape: Shape, target: Shape, label: str) -> str:
        return name if shape == target else self._add("reshape", name, target, {"shape": list(target)}, label)

    def _take(self, name: str, shape: Shape, indices: list[list[int]], label: str) -> str:
        before = self.by_name.get(name)
        if before is not None and before.operator is not None and before.operator.channels is Channels.TAKEN:
            pairs = zip(before.attributes["indices"], indices, strict=True)  # a part of a part
            indices, name = [_in_turn(first, then) for first, then in pairs], before.inputs[0]
        return self._add("take", name, shape, {"indices": indices}, label)

    def _add(self, kind: str, name: str, shape: Shape, attributes: dict[str, Any], label: str) -> str:
        label = label or f"{name}.{kind}"
        new, count = label, 1
        while new in self.by_name:
            count += 1
            new = f"{label}.{count}"
        self.add(Op(kind, new, label, [name], shape, attributes))
        return new


def _in_turn(first: list[int], then: list[int]) -> list[int]:
    return [first[place] for place in then] if first and then else first or then
