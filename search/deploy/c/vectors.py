"""The kernel of operators with weights as compilers that have vectors want it, written in plain C.

Rows are padded to whole vectors, and codes of less than 8 bits unpacked, once for many columns. What makes sums and
what ends them are loops of their own, each of which takes vectors; a loop that does both takes none for its end. There
are many columns at once, or a vector would be read while the bytes of a column that it holds are still being stored.
"""

from search.deploy.c.columns import Columns
from search.deploy.c.finish import Finish
from search.deploy.c.source import block
from search.deploy.c.weights import padded_depth

CHANNELS = 32  # whose sums end together, at most
CODES = 1 << 14  # of their rows, at most: they stay in the nearest cache
TOGETHER = 4  # rows whose sums are made together, so that none of them waits for another
CHANNEL = "done + c"
OVER_CHANNELS = "for (int32_t c = 0; c < many; ++c)"


def by_vectors(bits: int, columns: Columns, finish: Finish, place: str) -> list[str]:
    """Lines that multiply columns by rows of 2, 4 or 8 bits.

    Args:
        place: where the output of the channel `CHANNEL` lies, behind that of the first.
    """
    depth = padded_depth(columns.fan_in, bits)
    many = min(CHANNELS, 1 << max(0, (CODES // depth).bit_length() - 1))
    kind, total, constants = columns.operation.output.ctype, "sums[c] + bias[c]", ("multiplier[c]", "shift[c]", "")
    if place == CHANNEL:
        ended = block(OVER_CHANNELS, [finish.line(f"y[p * stride + {CHANNEL}]", total, *constants)])
    else:  # a loop that scatters takes no vectors
        ended = block(OVER_CHANNELS, [finish.line("ended[c]", total, *constants)])
        ended += block(OVER_CHANNELS, [f"y[p * stride + {place}] = ended[c];"])
    sums = [f"const Column *x = columns + COLUMN({columns.depth}) * p;", "int32_t c = 0;"]
    sums += [line for rows in (TOGETHER, 1) for line in _sums(depth, rows)]
    each = [
        f"const int32_t left = rows->count - done, many = left < {many} ? left : {many};",
        "const int32_t *bias = rows->bias + done;",
        "const int16_t *multiplier = rows->multiplier + done;",
        "const uint8_t *shift = rows->shift + done;",
        *_rows(bits, depth),
        *block("for (int32_t p = 0; p < pixels; ++p)", [*sums, *ended]),
    ]
    return [
        f"int16_t padded[{many} * PADDED({depth})] NETWORK_ALIGNED;",
        f"int32_t sums[{many}] NETWORK_ALIGNED;",
        *([] if place == CHANNEL else [f"{kind} ended[{many}];"]),
        *block(f"for (int32_t done = 0; done < rows->count; done += {many})", each),
    ]


def _rows(bits: int, depth: int) -> list[str]:
    """Rows from `done` on, padded."""
    kind = "int8_t" if bits == 8 else "uint8_t"
    row = [
        f"const {kind} *row = (const {kind} *)rows->weights + (done + c) * {depth * bits // 8};",
        f"int16_t *w = padded + c * PADDED({depth});",
        *unpacked(bits, depth),
        *block(f"for (int32_t k = {depth}; k < PADDED({depth}); ++k)", ["w[k] = 0;"]),
    ]
    return block(OVER_CHANNELS, row)


def unpacked(bits: int, depth: int) -> list[str]:
    """A row of codes in the highest bits of bytes; see search.deploy.c.weights."""
    if bits == 8:
        return block(f"for (int32_t k = 0; k < {depth}; ++k)", ["w[k] = row[k];"])
    fields, mask = 8 // bits, ((1 << bits) - 1) << (8 - bits)
    shifts = [8 - bits * (field + 1) for field in range(fields)]
    lines = [
        f"w[{4 * fields} * k + {4 * field} + j] = (int8_t)(uint8_t)(row[4 * k + j] << {shift} & {mask:#x});"
        for field, shift in enumerate(shifts)
    ]
    inner = block("for (int32_t j = 0; j < 4; ++j)", lines)
    return block(f"for (int32_t k = 0; k < {depth // (4 * fields)}; ++k)", inner)


def _sums(depth: int, rows: int) -> list[str]:
    """Of some rows together, from c on."""
    lines = [
        f"const int16_t *w = padded + c * PADDED({depth});",
        f"int32_t {', '.join(f'sum{row} = 0' for row in range(rows))};",
        *block(
            f"for (int32_t k = 0; k < PADDED({depth}); ++k)",
            [f"sum{row} += x[k] * w[{row} * PADDED({depth}) + k];" for row in range(rows)],
        ),
        *(f"sums[c + {row}] = sum{row};" for row in range(rows)),
    ]
    return block(f"for (; c < many{f' / {rows} * {rows}' if rows > 1 else ''}; c += {rows})", lines)
