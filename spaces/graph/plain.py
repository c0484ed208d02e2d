"""A copy of a user's network as the front end takes it, and one run of it, which tells what does not fit."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from inspect import signature
from math import inf
from pathlib import Path
from traceback import extract_tb
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from spaces.graph.errors import UnsupportedNetwork
from spaces.one_of import OneOf

MISFITS = (RuntimeError, ValueError, IndexError)  # what torch raises for shapes and types that a layer does not take
OF_TORCH = Path(torch.__file__).parent
OURS = Path(__file__).parent


def plain(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode, on the CPU, in single precision, and without wrappers that only say how it runs.

    Raises:
        UnsupportedNetwork: a lazy module has no shapes yet.
    """
    model = _unwrapped(model)
    for path, module in model.named_modules():
        if any(map(nn.parameter.is_lazy, [*module.parameters(recurse=False), *module.buffers(recurse=False)])):
            raise UnsupportedNetwork(
                path or type(module).__name__,
                f"is a {type(module).__name__} without shapes yet.",
                "Run the network once on an example, which gives it its shapes: model(example).",
            )
    values = (value for module in model.modules() for value in vars(module).values())
    computed = {
        id(v): v.detach().clone() for v in values if isinstance(v, Tensor) and not v.is_leaf
    }  # not to be copied
    model = copy.deepcopy(model, computed).eval().cpu()
    return model.float() if any(t.is_floating_point() and t.dtype != torch.float32 for t in _stored(model)) else model


def _unwrapped(model: nn.Module) -> nn.Module:
    """What is inside of DataParallel, DistributedDataParallel and torch.compile, in any order."""
    while True:
        parallel = isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel)
        inner = model.module if parallel else getattr(model, "_orig_mod", None)
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def _stored(model: nn.Module) -> Iterator[Tensor]:
    yield from model.parameters()
    yield from model.buffers()


def pairs(examples: Sequence[Tensor]) -> list[Tensor]:
    """Batches of two of the first example, as floats: what holds for them by chance holds for less than one image."""
    return [torch.cat([x[:1], x[:1]]).detach().cpu().float() for x in examples]


@torch.no_grad()
def run_once(model: nn.Module, inputs: Sequence[Tensor]) -> Any:
    """What the network returns when it runs as users run it.

    Raises:
        UnsupportedNetwork: forward takes another number of tensors, or fails. The message names the layer and its
            shapes, or the operation and its line.
    """
    _refuse_other_number(model, len(inputs))
    with watched(model) as watch:
        try:
            return model(*[x.clone() for x in inputs])
        except Exception as error:  # whatever the user's code raises
            refusal = _does_not_fit(watch, inputs, error)
            # A layer that does not fit is told in one line. Any other error is in code of the user.
            raise (refusal if isinstance(error, MISFITS) else refusal.showing_cause()) from error


def _refuse_other_number(model: nn.Module, given: int) -> None:
    """Raises UnsupportedNetwork where forward does not take so many tensors."""
    parameters = signature(model.forward).parameters.values()
    by_place = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = sum(p.default is p.empty for p in by_place)
    most = inf if any(p.kind is p.VAR_POSITIONAL for p in parameters) else len(by_place)
    if not needed <= given <= most:
        raise UnsupportedNetwork(
            type(model).__name__,
            f"forward takes {needed} tensors, and {given} examples are given.",
            "Give an example of each, in a tuple in the order in which forward takes them.",
            takes=needed,
        )


class Watch(TorchFunctionMode):
    """Knows in which module a network is, and what was called last."""

    def __init__(self) -> None:
        super().__init__()
        self.inside: list[tuple[str, nn.Module, Sequence[Any]]] = []  # path, module, what it was given
        self.called: tuple[str, Sequence[Any]] = ("", ())

    def __torch_function__(self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.called = getattr(function, "__name__", str(function)).strip("_"), args
        return function(*args, **(kwargs or {}))

    @property
    def where(self) -> str:
        """Path of the innermost module; "" in the network's own forward."""
        return self.inside[-1][0] if self.inside else ""

    def enter(self, path: str) -> Callable[..., None]:
        return lambda module, given: self.inside.append((path, module, given))

    def leave(self, module: nn.Module, given: Any, made: Any) -> None:
        self.inside.pop()


@contextmanager
def watched(model: nn.Module, calls: bool = True) -> Iterator[Watch]:
    """Inside it the modules of the network tell when they run.

    Args:
        calls: whether what they call is known too.
    """
    watch = Watch()
    handles = []
    for path, module in model.named_modules():
        handles += [module.register_forward_pre_hook(watch.enter(path)), module.register_forward_hook(watch.leave)]
    try:
        with watch if calls else nullcontext():
            yield watch
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def all_alternatives(model: nn.Module) -> Iterator[None]:
    """Inside it each `OneOf` runs all its alternatives and marks where they meet."""
    choices = [module for module in model.modules() if isinstance(module, OneOf)]
    for module in choices:
        module.traced = True
    try:
        yield
    finally:
        for module in choices:
            module.traced = False


def is_of_torch(module: nn.Module) -> bool:
    """Whether it is a layer of torch, whose inside no user has written."""
    return type(module).__module__.startswith("torch.nn.")


def _does_not_fit(watch: Watch, given: Sequence[Tensor], error: Exception) -> UnsupportedNetwork:
    """The refusal of a network that failed. Args: given: its inputs."""
    path, module, taken = watch.inside[-1]
    where = path
    if not is_of_torch(module):
        operation, taken = watch.called
        where = f"{path} ({operation})" if path else operation
    tensors = [x for x in taken if isinstance(x, Tensor) and not isinstance(x, nn.Parameter)]
    return UnsupportedNetwork(
        where or type(module).__name__,
        f"fails on {_told(tensors)}{line_of(error)}, where the network is given {_told(given)} ({first_line(error)}).",
        "Change the layer, or give searchable() an example_input of the shape (batch first) and type that the network "
        "takes; a run gives it the images of its data.",
    )


def first_line(error: Exception) -> str:
    return str(error).split("\n")[0].rstrip(".")


def _told(tensors: Sequence[Tensor]) -> str:
    """The tensors by their shapes, in words."""
    shapes = " and ".join(str(tuple(x.shape)) for x in tensors)
    return f"a tensor of shape {shapes}" if len(tensors) == 1 else f"tensors of shapes {shapes or 'unknown'}"


def line_of(error: Exception) -> str:
    """The line of the user's file in which the error was raised, as " at FILE:LINE"; "" where there is none."""
    frames = [f for f in extract_tb(error.__traceback__) if OURS not in Path(f.filename).parents]
    lines = [f"{f.filename}:{f.lineno}" for f in frames if OF_TORCH not in Path(f.filename).parents]
    return f" at {lines[-1]}" if lines else ""
