"""A device in software, to count on a machine without a GPU what would wait for one, and to find what would not run.

Its tensors say that they are on a device of their own, and compute on the CPU. An operator that mixes them with tensors
of the CPU is refused, as CUDA refuses it, so a training step that runs here has all its tensors where they belong. What
Python reads of them, and what is copied in either direction, is counted. Values have the bits of the CPU.

torch takes a new device only before the first backward pass of a process. So the device is for processes of its own.
"""

from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, Self, cast

import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only

from search.training.recorded import reads

NAME = "software"
WAITS = ("read", "copied to the host")


class SoftwareTensor(Tensor):
    """A tensor on the device. Attributes: there: its numbers, on the CPU."""

    there: Tensor

    @staticmethod
    def __new__(cls, there: Tensor) -> "SoftwareTensor":
        made = Tensor._make_wrapper_subclass(
            cls,
            there.shape,
            strides=there.stride(),
            storage_offset=there.storage_offset(),
            dtype=there.dtype,
            layout=there.layout,
            device=torch.device(NAME, 0),
        )
        made.there = there
        return cast(SoftwareTensor, made)

    def tolist(self) -> Any:
        return Tensor.cpu(self).tolist()

    def numpy(self, *, force: bool = False) -> Any:
        raise TypeError(f"a tensor on the device '{NAME}' has no NumPy array: call cpu() first.")

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"SoftwareTensor({self.there!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _dispatched(func, args, kwargs or {})


class SoftwareDevice(TorchDispatchMode):
    """Inside it tensors can be made on the device, and what is read of them and copied is counted.

    Attributes:
        device: what to give to torch.
        counts: "read": numbers that Python has asked for; "copied to the host", which waits as well, "sent to the
            host", which does not (non_blocking), and "copied to the device".
    """

    def __init__(self) -> None:
        super().__init__()
        self.device = _registered()
        self.counts: Counter[str] = Counter()

    @property
    def waits(self) -> int:
        """How often Python has waited for the device."""
        return sum(self.counts[kind] for kind in WAITS)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if _is_here(kwargs.get("device")) or any(isinstance(x, SoftwareTensor) for x in tree_leaves((args, kwargs))):
            return _dispatched(func, args, kwargs)
        return func(*args, **kwargs)

    def __enter__(self) -> Self:
        self._swaps = torch.__future__.get_swap_module_params_on_conversion()
        torch.__future__.set_swap_module_params_on_conversion(True)  # `data` cannot become another kind of tensor
        _inside.append(self)
        return cast(Self, super().__enter__())

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        _inside.remove(self)
        torch.__future__.set_swap_module_params_on_conversion(self._swaps)


class SoftwareGraph:
    """What is recorded as a graph of the device: a list of operators that are repeated on the memory of the first time.

    As CUDA does, it refuses to read a number while it records, and to copy between the device and the host.
    """

    def __init__(self) -> None:
        self._taped: list[_Taped] = []

    def record(self, work: Callable[[], None]) -> None:
        with _Tape(self._taped):
            work()

    def replay(self) -> None:
        for taped in self._taped:
            taped.again()


class _Taped(NamedTuple):
    func: Any
    args: Any
    kwargs: dict[str, Any]
    made: Any

    def again(self) -> None:
        own = {**self.kwargs, "device": "cpu"} if self.kwargs.get("device") is not None else self.kwargs
        made = self.func(*_there(self.args), **_there(own))
        if any(returned.alias_info is not None for returned in self.func._schema.returns):
            return  # a view of memory that is there, or memory that it has written
        for kept, new in zip(tree_leaves(self.made), tree_leaves(made), strict=True):
            if isinstance(kept, SoftwareTensor):
                kept.there.copy_(new)


class _Tape(TorchDispatchMode):
    def __init__(self, taped: list[_Taped]) -> None:
        super().__init__()
        self._taped = taped

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, before = kwargs or {}, _inside[-1].counts.total()
        made = func(*args, **kwargs)
        if _inside[-1].counts.total() > before:
            raise RuntimeError(f"{func}: not permitted while the device '{NAME}' records.")
        self._taped.append(_Taped(func, args, kwargs, made))
        return made


_inside: list[SoftwareDevice] = []


def on_cpu(x: Tensor) -> Tensor:
    """The numbers of a tensor, wherever it is. Nothing is counted."""
    return x.there if isinstance(x, SoftwareTensor) else x


def _count(kind: str) -> None:
    for device in _inside:
        device.counts[kind] += 1


def _is_here(device: Any) -> bool:
    return device is not None and torch.device(device).type == NAME


def _dispatched(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    name = func._schema.name.partition("::")[2]
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    here = any(isinstance(x, SoftwareTensor) for x in tensors)
    if reads(name, args, kwargs):
        _count("read")
    if name == "copy_":
        to = isinstance(args[0], SoftwareTensor)
        _count_copy(isinstance(args[1], SoftwareTensor), to, args[2] if len(args) > 2 else kwargs.get("non_blocking"))
    else:
        to = _is_here(kwargs["device"]) if kwargs.get("device") is not None else here
        if name == "_to_copy":
            _count_copy(here, to, kwargs.get("non_blocking"))
        elif here:
            _refuse_mixtures(func, tensors)
    own = {**kwargs, "device": "cpu"} if kwargs.get("device") is not None else kwargs
    made = func(*_there(args), **_there(own))
    if not to:
        return made
    return return_and_correct_aliasing(func, args, kwargs, tree_map_only(Tensor, SoftwareTensor, made))


def _there(tree: Any) -> Any:
    return tree_map_only(SoftwareTensor, lambda x: x.there, tree)


def _count_copy(here: bool, to: bool, sent: Any) -> None:
    if to and not here:
        _count("copied to the device")
    elif here and not to:
        _count("sent to the host" if sent else "copied to the host")


def _refuse_mixtures(func: Any, tensors: list[Tensor]) -> None:
    others = [tuple(x.shape) for x in tensors if not isinstance(x, SoftwareTensor) and x.dim()]
    if others:
        raise RuntimeError(f"{func}: tensors on the device '{NAME}' and, of shape {others[0]}, on the CPU.")


class _Backend(backend_registration._DummyBackendModule):
    """What torch asks of a module of the device, `torch.software`."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return []


@lru_cache(maxsize=1)
def _registered() -> torch.device:
    """The device, once torch knows it. What is made and copied below dispatch modes comes by way of these functions."""
    backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=_Backend())
    library = torch.library.Library("aten", "IMPL")
    library.impl("empty_strided", _empty_strided, "PrivateUse1")
    library.impl("empty.memory_format", _empty, "PrivateUse1")
    library.impl("_copy_from", _copy_from, "PrivateUse1")
    _libraries.append(library)
    return torch.device(NAME)


_libraries: list[torch.library.Library] = []  # a library that nobody holds takes its functions away


def _empty_strided(size: Any, stride: Any, dtype: Any = None, **_: Any) -> SoftwareTensor:
    return SoftwareTensor(torch.empty_strided(size, stride, dtype=dtype))


def _empty(size: Any, dtype: Any = None, memory_format: Any = None, **_: Any) -> SoftwareTensor:
    return SoftwareTensor(torch.empty(size, dtype=dtype, memory_format=memory_format or torch.contiguous_format))


def _copy_from(x: Tensor, to: Tensor, non_blocking: bool = False) -> Tensor:
    _count_copy(isinstance(x, SoftwareTensor), isinstance(to, SoftwareTensor), non_blocking)
    on_cpu(to).copy_(on_cpu(x))
    return to
