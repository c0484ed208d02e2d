"""network_step, where a program is a step: its states lie in a struct that the application keeps."""

from collections.abc import Mapping

from search.deploy.c.layout import Stored
from search.deploy.c.source import comment, identifier
from search.integer.program import Program


def declared(program: Program, tensors: Mapping[str, Stored]) -> list[str]:
    """Lines of network.h; none where there are no states."""
    if not program.states:
        return []
    fields = _fields(program)
    return [
        "",
        "/* What is carried from one step to the next. Each stream has one of its own. */",
        "typedef struct {",
        *(
            f"    {tensors[name].ctype} {field}[{tensors[name].bytes // tensors[name].info.dtype.itemsize}];"
            f" /* {comment(name)} */"
            for name, field in fields.items()
        ),
        "} network_state;",
        "",
        "/* Before the first step of a stream. */",
        "void network_reset(network_state *state);",
        "",
        "/* Codes of what is new to codes of the outputs; the state becomes that of the next step. */",
        f"void network_step({_parameters(program, tensors)});",
    ]


def defined(program: Program, tensors: Mapping[str, Stored]) -> str:
    """The functions, in network.c."""
    if not program.states:
        return ""
    fields = _fields(program)
    lines = ["void network_reset(network_state *state)", "{"]
    for name, state in program.states.items():
        size = tensors[name].bytes // tensors[name].info.dtype.itemsize
        lines += [f"    for (int32_t i = 0; i < {size}; ++i)", f"        state->{fields[name]}[i] = {state.first};"]
        if tensors[name].order != tensors[state.next].order:
            raise RuntimeError(f"state '{name}' lies otherwise than what it becomes: a defect, report it.")
    inputs, outputs = _ends(program)
    carried = [f"state->{field}" for field in fields.values()]
    lines += ["}", "", f"void network_step({_parameters(program, tensors)})", "{"]
    return "\n".join([*lines, f"    network_run({', '.join([*inputs, *carried, *outputs, *carried])});", "}", ""])


def _fields(program: Program) -> dict[str, str]:
    """State -> its field."""
    found: dict[str, str] = {}
    for number, name in enumerate(program.states):
        field = identifier(name)
        found[name] = f"{field}_{number}" if field in found.values() else field
    return found


def _ends(program: Program) -> tuple[list[str], list[str]]:
    """Parameters that are no states."""
    inputs, outputs = (len(names) for names in (program.read, program.given))
    return (
        ["in" if inputs == 1 else f"in{place}" for place in range(inputs)],
        ["out" if outputs == 1 else f"out{place}" for place in range(outputs)],
    )


def _parameters(program: Program, tensors: Mapping[str, Stored]) -> str:
    inputs, outputs = _ends(program)
    read = [f"const {tensors[n].ctype} *{place}" for n, place in zip(program.read, inputs, strict=True)]
    made = [f"{tensors[n].ctype} *{place}" for n, place in zip(program.given, outputs, strict=True)]
    return ", ".join([*read, *made, "network_state *state"])
