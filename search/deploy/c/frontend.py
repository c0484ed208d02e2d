"""The front end of sound in C: network_read from int16 samples to the codes of the input, frame by frame.

Its steps and formulas are those of `search.integer.frontend`, in the same order. It is C99 without floating point, a
library or a heap. The tables lie beside it in network.c and not in weights.c, so that a linker that removes unused
functions removes them too where a program reads no sound.
"""

from collections.abc import Sequence
from textwrap import fill, indent

import numpy as np

from search.deploy.c.layout import Stored
from search.integer.frontend import IMAGE, MFCC, FrontEnd
from search.integer.frontend_tables import dct, quarter, window
from search.integer.graph import Array

WIDTH = 106
CELL_BYTES = 8

CELLS = """\
/* What network_read works in. First a number of the transform, then the power of a frequency. */
typedef union {
    struct {
        int32_t re;
        int32_t im;
    } z;
    uint64_t power;
} ReadCell;

static ReadCell read_cells[%(middle)d + 1];

typedef char network_shifts_wide_numbers_down[((int64_t)-3 >> 1) == -2 ? 1 : -1];

static int32_t read_shifted(int64_t value, int32_t bits)
{
    return (int32_t)((value + ((int64_t)1 << (bits - 1))) >> bits);
}
"""
SPECTRUM = """\
/* Samples to powers: a window, a transform of half as many complex numbers, and what the real ones make of it. */
static void read_spectrum(const int16_t *samples)
{
%(window)s
    /* cos(2 pi k / %(points)d) * 2^30 of a quarter of a turn. */
%(quarter)s
    ReadCell *const cells = read_cells;
    int32_t place = 0;
    for (int32_t i = 0; i < %(middle)d; ++i) {
        const int32_t n = 2 * i;
        cells[place].z.re = n < %(frame)d ? read_shifted((int32_t)samples[n] * hann[n], 11) : 0;
        cells[place].z.im = n + 1 < %(frame)d ? read_shifted((int32_t)samples[n + 1] * hann[n + 1], 11) : 0;
        int32_t bit = %(middle)d >> 1; /* the next number, its bits in reverse */
        while (place & bit) {
            place ^= bit;
            bit >>= 1;
        }
        place |= bit;
    }
    for (int32_t half = 1; half < %(middle)d; half *= 2) {
        for (int32_t k = 0; k < half; ++k) {
            const int32_t at = k * (%(middle)d / half);
            const int64_t c = at <= %(fourth)d ? quarter[at] : -quarter[%(middle)d - at];
            const int64_t s = at <= %(fourth)d ? quarter[%(fourth)d - at] : quarter[at - %(fourth)d];
            for (int32_t i = k; i < %(middle)d; i += 2 * half) {
                ReadCell *const a = &cells[i], *const b = &cells[i + half];
                const int32_t re = read_shifted(c * b->z.re + s * b->z.im, 30);
                const int32_t im = read_shifted(c * b->z.im - s * b->z.re, 30);
                b->z.re = a->z.re - re;
                b->z.im = a->z.im - im;
                a->z.re += re;
                a->z.im += im;
            }
        }
    }
    cells[%(middle)d] = cells[0];
    for (int32_t k = 0; k <= %(fourth)d; ++k) {
        ReadCell *const low = &cells[k], *const high = &cells[%(middle)d - k];
        const int64_t c = quarter[k], s = quarter[%(fourth)d - k];
        const int64_t real = low->z.re - high->z.re, imaginary = low->z.im + high->z.im;
        const int64_t re = (int64_t)(low->z.re + high->z.re) * (1 << 30);
        const int64_t im = (int64_t)(low->z.im - high->z.im) * (1 << 30);
        const int64_t across = c * imaginary - s * real, along = c * real + s * imaginary;
        const int64_t low_re = read_shifted(re + across, 31), low_im = read_shifted(im - along, 31);
        const int64_t high_re = read_shifted(re - across, 31), high_im = read_shifted(-im - along, 31);
        low->power = (uint64_t)(low_re * low_re + low_im * low_im + 128) >> 8;
        high->power = (uint64_t)(high_re * high_re + high_im * high_im + 128) >> 8;
    }
}
"""
LOG2 = """\
/* log2 in units of 2^-9, of 0 as of 1. */
static int32_t read_log2(uint64_t sum)
{
    int32_t log = 63;
    sum += sum == 0;
    for (int32_t bits = 32; bits > 0; bits >>= 1) {
        if (sum >> (64 - bits) == 0) {
            sum <<= bits;
            log -= bits;
        }
    }
    uint32_t mantissa = (uint32_t)(sum >> 32);
    for (int32_t i = 0; i < 10; ++i) {
        const uint64_t square = (uint64_t)mantissa * mantissa;
        const int32_t bit = (int32_t)(square >> 63);
        mantissa = (uint32_t)(square >> (31 + bit));
        log = 2 * log + bit;
    }
    return (log + 1) >> 1;
}
"""
CODE = """\
static %(ctype)s read_code(int32_t feature, int32_t row)
{
%(tables)s
    int32_t code = (feature - %(offset)s + ((int32_t)1 << %(shift)s >> 1)) >> %(shift)s;
    code = code < 0 ? 0 : code > 255 ? 255 : code;
    return %(value)s;
}
"""
READ = """\
void network_read(const network_raw *raw, %(ctype)s *in)
{
%(tables)s
    for (int32_t frame = 0; frame < %(frames)d; ++frame) {
        const uint16_t *weight = weights;
%(levels)s
        read_spectrum(raw + frame * %(hop)d);
        for (int32_t bin = 0; bin < %(bins)d; ++bin) {
            const ReadCell *const first = &read_cells[start[bin]];
            uint64_t sum = 0;
            for (int32_t i = 0; i < count[bin]; ++i)
                sum += first[i].power * *weight++;
            %(level)s;
        }
%(transform)s
    }
}
"""
TRANSFORM = """\
        for (int32_t row = 0; row < %(rows)d; ++row) {
            int64_t sum = 0;
            for (int32_t bin = 0; bin < %(bins)d; ++bin)
                sum += (int64_t)levels[bin] * dct[row * %(bins)d + bin];
            in[%(place)s] = read_code(read_shifted(sum, 15), row);
        }"""
ABOUT = """\
/* Sound to the codes of the input: {samples} samples of one channel, {rate} a second, as in training. It is not
   reentrant. It works in NETWORK_READ_BYTES of static memory beside its stack, and its tables take
   NETWORK_READ_CONSTANTS_BYTES of flash. NETWORK_ARENA_BYTES and weights.c have neither. A program that never calls it
   needs neither, where its linker leaves out what is unused. */
#define NETWORK_READ_BYTES {ram}
#define NETWORK_READ_CONSTANTS_BYTES {flash}"""


def sound_reader(frontend: FrontEnd, x: Stored, table: Array | None) -> str:
    """network_read and its functions.

    Args:
        x: the input.
        table: (rows or 1, 256): the code of each feature in each row, or alike in all; None: the feature itself.
    """
    sizes = {"middle": frontend.points // 2, "fourth": frontend.points // 4, "points": frontend.points}
    spectrum = SPECTRUM % {
        **sizes,
        "frame": frontend.frame,
        "window": _table("int16_t", "hann", window(frontend.frame)),
        "quarter": _table("int32_t", "quarter", quarter(frontend.points)),
    }
    return "\n".join([CELLS % sizes, spectrum, LOG2, _code(frontend, x, table), _read(frontend, x)])


def about_sound(frontend: FrontEnd) -> str:
    """Of network_read, for network.h."""
    cells = (frontend.points // 2 + 1) * CELL_BYTES
    return ABOUT.format(samples=frontend.samples, rate=frontend.rate, ram=cells, flash=_flash(frontend))


def _flash(frontend: FrontEnd) -> int:
    filters, bins = frontend.filters, frontend.bins
    tables = [window(frontend.frame), quarter(frontend.points), filters.weights]
    if frontend.kind == MFCC:
        tables.append(dct(frontend.coefficients, bins))
    return sum(each.nbytes for each in tables) + 4 * bins


def _code(frontend: FrontEnd, x: Stored, table: Array | None) -> str:
    tables, used = [], {}
    for name, values in (("offset", frontend.offset), ("shift", frontend.shift)):
        alike = len({*values}) == 1
        used[name] = f"({values[0]})" if alike else f"{name}[row]"
        if not alike:
            tables.append(_table("int32_t" if name == "offset" else "uint8_t", name, values))
    value = f"({x.ctype})code"
    if table is not None:
        tables.append(_table(x.ctype, "codes", table.reshape(-1)))
        value = "codes[code]" if len(table) == 1 else "codes[256 * row + code]"
    if all("row" not in text for text in (*used.values(), value)):
        tables.append("    (void)row;")
    return CODE % {"ctype": x.ctype, "tables": "\n".join(tables), "value": value, **used}


def _read(frontend: FrontEnd, x: Stored) -> str:
    steps = x.strides[1:] if frontend.layout == IMAGE else x.strides
    filters, mfcc = frontend.filters, frontend.kind == MFCC
    tables = [
        _table("uint16_t", "start", filters.start),
        _table("uint16_t", "count", filters.count),
        _table("uint16_t", "weights", filters.weights),
    ]
    row, bin_ = (f"{name} * {steps[0]} + frame * {steps[1]}" for name in ("row", "bin"))
    if mfcc:
        tables.append(_table("int16_t", "dct", dct(frontend.coefficients, frontend.bins).reshape(-1)))
    return READ % {
        "ctype": x.ctype,
        "tables": "\n".join(tables),
        "frames": frontend.frames,
        "hop": frontend.hop,
        "bins": frontend.bins,
        "levels": f"        int32_t levels[{frontend.bins}];" if mfcc else "",
        "level": "levels[bin] = read_log2(sum)" if mfcc else f"in[{bin_}] = read_code(read_log2(sum), bin)",
        "transform": TRANSFORM % {"rows": frontend.rows, "bins": frontend.bins, "place": row} if mfcc else "",
    }


def _table(ctype: str, name: str, values: Sequence[int] | Array) -> str:
    """A table of a function's own."""
    numbers = indent(fill(", ".join(str(int(each)) for each in np.asarray(values)), WIDTH), "        ")
    return f"    static const {ctype} {name}[{len(values)}] = {{\n{numbers}\n    }};"
