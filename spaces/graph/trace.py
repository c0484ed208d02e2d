"""Trace a module with torch.fx and run it once, so that every value in the graph is known."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from spaces.graph.errors import UnsupportedNetwork
from spaces.one_of import Select


@dataclass(frozen=True)
class Value:
    """An activation tensor: its name in the Space and its shape with the batch."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Call:
    """One node of the traced graph, its activation arguments as Values and all others as they were."""

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

    def call_module(self, module, forward, args, kwargs):
        self.where.append(self.path_of_module(module))
        result = super().call_module(module, forward, args, kwargs)
        self.where.pop()
        return result


def traced(model: nn.Module, example: Tensor) -> tuple[list[Call], Value, Value]:
    """Calls in execution order, the input and the output.

    Args:
        model: left as it is; a copy is traced and run.
        example: (N, C, ...), any batch.

    Raises:
        UnsupportedNetwork: data-dependent control flow, several inputs or outputs, a shape that does not fit.
    """
    model = copy.deepcopy(model).eval().cpu()
    graph = _graph(model)
    placeholders = [n for n in graph.nodes if n.op == "placeholder"]
    needed = [n for n in placeholders if not n.args]
    if len(needed) != 1:
        raise UnsupportedNetwork(
            type(model).__name__, f"forward takes {len(needed)} tensors.", "Exactly one input is supported: wrap it."
        )
    results = _run(model, graph, placeholders, example.detach().cpu())
    return _calls(model, graph, placeholders[0], results)


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
        ) from error


def _run(model: nn.Module, graph: fx.Graph, placeholders: list[fx.Node], example: Tensor) -> dict[fx.Node, Any]:
    """Runs the graph on a batch of two, so that a batch folded into another dimension shows."""
    results: dict[fx.Node, Any] = {}
    example = torch.cat([example[:1], example[:1]])

    class Recorder(fx.Interpreter):
        def run_node(self, node: fx.Node) -> Any:
            try:
                results[node] = super().run_node(node)
            except Exception as error:
                where = _where(node)
                reason = str(error).split("\n")[0].rstrip(".")
                raise UnsupportedNetwork(
                    where,
                    f"fails on an input of shape {tuple(example.shape)} ({reason}).",
                    "Give searchable() an example_input of the shape (batch first) and type that the network takes.",
                ) from error
            return results[node]

    with torch.no_grad():
        recorder = Recorder(fx.GraphModule(model, graph))
        recorder.extra_traceback = False  # the message is ours
        recorder.run(*[example if not n.args else n.args[0] for n in placeholders])
    return results


def _where(node: fx.Node) -> str:
    if node.op == "call_module":
        return str(node.target)
    stack = node.meta.get("nn_module_stack")
    inside = list(stack.values())[-1][0] if stack else ""
    return f"{inside} ({node.name})" if inside else node.name


def _calls(model: nn.Module, graph: fx.Graph, source: fx.Node, results: dict[fx.Node, Any]):
    owned = {id(t): name for name, t in [*model.named_parameters(), *model.named_buffers()]}
    active: dict[fx.Node, Value] = {source: Value("input", tuple(results[source].shape))}
    calls, used, output = [], {"input"}, None
    for node in graph.nodes:
        if node.op == "output":
            output = node.args[0]
        if node.op in ("placeholder", "get_attr", "output") or not any(n in active for n in node.all_input_nodes):
            continue
        if not _holds_tensor(results[node]):
            continue  # a size: already a number
        name = _name(node, used)
        args, kwargs = fx.node.map_arg(
            (node.args, node.kwargs), lambda n: active.get(n, results[n]) if isinstance(n, fx.Node) else n
        )
        target = model.get_submodule(node.target) if node.op == "call_module" else node.target
        path = node.target if node.op == "call_module" else ""
        calls.append(Call(name, _where(node), target, path, tuple(args), dict(kwargs), results[node], owned))
        shape = tuple(results[node].shape) if isinstance(results[node], Tensor) else ()
        active[node] = Value(name, shape)
    if not isinstance(output, fx.Node) or output not in active or not isinstance(results[output], Tensor):
        raise UnsupportedNetwork(
            type(model).__name__, "forward does not return one tensor.", "Return the logits alone: wrap the model."
        )
    return calls, active[source], active[output]


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
