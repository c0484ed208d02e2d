"""The integer network on NumPy: a loop over nodes and a dict of arrays."""

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from math import prod
from typing import Any, Literal, overload

import numpy as np

from search.errors import UsageError
from search.integer.kernels import BLOCK, Array, Scratch, quantize
from search.integer.looping import parts
from search.integer.memory import dead_after
from search.integer.node_kernels import to_batch_first
from search.integer.prepared import prepared_operator
from search.integer.program import Node, Program, TensorInfo
from search.integer.traits import Border

CHUNK_IMAGES = 16  # images that a thread takes through the network together, at most
LARGEST_STRIP = 1 << 17  # codes an operator reads or writes at a time, at most
SMALL_BUFFER = 512  # elements; NumPy copies operands broadcast over lines shorter than half its buffer
THREADS = 1  # more were slower in every measurement: between the calls that release it, threads wait for the GIL


class Executor:
    """Runs a Program in exact integers, which are bit for bit those of every other backend."""

    def __init__(self, program: Program, threads: int = THREADS) -> None:
        """Prepares all operators.

        Args:
            threads: number of threads that take images through the network. 1 works in the caller's thread. Results
                do not depend on it.

        Raises:
            ProgramError: the program is inconsistent.
        """
        program.validate()
        self.program = program
        # Working memory stays of the order of the codes of the images in flight.
        strip = min(LARGEST_STRIP, CHUNK_IMAGES * program.peak_ram_bytes() // 4)
        dead = iter(dead_after(program.schedule(), keep=()))
        self._parts: list[tuple[PreparedNode | PreparedLoop, list[str]]] = []
        for loop, nodes in parts(program.nodes):
            part = PreparedLoop(program, nodes, strip) if loop else PreparedNode(program, nodes[0], strip)
            self._parts.append((part, [name for _ in nodes for name in next(dead)]))
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self._memory = threading.local()

    @overload
    def __call__(self, *inputs: Array | Mapping[str, Array], intermediate: Literal[False] = False) -> Any: ...
    @overload
    def __call__(self, *inputs: Array | Mapping[str, Array], intermediate: Literal[True]) -> dict[str, Array]: ...

    def __call__(self, *inputs: Array | Mapping[str, Array], intermediate: bool = False) -> Any:
        """Runs a batch.

        Args:
            inputs: (n, *input shape) each, in the order of the program's inputs, or one mapping by name. They are real
                numbers, or codes in the unsigned integer type of the input's codes.
            intermediate: whether the codes of every tensor are returned instead.

        Returns:
            (n, *output shape), float32: scale * (code - zero_point). With several outputs it is a tuple, in their
            order. With intermediate it is {tensor: codes (n, *shape)}, channels first; of what is inside a
            loop at its last place.

        Raises:
            UsageError: an input is missing or unknown, has another shape, type or number of samples than expected, or
                holds NaN, infinity or codes out of range.
        """
        given = self._named(inputs)
        tensors, outputs = self.program.tensors, self.program.outputs
        samples = self._check(given)
        names = tensors if intermediate else outputs
        results = {name: np.empty((samples, *tensors[name].shape), tensors[name].dtype) for name in names}
        images = max(1, min(CHUNK_IMAGES, -(-samples // self._threads)))
        chunks = [slice(start, start + images) for start in range(0, samples, images)]
        run = self._pool.map if self._pool is not None and len(chunks) > 1 else map
        list(run(lambda chunk: self._run(_part(given, chunk), _part(results, chunk)), chunks))
        if intermediate:
            return results
        values = tuple(decoded(results[name], tensors[name]) for name in outputs)
        return values[0] if len(values) == 1 else values

    def predict(self, raw: Array) -> Array:
        """What the program says of raw examples, as the camera or the sensor gave them.

        Args:
            raw: (n, *raw shape), or one example of that shape; see `Preprocessing.raw_shape`.

        Returns:
            Index of the most likely class in `program.classes`, (n,) int64, or with classes at each place (n, *size);
            of numbers, those in their own unit, (n, k); else the output as from a call. For one example it is without
            n.

        Raises:
            UsageError: the program has no preprocessing, or the examples have another type or shape than it reads.
        """
        preprocessing, classes = self.program.preprocessing, self.program.classes
        if self.program.states:
            raise UsageError("predict: the program is a step, which takes its states too. Call the executor with them.")
        if preprocessing is None:
            raise UsageError(
                "predict: the program has no preprocessing, since it was lowered without its data. "
                "Normalise the examples, and call the executor with them."
            )
        info = self.program.tensors[self.program.inputs[0]]
        one = isinstance(raw, np.ndarray) and raw.shape == preprocessing.raw_shape(info.shape)
        outputs = self(preprocessing.codes(raw[None] if one else raw, info))
        found: Array = outputs
        if classes:
            found = outputs.argmax(1) if outputs.shape[1] > 1 else (outputs[:, 0] > 0).astype(np.int64)
        elif self.program.answers is not None:
            found = self.program.answers.of(outputs)
        return found[0] if one else found

    def _named(self, inputs: tuple[Array | Mapping[str, Array], ...]) -> dict[str, Array]:
        """The inputs by name."""
        names = self.program.inputs
        if len(inputs) == 1 and isinstance(inputs[0], Mapping):
            if inputs[0].keys() != set(names):
                raise UsageError(f"inputs {sorted(inputs[0])} found; {list(names)} expected")
            return dict(inputs[0])
        arrays = [x for x in inputs if not isinstance(x, Mapping)]
        if len(arrays) != len(inputs) or len(arrays) != len(names):
            raise UsageError(
                f"{len(inputs)} inputs found; {len(names)} expected: arrays for {list(names)}, or one mapping by name"
            )
        return dict(zip(names, arrays, strict=True))

    def _run(self, given: dict[str, Array], results: dict[str, Array]) -> None:
        """Takes a chunk of images through all nodes, and fills the tensors that are asked for, channels first."""
        arrays = {name: self._input_codes(name, x) for name, x in given.items()}
        images, scratch = len(next(iter(given.values()))), self._scratch()
        with np.errstate():  # its end restores the buffer size
            np.setbufsize(SMALL_BUFFER)
            for part, dead in self._parts:
                part.run(arrays, images, scratch)
                for name in dead:
                    _keep(name, arrays.pop(name), results)
        for name, codes in arrays.items():
            _keep(name, codes, results)

    def _scratch(self) -> Scratch:
        """This thread's working memory."""
        if not hasattr(self._memory, "scratch"):
            self._memory.scratch = Scratch()
        scratch: Scratch = self._memory.scratch
        return scratch

    def _input_codes(self, name: str, x: Array) -> Array:
        """Real numbers or codes, (n, c, *spatial), to codes (*spatial, n, c)."""
        info = self.program.tensors[name]
        channels, *spatial = info.shape
        out = np.empty((*spatial, len(x), channels), info.dtype)
        several = max(1, BLOCK // prod(info.shape))
        for start in range(0, len(x), several):
            codes = x[start : start + several]
            if x.dtype != info.dtype:
                codes = quantize(codes, info.scale, info.zero_point, info.largest_code)
            if not spatial:
                out[start : start + several] = codes
                continue
            for index, image in enumerate(codes, start):
                for channel in range(channels):  # an inner loop over the few channels would be slow
                    out[..., index, channel] = image[channel]
        return out

    def _check(self, given: dict[str, Array]) -> int:
        """The number of samples, which is the same in all inputs."""
        for name, x in given.items():
            _check_input(name, x, self.program.tensors[name])
        samples = {name: len(x) for name, x in given.items()}
        if len(set(samples.values())) > 1:
            raise UsageError(f"inputs: different numbers of samples found, {samples}; one number expected")
        return next(iter(samples.values()))


class PreparedNode:
    """A node's operator, and how many lines it fills at a time."""

    def __init__(self, program: Program, node: Node, strip: int) -> None:
        self.inputs, self.output = node.inputs, node.output
        self._info = program.tensors[node.output]
        self._strip = strip  # codes
        self._operator = prepared_operator(program, node)

    def run(self, arrays: dict[str, Array], images: int, scratch: Scratch) -> None:
        """Adds the codes (*spatial, n, c) of its output to those of its inputs."""
        inputs, (channels, *spatial) = [arrays[name] for name in self.inputs], self._info.shape
        out = np.empty((*spatial, images, channels), self._info.dtype)
        largest = max([out.size, *(codes.size for codes in inputs)])
        strips = 1 if self._operator.whole else -(-largest // self._strip)
        lines = -(-len(out) // strips)  # alike, or the last strip would cost as much for a line
        for start in range(0, len(out), lines):
            self._operator(inputs, out, range(start, min(start + lines, len(out))), scratch)
        arrays[self.output] = out


class PreparedLoop:
    """The nodes of a loop, which run once for each place of the sequences that it reads."""

    def __init__(self, program: Program, nodes: list[Node], strip: int) -> None:
        self._tensors, self._length = program.tensors, program.steps(nodes[0])
        self._steps = [
            (node, PreparedNode(program, node, strip) if node.operator.loops is None else None) for node in nodes
        ]

    def run(self, arrays: dict[str, Array], images: int, scratch: Scratch) -> None:
        """Adds the codes (*spatial, n, c) of what it computes: at the last place, or at all that it gathers."""
        for place in range(self._length):
            for node, inner in self._steps:
                if inner is not None:
                    inner.run(arrays, images, scratch)
                elif node.operator.loops is Border.READ:  # along the last spatial axis
                    arrays[node.output] = arrays[node.inputs[0]][..., place, :, :]
                elif node.operator.loops is Border.GATHER:
                    if not place:
                        arrays[node.output] = self._empty(node.output, images)
                    arrays[node.output][..., place, :, :] = arrays[node.inputs[0]]
                else:
                    arrays[node.output] = self._zeros(node.output, images) if not place else arrays[node.reads[0]]

    def _zeros(self, name: str, images: int) -> Array:
        codes = self._empty(name, images)
        codes[...] = self._tensors[name].zero_point
        return codes

    def _empty(self, name: str, images: int) -> Array:
        channels, *spatial = self._tensors[name].shape
        return np.empty((*spatial, images, channels), self._tensors[name].dtype)


def _part(arrays: dict[str, Array], chunk: slice) -> dict[str, Array]:
    return {name: array[chunk] for name, array in arrays.items()}


def decoded(codes: Array, info: TensorInfo) -> Array:
    """Real values in float32."""
    return np.float32(info.scale) * (codes.astype(np.float32) - np.float32(info.zero_point))


def _check_input(name: str, x: Any, info: TensorInfo) -> None:
    if not isinstance(x, np.ndarray):
        raise UsageError(f"input '{name}': {type(x).__name__} found; a NumPy array expected. Convert it first.")
    if x.ndim != 1 + len(info.shape) or x.shape[1:] != info.shape:
        raise UsageError(f"input '{name}': shape {x.shape} found; (n, {', '.join(map(str, info.shape))}) expected")
    if x.dtype == info.dtype:
        if x.size and x.max() > info.largest_code:
            raise UsageError(f"input '{name}': code {x.max()} found; {info.bits} bits hold 0..{info.largest_code}")
    elif not np.issubdtype(x.dtype, np.floating):
        raise UsageError(f"input '{name}': {x.dtype} found; floating point, or {info.dtype} codes, expected")


def _keep(name: str, codes: Array, results: dict[str, Array]) -> None:
    if name in results:
        results[name][...] = to_batch_first(codes)
