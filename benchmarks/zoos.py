"""Zoos of public networks that `python -m benchmarks.coverage` reads, where they are installed."""

import importlib.abc
import importlib.machinery
import re
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

SIZES = (64, 96, 128, 224, 299, 32)  # of images; the first that a network takes is taken
# What names of small networks have in them, the smallest first: words, and numbers of layers.
SMALL = ("wd4", "wd2", "small", "nano", "pico", "tiny", "_xxs", "_xs", "_s", "_t", *(f"{n}" for n in range(10, 35)))


@dataclass(frozen=True)
class Entry:
    """A network of a zoo. `made` gives it with examples of its inputs."""

    zoo: str
    family: str
    name: str

    def made(self) -> tuple[nn.Module, tuple[Tensor, ...]]:
        _without_torchvision()
        return MAKERS[self.zoo](self.name)


class _Any(type):
    def __getattr__(cls, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return name


class _Nothing(types.ModuleType):
    """Stands for a library whose names are imported by a zoo and not used by the networks that are made here."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Any(name, (), {})


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        absent = name.split(".")[0] == "torchvision"
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if absent else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _Nothing(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def _without_torchvision() -> None:
    known = any(isinstance(finder, _Finder) for finder in sys.meta_path)
    if not known and find_spec("torchvision") is None:
        sys.meta_path.append(_Finder())


def pytorchcv() -> Iterator[Entry]:
    if find_spec("pytorchcv") is None:
        return
    _without_torchvision()
    from pytorchcv.model_provider import _models

    families: dict[str, list[str]] = {}
    for name, make in _models.items():
        families.setdefault(make.__module__.rpartition(".")[2], []).append(name)
    yield from (Entry("pytorchcv", family, _smallest(names)) for family, names in families.items())


def timm() -> Iterator[Entry]:
    if find_spec("timm") is None:
        return
    _without_torchvision()
    from timm.models._registry import _module_to_models

    yield from (Entry("timm", family, _smallest(sorted(names))) for family, names in sorted(_module_to_models.items()))


def _smallest(names: list[str]) -> str:
    """The name that looks like that of a small network."""
    found = (name for word in SMALL for name in names if re.search(rf"(?<![0-9]){word}(?![0-9])", name))
    return next(found, names[0])


def _of_pytorchcv(name: str) -> tuple[nn.Module, tuple[Tensor, ...]]:
    from pytorchcv.model_provider import get_model

    def make(size: int) -> nn.Module:
        with suppress(TypeError):
            return get_model(name, in_size=(size, size))
        return get_model(name)

    channels = getattr(get_model(name), "in_channels", 3)
    return _that_runs(make, channels)


def _of_timm(name: str) -> tuple[nn.Module, tuple[Tensor, ...]]:
    from timm import create_model

    def make(size: int) -> nn.Module:
        with suppress(TypeError):
            return create_model(name, img_size=size)
        return create_model(name)

    return _that_runs(make, 3)


def _that_runs(make: Callable[[int], nn.Module], channels: int) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The network and an image of the first size on which it runs."""
    failure: Exception | None = None
    for size in SIZES:
        x = torch.randn(1, channels, size, size)
        try:
            model = make(size).eval()
            with torch.no_grad():
                model(x)
        except Exception as error:  # of whatever the zoo raises
            failure = error
        else:
            return model, (x,)
    assert failure is not None
    raise failure


ZOOS: dict[str, Callable[[], Iterator[Entry]]] = {"pytorchcv": pytorchcv, "timm": timm}
MAKERS: dict[str, Callable[[str], tuple[nn.Module, tuple[Tensor, ...]]]] = {
    "pytorchcv": _of_pytorchcv,
    "timm": _of_timm,
}
