"""The kernel that all operators with weights share: columns of codes times rows of weights."""

from dataclasses import dataclass

from search.deploy.c.columns import Columns
from search.deploy.c.finish import Finish
from search.deploy.c.operation import Operation
from search.deploy.c.source import block

PIXELS = 4  # columns that meet the weights together


@dataclass(frozen=True)
class Kernel:
    """Sums of products of columns and rows of weights.

    Attributes:
        step: elements of the output from one channel to the next.
    """

    operation: Operation
    finish: Finish
    columns: Columns
    step: int = 1

    def function(self, bits: int) -> str:
        """The function for rows of 2, 4 or 8 bits: columns, their number, rows, the output of the first column, its
        elements from one column to the next, and what finishes sums."""
        lines = [f"const {self._row_type(bits)} *row = rows->weights;"]
        at = "rows->places[c]" if self.step == 1 else f"{self.step} * rows->places[c]"
        sums = [
            f"const {self.columns.ctype} *x = columns + {self.columns.depth} * p;",
            "int32_t sum = rows->bias[c];",
            *_products(bits, self.columns.depth),
            self.finish.line(f"y[p * stride + {at}]", "sum", "rows->multiplier[c]", "rows->shift[c]"),
        ]
        over_pixels = block("for (int32_t p = 0; p < pixels; ++p)", sums)
        lines += block(
            "for (int32_t c = 0; c < rows->count; ++c)", [*over_pixels, f"row += {self.columns.depth * bits // 8};"]
        )
        parameters = [
            f"const {self.columns.ctype} *columns",
            "int32_t pixels",
            "const Rows *rows",
            f"{self.operation.output.ctype} *y",
            "int32_t stride",
            *self.finish.parameters,
        ]
        return self.operation.source.function(f"products_{bits}", ", ".join(parameters), "\n".join(lines))

    @staticmethod
    def _row_type(bits: int) -> str:
        return "int8_t" if bits == 8 else "uint8_t"


def _products(bits: int, depth: int) -> list[str]:
    """sum += x * row, where a code of the row is in the highest bits of a byte; see search.deploy.c.weights."""
    if bits == 8:
        return block(f"for (int32_t k = 0; k < {depth}; ++k)", ["sum += x[k] * row[k];"])
    fields = 8 // bits
    mask = ((1 << bits) - 1) << (8 - bits)
    lines = []
    for field in range(fields):
        shift = 8 - bits * (field + 1)
        moved = f"row[4 * k + j] << {shift}" if shift else "row[4 * k + j]"
        lines.append(f"sum += x[{4 * fields} * k + {4 * field} + j] * (int8_t)(uint8_t)({moved} & {mask:#x});")
    inner = block("for (int32_t j = 0; j < 4; ++j)", lines)
    return block(f"for (int32_t k = 0; k < {depth // (4 * fields)}; ++k)", inner)
