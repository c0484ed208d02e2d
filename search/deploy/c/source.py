"""The text of a C program as it grows: helpers, constants, functions. What is equal is written once."""

import re
from collections.abc import Sequence
from textwrap import fill, indent

import numpy as np

from search.deploy.c.helpers import HELPERS
from search.integer.graph import Array

TYPES = {
    np.dtype(np.int8): "int8_t",
    np.dtype(np.uint8): "uint8_t",
    np.dtype(np.int16): "int16_t",
    np.dtype(np.uint16): "uint16_t",
    np.dtype(np.int32): "int32_t",
    np.dtype(np.uint32): "uint32_t",
}
ROWS = """\
/* Rows of weights of one width, and what becomes of the sums that they make. Their channels begin with `first`, or are
   numbered by `places` where they do not lie side by side. A row has `depth` codes, and a column `column`. */
typedef struct Rows {
    const void *weights;
    const int32_t *bias;
    const int16_t *multiplier;
    const uint8_t *shift;
    const uint16_t *places;
    uint16_t first;
    uint16_t count;
    int32_t depth;
    int32_t column;
%s} Rows;
"""
# Parameters of all kernels where small code is wanted: columns, rows, an output, and what becomes of sums.
PRODUCTS = "const void *given, int32_t pixels, const struct Rows *rows, void *made, int32_t stride, const End *end"
END = """\
/* What becomes of a sum: it is scaled, moved to the zero point, clipped, and looked up where there is a table. Up to
   the shift `fast` 32 bits are enough; up to `plain` they are, there is no table, and it is clipped to 0 .. 255. Before
   that it is moved up by `raised` bits, which its shift allows for. */
typedef struct {
    int32_t zero;
    int32_t low;
    int32_t high;
    int16_t fast;
    int16_t plain;
    int32_t raised;
    const void *table;
} End;
"""
ONE_KERNEL = f"    void (*products)({PRODUCTS});\n"
INTERLEAVED = "    IF_BYTES(int32_t *interleaved;) /* all of that, once a kernel needed it */\n"
STEP = """\
/* A function, and what it is given: pointers to tensors, working memory and constants, and numbers. */
typedef %s Number;

typedef struct {
    void (*run)(const void *const *p, const Number *n);
    const void *const *p;
    const Number *n;
} Step;
"""
PLACE = "place"  # a variable: of a sequence, in a loop
WIDTH = 110
NAME = re.compile(r"\w+")
RESERVED = frozenset(
    ("int", "char", "float", "double", "short", "long", "const", "static", "inline", "void", "default")
)


class Source:
    """Functions and constants by name, in the order in which they were first asked for.

    Args:
        small: whether small code is wanted, rather than fast code.

    Attributes:
        number_type: of the numbers that functions read from tables, where small code is wanted.
    """

    def __init__(self, small: bool = False) -> None:
        self.small = small
        self.number_type = np.dtype(np.int32)
        self.constants: dict[tuple[str, bytes], str] = {}
        self.functions: dict[tuple[str, str, str], str] = {}
        self._declared: dict[str, str] = {}
        self._values: dict[str, Array] = {}
        self._taken: set[str] = set()
        self._ends: dict[str, str] = {}

    def constant(self, name: str, values: Array) -> str:
        """The name of an array of integers in flash."""
        values = np.ascontiguousarray(values).reshape(-1)
        key = TYPES[values.dtype], values.tobytes()
        if key not in self.constants:
            self.constants[key] = own = self._own(name)
            self._values[own] = values
        return self.constants[key]

    def end(self, name: str, fields: Sequence[str | int]) -> str:
        """A pointer to an End, see `END`."""
        text = ", ".join(map(str, fields))
        if text not in self._ends:
            self._ends[text] = own = self._own(name)
            self._declared[own] = f"static const End {own} = {{{text}}};\n"
        return f"&{self._ends[text]}"

    def numbers(self, name: str, values: Sequence[int]) -> str:
        """The name of an array of numbers that a function reads, or NULL where it reads none."""
        return self.constant(name, np.array(values, self.number_type)) if values else "NULL"

    def rows(self, name: str, fields: Sequence[Sequence[str | int]], words: Sequence[str] = ()) -> str:
        """The name of an array of Rows, see `ROWS`. Args: words: that each takes interleaved, or "" for none."""
        own, each = self._own(name), [", ".join(map(str, one)) for one in fields]
        memory = [self.interleaved(f"{name}_{place}", size) if size else "NULL" for place, size in enumerate(words)]
        if memory:
            each = [f"{one} IF_BYTES(, {room})" for one, room in zip(each, memory, strict=True)]
        lines = ",\n".join(f"    {{{one}}}" for one in each)
        self._declared[own] = f"static const Rows {own}[{len(fields)}] = {{\n{lines},\n}};\n"
        return own

    def interleaved(self, name: str, words: str) -> str:
        """The name of memory for what processors that multiply bytes keep."""
        own = self._own(f"{name}_interleaved")
        self._declared[own] = f"#if NETWORK_BYTES\nstatic int32_t {own}[{words}] NETWORK_ALIGNED;\n#endif\n"
        return own

    def function(self, name: str, parameters: str, body: str, returns: str = "void", only: str = "") -> str:
        """The name of a static function. Those of one name that differ are numbered.

        Args:
            only: where it is named, as a condition of the preprocessor; "" for everywhere.
        """
        key = name, parameters, body
        if key not in self.functions:
            self.functions[key] = own = self._own(name)
            text = f"static {returns} {own}({parameters})\n{{\n{indent(body, '    ')}\n}}\n"
            self._declared[own] = f"#if {only}\n{text}#endif\n" if only else text
        return self.functions[key]

    def declared(self) -> str:
        """All functions, and before them the helpers that they call, one or more calls deep."""
        own = list(self._declared.values())
        named = set(NAME.findall("".join(own)))
        helpers = []
        for name, text in reversed(HELPERS.items()):
            if name in named:
                named.update(NAME.findall(text))
                helpers.append(text)
        rows = [ROWS % (ONE_KERNEL if self.small else INTERLEAVED)] if "Rows" in named else []
        rows = [*([END] if "End" in named else []), *rows]
        return "\n".join([*rows, *([STEP % TYPES[self.number_type]] if self.small else []), *reversed(helpers), *own])

    @property
    def constants_bytes(self) -> int:
        """Of all arrays of integers."""
        return sum(values.nbytes for values in self._values.values())

    def tables(self) -> list[tuple[str, str]]:
        """Of each constant its declaration, and its definition."""
        return [(f"extern {head};", f"{head} = {{\n{_numbers(values)}\n}};") for head, values in self._heads()]

    def _heads(self) -> list[tuple[str, Array]]:
        return [
            (f"const {TYPES[values.dtype]} {name}[{len(values)}] NETWORK_ALIGNED", values)
            for name, values in self._values.items()
        ]

    def _own(self, name: str) -> str:
        base = identifier(name)
        own, number = base, 1
        while own in self._taken:
            number += 1
            own = f"{base}_{number}"
        self._taken.add(own)
        return own


def identifier(name: str) -> str:
    """A name of C that is like the given one."""
    plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "x"
    return f"n{plain}" if plain[0].isdigit() or plain in RESERVED else plain


def comment(name: str) -> str:
    """A name of a file that may come from elsewhere, without anything that could end a comment."""
    return re.sub(r"[^\w.@ -]", "_", name, flags=re.ASCII)


def number(value: int) -> str:
    """A number of a shape, marked as such: where small code is wanted, functions read it from a table."""
    return f"\N{LEFT-POINTING DOUBLE ANGLE QUOTATION MARK}{value}\N{RIGHT-POINTING DOUBLE ANGLE QUOTATION MARK}"


MARKED = re.compile(number(0).replace("0", r"(-?\d+)"))


def literal(text: str) -> str:
    """The text with all marked numbers as they are."""
    return MARKED.sub(r"\1", text)


def from_table(text: str, first: int) -> tuple[str, list[int]]:
    """The text with `n[first]`, `n[first + 1]` .. in the place of marked numbers, and the numbers."""
    numbers: list[int] = []

    def taken(found: re.Match[str]) -> str:
        numbers.append(int(found[1]))
        return f"n[{first + len(numbers) - 1}]"

    return MARKED.sub(taken, text), numbers


def loop(variable: str, count: int, lines: Sequence[str]) -> list[str]:
    """A loop over 0 .. count - 1."""
    return block(f"for (int32_t {variable} = 0; {variable} < {number(count)}; ++{variable})", lines)


def block(head: str, lines: Sequence[str]) -> list[str]:
    """A loop or a condition, and what is in it."""
    return [f"{head} {{", *(f"    {line}" for line in lines), "}"]


def _numbers(values: Array) -> str:
    return indent(fill(", ".join(map(str, values.tolist())), WIDTH - 4), "    ")
