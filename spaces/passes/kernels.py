"""The passes in Triton, on each GPU of this process: compared with torch when they are first asked for."""

import os
from functools import cache
from importlib.util import find_spec

import torch

from spaces.passes.comparison import differing
from spaces.passes.library import SWITCH, Library
from spaces.passes.passes import Passes


@cache
def kernels(device: torch.device) -> Library:
    """The passes in Triton on a GPU, where they can be had. Its kernels are compiled at the first call, and then kept.

    Whatever goes wrong here is a reason to take torch's operators. What goes wrong later is an error.
    """
    if os.environ.get(SWITCH) == "0":
        return Library(None, f"{SWITCH} is 0")
    if find_spec("triton") is None:
        return Library(None, "Triton is not installed")
    try:
        if device.index is None:
            return kernels(torch.device(device.type, torch.cuda.current_device()))
        made = _fused(device)
        wrong = differing(made, device)
    except Exception as error:  # of Triton's compiler, of the C compiler that it asks for, of a card that it is not for
        said = str(error).strip().split("\n")[0]
        return Library(None, f"Triton fails here ({type(error).__name__}{said and ': '}{said})")
    if wrong:
        return Library(None, f"torch computes other bits on this device ({', '.join(wrong)})")
    return Library(made, "in Triton")


def _fused(device: torch.device) -> Passes:
    from spaces.passes.fused import Fused  # imports Triton, which a machine without a GPU need not have

    return Fused(device)
