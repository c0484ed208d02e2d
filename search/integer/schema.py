"""The JSON form of a graph: which fields there are, and of which kinds. What the fields mean is checked elsewhere."""

from collections.abc import Mapping
from typing import Any

from search.integer import answers, frontend, preprocessing
from search.integer.answers import Answers
from search.integer.graph import Array, Node, ProgramError, State, TensorInfo
from search.integer.preprocessing import Preprocessing
from search.kinds import FINITE, NOTHING, OBJECT, TEXT, WHOLE, Kind, by_name, either, listed, unlike

Fields = Mapping[str, Kind]
GRAPH: Fields = {
    "inputs": listed(TEXT),
    "outputs": listed(TEXT),
    "tensors": by_name(OBJECT),
    "nodes": listed(OBJECT),
    "metadata": OBJECT,
}
LATER: Fields = {  # fields that came with formats 3, 5 and 6; a front end in preprocessing came with format 6
    "preprocessing": either(OBJECT, NOTHING),
    "classes": listed(TEXT),
    "answers": either(OBJECT, NOTHING),
    "states": by_name(OBJECT),
}
TENSOR: Fields = {"shape": listed(WHOLE), "bits": WHOLE, "scale": FINITE, "zero_point": WHOLE}
NODE: Fields = {
    "name": TEXT,
    "op": TEXT,
    "inputs": listed(TEXT),
    "outputs": listed(TEXT),
    "attributes": OBJECT,
    "constants": by_name(TEXT),
}
STATE: Fields = {"next": TEXT, "first": WHOLE}
NODE_LATER: Fields = {"loop": TEXT}  # which came with format 6


def fields_of(graph: Any, constants: dict[str, Array]) -> dict[str, Any]:
    """What a Graph is made from.

    Args:
        graph: any JSON value.

    Raises:
        ProgramError: a field is missing, unknown or of another kind.
    """
    checked("the graph", graph, GRAPH, LATER)
    for name, info in graph["tensors"].items():
        checked(f"tensor '{name}'", info, TENSOR)
    for index, node in enumerate(graph["nodes"]):
        checked(f"node {index}", node, NODE, NODE_LATER)
    return {
        "inputs": tuple(graph["inputs"]),
        "outputs": tuple(graph["outputs"]),
        "tensors": {
            name: TensorInfo(**{**info, "shape": tuple(info["shape"])}) for name, info in graph["tensors"].items()
        },
        "nodes": tuple(
            Node(**{**node, "inputs": tuple(node["inputs"]), "outputs": tuple(node["outputs"])})
            for node in graph["nodes"]
        ),
        "constants": constants,
        "metadata": graph["metadata"],
        "preprocessing": _preprocessing(graph.get("preprocessing")),
        "classes": tuple(graph.get("classes", ())),
        "answers": _answers(graph.get("answers")),
        "states": _states(graph.get("states", {})),
    }


def _preprocessing(value: dict[str, Any] | None) -> Preprocessing | None:
    if value is None:
        return None
    checked("preprocessing", value, preprocessing.KINDS, preprocessing.LATER)
    if "frontend" in value:
        checked("preprocessing: frontend", value["frontend"], frontend.KINDS)
    return Preprocessing.of_json(value)


def _states(value: dict[str, Any]) -> dict[str, State]:
    for name, state in value.items():
        checked(f"state '{name}'", state, STATE)
    return {name: State(**state) for name, state in value.items()}


def _answers(value: dict[str, Any] | None) -> Answers | None:
    if value is None:
        return None
    checked("answers", value, answers.KINDS)
    return Answers(tuple(value["mean"]), tuple(value["std"]))


def checked(place: str, value: Any, needed: Fields, optional: Fields | None = None) -> None:
    """Raises ProgramError unless the value is an object with these fields, and with no others."""
    if not OBJECT.holds(value):
        raise ProgramError(f"{place} is {type(value).__name__}, not an object")
    wrong = misfits(value, needed, optional or {})
    if wrong:
        raise ProgramError(f"{place}: {'; '.join(wrong)}")


def misfits(value: Mapping[str, Any], needed: Fields, optional: Fields) -> list[str]:
    """What is wrong with the fields of an object, in words."""
    present = {name: kind for name, kind in optional.items() if name in value}
    unknown = sorted(map(str, value.keys() - needed.keys() - optional.keys()))
    return [*unlike(value, {**needed, **present}).values(), *(f"{name} is unknown" for name in unknown)]
