"""Small functions of the generated C, which are written where something calls them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Helper:
    """Text of C, and the helpers that it calls."""

    text: str
    needs: tuple[str, ...] = ()


HELPERS = {
    "clipped": Helper("""\
static inline int32_t clipped(int32_t value, int32_t low, int32_t high)
{
    return value < low ? low : value > high ? high : value;
}
"""),
    "clipped_wide": Helper("""\
static inline int32_t clipped_wide(int64_t value, int32_t low, int32_t high)
{
    return value < low ? low : value > high ? high : (int32_t)value;
}
"""),
    "scaled": Helper(
        """\
/* sum * multiplier / 2^shift, rounded half up, for shifts of 17 to 46: the product's lower 16 bits decide nothing. */
static inline int32_t scaled(int32_t sum, int16_t multiplier, uint8_t shift)
{
    return (multiplied_high(sum, multiplier) + (INT32_C(1) << (shift - 17))) >> (shift - 16);
}
""",
        ("multiplied_high",),
    ),
    "multiplied_high": Helper("""\
/* floor(sum * multiplier / 2^16) */
static inline int32_t multiplied_high(int32_t sum, int16_t multiplier)
{
#if NETWORK_DSP
    return __smulwb(sum, multiplier);
#else
    return (int32_t)(((int64_t)sum * multiplier) >> 16);
#endif
}
"""),
    "scaled_wide": Helper("""\
/* product / 2^shift, rounded half up, for shifts of 1 to 62 */
static inline int64_t scaled_wide(int64_t product, uint8_t shift)
{
    return (product + (INT64_C(1) << (shift - 1))) >> shift;
}
"""),
    "widened": Helper("""\
/* Codes of 8 bits to 16, a multiple of four of them. Multiply-adds of pairs want the order 0, 2, 1, 3 of each four. */
static inline void widened(const uint8_t *from, int16_t *to, int32_t count)
{
#if NETWORK_DSP
    for (int32_t i = 0; i < count; i += 4) {
        uint32_t four;
        memcpy(&four, from + i, 4);
        const uint32_t even = __uxtb16(four), odd = __uxtb16(four >> 8);
        memcpy(to + i, &even, 4);
        memcpy(to + i + 2, &odd, 4);
    }
#else
    for (int32_t i = 0; i < count; ++i)
        to[i] = from[i];
#endif
}
"""),
    "filled_codes": Helper("""\
static inline void filled_codes(uint8_t *to, uint8_t value, int32_t count)
{
    for (int32_t i = 0; i < count; ++i)
        to[i] = value;
}
"""),
    "unpacked": Helper("""\
/* Rows of codes of 1 to 8 bits, little-endian, each from a byte on, to bytes: (taps, channels). Of one bit 1 is -1. */
static inline void unpacked(const uint8_t *row, const uint8_t *widths, int8_t *to, int32_t channels, int32_t taps)
{
    for (int32_t c = 0; c < channels; ++c) {
        const int32_t width = widths[c];
        for (int32_t t = 0; t < taps; ++t) {
            const int32_t bit = t * width, over = (bit & 7) + width > 8 ? 1 : 0;
            const int32_t both = row[bit >> 3] | (over != 0 ? row[(bit >> 3) + 1] << 8 : 0);
            const int32_t code = (both >> (bit & 7)) & ((1 << width) - 1);
            const int32_t negative = code >> (width - 1);
            to[t * channels + c] = (int8_t)(width == 1 ? 1 - 2 * code : code - (negative << width));
        }
        row += (taps * width + 7) / 8;
    }
}
"""),
    "filled": Helper("""\
static inline void filled(int16_t *to, int16_t value, int32_t count)
{
    for (int32_t i = 0; i < count; ++i)
        to[i] = value;
}
"""),
    "filled_wide": Helper("""\
static inline void filled_wide(uint16_t *to, uint16_t value, int32_t count)
{
    for (int32_t i = 0; i < count; ++i)
        to[i] = value;
}
"""),
    "root": Helper("""\
/* The root of a number of 32 bits, rounded down. */
static inline uint32_t root(uint32_t value)
{
    uint32_t found = 0;
    for (uint32_t bit = UINT32_C(1) << 30; bit != 0; bit >>= 2) {
        const uint32_t tried = found + bit;
        found >>= 1;
        if (value >= tried) {
            value -= tried;
            found += bit;
        }
    }
    return found;
}
"""),
    "inverse_root": Helper(
        """\
/* 2^31 / sqrt(w), w brought to 31 or 32 bits by an even shift, and half of that shift: docs/methods.md, section 5. */
static inline uint32_t inverse_root(uint64_t w, int32_t *half)
{
    int32_t bits = 0;
    for (uint64_t rest = w; rest != 0; rest >>= 1)
        ++bits;
    *half = bits >= 31 ? (bits - 31) / 2 : -((32 - bits) / 2);
    return UINT32_C(2147483648) / root((uint32_t)(*half > 0 ? w >> 2 * *half : w << -2 * *half));
}
""",
        ("root",),
    ),
}
