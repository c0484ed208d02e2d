"""How a sum becomes a code: requantized, moved to the zero point, clipped, and looked up where an activation is.

A product of a sum and a multiplier, the half that rounds it and the zero point are added up and shifted at once. That
takes 32 bits where all of it is small, or where shifts are 17 or more: then a product's lower 16 bits decide nothing.
Where small code is wanted, a function that all layers share decides it for each sum.
"""

from search.deploy.c.operation import Operation
from search.deploy.c.source import block, number
from search.integer.graph import Array

DROPPED = 16  # bits of a product that decide nothing
LARGEST = 2**31 - 1
HALF = 2**30  # what 16 bits less of a sum of 32 bits times a multiplier of 16 do not exceed
NARROW, FAST, WIDE = "scaled_narrow", "scaled", "scaled_wide"
SHARED = "ended"  # one function for all layers, where small code is wanted


class Finish:
    """The last lines of an operator.

    Attributes:
        parameters, arguments: that the function takes besides multipliers and shifts.
    """

    def __init__(self, operation: Operation, shifts: Array, bound: int = LARGEST, raises: bool = False) -> None:
        """A way to finish the sums of an operator.

        Args:
            shifts: of all channels.
            bound: what the magnitude of no sum exceeds.
            raises: whether shifts are stored with `raised` added, so that more of them are 17 or more.
        """
        self.raised = 0
        self._operation, node = operation, operation.node
        self._low, self._high = node.attributes["clip"]
        self._table = "table" in node.constants
        self._zero: int = node.attributes["zero_point"]
        if operation.small:
            table = operation.table("table") if self._table else "NULL"
            plain = not self._table and (self._low, self._high) == (0, 255) and self._bits == 8
            fast, more = self._largest_fast(), max(0, DROPPED + 1 - int(shifts.min()))
            if raises and bound << more <= LARGEST and int(shifts.max()) + more <= fast:
                self.raised = more
            fields = [self._zero, self._low, self._high, fast, fast if plain else 0, self.raised, table]
            self._how, self.parameters = SHARED, ["const End *end"]
            self.arguments: tuple[str, ...] = (operation.source.end(f"{node.name}_end", fields),)
            return
        largest = max(map(abs, operation.constant("multiplier").tolist()))
        narrow = bound * largest + self._rounded(int(shifts.max())) <= LARGEST
        fast = int(shifts.min()) > DROPPED and HALF + self._rounded(int(shifts.max()) - DROPPED) <= LARGEST
        fast = fast and bound <= LARGEST
        each = {NARROW: narrow, FAST: fast, WIDE: True}
        self._how = next(how for how, fits in each.items() if fits)
        self.parameters, arguments = ["const int32_t zero"], [str(self._zero)]
        if self._table:
            self.parameters.append(f"const {operation.output.ctype} *table")
            arguments.append(operation.table("table"))
        self.arguments = tuple(arguments)

    def rounding(self, shift: str) -> str:
        """An expression of what `line` adds, which is the same for all sums of a channel; "" where that is nothing."""
        if self._how in (WIDE, SHARED):
            return ""
        return f"rounding(zero, {shift}, {0 if self._how == NARROW else DROPPED})"

    def line(self, target: str, total: str, multiplier: str, shift: str, rounding: str = "") -> str:
        """A line that stores the code of a sum, an int32_t."""
        if self._how == SHARED:
            return self._shared(target, f"ended_{self._bits}({total}, {multiplier}, {shift}, end)")
        if self._how == WIDE:
            return self._wide(target, f"(int64_t)({total}) * {multiplier}", shift)
        rounded = rounding or self.rounding(shift)
        return self._stored(target, f"{self._how}({total}, {multiplier}, {rounded}, {shift})")

    def lanes(self, target: str, total: str, multiplier: str, shift: str, rounded: str) -> list[str]:
        """Lines that do what `line` does in each lane of vectors, and store what becomes of that.

        Args:
            target: a pointer to codes that lie side by side.
            total: the sums; multiplier, shift, rounded: pointers to numbers of 32 bits.
        """
        if self._how == WIDE:
            line = self.line(f"({target})[c]", "total[c]", f"({multiplier})[c]", f"({shift})[c]")
            start = ["int32_t total[LANES] NETWORK_ALIGNED;", f"lanes_to(total, {total});"]
            return [*start, *block("for (int32_t c = 0; c < LANES; ++c)", [line])]
        ends = f"lanes_at({multiplier}), lanes_at({rounded}), lanes_at({shift})"
        codes = f"clipped_lanes({self._how}_lanes({total}, {ends}), {self._low}, {self._high})"
        if not self._table:
            return [f"lanes_to_{self._bits}({target}, {codes});"]
        line = f"({target})[c] = table[code[c]{_less(self._low)}];"
        start = ["int32_t code[LANES] NETWORK_ALIGNED;", f"lanes_to(code, {codes});"]
        return [*start, *block("for (int32_t c = 0; c < LANES; ++c)", [line])]

    def plain(self, target: str, total: str, multiplier: str, shift: str, rounding: str) -> str:
        """A line that stores the code of a sum of which `is_plain` holds."""
        scaled = f"scaled({total} * (1 << raised), {multiplier}, {rounding}, {shift})"
        return f"{target} = ({self.ctype})SATURATED({scaled}, 8);"

    def is_plain(self, shift: str) -> str:
        """Where small code is wanted: a condition on a channel, under which `plain` ends its sums."""
        return f"{shift} > {DROPPED} && {shift} <= end->plain"

    def of_product(self, target: str, product: str, shift: int, bound: int) -> str:
        """The same, of a sum that is multiplied already.

        Args:
            product: an int32_t, in which an int64_t is written for {wide}.
            bound: what its magnitude does not exceed.
        """
        if self._how == SHARED:
            return self._shared(
                target, f"ended_wide_{self._bits}({product.format(wide='(int64_t)')}, {number(shift)}, end)"
            )
        if bound + self._rounded(shift) <= LARGEST:
            return self._stored(
                target, f"({product.format(wide='')} + rounding(zero, {number(shift)}, 0)) >> {number(shift)}"
            )
        return self._wide(target, product.format(wide="(int64_t)"), number(shift))

    @property
    def ctype(self) -> str:
        """Of a code."""
        return self._operation.output.ctype

    @property
    def _bits(self) -> int:
        return 8 * self._operation.output.info.dtype.itemsize

    def _shared(self, target: str, code: str) -> str:
        return f"{target} = ({self.ctype}){code};"

    def _largest_fast(self) -> int:
        """The largest shift at which 32 bits hold what FAST adds up."""
        return max(shift for shift in range(DROPPED, 63) if HALF + self._rounded(shift - DROPPED) <= LARGEST)

    def _rounded(self, bits: int) -> int:
        """What rounding adds, at most."""
        return abs(2 * self._zero + 1) << max(0, bits - 1)

    def _wide(self, target: str, product: str, shift: str) -> str:
        scaled = f"{WIDE}({product}, {shift}) + zero"
        return self._looked_up(target, f"clipped_wide({scaled}, {self._low}, {self._high})")

    def _stored(self, target: str, scaled: str) -> str:
        if self._low == 0 and (self._high + 1).bit_count() == 1 and self._high:
            return self._looked_up(target, f"SATURATED({scaled}, {self._high.bit_length()})")
        return self._looked_up(target, f"clipped({scaled}, {self._low}, {self._high})")

    def _looked_up(self, target: str, clipped: str) -> str:
        if self._table:
            return f"{target} = table[{clipped}{_less(self._low)}];"
        return f"{target} = ({self.ctype}){clipped};"


def _less(low: int) -> str:
    return "" if not low else f" - {low}" if low > 0 else f" + {-low}"
