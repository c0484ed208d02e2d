"""Small functions of the generated C, which are written where something names them. What one calls stands before it."""

from search.deploy.c.lanes import LANES

HELPERS = {
    "clipped": """\
HELPER int32_t clipped(int32_t value, int32_t low, int32_t high)
{
    return value < low ? low : value > high ? high : value;
}
""",
    "clipped_wide": """\
HELPER int32_t clipped_wide(int64_t value, int32_t low, int32_t high)
{
    return value < low ? low : value > high ? high : (int32_t)value;
}
""",
    "SATURATED": """\
/* Clipped to 0 .. 2^bits - 1. */
#if NETWORK_DSP
#define SATURATED(value, bits) ((int32_t)__usat(value, bits))
#else
#define SATURATED(value, bits) clipped(value, 0, (INT32_C(1) << (bits)) - 1)
#endif
""",
    "rounding": """\
/* What is added to a number so that a shift by shift - less rounds it half up, and moves it to the zero point. */
HELPER int32_t rounding(int32_t zero, int32_t shift, int32_t less)
{
    return (2 * zero + 1) * (INT32_C(1) << (shift - (less + 1)));
}
""",
    "scaled": """\
/* sum * multiplier / 2^shift + zero point. Shifts are 17 or more: the product's lower 16 bits decide nothing. */
HELPER int32_t scaled(int32_t sum, int32_t multiplier, int32_t rounded, int32_t shift)
{
#if NETWORK_DSP
    return __smlawb(sum, multiplier, rounded) >> (shift - 16);
#else
    return ((int32_t)(((int64_t)sum * multiplier) >> 16) + rounded) >> (shift - 16);
#endif
}
""",
    "scaled_narrow": """\
/* The same, of a sum whose product has no more than 31 bits. */
HELPER int32_t scaled_narrow(int32_t sum, int32_t multiplier, int32_t rounded, int32_t shift)
{
    return (sum * multiplier + rounded) >> shift;
}
""",
    "scaled_wide": """\
/* product / 2^shift, rounded half up, for shifts of 1 to 62 */
HELPER int64_t scaled_wide(int64_t product, int32_t shift)
{
    return (product + (INT64_C(1) << (shift - 1))) >> shift;
}
""",
    "ended_wide_8": """\
static KERNEL int32_t ended_wide_8(int64_t product, int32_t shift, const End *end)
{
    const int32_t code = clipped_wide(scaled_wide(product, shift) + end->zero, end->low, end->high);
    return end->table != NULL ? ((const uint8_t *)end->table)[code - end->low] : code;
}
""",
    "ended_8": """\
static KERNEL int32_t ended_8(int32_t sum, int32_t multiplier, int32_t shift, const End *end)
{
    sum *= 1 << end->raised;
    if (shift <= 16 || shift > end->fast)
        return ended_wide_8((int64_t)sum * multiplier, shift, end);
    const int32_t code = clipped(scaled(sum, multiplier, rounding(end->zero, shift, 16), shift), end->low, end->high);
    return end->table != NULL ? ((const uint8_t *)end->table)[code - end->low] : code;
}
""",
    "ended_wide_16": """\
static KERNEL int32_t ended_wide_16(int64_t product, int32_t shift, const End *end)
{
    const int32_t code = clipped_wide(scaled_wide(product, shift) + end->zero, end->low, end->high);
    return end->table != NULL ? ((const uint16_t *)end->table)[code - end->low] : code;
}
""",
    "ended_16": """\
static KERNEL int32_t ended_16(int32_t sum, int32_t multiplier, int32_t shift, const End *end)
{
    sum *= 1 << end->raised;
    if (shift <= 16 || shift > end->fast)
        return ended_wide_16((int64_t)sum * multiplier, shift, end);
    const int32_t code = clipped(scaled(sum, multiplier, rounding(end->zero, shift, 16), shift), end->low, end->high);
    return end->table != NULL ? ((const uint16_t *)end->table)[code - end->low] : code;
}
""",
    "word": """\
#if NETWORK_DSP
/* Four bytes, or two numbers of 16 bits. */
HELPER uint32_t word(const void *from)
{
    uint32_t read;
    memcpy(&read, from, 4);
    return read;
}
#endif
""",
    "even_codes": """\
#if NETWORK_DSP
/* Bytes 0 and 2, with their signs, as two numbers of 16 bits. */
HELPER uint32_t even_codes(uint32_t four)
{
    uint32_t two;
    __asm__("sxtb16 %0, %1" : "=r"(two) : "r"(four));
    return two;
}
#endif
""",
    "odd_codes": """\
#if NETWORK_DSP
/* Bytes 1 and 3. */
HELPER uint32_t odd_codes(uint32_t four)
{
    uint32_t two;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(two) : "r"(four));
    return two;
}
#endif
""",
    "lower_halves": """\
#if NETWORK_DSP
HELPER uint32_t lower_halves(uint32_t a, uint32_t b)
{
    uint32_t both;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(both) : "r"(a), "r"(b));
    return both;
}
#endif
""",
    "upper_halves": """\
#if NETWORK_DSP
HELPER uint32_t upper_halves(uint32_t a, uint32_t b)
{
    uint32_t both;
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(both) : "r"(b), "r"(a));
    return both;
}
#endif
""",
    "even_bytes": """\
#if NETWORK_DSP
/* Bytes 0 and 2 without signs. */
HELPER uint32_t even_bytes(uint32_t four)
{
    uint32_t two;
    __asm__("uxtb16 %0, %1" : "=r"(two) : "r"(four));
    return two;
}
#endif
""",
    "odd_bytes": """\
#if NETWORK_DSP
/* Bytes 1 and 3. */
HELPER uint32_t odd_bytes(uint32_t four)
{
    uint32_t two;
    __asm__("uxtb16 %0, %1, ror #8" : "=r"(two) : "r"(four));
    return two;
}
#endif
""",
    "PADDED": """\
/* Codes of a row or a column with those that fill the last vector, and columns that are multiplied together. */
#if NETWORK_VECTORS
#define PADDED(depth) (((depth) + 15) / 16 * 16)
#define PLACES(few, many) (many)
#else
#define PADDED(depth) (depth)
#define PLACES(few, many) (few)
#endif
""",
    "LANES": LANES,
    "COLUMN": """\
/* Columns are interleaved, four codes of each, where multiply-adds take pairs; else they lie one behind another. */
#if NETWORK_DSP
#define COLUMN(depth) 4
#define STEP(pixels) (pixels)
#else
#define COLUMN(depth) PADDED(depth)
#define STEP(pixels) 1
#endif
""",
    "widened": """\
/* Codes of 8 bits to 16, a multiple of four of them. Multiply-adds of pairs want the order 0, 2, 1, 3 of each four. */
HELPER void widened(const uint8_t *from, Column *to, int32_t count, int32_t pixels)
{
#if NETWORK_DSP
    for (const uint8_t *end = from + count; from < end; from += 4, to += 4 * pixels) {
        const uint32_t four = word(from), even = even_bytes(four), odd = odd_bytes(four);
        memcpy(to, &even, 4);
        memcpy(to + 2, &odd, 4);
    }
#else
    (void)pixels;
    for (int32_t i = 0; i < count; ++i)
        to[i] = from[i];
#endif
}
""",
    "copied": """\
/* Returns where the next codes go. */
HELPER uint8_t *copied(uint8_t *to, const uint8_t *from, int32_t count)
{
    memcpy(to, from, (size_t)count);
    return to + count;
}
""",
    "filled_bytes": """\
HELPER uint8_t *filled_bytes(uint8_t *to, int32_t value, int32_t count)
{
    memset(to, value, (size_t)count);
    return to + count;
}
""",
    "filled_codes": """\
HELPER void filled_codes(uint8_t *to, int32_t value, int32_t count)
{
    for (int32_t i = 0; i < count; ++i)
        to[i] = (uint8_t)value;
}
""",
    "unpacked": """\
/* Rows of codes of 2, 4 or 8 bits to the highest bits of bytes, which lie in pairs of taps and pairs of channels. */
HELPER void unpacked(const uint8_t *row, const uint8_t *widths, uint8_t *to, int32_t channels, int32_t pairs)
{
    const int32_t step = 2 * (channels + (channels & 1));
    for (int32_t c = 0; c < channels; ++c) {
        const int32_t width = widths[c], mask = 0xff & (0xff00 >> width);
        uint8_t *each = to + 2 * c - (c & 1);
        int32_t codes = 0, left = 0;
        for (int32_t i = 0; i < pairs; ++i, each += step, left -= 2 * width, codes >>= 2 * width) {
            for (; left < 2 * width; left += 8)
                codes |= *row++ << left;
            each[0] = (uint8_t)(codes << (8 - width) & mask);
            each[2] = (uint8_t)(codes >> width << (8 - width) & mask);
        }
    }
}
""",
    "filled": """\
HELPER void filled(Column *to, int32_t value, int32_t count, int32_t pixels)
{
#if NETWORK_DSP
    for (int32_t i = 0; i < count; i += 4, to += 4 * pixels)
        to[0] = to[1] = to[2] = to[3] = (Column)value;
#else
    (void)pixels;
    for (int32_t i = 0; i < count; ++i)
        to[i] = (Column)value;
#endif
}
""",
    "filled_wide": """\
HELPER void filled_wide(uint16_t *to, int32_t value, int32_t count)
{
    for (int32_t i = 0; i < count; ++i)
        to[i] = (uint16_t)value;
}
""",
    "root": """\
/* The root of a number of 32 bits, rounded down. */
HELPER uint32_t root(uint32_t value)
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
""",
    "inverse_root": """\
/* 2^31 / sqrt(w), w brought to 31 or 32 bits by an even shift, and half of that shift: docs/methods.md, section 5. */
HELPER uint32_t inverse_root(uint64_t w, int32_t *half)
{
    int32_t bits = 0;
    for (uint64_t rest = w; rest != 0; rest >>= 1)
        ++bits;
    *half = bits >= 31 ? (bits - 31) / 2 : -((32 - bits) / 2);
    return UINT32_C(2147483648) / root((uint32_t)(*half > 0 ? w >> 2 * *half : w << -2 * *half));
}
""",
}
