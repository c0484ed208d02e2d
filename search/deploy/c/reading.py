"""From raw examples, as a camera or a sensor gives them, to the codes of the input."""

from math import prod

import numpy as np

from search.deploy.c.frontend import about_sound, sound_reader
from search.deploy.c.layout import Stored
from search.deploy.c.loops import nested
from search.deploy.c.source import literal
from search.integer.frontend import FrontEnd
from search.integer.preprocessing import FIRST, INT16, LAST, PIXEL_MAX, UINT8, Preprocessing
from search.integer.program import Program

CTYPES = {"uint8": "uint8_t", "float32": "float", "int16": "int16_t"}
RAW = {
    "uint8": "/* A raw example, of bytes, as in training, to the codes of the input. */",
    "float32": "/* An example of real numbers to the codes of the input. NaN becomes the lowest code. */",
}
NONE = "none"


def raw_type(program: Program) -> str | None:
    """Of what a raw example has: "uint8", "float32" or, of sound, "int16"; without preprocessing, of a normalised one.

    None: there are several inputs, and nothing reads them.
    """
    if len(program.read) > 1:
        return None
    return program.preprocessing.raw_dtype if program.preprocessing is not None else "float32"


def declared(program: Program, x: Stored) -> list[str]:
    """What network.h says of network_read, where there is one input."""
    raw, given = raw_type(program), program.preprocessing
    if raw is None:
        return []
    size = prod(x.shape if given is None else given.raw_shape(x.shape))
    about = RAW[raw] if given is None or given.frontend is None else about_sound(given.frontend)
    lines = [f"typedef {CTYPES[raw]} network_raw;", f"#define NETWORK_RAW_SIZE {size}", about]
    return ["", *lines, f"void network_read(const network_raw *raw, {x.ctype} *in);"]


def reader(program: Program, x: Stored) -> str:
    """network_read, where there is one input."""
    raw = raw_type(program)
    if raw is None:
        return ""
    if raw == INT16 and program.preprocessing is not None and program.preprocessing.frontend is not None:
        return _of_sound(program.preprocessing, program.preprocessing.frontend, x)
    channels, strides = x.shape[0], _strides(program, x)
    if raw == UINT8 and program.preprocessing is not None:
        tables = program.preprocessing.tables(x.info)
        plain = program.preprocessing.takes_bytes(x.info)
        alike = bool((tables == tables[0]).all())
        rows = tables[:1] if alike else tables
        table = ", ".join(map(str, rows.reshape(-1).tolist()))
        head = [] if plain else [f"static const {x.ctype} table[{rows.size}] = {{{table}}};"]
        channel = "" if alike else f"{PIXEL_MAX + 1} * (({{at}}) / {strides[0]} % {channels}) + "
        value = "raw[{0}]" if plain else f"table[{channel.format(at='{0}')}raw[{{0}}]]"
        lines = nested(x.shape, [strides, x.strides], lambda at: [f"in[{at[1]}] = {value.format(at[0])};"])
    else:
        head, lines = _of_floats(program, x, strides)
    text = "\n".join(f"    {line}" for line in [*head, *map(literal, lines)])
    return f"void network_read(const network_raw *raw, {x.ctype} *in)\n{{\n{text}\n}}\n"


def _of_sound(preprocessing: Preprocessing, frontend: FrontEnd, x: Stored) -> str:
    if preprocessing.takes_bytes(x.info):
        return sound_reader(frontend, x, None)
    tables = preprocessing.tables(x.info)
    alike = bool((tables == tables[0]).all())
    return sound_reader(frontend, x, tables[:1] if alike else tables)


def _strides(program: Program, x: Stored) -> list[int]:
    """Of a raw example, along the axes of the input."""
    channels, *size = x.shape
    where = program.preprocessing.channels if program.preprocessing is not None else FIRST
    spatial = [prod(size[axis + 1 :]) for axis in range(len(size))]
    if where == LAST:
        return [1, *(channels * step for step in spatial)]
    return [prod(size), *spatial]


def _of_floats(program: Program, x: Stored, strides: list[int]) -> tuple[list[str], list[str]]:
    """clip(floor(x / scale + 1/2) + zero point, 0, largest code), every step in float32."""
    info, given = x.info, program.preprocessing
    head = []
    value = "raw[{0}]"
    if given is not None:
        for name, numbers in (("mean", given.mean), ("deviation", given.std)):
            texts = ", ".join(_exact(number) for number in numbers)
            head.append(f"static const float {name}[{len(numbers)}] = {{{texts}}};")
        channel = f"({{0}}) / {strides[0]} % {x.shape[0]}"
        value = f"(raw[{{0}}] - mean[{channel}]) / deviation[{channel}]"
    low, high = -info.zero_point, info.largest_code - info.zero_point

    def lines(at: list[str]) -> list[str]:
        return [
            f"const float step = ({value.format(at[0])}) / {_exact(info.scale)} + 0.5f;",
            f"int32_t code = {low};",
            f"if (step >= {high}.0f) {{",
            f"    code = {high};",
            f"}} else if (step > {low}.0f) {{",
            "    code = (int32_t)step;",
            "    if ((float)code > step)",
            "        --code;",
            "}",
            f"in[{at[1]}] = ({x.ctype})(code + {info.zero_point});",
        ]

    return head, nested(x.shape, [strides, x.strides], lines)  # type: ignore[arg-type]


def _exact(number: float) -> str:
    """A float32 as C writes it, all its bits."""
    return f"{float(np.float32(number)).hex()}f"
