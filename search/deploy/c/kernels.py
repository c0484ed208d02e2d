"""The kernel that all operators with weights share: columns of codes times rows of weights."""

from dataclasses import dataclass

from search.deploy.c.columns import Columns
from search.deploy.c.finish import Finish
from search.deploy.c.operation import Operation
from search.deploy.c.source import block
from search.deploy.c.weights import padded_depth

BEGIN = ("const Column *next = columns;", "int32_t at = 0, left = pixels;")
PIXELS = 4  # that meet two channels together: fewest instructions on a Cortex-M4, of 2 to 6


@dataclass(frozen=True)
class Kernel:
    """Sums of products of columns and rows of weights.

    Attributes:
        step: elements of the output from one channel to the next.
        apart: whether the channels of some rows do not lie side by side, so that a table numbers them.
    """

    operation: Operation
    finish: Finish
    columns: Columns
    step: int = 1
    apart: bool = False

    def function(self, bits: int) -> str:
        """The function for rows of 2, 4 or 8 bits: columns, their number, rows, the output of the first column, its
        elements from one column to the next, and what finishes sums."""
        begin = [] if self.apart else [f"y += {self.step} * rows->first;" if self.step > 1 else "y += rows->first;"]
        plain = [*begin, *self._plain(bits)]
        pairs = [] if self.columns.wide else [*begin, *self._by_pairs(bits)]
        lines = plain if self.columns.wide else ["#if NETWORK_DSP", *pairs, "#else", *plain, "#endif"]
        parameters = [
            f"const {self.columns.ctype} *columns",
            "int32_t pixels",
            "const Rows *rows",
            f"{self.operation.output.ctype} *restrict y",
            "int32_t stride",
            *self.finish.parameters,
        ]
        return self.operation.source.function(
            f"products_{bits}", ", ".join(parameters), "\n".join(lines), "KERNEL void"
        )

    def _plain(self, bits: int) -> list[str]:
        """One product after another."""
        sums = [
            f"const {self.columns.ctype} *x = columns + {self._apart} * p;",
            "int32_t sum = rows->bias[c];",
            *_products(bits, self._depth(bits)),
            self._finished("p * stride", "c", "sum", ("rows->multiplier[c]", "rows->shift[c]", "")),
        ]
        over_pixels = block("for (int32_t p = 0; p < pixels; ++p)", sums)
        lines = [f"const {'int8_t' if bits == 8 else 'uint8_t'} *row = rows->weights;"]
        each = [*over_pixels, f"row += {self._step(bits)};"]
        return [*lines, *block("for (int32_t c = 0; c < rows->count; ++c)", each)]

    def _by_pairs(self, bits: int) -> list[str]:
        """Two products at once, and two channels by several columns together, so that less is read."""
        lines = [f"const int32_t step = {self._step(bits)};", "const uint8_t *row = rows->weights;", "int32_t c = 0;"]
        for channels in (4, 2) if self.columns.pixels == 1 and bits == 8 else (2,):
            sums = list(BEGIN)
            if self.columns.pixels == PIXELS:
                sums += block(f"for (; left >= {PIXELS}; left -= {PIXELS})", self._block(bits, channels, PIXELS))
            sums += block("for (; left > 0; --left)", self._block(bits, channels, 1))
            sums.append(f"row += {channels} * step;")
            lines += block(f"for (; c + {channels} <= rows->count; c += {channels})", sums)
        last = [*BEGIN, *block("for (; left > 0; --left)", self._block(bits, 1, 1))]
        return [*lines, *block("if (c < rows->count)", last)]

    @property
    def _apart(self) -> str:
        """Codes from one column to the next, where they lie one behind another."""
        return "rows->column" if self.operation.small else str(self.columns.depth)

    def _depth(self, bits: int) -> str:
        """Codes of a row, which end where a word does; those of a column go on to where the longest rows end."""
        return "rows->depth" if self.operation.small else str(padded_depth(self.columns.fan_in, bits))

    def _step(self, bits: int) -> str:
        """Bytes of a row."""
        depth = padded_depth(self.columns.fan_in, bits)
        return f"rows->depth * {bits} / 8" if self.operation.small else str(depth * bits // 8)

    def _block(self, bits: int, channels: int, pixels: int) -> list[str]:
        """Sums of some channels, from c on, by some columns, from `next` on."""
        group = 4 * self.columns.pixels  # codes of all columns that lie together
        fields, names = 8 // bits, [[f"s{c}{p}" for p in range(pixels)] for c in range(channels)]
        lines = [f"int32_t {', '.join(f'{name} = rows->bias[c + {c}]' for name in names[c])};" for c in range(channels)]
        lines.append("const Column *x = next;")
        inner = [f"const uint32_t w{c} = word(w + {c} * step);" for c in range(channels)]
        for field in range(fields):
            for c in range(channels):
                inner.append(f"const uint32_t f{c}{field} = {_field(f'w{c}', bits, field)};")
            for half, codes in enumerate(("even_codes", "odd_codes")):
                for c in range(channels):
                    inner.append(f"const uint32_t a{c}{field}{half} = {codes}(f{c}{field});")
                for p in range(pixels):
                    two = f"x{p}{field}{half}"
                    inner.append(f"const uint32_t {two} = word(x + {group * field + 4 * p + 2 * half});")
                    inner += [
                        f"{names[c][p]} = __smlad((int16x2_t){two}, (int16x2_t)a{c}{field}{half}, {names[c][p]});"
                        for c in range(channels)
                    ]
        inner.append(f"x += {group * fields};")
        lines += block("for (const uint8_t *w = row; w < row + step; w += 4)", inner)
        for c in range(channels):
            lines += [
                f"const int16_t m{c} = rows->multiplier[c + {c}];",
                f"const uint8_t h{c} = rows->shift[c + {c}];",
            ]
            rounding = self.finish.rounding(f"h{c}")
            lines += [f"const int32_t r{c} = {rounding};"] if rounding else []
            lines += [
                self._finished(f"at + {p} * stride", f"c + {c}", names[c][p], (f"m{c}", f"h{c}", f"r{c}"))
                for p in range(pixels)
            ]
        return [*lines, f"next += {4 * pixels};", f"at += {pixels} * stride;"]

    def _finished(self, pixel: str, channel: str, total: str, constants: tuple[str, str, str]) -> str:
        """Args: constants: the multiplier and the shift of the channel, and what rounds."""
        places = f"rows->places[{channel}]" if self.apart else channel
        at = places if self.step == 1 else f"{self.step} * ({places})"
        return self.finish.line(f"y[{pixel} + {at}]", total, *constants)


def _field(word: str, bits: int, field: int) -> str:
    """The codes of a field of four bytes, in their highest bits."""
    if bits == 8:
        return word
    mask = 0x01010101 * (((1 << bits) - 1) << (8 - bits))
    shift = 8 - bits * (field + 1)
    return f"({word} << {shift}) & {mask:#x}u" if shift else f"{word} & {mask:#x}u"


def _products(bits: int, depth: str) -> list[str]:
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
    return block(f"for (int32_t k = 0; k < {depth} / {4 * fields}; ++k)", inner)
