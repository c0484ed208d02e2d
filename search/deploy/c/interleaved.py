"""The kernel of operators with weights for processors that multiply bytes by bytes and add up four products at once.

Codes of weights are interleaved: those of as many channels as a vector has lanes lie together, four of each in turn. So
four codes of a window, in each lane, meet four of each channel, and no sum has to be collected from a vector. Windows
are taken together, so that no sum waits for the one before. Weights are brought into that order when they are needed
first, and stay so.
"""

from collections.abc import Sequence

from search.deploy.c.finish import Finish
from search.deploy.c.source import block
from search.deploy.c.vectors import CHANNEL, unpacked
from search.deploy.c.weights import padded_depth
from search.deploy.c.windows import WORD, Windows

TOGETHER = 8  # windows, at most
ENDS = 4  # numbers of a channel that end its sums, which lie before its weights: bias, multiplier, shift, rounding


def interleaved_size(count: int, words: int) -> str:
    """An expression of the words that all channels take, behind one that says whether they have been stored."""
    return f"LANES + ({count} + LANES - 1) / LANES * LANES * {ENDS + words}"


def by_bytes(bits: int, fan_in: int, windows: Windows, finish: Finish, place: str, channels: int) -> list[str]:
    """Lines that multiply windows by rows of 2, 4 or 8 bits.

    Args:
        fan_in: codes of a row.
        place: where the output of the channel `CHANNEL` lies, behind that of the first.
        channels: how many rows there are at most.
    """
    each = ENDS + windows.words
    tiles = block(
        f"for (int32_t p = 0; p < pixels; p += {_together(windows)})", _tile(windows, finish, place, channels)
    )
    ends = f"const int32_t *block = rows->interleaved + LANES + done * {each};"
    return [
        *_rows(bits, fan_in, windows, finish),
        *block("for (int32_t done = 0; done < rows->count; done += LANES)", [ends, *tiles]),
    ]


def _together(windows: Windows) -> int:
    """How many windows are taken together: all turns take as many, and the last begins where that is so."""
    return -(-windows.count // -(-windows.count // TOGETHER))


def _rows(bits: int, fan_in: int, windows: Windows, finish: Finish) -> list[str]:
    """Lines that bring rows into their order."""
    depth, kind = padded_depth(fan_in, bits), "int8_t" if bits == 8 else "uint8_t"
    runs, each = fan_in // windows.run, -(-windows.run // WORD) * WORD
    place = f"run * {each} + k"
    codes = block(f"for (int32_t k = 0; k < {windows.run}; ++k)", [f"{code_at(place)} = w[run * {windows.run} + k];"])
    lines = [
        f"const {kind} *row = (const {kind} *)rows->weights + from * {depth * bits // 8};",
        f"int8_t w[{depth}];",
        *unpacked(bits, depth),
        *block(f"for (int32_t run = 0; run < {runs}; ++run)", codes),
    ]
    constants = "rows->bias[from]", "rows->multiplier[from]", "rows->shift[from]"
    return interleaved("rows->interleaved", "rows->count", windows.words, finish, constants, lines)


def interleaved(
    memory: str,
    count: str,
    words: int,
    finish: Finish,
    constants: Sequence[str],
    row: Sequence[str],
    start: Sequence[str] = (),
) -> list[str]:
    """Lines that fill memory once with numbers that end sums, and with weights.

    Args:
        count: channels.
        words: of a row of weights.
        constants: the bias, the multiplier and the shift of the channel `from`.
        row: lines that store its weights, see `code_at`.
        start: lines before all.
    """
    ends = [*constants, finish.rounding(constants[-1]) or "0"]
    lines = [
        f"const int32_t from = c < {count} ? c : {count} - 1; /* lanes that are left over take any channel */",
        f"int32_t *ends = {memory} + LANES + c / LANES * LANES * {ENDS + words} + c % LANES;",
        f"int8_t *to = (int8_t *)(ends + {ENDS} * LANES);",
        *(f"ends[{place} * LANES] = {end};" for place, end in enumerate(ends)),
        *row,
    ]
    filled = block(f"for (int32_t c = 0; c < ({count} + LANES - 1) / LANES * LANES; ++c)", lines)
    return block(f"if ({memory}[0] == 0)", [f"{memory}[0] = 1;", *start, *filled])


def code_at(place: str) -> str:
    """Where a code of a row lies. Args: place: its number."""
    return f"to[4 * LANES * (({place}) / 4) + (({place}) & 3)]"


def _tile(windows: Windows, finish: Finish, place: str, channels: int) -> list[str]:
    """Some windows by a vector of channels."""
    together = _together(windows)
    last = f"p + {together} <= pixels ? p : pixels - {together}"
    step = ["const Lanes w0 = lanes_at(w);"]
    step += [
        f"s{window} = products(s{window}, four_codes(x + k + {window * windows.step}), w0);"
        for window in range(together)
    ]
    run = block(f"for (int32_t k = 0; k < {windows.run}; k += {WORD}, w += LANES)", step)
    return [
        f"const int32_t first = {last if together < windows.count else 'p'};",
        f"const int32_t *w = block + {ENDS} * LANES;",
        f"Lanes {', '.join(f's{window} = lanes_at(block)' for window in range(together))};",
        *windows.over_taps(lambda at: [f"const Column *x = columns + {windows.step} * first + {at};", *run]),
        f"const Lanes sums[{together}] = {{{', '.join(f's{window}' for window in range(together))}}};",
        "const int32_t left = rows->count - done, many = left < LANES ? left : LANES;",
        *block(f"for (int32_t i = 0; i < {together}; ++i)", _ended(finish, place, channels)),
    ]


def _ended(finish: Finish, place: str, channels: int) -> list[str]:
    """Of one window. Where there are fewer channels than lanes, compilers see that no whole vector is stored."""
    given = "sums[i]", "block + LANES", "block + 2 * LANES", "block + 3 * LANES"
    apart = [
        f"{finish.ctype} ended[LANES] NETWORK_ALIGNED;",
        *finish.lanes("ended", *given),
        *block("for (int32_t c = 0; c < many; ++c)", [f"out[{place}] = ended[c];"]),
    ]
    if place == CHANNEL:
        apart = [
            *block(f"if (LANES <= {channels} && many == LANES)", finish.lanes("out + done", *given)),
            *block("else", apart),
        ]
    return [f"{finish.ctype} *out = y + (first + i) * stride;", *apart]
