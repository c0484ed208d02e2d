"""The kernel that all operators with weights share: columns of codes times rows of weights."""

from collections.abc import Sequence
from dataclasses import dataclass

from search.deploy.c.columns import Columns
from search.deploy.c.finish import Finish
from search.deploy.c.interleaved import by_bytes, interleaved_size
from search.deploy.c.operation import Operation
from search.deploy.c.source import PRODUCTS, block, literal
from search.deploy.c.vectors import CHANNEL, by_vectors
from search.deploy.c.weights import padded_depth
from search.deploy.c.windows import Windows

BEGIN = ("const Column *next = columns;", "int32_t at = 0, left = pixels;")
PIXELS = 4  # that meet two channels together: fewest instructions on a Cortex-M4, of 2 to 6


@dataclass(frozen=True)
class Kernel:
    """Sums of products of columns and rows of weights.

    Attributes:
        windows: what takes the place of columns where the processor multiplies bytes.
        channels: of a call, at most.
        step: elements of the output from one channel to the next.
        apart: whether the channels of some rows do not lie side by side, so that a table numbers them.
    """

    operation: Operation
    finish: Finish
    columns: Columns
    windows: Windows
    channels: int
    step: int = 1
    apart: bool = False

    @property
    def windowed(self) -> bool:
        """Whether there is a function for processors that multiply bytes."""
        return not self.operation.small and not self.columns.wide

    def interleaved(self, count: int) -> str:
        """Words that some channels take for that function, or "" where there is none."""
        return interleaved_size(count, self.windows.words) if self.windowed else ""

    def function(self, bits: int) -> str:
        """The function for rows of 2, 4 or 8 bits: columns, their number, rows, the output of the first column, its
        elements from one column to the next, and what finishes sums."""
        small, vectors = self.operation.small, list[str]()
        plain, pairs = self._plain(bits), [] if self.columns.wide else self._by_pairs(bits)
        if self.columns.by_vectors:
            vectors = ["#elif NETWORK_VECTORS", *by_vectors(bits, self.columns, self.finish, self._vector_place)]
        ways = ["#if NETWORK_DSP", *pairs, *vectors, "#else", *plain, "#endif"]
        lines = [*self._begin, *(plain if self.columns.wide else ways)]
        if small:
            return self._small(f"{'products' if self.columns.pixels > 1 else 'single'}_{bits}", lines)
        return self._fast(f"products_{bits}", lines, "!NETWORK_BYTES" if self.windowed else "")

    def by_windows(self, bits: int) -> str:
        """The same where the processor multiplies bytes, of windows in the place of columns."""
        lines = by_bytes(bits, self.columns.fan_in, self.windows, self.finish, self._vector_place, self.channels)
        return self._fast(f"windows_{bits}", [*self._begin, *lines], "NETWORK_BYTES")

    @property
    def _begin(self) -> list[str]:
        first = f"{self.step} * rows->first" if self.step > 1 else "rows->first"
        return [f"y += {first};"] if self.operation.small or not self.apart else []

    @property
    def _vector_place(self) -> str:
        """Where the output of a channel lies that is one of many."""
        return self._channel(CHANNEL) if self.apart or self.step > 1 else CHANNEL

    def _fast(self, name: str, lines: Sequence[str], only: str) -> str:
        parameters = [
            f"const {self.columns.ctype} *columns",
            "int32_t pixels",
            "const Rows *rows",
            f"{self.operation.output.ctype} *restrict y",
            "int32_t stride",
            *self.finish.parameters,
        ]
        return self.operation.source.function(name, ", ".join(parameters), "\n".join(lines), "KERNEL void", only)

    def _small(self, name: str, lines: Sequence[str]) -> str:
        """The function that all layers share, whose parameters are those of all kernels."""
        kind = self.operation.output.ctype
        given = [f"const {self.columns.ctype} *columns = given;", f"{kind} *restrict y = made;"]
        text = literal("\n".join([*given, *lines]))
        return self.operation.source.function(name, PRODUCTS.replace("struct ", ""), text, "KERNEL void")

    def _plain(self, bits: int) -> list[str]:
        """One product after another."""
        sums = [
            f"const {self.columns.ctype} *x = columns + {self._apart} * p;",
            "int32_t sum = rows->bias[c];",
            *_products(bits, self._depth(bits)),
            self._finished("p * stride", self._channel("c"), "sum", ("rows->multiplier[c]", "rows->shift[c]", "")),
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
        if self.operation.small and fields > 2:  # in a loop, which is slower by a tenth
            each = [f"const uint32_t f{c}0 = (w{c} << field) & {_mask(bits):#x}u;" for c in range(channels)]
            each += [*self._multiplied(names, 0, 0), f"x += {group};"]
            inner += block(f"for (int32_t field = {8 - bits}; field >= 0; field -= {bits})", each)
        else:
            for field in range(fields):
                inner += [f"const uint32_t f{c}{field} = {_field(f'w{c}', bits, field)};" for c in range(channels)]
                inner += self._multiplied(names, field, group * field)
            inner.append(f"x += {group * fields};")
        lines += block("for (const uint8_t *w = row; w < row + step; w += 4)", inner)
        for c in range(channels):
            lines += [
                f"const int32_t k{c} = {self._channel(f'c + {c}')};",
                f"const int16_t m{c} = rows->multiplier[c + {c}];",
                f"const uint8_t h{c} = rows->shift[c + {c}];",
            ]
            rounding = self.finish.rounding(f"h{c}")
            lines += [f"const int32_t r{c} = {rounding};"] if rounding else []
            constants = f"m{c}", f"h{c}", f"r{c}"
            ended = [self._finished(f"at + {p} * stride", f"k{c}", names[c][p], constants) for p in range(pixels)]
            if self.operation.small and pixels == PIXELS:  # where most sums end
                plain = [f"const int32_t r{c} = rounding(end->zero, h{c}, 16), raised = end->raised;"]
                plain += [
                    self.finish.plain(f"y[at + {p} * stride + k{c}]", names[c][p], *constants) for p in range(pixels)
                ]
                lines += [*block(f"if ({self.finish.is_plain(f'h{c}')})", plain), *block("else", ended)]
            else:
                lines += ended
        return [*lines, f"next += {4 * pixels};", f"at += {pixels} * stride;"]

    def _multiplied(self, names: Sequence[Sequence[str]], field: int, first: int) -> list[str]:
        """Four codes of some rows times those of some columns, from x + first on."""
        lines = []
        for half, codes in enumerate(("even_codes", "odd_codes")):
            lines += [f"const uint32_t a{c}{field}{half} = {codes}(f{c}{field});" for c in range(len(names))]
            for p in range(len(names[0])):
                two = f"x{p}{field}{half}"
                lines.append(f"const uint32_t {two} = word(x + {first + 4 * p + 2 * half});")
                lines += [
                    f"{own[p]} = __smlad((int16x2_t){two}, (int16x2_t)a{c}{field}{half}, {own[p]});"
                    for c, own in enumerate(names)
                ]
        return lines

    def _channel(self, row: str) -> str:
        """Where the output of a row lies, behind that of the first."""
        place = f"rows->places[{row}]" if self.apart else row
        if self.operation.small:
            place = f"(rows->places != NULL ? rows->places[{row}] : {row})"
        return place if self.step == 1 else f"{self.step} * ({place})"

    def _finished(self, pixel: str, place: str, total: str, constants: tuple[str, str, str]) -> str:
        """Args: constants: the multiplier and the shift of the channel, and what rounds."""
        return self.finish.line(f"y[{pixel} + {place}]", total, *constants)


def _field(word: str, bits: int, field: int) -> str:
    """The codes of a field of four bytes, in their highest bits."""
    if bits == 8:
        return word
    shift = 8 - bits * (field + 1)
    return f"({word} << {shift}) & {_mask(bits):#x}u" if shift else f"{word} & {_mask(bits):#x}u"


def _mask(bits: int) -> int:
    """The highest bits of four bytes."""
    return 0x01010101 * (((1 << bits) - 1) << (8 - bits))


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
