"""How a sum becomes a code: requantized, moved to the zero point, clipped, and looked up where an activation is."""

from search.deploy.c.operation import Operation
from search.integer.graph import Array

LEAST = 17  # bits that a shift has where the lower 16 bits of a product decide nothing
ROUNDING_BITS = 29  # that the rounding may have, beside a product of 30 bits


class Finish:
    """The last lines of an operator.

    Attributes:
        fast: whether all is done in 32 bits.
        parameters, arguments: that the function takes besides multipliers and shifts.
    """

    def __init__(self, operation: Operation, shifts: Array, wide: bool = False) -> None:
        """Args: wide: whether sums may have more than 32 bits."""
        self._operation = operation
        node = operation.node
        self._low, self._high = node.attributes["clip"]
        self._table = "table" in node.constants
        zero = node.attributes["zero_point"]
        small = abs(2 * zero + 1) << max(0, int(shifts.max()) - LEAST) < 1 << ROUNDING_BITS
        self.fast = not wide and int(shifts.min()) >= LEAST and small
        self.parameters, arguments = ["const int32_t zero"], [str(zero)]
        if self._table:
            self.parameters.append(f"const {operation.output.ctype} *table")
            arguments.append(operation.table("table"))
        self.arguments = tuple(arguments)

    def rounding(self, shift: str) -> str:
        """An expression of what `line` adds, which is the same for all sums of a channel."""
        return f"rounding(zero, {shift})" if self.fast else "0"

    def line(self, target: str, total: str, multiplier: str, shift: str, rounding: str = "") -> str:
        """A line that stores the code of a sum, an int32_t."""
        if not self.fast:
            return self.of_product(target, f"(int64_t)({total}) * {multiplier}", shift)
        scaled = f"scaled({total}, {multiplier}, {rounding or self.rounding(shift)}, {shift})"
        if self._low == 0 and (self._high + 1).bit_count() == 1 and self._high:
            return self._stored(target, f"SATURATED({scaled}, {self._high.bit_length()})")
        return self._stored(target, f"clipped({scaled}, {self._low}, {self._high})")

    def of_product(self, target: str, product: str, shift: str) -> str:
        """The same, of a sum that is multiplied already, an int64_t."""
        scaled = f"scaled_wide({product}, {shift}) + zero"
        return self._stored(target, f"clipped_wide({scaled}, {self._low}, {self._high})")

    def _stored(self, target: str, clipped: str) -> str:
        if self._table:
            return f"{target} = table[{clipped}{_less(self._low)}];"
        return f"{target} = ({self._operation.output.ctype}){clipped};"


def _less(low: int) -> str:
    return "" if not low else f" - {low}" if low > 0 else f" + {-low}"
