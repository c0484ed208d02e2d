"""Training steps as CUDA graphs: what a step asks of the device is recorded once, and repeated without Python.

A step of a small network is a thousand short kernels, which a GPU could run faster than Python asks for them. A graph
repeats them at one request, on the same memory: so what changes from step to step is copied there before. Recorded is
the way forth and back. Decisions are read before it, and what they say is among what is copied. The gradients of gates
and shares come out, where an objective reads them. Its trials follow, and the optimizers, few kernels for all
parameters.

A step of a kind is recorded when it comes for the third time. The first prepares what is made once, the second is
looked at: what reads a number of the device cannot be recorded. And before a recording is used, it is compared. Where
the loss, a gradient or a statistic differs in a bit from that of the step without it, the run goes on without it and
says so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from search import distributed
from spaces.constants import kept
from spaces.decisions.selection import Made, Selection
from spaces.space import Space

MOST = 64  # recordings; steps of other kinds, as of more branches, run without
MOST_KINDS = 1024  # that are counted
SEEN = 2  # times that a step of a kind runs before it is recorded
READS = (
    *("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "nonzero_numpy", "argwhere", "masked_select"),
    *("_unique", "_unique2", "unique_dim", "unique_consecutive", "bincount", "histc"),
)
BY_MASK = ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index_put")
COPIES = ("_to_copy", "copy_")

Outcome = tuple[Tensor, Any]  # the loss, (), and the outputs, both out of the graph
Loss = Callable[[Tensor, Any, Tensor], Tensor]  # of images, outputs and targets


def why_not_recorded(device: torch.device) -> str:
    """Why no step is recorded there; empty: steps can be."""
    if device.type != "cuda":
        return f"the device is {device}, and CUDA graphs are of GPUs"
    return "several processes share each step" if distributed.world_size() > 1 else ""


class Graph(Protocol):
    """What a device can repeat."""

    def record(self, work: Callable[[], None]) -> None:
        """Keeps what the work asks of the device. It may run or not."""

    def replay(self) -> None:
        """Asks for all of it again."""


class CudaGraph:
    """A graph of CUDA. All of them share memory, since no two run at once."""

    _pool: Any = None

    def __init__(self) -> None:
        if CudaGraph._pool is None:
            CudaGraph._pool = torch.cuda.graph_pool_handle()
        self._graph = torch.cuda.CUDAGraph()

    def record(self, work: Callable[[], None]) -> None:
        with torch.cuda.graph(self._graph, pool=CudaGraph._pool):
            work()

    def replay(self) -> None:
        self._graph.replay()


class _Look(TorchDispatchMode):
    """Attributes: reads: an operator that reads of the device, or copies between it and the host; "": there is none."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.reads = ""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = func._schema.name.partition("::")[2], kwargs or {}
        if reads(name, args, kwargs) or (name in COPIES and _crosses(name, args, kwargs)):
            self.reads = name
        return func(*args, **kwargs)


def reads(name: str, args: Any, kwargs: Any) -> bool:
    """Whether an operator makes something of which Python has to know a number, or how large it is."""
    if name in BY_MASK:
        return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])
    return name in READS or (name == "repeat_interleave" and kwargs.get("output_size") is None)


def _crosses(name: str, args: Any, kwargs: Any) -> bool:
    source, target = (args[0].device, kwargs.get("device")) if name == "_to_copy" else (args[1].device, args[0].device)
    return target is not None and torch.device(target).type != source.type


@dataclass
class _Recording:
    """What is repeated.

    Attributes:
        given: what is copied before each step: images, targets, and what the selection holds.
        gradients: of the parameters, and of the leaves of the selection where it is on leaves.
        made: what the Space adds to the selection; None where no options are tried behind a step.
        constants: of caches, whose memory the graph reads.
        proven: whether it was compared in this epoch.
    """

    graph: Graph
    given: list[Tensor]
    outcome: Outcome
    gradients: list[Tensor | None]
    made: Made | None
    constants: list[object]
    proven: bool = True


class Recorder:
    """The way forth and back of a space's steps, recorded where it can be.

    Args:
        make: a new graph.
        note: is told, once for each reason, why steps are not recorded.
    """

    def __init__(self, space: Space, loss: Loss, make: Callable[[], Graph], note: Callable[[str], None]) -> None:
        self._space, self._loss, self._make, self._note = space, loss, make, note
        self._parameters = [p for p in space.parameters() if p.requires_grad]
        self._told: set[str] = set()
        self._seen: dict[Any, int] = {}
        self._reads: set[Any] = set()  # kinds of which the last look saw that they read
        self._recordings: dict[Any, _Recording | None] = {}  # None: they cannot be had

    @property
    def recordings(self) -> int:
        return sum(recording is not None for recording in self._recordings.values())

    def begin_epoch(self) -> None:
        """Has every recording compared once more: a loss of a user's may have changed with the epoch."""
        for recording in self._recordings.values():
            if recording is not None:
                recording.proven = False

    def step(self, selection: Selection, images: Tensor, targets: Tensor) -> Outcome:
        """The way forth and back of a batch, behind which the parameters and the selection's leaves have gradients.

        Args:
            selection: the space's last one.
        """
        if self._space.decisions and not (selection.held or selection.steered):  # it has a graph of its own
            return self._run(selection, images, targets)
        key = self._kind(selection, images, targets)
        if key in self._recordings:
            recording = self._recordings[key]
            if recording is None:
                return self._run(selection, images, targets)
            if not recording.proven:
                return self._compared(key, recording, selection, images, targets)
            return self._replayed(recording, selection, images, targets)
        if self.recordings >= MOST or (key not in self._seen and len(self._seen) >= MOST_KINDS):
            return self._run(selection, images, targets)
        self._seen[key] = self._seen.get(key, 0) + 1
        if self._seen[key] < SEEN:
            return self._run(selection, images, targets)
        if self._seen[key] == SEEN:
            return self._looked_at(key, selection, images, targets)
        return self._compared(key, None, selection, images, targets)

    def _run(self, selection: Selection, images: Tensor, targets: Tensor) -> Outcome:
        outputs = self._space.run(selection, images)
        loss = self._loss(images, outputs, targets)
        loss.backward()
        return loss.detach(), detached(outputs)

    def _looked_at(self, key: Any, selection: Selection, images: Tensor, targets: Tensor) -> Outcome:
        """Looks whether the step reads. What reads twice in a row does so always; once, it may make what is kept."""
        with _Look() as look:
            outcome = self._run(selection, images, targets)
        if look.reads and key in self._reads:
            self._refuse(key, f"they read numbers of the device ({look.reads})")
        elif look.reads:
            self._reads.add(key)
            self._seen[key] -= 1
        return outcome

    def _compared(
        self, key: Any, recording: _Recording | None, selection: Selection, images: Tensor, targets: Tensor
    ) -> Outcome:
        """The outcome without a recording, which is kept if it has the same. Args: recording: None: it is made."""
        state = _State(self._space)
        outcome = self._run(selection, images, targets)
        if not bool(outcome[0].isfinite()):  # a step that diverges says nothing of a recording
            return outcome
        gradients, after = self._gradients(selection), _State(self._space)
        state.restore()
        try:
            recording = recording or self._recording(selection, images, targets)
            state.restore()
            own = self._replayed(recording, selection, images, targets)
            same = _same([own[0], *_all(own[1])], [outcome[0], *_all(outcome[1])]) and after.is_now()
            why = "" if same and _same(self._gradients(selection), gradients) else "a recording gives other bits"
        except RuntimeError as error:
            why = f"the device refuses it: {str(error).splitlines()[0]}"
        if why or recording is None:
            self._refuse(key, why)
            selection.forget()
        else:
            recording.proven = True
            self._recordings[key] = recording
        after.restore()
        self._set(selection, gradients)
        return outcome

    def _recording(self, selection: Selection, images: Tensor, targets: Tensor) -> _Recording:
        given = [each.clone() for each in (images, targets, *_tensors(selection))]
        found: list[tuple[Selection, Outcome]] = []

        def work() -> None:
            own = _with_tensors(selection, given[2:])
            self._space.selector.add_masks(own)
            found.append((own, self._run(own, given[0], given[1])))

        selection.forget()  # with the nodes of autograd that are behind it, which are of another stream
        self._set(selection, [None] * len(self._learns(selection)))
        graph = self._make()
        with kept() as constants:
            graph.record(work)
        own, outcome = found[-1]
        return _Recording(
            graph=graph,
            given=given,
            outcome=outcome,
            gradients=self._gradients(own),
            made=own.made() if own.whole else None,
            constants=constants,
        )

    def _replayed(self, recording: _Recording, selection: Selection, images: Tensor, targets: Tensor) -> Outcome:
        torch._foreach_copy_(recording.given, [images, targets, *_tensors(selection)])
        recording.graph.replay()
        self._set(selection, recording.gradients)
        if recording.made is not None:
            selection.take(recording.made)
        loss, outputs = recording.outcome
        return loss.clone(), tuple(each.clone() for each in outputs) if isinstance(outputs, tuple) else outputs.clone()

    def _refuse(self, key: Any, why: str) -> None:
        self._recordings[key] = None
        if why not in self._told:
            self._note(f"train.graphs: some steps run without graphs: {why}")
        self._told.add(why)

    def _learns(self, selection: Selection) -> list[Tensor]:
        """What has a gradient behind a step: parameters, and leaves of a selection that is on leaves."""
        return [*self._parameters, *(leaf for leaf in selection.leaves().values() if leaf.requires_grad)]

    def _gradients(self, selection: Selection) -> list[Tensor | None]:
        return [each.grad for each in self._learns(selection)]

    def _set(self, selection: Selection, gradients: Sequence[Tensor | None]) -> None:
        for each, gradient in zip(self._learns(selection), gradients, strict=True):
            each.grad = gradient

    def _kind(self, selection: Selection, images: Tensor, targets: Tensor) -> Any:
        """All that Python decides by in such a step."""
        space = self._space
        forms = tuple((tuple(x.shape), x.dtype, x.stride()) for x in (images, targets))
        picks = tuple((name, pick) for name, pick in selection.picked.items() if name not in selection.paths)
        norms = tuple((norm.training, norm.frozen, norm.momentum) for norm in space.norms.values())
        roles = selection.held, selection.steered, selection.whole, selection.soft
        return forms, tuple(selection.paths.items()), picks, roles, space.mode, norms


class _State:
    """What a step changes beside gradients: statistics, and the generator of the device's random numbers."""

    def __init__(self, space: nn.Module) -> None:
        self._buffers = list(space.buffers())
        self._values = [buffer.clone() for buffer in self._buffers]
        self._cuda = bool(self._buffers) and self._buffers[0].is_cuda
        self._random = torch.cuda.get_rng_state(self._buffers[0].device) if self._cuda else torch.get_rng_state()

    def restore(self) -> None:
        for buffer, value in zip(self._buffers, self._values, strict=True):
            buffer.copy_(value)
        if self._cuda:
            torch.cuda.set_rng_state(self._random, self._buffers[0].device)
        else:
            torch.set_rng_state(self._random)

    def is_now(self) -> bool:
        return _same(self._buffers, self._values)


def _tensors(selection: Selection) -> list[Tensor]:
    """What the decisions of a selection say on the device, of which masks are made."""
    parts = (selection.share, selection.probability)
    each = [*([] if selection.alpha is None else [selection.alpha]), *(x for part in parts for x in part.values())]
    return [tensor.detach() for tensor in each]


def _with_tensors(selection: Selection, tensors: Sequence[Tensor]) -> Selection:
    """The selection with these instead. Masks, and what the Space adds, have to be made of them anew."""
    each = iter(tensors)
    alpha = None if selection.alpha is None else next(each)
    share, probability = ({name: next(each) for name in part} for part in (selection.share, selection.probability))
    learns = {name: share[name] for name in selection.learns}
    own = replace(selection, alpha=alpha, share=share, probability=probability, learns=learns, halfway={})
    own.forget()
    return own.on_leaves() if selection.steered else own


def _same(ours: Sequence[Tensor | None], theirs: Sequence[Tensor | None]) -> bool:
    return all(a is b if a is None or b is None else torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def _all(outputs: Any) -> tuple[Tensor, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)


def detached(outputs: Any) -> Any:
    """A tensor, or a tuple of several, out of the graph."""
    return tuple(each.detach() for each in outputs) if isinstance(outputs, tuple) else outputs.detach()
