"""What makes Python wait for a device, counted where there is none: reads of tensors, and copies of what the host has.

A read is counted where Python asks for a value, and where an operator needs one to know the size of what it makes. On
the CPU such a read takes no time, but it is the same call.
"""

from collections import Counter
from typing import Any, Self, cast

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from search.training.recorded import BY_MASK, READS

NAMED = ("tolist", "numpy", "__array__", "cpu")  # of a tensor; they reach no operator, or none where it is on the CPU
LISTS = ("tensor", "as_tensor", "asarray", "new_tensor")


class _Named(TorchFunctionMode):
    def __init__(self, each: Counter[str], copies: Counter[str]) -> None:
        super().__init__()
        self._each, self._copies = each, copies

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in NAMED:
            self._each[name] += 1
        made = func(*args, **(kwargs or {}))
        if name in LISTS and made.device.type != "cpu":
            self._copies[name] += 1
        return made


class Waits(TorchDispatchMode):
    """Counts inside it what the host would wait for.

    Attributes:
        reads: name -> how often a value was read of a tensor. Masks as indices are among them, since their ones have to
            be counted first.
        copies: name -> how often something of the host was copied to a device, the host waiting for it. Copies that it
            does not wait for (search.data.augment.sent) are left out. There are none where all is on the CPU; "meta" is
            a device, of which nothing can be read.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reads: Counter[str] = Counter()
        self.copies: Counter[str] = Counter()
        self._named = _Named(self.reads, self.copies)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = func._schema.name.partition("::")[2], kwargs or {}
        if name in READS or (name == "repeat_interleave" and kwargs.get("output_size") is None):
            self.reads[name] += 1
        elif name in BY_MASK:
            self._index(args[0], [index for index in args[1] if index is not None])
        elif name in ("_to_copy", "copy_"):
            self._copy(name, args, kwargs)
        return func(*args, **kwargs)

    def _index(self, values: Tensor, indices: list[Tensor]) -> None:
        self.reads["mask"] += sum(index.dtype in (torch.bool, torch.uint8) for index in indices)
        self.copies["index"] += sum(index.device != values.device for index in indices)

    def _copy(self, name: str, args: Any, kwargs: Any) -> None:
        source, target = (args[0], kwargs.get("device")) if name == "_to_copy" else (args[1], args[0].device)
        waits = not kwargs.get("non_blocking", False)
        if waits and target is not None and source.device.type == "cpu" and torch.device(target).type != "cpu":
            self.copies[name] += 1

    def __enter__(self) -> Self:
        self._named.__enter__()
        return cast(Self, super().__enter__())

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._named.__exit__(*error)
