"""How a sum becomes a code: requantized, moved to the zero point, clipped, and looked up where an activation is."""

from search.deploy.c.operation import Operation
from search.integer.graph import Array

FAST = 17, 46  # shifts whose rounding does not overflow 32 bits once 16 of them are done
INT32_MAX = 2**31 - 1


class Finish:
    """The last lines of an operator.

    Attributes:
        parameters, arguments: that the function takes besides multipliers and shifts.
    """

    def __init__(self, operation: Operation, shifts: Array, wide: bool = False) -> None:
        """Args: wide: whether sums may have more than 32 bits."""
        self._operation, source = operation, operation.source
        node = operation.node
        self._low, self._high = node.attributes["clip"]
        self._table = "table" in node.constants
        zero = node.attributes["zero_point"]
        fast = shifts.min() >= FAST[0] and shifts.max() <= FAST[1]
        self.fast = not wide and fast and abs(zero) <= INT32_MAX >> 2
        self.parameters, arguments = ["const int32_t zero"], [str(zero)]
        if self._table:
            self.parameters.append(f"const {operation.output.ctype} *table")
            arguments.append(operation.table("table"))
        self.arguments = tuple(arguments)
        self._clip = source.helper("clipped" if self.fast else "clipped_wide")
        self._scaled = source.helper("scaled" if self.fast else "scaled_wide")

    def line(self, target: str, total: str, multiplier: str, shift: str) -> str:
        """A line that stores the code of a sum. The sum is an int32_t."""
        if self.fast:
            return self._stored(target, f"{self._scaled}({total}, {multiplier}, {shift}) + zero")
        return self._stored(target, f"{self._scaled}((int64_t)({total}) * {multiplier}, {shift}) + zero")

    def of_product(self, target: str, product: str, shift: str) -> str:
        """The same, of a sum of more than 32 bits that is multiplied already."""
        return self._stored(target, f"{self._scaled}({product}, {shift}) + zero")

    def _stored(self, target: str, value: str) -> str:
        clipped = f"{self._clip}({value}, {self._low}, {self._high})"
        if self._table:
            return f"{target} = table[{clipped}{_less(self._low)}];"
        return f"{target} = ({self._operation.output.ctype}){clipped};"


def _less(low: int) -> str:
    return "" if not low else f" - {low}" if low > 0 else f" + {-low}"
