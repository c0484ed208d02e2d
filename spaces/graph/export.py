"""A network as torch.export sees it: a graph of ATen operators, whatever Python it was written in."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from inspect import signature
from operator import getitem
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram

from spaces.graph.errors import UnsupportedNetwork
from spaces.graph.plain import all_alternatives, first_line, line_of, watched

# What stands for other operators.
COMPOSITES = tuple(
    f"aten::{name}"
    for name in (
        *("einsum", "tensordot", "linalg_multi_dot", "chain_matmul", "hsplit", "vsplit", "dsplit", "hstack", "dstack"),
        *("column_stack", "fliplr", "flipud", "numpy_T", "mT", "mH", "matrix_H"),
    )
)
DEPENDS = ("data-dependent", "GuardOnDataDependent", "DataDependentOutput")  # in the names and words of its errors
WAY_OUT = "Take the branch or loop on values out of forward, or split the model there and search each part."


def exported(model: nn.Module, inputs: Sequence[Tensor]) -> ExportedProgram:
    """The network with a free batch dimension, where its code allows that.

    Raises:
        UnsupportedNetwork: its path depends on values, or torch.export cannot follow it for another reason.
    """
    with watched(model, calls=False) as watch, all_alternatives(model), _in_silence(), torch.no_grad():
        try:
            program = torch.export.export(
                model, tuple(inputs), strict=False, dynamic_shapes=_free_batches(model, inputs)
            )
        except Exception as error:  # of many kinds, and of the user's code
            raise _refusal(watch.where or type(model).__name__, error).showing_cause() from error
        composites: set[Any] = {node.target for node in program.graph.nodes if _is_composite(node)}
        if not composites and not _changes_what_is_read(program.graph):
            return program
        known = torch.export.default_decompositions()
        parted: ExportedProgram = program.run_decompositions({each: known[each] for each in composites & known.keys()})
        return parted


def _free_batches(model: nn.Module, inputs: Sequence[Tensor]) -> tuple[Any, ...]:
    """A free first dimension of each input, in the form that torch.export asks for: those of *args in a tuple."""
    free = tuple({0: Dim.AUTO} for _ in inputs)
    parameters = signature(model.forward).parameters.values()
    named = sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)
    return (*free[:named], free[named:]) if len(free) > named else free


def _refusal(where: str, error: Exception) -> UnsupportedNetwork:
    kind, said = type(error).__name__, first_line(error)
    if any(word in kind or word in said for word in DEPENDS):
        return UnsupportedNetwork(where, f"cannot be exported, its path depends on the data{line_of(error)}.", WAY_OUT)
    return UnsupportedNetwork(
        where,
        f"cannot be exported{line_of(error)} ({kind}: {said}).",
        "Write that part in other words, or split the model there and search each part.",
    )


@contextmanager
def _in_silence() -> Iterator[None]:
    """Inside it nothing warns or logs: what matters of it, a refusal says."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def changed(node: fx.Node) -> fx.Node | None:
    """The node whose tensor an operator changes in place; None where it changes none."""
    schema = getattr(node.target, "_schema", None)
    first = schema.arguments[0] if schema is not None and schema.arguments else None
    if first is None or first.alias_info is None or not first.alias_info.is_write:
        return None
    return node.args[0] if isinstance(node.args[0], fx.Node) else None


def _changes_what_is_read(graph: fx.Graph) -> bool:
    """Whether an operator changes a tensor of which there are views, which then change too."""
    return any(_is_viewed(node) for each in graph.nodes if (node := changed(each)) is not None)


def _is_composite(node: fx.Node) -> bool:
    """Whether an operator stands for others, into which torch takes it apart."""
    return getattr(getattr(node.target, "_schema", None), "name", "") in COMPOSITES


def _is_viewed(node: fx.Node) -> bool:
    return _is_view(node) or any(_is_view(user) for user in node.users)


def _is_view(node: fx.Node) -> bool:
    """Whether an operator returns another look at its first argument."""
    if node.target is getitem:
        return _is_view(node.all_input_nodes[0])
    schema = getattr(node.target, "_schema", None)
    aliases = [each.alias_info for each in schema.returns] if schema is not None else []
    return any(alias is not None and not alias.is_write for alias in aliases)
