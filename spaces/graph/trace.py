"""The calls that a network makes, read from its exported graph, with every value in it known."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import getitem
from pathlib import Path
from re import findall
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from spaces.graph.errors import UnsupportedNetwork
from spaces.graph.export import changed, exported
from spaces.graph.forms import Forms
from spaces.graph.plain import OF_TORCH, is_of_torch, pairs, run_once
from spaces.graph.value import Value

STORED = (InputKind.PARAMETER, InputKind.BUFFER)
# What reads no more of a tensor than its shape and type, which the example fixes.
OF_SHAPES = (
    *("zeros_like", "ones_like", "empty_like", "full_like", "new_zeros", "new_ones", "new_empty", "new_full"),
    *("arange", "sym_size", "size"),
)


@dataclass(frozen=True)
class Call:
    """One operator of the graph.

    Attributes:
        operator: its ATen name, without the underscore of those that change a tensor in place.
        where, line: for messages: the path of the module it is in, and the user's line as " at FILE:LINE".
        module: the layer of torch that it is the whole of; None where it is called in other code.
        given: its arguments by their names in ATen: activations as Values, weights and other constants as Tensors.
        result: what it gave on a batch of two.
        learns: whether one of the constants is a parameter that training may change, or is computed from one.
        owned: id of a parameter or buffer -> its name.
        function: the operator itself.
        forms: the operators of the network so far.
        joined: how many dimensions more its dimension 0 has become, where the batch was joined with others.
    """

    name: str
    operator: str
    where: str
    line: str
    module: nn.Module | None
    given: Mapping[str, Any]
    result: Any
    learns: bool
    owned: Mapping[int, str]
    function: Callable[..., Any]
    forms: Forms = field(default_factory=Forms)
    joined: int = 0

    @property
    def input(self) -> Value:
        """The first argument."""
        value: Value = next(iter(self.given.values()))
        return value

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what it gives, with the batch; of the first, where it gives several tensors."""
        result = self.result if isinstance(self.result, Tensor) else self.result[0]
        return tuple(result.shape)

    @property
    def path(self) -> str:
        """Of the module that it is in."""
        return self.where.partition(" ")[0]

    def refuse(self, reason: str, way_out: str) -> UnsupportedNetwork:
        return UnsupportedNetwork(self.where, reason, way_out, line=self.line)


@dataclass(frozen=True)
class Trace:
    """A network as it ran: calls in execution order, and the values that it takes and returns."""

    calls: list[Call]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]


def traced(model: nn.Module, examples: Sequence[Tensor]) -> Trace:
    """The calls that a network makes.

    Args:
        model: what `plain` returns.
        examples: (N, C, ...) each, with any batch; one for each tensor that forward takes, in order.

    Raises:
        UnsupportedNetwork: its path depends on the data, a shape does not fit, or something other than tensors is
            returned.
    """
    inputs = pairs(examples)
    returned = run_once(model, inputs)
    if not _is_of_tensors(returned):
        raise _no_tensors(model)
    program = exported(model, inputs)
    return _Reading(model, program, _run(model, program, inputs)).trace()


@torch.no_grad()
def _run(model: nn.Module, program: ExportedProgram, inputs: Sequence[Tensor]) -> dict[fx.Node, Any]:
    """Node -> what it gives for these inputs. Parameters and buffers are the model's own."""
    owned = dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers(remove_duplicate=False))
    given, arguments = iter(inputs), []
    for spec in program.graph_signature.input_specs:
        if spec.kind == InputKind.USER_INPUT:
            arguments.append(next(given).clone())
        else:
            arguments.append(owned[spec.target] if spec.kind in STORED else program.constants[spec.target])
    results: dict[fx.Node, Any] = {}

    class Recorder(fx.Interpreter):
        def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
            # Export may drop what made a tensor contiguous, as its own tensors are: then a view is a reshape.
            is_view = target is torch.ops.aten.view.default
            return super().call_function(torch.ops.aten.reshape.default if is_view else target, args, kwargs)

        def run_node(self, node: fx.Node) -> Any:
            results[node] = super().run_node(node)
            return results[node]

    recorder = Recorder(program.graph_module, garbage_collect_values=False)
    recorder.extra_traceback = False
    recorder.run(*arguments, enable_io_processing=False)
    return results


class _Reading:
    """The graph, read from the first node to the last."""

    def __init__(self, model: nn.Module, program: ExportedProgram, results: Mapping[fx.Node, Any]) -> None:
        self.model, self.results = model, results
        self.nodes = list(program.graph.nodes)
        specs = program.graph_signature.input_specs
        placeholders = [node for node in self.nodes if node.op == "placeholder"]
        pairs = zip(placeholders, specs, strict=True)
        self.inputs = [node for node, spec in pairs if spec.kind == InputKind.USER_INPUT]
        self.owned = {id(t): name for name, t in [*model.named_parameters(), *model.named_buffers()]}
        self.active: dict[fx.Node, Value] = {}
        self.of_inputs, self.learned = self._sorted()
        self.now: dict[fx.Node, fx.Node] = {}  # a node whose tensor was changed in place -> the node that changed it
        self.counted = Counter(_call_of(node) for node in self.of_inputs if node.target is not getitem)
        self.used = set[str]()

    def trace(self) -> Trace:
        names = self._input_names()
        self.used |= set(names)
        self.active |= {n: self._value(name, n) for n, name in zip(self.inputs, names, strict=True)}
        calls = []
        for node in self.nodes:
            reads = any(self._latest(n) in self.active for n in node.all_input_nodes)
            if node.op == "call_function" and reads and not _reads_shapes(node):
                if not _holds_tensor(self.results[node]) or (node.target is getitem and not node.users):
                    continue  # a size, which is a number already, or a second result that nobody reads
                calls.append(self._call(node))
                self.active[node] = self._value(calls[-1].name, node)
                before = changed(node)
                if before is not None:
                    self.now[before] = node
        sources = tuple(self.active[n] for n in self.inputs)
        return Trace(calls, sources, self._returned())

    def _sorted(self) -> tuple[set[fx.Node], set[fx.Node]]:
        """Nodes that depend on the inputs, and constants that depend on a parameter which training may change."""
        of_inputs, learned = set(self.inputs), set[fx.Node]()
        for node in self.nodes:
            parameter = node.op == "placeholder" and isinstance(self.results[node], nn.Parameter)
            if any(n in of_inputs for n in node.all_input_nodes) and not _reads_shapes(node):
                of_inputs.add(node)
            elif (parameter and self.results[node].requires_grad) or any(n in learned for n in node.all_input_nodes):
                learned.add(node)
        return of_inputs, learned

    def _latest(self, node: fx.Node) -> fx.Node:
        while node in self.now:
            node = self.now[node]
        return node

    def _value(self, name: str, node: fx.Node) -> Value:
        result = self.results[node]
        return Value(name, tuple(result.shape) if isinstance(result, Tensor) else ())

    def _input_names(self) -> list[str]:
        """ "input", or of several those of forward's arguments; a module of the same name keeps its own."""
        if len(self.inputs) == 1:
            return ["input"]
        modules = {name for name, _ in self.model.named_modules()}
        return [f"{node.name}_input" if node.name in modules else node.name for node in self.inputs]

    def _call(self, node: fx.Node) -> Call:
        path, module = self._module(node)
        operator = _operator(node)
        given = self._given(node)
        whole = module if is_of_torch(module) and self.counted[_call_of(node)] == 1 else None
        return Call(
            name=self._name(self._base(operator, path, whole, given)),
            operator=operator,
            where=path if is_of_torch(module) else f"{path} ({operator})" if path else operator,
            line="" if is_of_torch(module) else _line(node),
            module=whole,
            given=given,
            result=self.results[node],
            learns=any(n in self.learned for n in node.all_input_nodes),
            owned=self.owned,
            function=node.target,  # type: ignore[arg-type]  # of a node that calls a function
        )

    def _module(self, node: fx.Node) -> tuple[str, nn.Module]:
        """The innermost module that a node is in, with its path."""
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        path = str(stack[-1][0]).partition("@")[0] if stack else ""
        try:
            return path, self.model.get_submodule(path)
        except AttributeError:  # what torch puts in for nodes of its own
            return "", self.model

    def _given(self, node: fx.Node) -> dict[str, Any]:
        def value(argument: fx.Node) -> Any:
            latest = self._latest(argument)
            return self.active.get(latest, self.results[latest])

        args, kwargs = fx.node.map_arg((node.args, node.kwargs), value)
        if node.target is getitem:
            return dict(zip(("input", "index"), args, strict=True))
        arguments = node.target._schema.arguments  # type: ignore[union-attr]  # of each operator of ATen
        given = {each.name: each.default_value for each in arguments}
        return given | dict(zip(given, args, strict=False)) | kwargs

    def _base(self, operator: str, path: str, whole: nn.Module | None, given: Mapping[str, Any]) -> str:
        """The name of a layer's operator is that of the layer: of its weights, or of the module that it is."""
        weight = given.get("weight")
        if isinstance(weight, Tensor) and id(weight) in self.owned:
            return self.owned[id(weight)].removesuffix(".weight")
        return path if whole is not None and path else operator  # the model may be the layer itself

    def _name(self, base: str) -> str:
        separator = "@" if "." in base or base in dict(self.model.named_modules()) else "_"
        name, count = base, 1
        while name in self.used:
            count += 1
            name = f"{base}{separator}{count if separator == '@' else count - 1}"
        self.used.add(name)
        return name

    def _returned(self) -> tuple[Value, ...]:
        """The tensors that forward returns: one tensor, or a tuple or list of tensors."""
        (returned,) = self.nodes[-1].args
        outputs = [self._latest(n) if isinstance(n, fx.Node) else n for n in returned]
        computed = [n for n in outputs if n in self.active and isinstance(self.results[n], Tensor)]
        for place, n in enumerate(outputs):
            if n not in self.active and isinstance(n, fx.Node) and isinstance(self.results.get(n), Tensor):
                raise UnsupportedNetwork(
                    type(self.model).__name__,
                    f"returns output {place}, which depends on no input.",
                    "Leave it out, or return it from another function: it is the same for every sample.",
                    line=_line(n),
                )
        if not outputs or len(computed) != len(outputs):
            raise _no_tensors(self.model)
        return tuple(self.active[n] for n in outputs)


def _is_of_tensors(returned: Any) -> bool:
    several = isinstance(returned, tuple | list) and bool(returned) and all(isinstance(x, Tensor) for x in returned)
    return isinstance(returned, Tensor) or several


def _no_tensors(model: nn.Module) -> UnsupportedNetwork:
    return UnsupportedNetwork(
        type(model).__name__,
        "forward does not return a tensor that it computes, or a tuple of them.",
        "Return the logits alone, or wrap the model.",
    )


def _operator(node: fx.Node) -> str:
    """ "relu" of torch.ops.aten.relu_.default."""
    if node.target is getitem:
        return "getitem"
    return str(node.target._schema.name).partition("::")[2].rstrip("_")  # type: ignore[union-attr]


def _reads_shapes(node: fx.Node) -> bool:
    """Whether an operator reads the shapes of its inputs alone."""
    if node.op != "call_function" or node.target is getitem:
        return False
    return not hasattr(node.target, "_schema") or _operator(node) in OF_SHAPES


def _call_of(node: fx.Node) -> str:
    """Which call of which module a node is in."""
    stack: dict[str, Any] = node.meta.get("nn_module_stack") or {"": None}
    return next(reversed(stack))


def _line(node: fx.Node) -> str:
    """The last line of the user's in the stack that a node comes from, as " at FILE:LINE"."""
    frames = findall(r'File "([^"]+)", line (\d+)', node.meta.get("stack_trace") or "")
    own = [f"{file}:{line}" for file, line in frames if OF_TORCH not in Path(file).parents]
    return f" at {own[-1]}" if own else ""


def _holds_tensor(result: Any) -> bool:
    return isinstance(result, Tensor) or (isinstance(result, tuple | list) and any(map(_holds_tensor, result)))
