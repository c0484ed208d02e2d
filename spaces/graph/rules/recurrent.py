"""Recurrent layers: a loop over the places of a sequence, made of layers and elementwise operators.

Each gate has weights of its own, for the input and for the state, so that it has its own precision and steps. Formulas
are those of torch.nn.GRU, torch.nn.LSTM and torch.nn.RNN.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from spaces.blocks.activations import Activation
from spaces.graph.op import ACTIVATION, Op
from spaces.graph.rules.common import Rules, added
from spaces.graph.trace import Call
from spaces.graph.value import Value
from spaces.graph.view import SAMPLES, View

STATES = ("last", "last_cell")  # what layers end in, as it is called
CELL_BITS = 16  # of what a cell adds up over time
NONE: Activation = ("none", {})
SIGMOID: Activation = ("sigmoid", {})
TANH: Activation = ("tanh", {})
REST: Activation = ("scale", {"factor": -1.0, "offset": 1.0})  # 1 - x
BIDIRECTIONAL = "A chip has no future: run it in one direction, or reverse the sequence by flip."


@dataclass
class _Layer:
    """The loop of one layer while it is made.

    Attributes:
        name: of the loop, and the first part of the names of all in it.
        weights: of the input and of the state, (gates * hidden, features) each.
        biases: of both, (gates * hidden,) each; None: there are none.
    """

    call: Call
    name: str
    weights: tuple[Tensor, Tensor]
    biases: tuple[Tensor | None, Tensor | None]

    @property
    def hidden(self) -> int:
        return int(self.weights[1].shape[1])

    def op(self, kind: str, name: str, inputs: Sequence[str], **more: object) -> str:
        """Adds an operator of `hidden` features, and returns its name."""
        shape = more.pop("shape", (self.hidden,))
        whole = f"{self.name}.{name}"
        self.call.forms.add(
            Op(kind, whole, self.call.where, list(inputs), shape, loop=self.name, **more)  # type: ignore[arg-type]
        )
        return whole

    def state(self, name: str, then: str) -> str:
        return self.op("state", name, [], attributes={"next": f"{self.name}.{then}"})

    def linear(self, name: str, source: str, gate: int, of_state: bool) -> str:
        """The part of the weights that a gate has."""
        rows = slice(gate * self.hidden, (gate + 1) * self.hidden)
        weight, bias = self.weights[of_state], self.biases[of_state]
        return self.op(
            "linear",
            name,
            [source],
            weights=f"{self.name}.{name}",
            weight=_part(weight, rows),
            bias=None if bias is None else _part(bias, rows),
        )

    def gate(self, name: str, x: str, h: str, gate: int, activation: Activation) -> str:
        """activation(W x + U h)"""
        parts = [self.linear(f"{name}_input", x, gate, False), self.linear(f"{name}_state", h, gate, True)]
        return self.op("add", name, parts, activation=activation)


def _part(values: Tensor, rows: slice) -> Tensor:
    part = values.detach()[rows].clone()
    return nn.Parameter(part, requires_grad=values.requires_grad) if isinstance(values, nn.Parameter) else part


Cell = Callable[[_Layer, str], tuple[str, ...]]  # adds what runs at one place, and returns its states, hidden first


def _gru(layer: _Layer, x: str) -> tuple[str]:
    """h' = z * h + (1 - z) * n, n = tanh(W x + r * (U h))"""
    h = layer.state("state", "hidden")
    r, z = (layer.gate(name, x, h, gate, SIGMOID) for gate, name in enumerate(("reset", "update")))
    new_x, new_h = layer.linear("new_input", x, 2, False), layer.linear("new_state", h, 2, True)
    n = layer.op("add", "new", [new_x, layer.op("mul", "new_reset", [r, new_h])], activation=TANH)
    rest = layer.op(ACTIVATION, "rest", [z], activation=REST)
    kept, made = layer.op("mul", "kept", [z, h]), layer.op("mul", "made", [rest, n])
    return (layer.op("add", "hidden", [kept, made]),)


def _lstm(layer: _Layer, x: str) -> tuple[str, str]:
    """c' = f * c + i * g, h' = o * tanh(c')"""
    h, c = layer.state("state", "hidden"), layer.state("cell_state", "cell")
    i, f, g, o = (
        layer.gate(name, x, h, gate, TANH if name == "new" else SIGMOID)
        for gate, name in enumerate(("input", "forget", "new", "output"))
    )
    kept = layer.op("mul", "kept", [f, c], bits=CELL_BITS)
    made = layer.op("mul", "made", [i, g], bits=CELL_BITS)
    cell = layer.op("add", "cell", [kept, made], bits=CELL_BITS)
    shown = layer.op("concat", "shown", [cell], attributes={"axis": 0}, activation=TANH)  # of 8 bits
    return layer.op("mul", "hidden", [o, shown]), cell


def _plain(activation: Activation) -> Cell:
    def cell(layer: _Layer, x: str) -> tuple[str]:
        """h' = activation(W x + U h)"""
        return (layer.gate("hidden", x, layer.state("state", "hidden"), 0, activation),)

    return cell


def recurrent(cell: Cell, gates: int) -> Callable[[Call], tuple[Value, ...]]:
    """A rule. Args: gates: that a cell has."""

    def rule(call: Call) -> tuple[Value, ...]:
        x, layers = _checked(call, gates), int(call.given["num_layers"])
        ends = list[tuple[Value, ...]]()  # of each layer its states at the last place
        sequence = call.forms.stored(x, (1, 0))
        each = 4 if call.given["has_biases"] else 2
        for place in range(layers):
            w, u, *biases = call.given["params"][place * each : (place + 1) * each]
            layer = _Layer(call, f"{call.name}.{place}", (w, u), (biases[0], biases[1]) if biases else (None, None))
            read = layer.op("step", "x", [sequence.name], shape=sequence.seen.stored[:-1])
            states = cell(layer, read)
            steps = sequence.seen.stored[-1]
            layer.op("collect", "all", states[:1], shape=(layer.hidden, steps), attributes={"steps": steps})
            ends.append(tuple(Value(name, (SAMPLES, layer.hidden)) for name in states))
            view = View.ordered((layer.hidden, steps), (1, 0), x.batch)
            shape = (*x.shape[:-1], layer.hidden)
            sequence = Value(f"{layer.name}.all", shape, view, label=f"{layer.name}.sequence")
        return (
            sequence,
            *(_stacked(call, each, name) for each, name in zip(zip(*ends, strict=True), STATES, strict=False)),
        )

    return rule


def _checked(call: Call, gates: int) -> Value:
    """The sequence. Raises UnsupportedNetwork for what is no plain recurrent layer."""
    given = call.given
    x = given.get("input")
    if not isinstance(x, Value) or x.rank != 2 or x.batch == 2:
        raise call.refuse("reads something other than a batch of sequences.", "Feed (N, T, features), unpacked.")
    if given["bidirectional"]:
        raise call.refuse("runs in both directions.", BIDIRECTIONAL)
    if given["train"] and given["dropout"]:
        raise call.refuse("drops between its layers in evaluation too.", "Put the model in evaluation mode.")
    starts = given["hx"] if isinstance(given["hx"], (list, tuple)) else [given["hx"]]
    if not all(isinstance(start, Tensor) and not start.any() for start in starts):
        raise call.refuse("starts from a state that is given, or is not zero.", "Call it with the sequence alone.")
    w, u = given["params"][:2]
    if w.shape[0] != u.shape[1] * gates:
        raise call.refuse("projects its state.", "Build it with proj_size=0.")
    return x


def _stacked(call: Call, hidden: Sequence[Value], name: str) -> Value:
    """(layers, N, hidden)"""
    count, size = len(hidden), hidden[0].shape[-1]
    view = View((SAMPLES, count, size), (1, 2), ((1,), (0,), (2,)))
    if count == 1:
        view = View((SAMPLES, size), (1, 1), ((), (0,), (1,)))
        return Value(hidden[0].name, (1, SAMPLES, size), view, label=f"{call.name}.{name}")
    op = Op(
        "concat",
        f"{call.name}.{name}",
        call.where,
        [each.name for each in hidden],
        (count * size,),
        {"axis": 0},
        view=view,
    )
    return added(call, op, (count, SAMPLES, size))


RULES: Rules = {
    "gru": recurrent(_gru, 3),
    "lstm": recurrent(_lstm, 4),
    "rnn_tanh": recurrent(_plain(TANH), 1),
    "rnn_relu": recurrent(_plain(("relu", {})), 1),
}
