"""A module is traced with torch.fx and run once, so that every value in the graph is known."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from traceback import extract_tb
from typing import Any

import torch
from torch import Tensor, fx, nn

from spaces.graph.errors import UnsupportedNetwork
from spaces.one_of import Select

MISFITS = (RuntimeError, ValueError, IndexError)  # what torch raises for shapes and types that a layer does not take
OF_TORCH = Path(torch.__file__).parent


@dataclass(frozen=True)
class Value:
    """An activation tensor: its name in the Space and its shape with the batch."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Call:
    """One node of the traced graph, with its activation arguments as Values and all others as they were."""

    name: str
    where: str  # path of the module it is in, for messages
    target: Any  # an nn.Module, a function, or the name of a method
    path: str  # of a called module, else ""
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any
    owned: dict[int, str]  # id of a parameter or buffer -> its name, for functional calls

    def bind(self, *names: str, **defaults: Any) -> dict[str, Any]:
        """Positional and keyword arguments by name."""
        bound = dict(defaults)
        bound.update(zip(names, self.args, strict=False))
        bound.update(self.kwargs)
        return bound

    def refuse(self, reason: str, way_out: str) -> UnsupportedNetwork:
        return UnsupportedNetwork(self.where or self.name, reason, way_out)


class _Tracer(fx.Tracer):
    def __init__(self) -> None:
        super().__init__()
        self.where: list[str] = []

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, Select) or super().is_leaf_module(module, name)

    def call_module(
        self, module: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        self.where.append(self.path_of_module(module))
        result = super().call_module(module, forward, args, kwargs)
        self.where.pop()
        return result


@dataclass(frozen=True)
class Trace:
    """A network as it ran: calls in execution order, and the values that it takes and returns."""

    calls: list[Call]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]


def traced(model: nn.Module, examples: Sequence[Tensor]) -> Trace:
    """The calls that a network makes.

    Args:
        model: stays as it is. A copy is traced and run.
        examples: (N, C, ...) each, with any batch; one for each tensor that forward takes, in order.

    Raises:
        UnsupportedNetwork: control flow depends on data, the number of inputs or a shape does not fit, or something
            other than tensors is returned.
    """
    model = copy.deepcopy(model).eval().cpu()
    graph = _graph(model)
    placeholders = [n for n in graph.nodes if n.op == "placeholder"]
    needed = [n for n in placeholders if not n.args]
    if len(needed) != len(examples):
        raise UnsupportedNetwork(
            type(model).__name__,
            f"forward takes {len(needed)} tensors, and {len(examples)} examples are given.",
            "Give an example of each, in a tuple in the order in which forward takes them.",
            takes=len(needed),
        )
    results = _run(model, graph, placeholders, dict(zip(needed, examples, strict=True)))
    return _trace(model, graph, needed, results)


def _graph(model: nn.Module) -> fx.Graph:
    tracer = _Tracer()
    try:
        return tracer.trace(model)
    except Exception as error:
        where = tracer.where[-1] if tracer.where else type(model).__name__
        reason = str(error).split("\n")[0].rstrip(".")
        branches = "control flow" in reason or "cannot be iterated" in reason
        raise UnsupportedNetwork(
            where,
            f"cannot be traced, its path depends on the data ({reason})."
            if branches
            else f"cannot be traced ({reason}).",
            "Take the branch or loop on values out of forward, or split the model there and search each part.",
        ).showing_cause() from error


def _run(
    model: nn.Module, graph: fx.Graph, placeholders: list[fx.Node], given: dict[fx.Node, Tensor]
) -> dict[fx.Node, Any]:
    """Runs the graph on batches of two, so that a batch folded into another dimension shows."""
    results: dict[fx.Node, Any] = {}
    pairs = {node: torch.cat([x[:1], x[:1]]).detach().cpu() for node, x in given.items()}

    class Recorder(fx.Interpreter):
        def run_node(self, node: fx.Node) -> Any:
            try:
                results[node] = super().run_node(node)
            except Exception as error:
                own = _in_forward(model, list(pairs.values()), error)
                taken = [results[n] for n in node.all_input_nodes]
                refusal = _does_not_fit(node, taken, list(pairs.values()), own)
                # A layer that does not fit is told in one line. Any other error is in code of the user.
                raise (refusal if isinstance(own, MISFITS) else refusal.showing_cause()) from own
            return results[node]

    with torch.no_grad():
        recorder = Recorder(fx.GraphModule(model, graph))
        recorder.extra_traceback = False  # the message is ours
        recorder.run(*[pairs[n] if n in pairs else n.args[0] for n in placeholders])
    return results


def _does_not_fit(node: fx.Node, taken: list[Any], given: list[Tensor], error: Exception) -> UnsupportedNetwork:
    """The refusal of a call that failed.

    Args:
        taken: what the call was given.
        given: the inputs of the network.
    """
    tensors = [x for x in taken if isinstance(x, Tensor)]
    reason = str(error).split("\n")[0].rstrip(".")
    return UnsupportedNetwork(
        _where(node),
        f"fails on {_told(tensors)}{_line(error)}, where the network is given {_told(given)} ({reason}).",
        "Change the layer, or give searchable() an example_input of the shape (batch first) and type that the network "
        "takes; a run gives it the images of its data.",
    )


def _told(tensors: list[Tensor]) -> str:
    """The tensors by their shapes, in words."""
    shapes = " and ".join(str(tuple(x.shape)) for x in tensors)
    return f"a tensor of shape {shapes}" if len(tensors) == 1 else f"tensors of shapes {shapes or 'unknown'}"


def _line(error: Exception) -> str:
    """The line of the user's file in which the error was raised, as " at FILE:LINE"; "" where there is none."""
    frames = [f for f in extract_tb(error.__traceback__) if Path(f.filename) != Path(__file__)]
    lines = [f"{f.filename}:{f.lineno}" for f in frames if OF_TORCH not in Path(f.filename).parents]
    return f" at {lines[-1]}" if lines else ""


def _in_forward(model: nn.Module, inputs: Sequence[Tensor], error: Exception) -> Exception:
    """The same error as it is raised in the user's forward, with its line; the graph knows no lines."""
    try:
        model(*inputs)
    except Exception as own:
        if own.__context__ is error:
            own.__context__ = None  # it was raised while that one was handled, and not because of it
        return own
    return error


def _where(node: fx.Node) -> str:
    if node.op == "call_module":
        return str(node.target)
    stack = node.meta.get("nn_module_stack")
    inside = list(stack.values())[-1][0] if stack else ""
    return f"{inside} ({node.name})" if inside else node.name


def _trace(model: nn.Module, graph: fx.Graph, inputs: list[fx.Node], results: dict[fx.Node, Any]) -> Trace:
    owned = {id(t): name for name, t in [*model.named_parameters(), *model.named_buffers()]}
    names = _input_names(graph, inputs)
    active = {n: Value(name, tuple(results[n].shape)) for n, name in zip(inputs, names, strict=True)}
    sources = tuple(active.values())
    calls, used = [], set(names)
    for node in graph.nodes:
        if node.op in ("placeholder", "get_attr", "output") or not any(n in active for n in node.all_input_nodes):
            continue
        if not _holds_tensor(results[node]):
            continue  # a size: already a number
        name = _name(node, used)
        args, kwargs = fx.node.map_arg(
            (node.args, node.kwargs), lambda n: active.get(n, results[n]) if isinstance(n, fx.Node) else n
        )
        called = node.op == "call_module"
        calls.append(
            Call(
                name=name,
                where=_where(node),
                target=model.get_submodule(node.target) if called else node.target,
                path=node.target if called else "",
                args=tuple(args),
                kwargs=dict(kwargs),
                result=results[node],
                owned=owned,
            )
        )
        shape = tuple(results[node].shape) if isinstance(results[node], Tensor) else ()
        active[node] = Value(name, shape)
    return Trace(calls, sources, _returned(model, graph, active, results))


def _input_names(graph: fx.Graph, inputs: list[fx.Node]) -> list[str]:
    """ "input", or of several those of forward's arguments; a module of the same name keeps its own."""
    if len(inputs) == 1:
        return ["input"]
    modules = {str(node.target) for node in graph.nodes if node.op == "call_module"}
    return [f"{node.name}_input" if node.name in modules else node.name for node in inputs]


def _returned(
    model: nn.Module, graph: fx.Graph, active: dict[fx.Node, Value], results: dict[fx.Node, Any]
) -> tuple[Value, ...]:
    """The tensors that forward returns: one tensor, or a tuple or list of tensors."""
    (returned,) = next(node for node in reversed(graph.nodes) if node.op == "output").args
    outputs = list(returned) if isinstance(returned, (tuple, list)) else [returned]
    computed = [n for n in outputs if isinstance(n, fx.Node) and n in active and isinstance(results[n], Tensor)]
    if not outputs or len(computed) != len(outputs):
        raise UnsupportedNetwork(
            type(model).__name__,
            "forward does not return a tensor that it computes, or a tuple of them.",
            "Return the logits alone, or wrap the model.",
        )
    return tuple(active[n] for n in outputs)


def _holds_tensor(result: Any) -> bool:
    return isinstance(result, Tensor) or (
        isinstance(result, (tuple, list)) and not isinstance(result, torch.Size) and any(map(_holds_tensor, result))
    )


def _name(node: fx.Node, used: set[str]) -> str:
    base = str(node.target) if node.op == "call_module" else node.name
    name, count = base, 1
    while name in used:
        count += 1
        name = f"{base}@{count}"
    used.add(name)
    return name
