"""How codes of the input come into a column: one after another, widened to 16 bits, and padded with zeros.

Where multiply-adds take pairs, columns are interleaved, four codes of each in turn, so that a kernel reads all of them
by one pointer, whatever their depth.
"""

from dataclasses import dataclass

from search.deploy.c.operation import Operation
from search.deploy.c.source import number

PLACES = 32  # columns that are multiplied together where the compiler has vectors, at most
LARGEST = 1 << 14  # codes of these, at most


@dataclass(frozen=True)
class Columns:
    """Lines that fill columns.

    Attributes:
        fan_in: codes of a column.
        depth: the same, padded.
        run: how many codes are copied at once, or a part of that.
        pixels: how many columns there are.
    """

    operation: Operation
    fan_in: int
    depth: int
    run: int
    pixels: int

    @property
    def wide(self) -> bool:
        """Whether codes have more than 8 bits, so that they have 16 already."""
        return self.operation.inputs[0].info.bits > 8

    @property
    def ctype(self) -> str:
        return "uint16_t" if self.wide else "Column"

    @property
    def by_bytes(self) -> bool:
        """Whether a column is put together before it is widened, four codes at a time."""
        return not self.wide and self.run % 4 != 0

    @property
    def bytes(self) -> int:
        """Of the working memory."""
        return 2 * self.pixels * self.depth + (self.depth if self.by_bytes else 0)

    @property
    def by_vectors(self) -> bool:
        """Whether there is a kernel for compilers that have vectors."""
        return self.pixels > 1 and not self.wide and not self.operation.small

    @property
    def together(self) -> str:
        """How many columns are multiplied together."""
        if not self.by_vectors:
            return number(self.pixels)
        return f"PLACES({self.pixels}, {self.places})"

    @property
    def places(self) -> int:
        """The same, where the compiler has vectors."""
        return max(self.pixels, min(PLACES, LARGEST // self.depth))

    def own(self) -> list[str]:
        """Room for columns where the compiler has vectors: more of them, each with a whole number of vectors."""
        if not self.by_vectors:
            return []
        codes = f"{self.places} * PADDED({self.depth}) + {self.depth if self.by_bytes else 0}"
        return ["#if NETWORK_VECTORS", f"static Column own[{codes}] NETWORK_ALIGNED;", "columns = own;", "#endif"]

    def begin(self) -> list[str]:
        """Of the column whose number is `ready`."""
        if self.by_bytes:
            return [f"uint8_t *codes = (uint8_t *)({self._behind});"]
        return [f"{self.ctype} *column = {self._column};"]

    def copy(self, place: str, count: str) -> list[str]:
        """Codes that lie side by side."""
        if self.by_bytes:
            return [f"codes = copied(codes, x0 + {place}, {count});"]
        if self.wide:
            return [f"memcpy(column, x0 + {place}, 2 * (size_t)({count}));", f"column += {count};"]
        return [f"widened(x0 + {place}, column, {count}, {self.pixels});", f"column += {self._step} * ({count});"]

    def fill(self, code: int, count: str) -> list[str]:
        """The same code again and again."""
        if self.by_bytes:
            return [f"codes = filled_bytes(codes, {number(code)}, {count});"]
        if self.wide:
            return [f"filled_wide(column, {number(code)}, {count});", f"column += {count};"]
        return [f"filled(column, {number(code)}, {count}, {self.pixels});", f"column += {self._step} * ({count});"]

    def end(self) -> list[str]:
        """Pads the column."""
        more, small = self.depth - self.fan_in, self.operation.small
        if not self.by_bytes:
            return self.fill(0, number(more))[:1] if more or small else []
        lines = [f"memset(codes, 0, (size_t)({number(more)}));"] if more or small else []
        start = f"(const uint8_t *)({self._behind})"
        return [*lines, f"widened({start}, {self._column}, {number(self.depth)}, {self.pixels});"]

    @property
    def _behind(self) -> str:
        """Where the columns end."""
        if not self.by_vectors:
            return f"columns + {number(self.pixels * self.depth)}"
        return f"columns + {self.together} * PADDED({self.depth})"

    @property
    def _column(self) -> str:
        return (
            f"columns + {number(self.depth)} * ready"
            if self.wide
            else f"columns + COLUMN({number(self.depth)}) * ready"
        )

    @property
    def _step(self) -> str:
        """From one code of a column to the next, of each four."""
        return f"STEP({self.pixels})"
