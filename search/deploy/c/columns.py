"""How codes of the input come into a column: one after another, widened to 16 bits, and padded with zeros."""

from dataclasses import dataclass

from search.deploy.c.operation import Operation


@dataclass(frozen=True)
class Columns:
    """Lines that fill columns.

    Attributes:
        fan_in: codes of a column.
        depth: the same, padded.
        run: how many codes are copied at once, or a part of that.
    """

    operation: Operation
    fan_in: int
    depth: int
    run: int

    @property
    def wide(self) -> bool:
        """Whether codes have more than 8 bits, so that they have 16 already."""
        return self.operation.inputs[0].info.bits > 8

    @property
    def ctype(self) -> str:
        return "uint16_t" if self.wide else "int16_t"

    @property
    def by_bytes(self) -> bool:
        """Whether a column is put together before it is widened, four codes at a time."""
        return not self.wide and self.run % 4 != 0

    def bytes(self, pixels: int) -> int:
        """Of the working memory."""
        return 2 * pixels * self.depth + (self.depth if self.by_bytes else 0)

    def begin(self, pixels: int) -> list[str]:
        """Of the column whose number is `ready`."""
        column = f"{self.ctype} *column = columns + {self.depth} * ready;"
        if not self.by_bytes:
            return [column]
        return [f"uint8_t *codes = (uint8_t *)(columns + {pixels * self.depth});"]

    def copy(self, place: str, count: str) -> list[str]:
        """Codes that lie side by side."""
        if self.by_bytes:
            return [f"memcpy(codes, x0 + {place}, (size_t)({count}));", f"codes += {count};"]
        if self.wide:
            return [f"memcpy(column, x0 + {place}, 2 * (size_t)({count}));", f"column += {count};"]
        return [f"widened(x0 + {place}, column, {count});", f"column += {count};"]

    def fill(self, code: int, count: str) -> list[str]:
        """The same code again and again."""
        if self.by_bytes:
            return [f"memset(codes, {code}, (size_t)({count}));", f"codes += {count};"]
        return [f"{self._filled}(column, {code}, {count});", f"column += {count};"]

    def end(self, pixels: int) -> list[str]:
        """Pads the column."""
        more = self.depth - self.fan_in
        if not self.by_bytes:
            return [f"{self._filled}(column, 0, {more});"] if more else []
        lines = [f"memset(codes, 0, {more});"] if more else []
        start = f"(const uint8_t *)(columns + {pixels * self.depth})"
        return [*lines, f"widened({start}, columns + {self.depth} * ready, {self.depth});"]

    @property
    def _filled(self) -> str:
        return "filled_wide" if self.wide else "filled"
