"""The integer network on NumPy: a loop over nodes and a dict of arrays."""

import threading
from concurrent.futures import ThreadPoolExecutor
from math import prod
from typing import Literal, overload

import numpy as np

from search.integer.kernels import BLOCK, Array, Scratch, quantize
from search.integer.operators import prepare, to_batch_first
from search.integer.program import Node, Program

CHUNK_IMAGES = 16  # images that a thread takes through the network together, at most
LARGEST_STRIP = 1 << 17  # codes an operator reads or writes at a time, at most
SMALL_BUFFER = 512  # elements; NumPy copies operands broadcast over lines shorter than half its buffer
THREADS = 1  # more were slower in every measurement: between the calls that release it, threads wait for the GIL


class Executor:
    """Run a Program in exact integers, bit for bit those of every other backend."""

    def __init__(self, program: Program, threads: int = THREADS) -> None:
        """Prepare all operators.

        Args:
            threads: that take images through the network; 1 works in the caller's. Results do not depend on it.

        Raises:
            ProgramError: the program is inconsistent.
        """
        program.validate()
        self.program = program
        # Working memory stays of the order of the codes of the images in flight.
        strip = min(LARGEST_STRIP, CHUNK_IMAGES * program.peak_ram_bytes() // 4)
        self._steps = [Step(program, node, strip) for node in program.nodes]
        self._dead = _dead_after(program)
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self._memory = threading.local()

    @overload
    def __call__(self, x: Array, intermediate: Literal[False] = False) -> Array: ...
    @overload
    def __call__(self, x: Array, intermediate: Literal[True]) -> dict[str, Array]: ...

    def __call__(self, x: Array, intermediate: bool = False) -> Array | dict[str, Array]:
        """Run a batch.

        Args:
            x: (n, *input shape), real numbers; or codes, in the unsigned integer type of the input's codes.
            intermediate: return the codes of every tensor instead.

        Returns:
            (n, *output shape), float32: scale * (code - zero_point). Or {tensor: codes (n, *shape)}, channels first.

        Raises:
            ValueError: another shape or type, NaN or infinity, or codes out of range.
        """
        self._check(x)
        tensors, output = self.program.tensors, self.program.tensors[self.program.output]
        names = tensors if intermediate else (self.program.output,)
        results = {name: np.empty((len(x), *tensors[name].shape), tensors[name].dtype) for name in names}
        images = max(1, min(CHUNK_IMAGES, -(-len(x) // self._threads)))
        chunks = [slice(start, start + images) for start in range(0, len(x), images)]
        run = self._pool.map if self._pool is not None and len(chunks) > 1 else map
        list(run(lambda chunk: self._run(x[chunk], {name: codes[chunk] for name, codes in results.items()}), chunks))
        if intermediate:
            return results
        codes = results[self.program.output].astype(np.float32)
        return np.float32(output.scale) * (codes - np.float32(output.zero_point))

    def _run(self, x: Array, results: dict[str, Array]) -> None:
        """Take a chunk of images through all nodes; fill the tensors asked for, channels first."""
        arrays = {self.program.input: self._input_codes(x)}
        scratch = self._scratch()
        with np.errstate():  # its end restores the buffer size
            np.setbufsize(SMALL_BUFFER)
            for step, dead in zip(self._steps, self._dead, strict=True):
                arrays[step.output] = step.run([arrays[name] for name in step.inputs], len(x), scratch)
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

    def _input_codes(self, x: Array) -> Array:
        """Real numbers or codes, (n, c, *spatial), to codes (*spatial, n, c)."""
        info = self.program.tensors[self.program.input]
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

    def _check(self, x: Array) -> None:
        info = self.program.tensors[self.program.input]
        if x.ndim != 1 + len(info.shape) or x.shape[1:] != info.shape:
            raise ValueError(
                f"input '{self.program.input}': shape {x.shape} found; (n, {', '.join(map(str, info.shape))}) expected"
            )
        if x.dtype == info.dtype:
            if x.size and x.max() > info.largest_code:
                raise ValueError(
                    f"input '{self.program.input}': code {x.max()} found; {info.bits} bits hold 0..{info.largest_code}"
                )
        elif not np.issubdtype(x.dtype, np.floating):
            raise ValueError(
                f"input '{self.program.input}': {x.dtype} found; floating point, or {info.dtype} codes, expected"
            )


class Step:
    """A node's operator, and how many lines it fills at a time."""

    def __init__(self, program: Program, node: Node, strip: int) -> None:
        self.inputs, self.output = node.inputs, node.output
        self._info = program.tensors[node.output]
        self._strip = strip  # codes
        self._operator = prepare(program, node)

    def run(self, inputs: list[Array], images: int, scratch: Scratch) -> Array:
        """Codes (*spatial, n, c) of the inputs to those of the output."""
        channels, *spatial = self._info.shape
        out = np.empty((*spatial, images, channels), self._info.dtype)
        largest = max(out.size, *(codes.size for codes in inputs))
        strips = 1 if self._operator.whole else -(-largest // self._strip)
        lines = -(-len(out) // strips)  # alike, or the last strip would cost as much for a line
        for start in range(0, len(out), lines):
            self._operator(inputs, out, range(start, min(start + lines, len(out))), scratch)
        return out


def _dead_after(program: Program) -> list[list[str]]:
    """For each node, the tensors that nothing reads after it."""
    last_use = {node.output: index for index, node in enumerate(program.nodes)}
    last_use |= {name: index for index, node in enumerate(program.nodes) for name in node.inputs}
    dead: list[list[str]] = [[] for _ in program.nodes]
    for name, index in last_use.items():
        dead[index].append(name)
    return dead


def _keep(name: str, codes: Array, results: dict[str, Array]) -> None:
    if name in results:
        results[name][...] = to_batch_first(codes)
