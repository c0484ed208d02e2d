"""The ONNX model of a Program, and the session that runs it."""

import json
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from google.protobuf.message import DecodeError
from onnx import helper

from search.atomic import write_bytes
from search.deploy.backends import milliseconds
from search.deploy.onnx import qdq
from search.deploy.onnx.builder import FLOAT, INT32, Builder
from search.deploy.onnx.scanned import scanned
from search.deploy.onnx.writers import WRITERS
from search.errors import FileError, UsageError
from search.integer.graph import Array
from search.integer.looping import parts
from search.integer.program import Node, Program, TensorInfo

OPSET = 17  # the version of the operators
IR = 8
QDQ_OPSET, QDQ_IR = 21, 10  # which have QuantizeLinear of 16 bits
SAMPLES = "n"
CODES, VALUES = "{}.codes", "{}.values"  # names of tensors


def qdq_of(program: Program) -> onnx.ModelProto:
    """The QDQ variant of a Program, an approximation of floats. Names, inputs and outputs are those of `model_of`.

    Raises:
        ProgramError: the program is inconsistent.
    """
    program.validate()
    builder = Builder()
    graph = qdq.Quantized(builder, program)
    for name in program.inputs:
        info = program.tensors[name]
        graph.codes[name] = graph.quantized(name, info, 0, info.largest_code)
        builder("Cast", graph.codes[name], to=INT32, output=CODES.format(name))
    for loop, nodes in parts(program.nodes):
        graph.codes |= qdq.written(graph, nodes, bool(loop))
        for node in nodes:
            builder("Cast", graph.codes[node.output], to=INT32, output=CODES.format(node.output))
    for name in program.outputs:
        builder("Identity", graph.real(name), output=VALUES.format(name))
    return _model(builder, program, QDQ_OPSET, QDQ_IR)


def model_of(program: Program) -> onnx.ModelProto:
    """A model from normalised float32 inputs to float32 outputs, with integers alone between them.

    Its inputs have the names of the Program's. The codes of a tensor NAME are called NAME.codes, (n, *shape) int32, and
    the values of an output NAME.values. Its metadata hold the preprocessing of raw examples, as JSON, and the classes.

    Raises:
        ProgramError: the program is inconsistent.
    """
    program.validate()
    builder = Builder()
    codes = {name: _quantized(builder, name, program.tensors[name]) for name in program.inputs}

    def write(node: Node, known: Mapping[str, str]) -> str:
        before = len(builder.nodes)
        found = WRITERS[node.op](builder, program, node, [known[name] for name in node.inputs])
        for each in builder.nodes[before:]:
            each.doc_string = f"{node.op} {node.name}"
        return found

    for loop, nodes in parts(program.nodes):
        if loop:
            made = scanned(builder, program, nodes, codes, lambda name: INT32, write)
        else:
            made = {nodes[0].output: write(nodes[0], codes)}
        codes |= {name: builder("Identity", each, output=CODES.format(name)) for name, each in made.items()}
    for name in program.outputs:
        _decoded(builder, codes[name], name, program.tensors[name])
    return _model(builder, program, OPSET, IR)


def _model(builder: Builder, program: Program, version: int, ir: int) -> onnx.ModelProto:
    graph = helper.make_graph(
        builder.nodes,
        "picojoule",
        [_info(name, program.tensors[name]) for name in program.inputs],
        [_info(VALUES.format(name), program.tensors[name]) for name in program.outputs],
        list(builder.constants.values()),
    )
    opset = [helper.make_opsetid("", version)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=ir, producer_name="picojoule")
    preprocessing = None if program.preprocessing is None else program.preprocessing.to_json()
    helper.set_model_props(
        model, {"preprocessing": json.dumps(preprocessing), "classes": json.dumps(list(program.classes))}
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def write(model: onnx.ModelProto, path: str | os.PathLike[str]) -> None:
    """Writes a model, whole or not at all. Raises OSError where the file cannot be written."""
    write_bytes(Path(path), model.SerializeToString())


def load(path: str | os.PathLike[str]) -> onnx.ModelProto:
    """A model that `write` wrote.

    Raises:
        FileError: there is no such file, or it is no ONNX model.
    """
    try:
        return onnx.load_from_string(Path(path).read_bytes())
    except OSError as error:
        raise FileError(error.errno, f"{path}: cannot be read ({error.strerror}). Give the model of a run.") from error
    except DecodeError as error:
        raise FileError(None, f"{path}: is no ONNX model ({error}). Export the run again.") from error


class OnnxNetwork:
    """Runs the model of a Program by onnxruntime, on the processor."""

    def __init__(self, model: onnx.ModelProto, threads: int = 1, optimized: bool = True) -> None:
        """A session, of the outputs or of every tensor, is prepared when it is first asked for.

        Args:
            threads: that an operator may use.
            optimized: whether onnxruntime may change the graph.
        """
        self._model, self._options = model, onnxruntime.SessionOptions()
        self._options.intra_op_num_threads = threads
        levels = onnxruntime.GraphOptimizationLevel
        self._options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimized else levels.ORT_DISABLE_ALL
        self._options.log_severity_level = 3
        self._names = [each.name for each in model.graph.input]
        self._outputs = [each.name for each in model.graph.output]
        self._codes = [each for node in model.graph.node for each in node.output if each.endswith(CODES.format(""))]

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        """float32 (n, *shape) each, to the values of the outputs, float32 (n, *shape) each.

        Raises:
            UsageError: another number of inputs is expected, or this onnxruntime lacks an operator of the model.
        """
        return tuple(self._run(self._session, self._outputs, inputs))

    @cached_property
    def _session(self) -> Any:
        """Of the outputs."""
        return self._prepared(self._model)

    @cached_property
    def _of_all(self) -> Any:
        """Of every tensor."""
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        del model.graph.output[:]
        model.graph.output.extend(helper.make_tensor_value_info(name, INT32, None) for name in self._codes)
        return self._prepared(model)

    def codes(self, *inputs: Array) -> dict[str, Array]:
        """The codes of every tensor, as int32 (n, *shape). It raises what a call does."""
        found = self._run(self._of_all, self._codes, inputs)
        return {name.removesuffix(CODES.format("")): codes for name, codes in zip(self._codes, found, strict=True)}

    def drawn(self, samples: int) -> list[Array]:
        """Inputs of normal numbers, the same at every call: float32 (n, *shape) each."""
        rng = np.random.default_rng(0)
        shapes = [[each.dim_value for each in i.type.tensor_type.shape.dim[1:]] for i in self._model.graph.input]
        return [rng.normal(size=(samples, *shape)).astype(np.float32) for shape in shapes]

    def pace(self, *inputs: Array) -> str:
        """What one sample takes by itself, in words."""
        one = [x[:1] for x in inputs]
        return milliseconds(lambda: self(*one))

    def _run(self, session: Any, names: Sequence[str], inputs: Sequence[Array]) -> list[Array]:
        if len(inputs) != len(self._names):
            raise UsageError(f"{len(inputs)} inputs found; {len(self._names)} expected: arrays for {self._names}")
        found: list[Array] = session.run(list(names), dict(zip(self._names, inputs, strict=True)))
        return found

    def _prepared(self, model: onnx.ModelProto) -> Any:
        try:
            return onnxruntime.InferenceSession(
                model.SerializeToString(), self._options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its own classes, which share no base
            raise UsageError(
                f"onnxruntime {onnxruntime.__version__} refuses the model ({error}). It takes operators of version "
                f"{OPSET}: run `pip install 'picojoule[onnx]'`, which brings one that has them."
            ) from error


def _quantized(b: Builder, name: str, info: TensorInfo) -> str:
    """clip(floor(x / scale + 1/2) + zero point, 0, largest code), every step in float32."""
    x = b("Floor", b("Add", b("Div", name, np.float32(info.scale)), np.float32(0.5)))
    x = b("Clip", b("Add", x, np.float32(info.zero_point)), np.float32(0), np.float32(info.largest_code))
    return b("Cast", x, to=INT32, output=CODES.format(name))


def _decoded(b: Builder, codes: str, name: str, info: TensorInfo) -> None:
    """scale * (code - zero point) in float32."""
    real = b("Sub", b.cast(codes, FLOAT), np.float32(info.zero_point))
    b("Mul", np.float32(info.scale), real, output=VALUES.format(name))


def _info(name: str, info: TensorInfo) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, FLOAT, [SAMPLES, *info.shape])
