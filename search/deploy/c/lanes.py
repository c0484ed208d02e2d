"""Vectors of the generated C, where a processor multiplies bytes by bytes and adds up four products at once.

This is the only place with operations of one kind of processor (AVX-512 VNNI, or AVX-VNNI) but a Cortex-M.
"""

LANES = """\
#if NETWORK_BYTES
/* Numbers of 32 bits in a vector, and operations on each of them. */
#if defined(__AVX512VNNI__)
#define LANES 16
#define IN_LANES(operation) _mm512_##operation
typedef __m512i Lanes;
#else
#define LANES 8
#define IN_LANES(operation) _mm256_##operation
typedef __m256i Lanes;
#endif

HELPER Lanes lanes_at(const int32_t *from)
{
    return *(const Lanes *)(const void *)from;
}

HELPER void lanes_to(int32_t *to, Lanes values)
{
    *(Lanes *)(void *)to = values;
}

/* The same four in each lane. */
HELPER Lanes four_codes(const uint8_t *from)
{
    int32_t four;
    memcpy(&four, from, 4);
    return IN_LANES(set1_epi32)(four);
}

/* One in each lane. */
HELPER Lanes codes_at(const uint8_t *from)
{
#if defined(__AVX512VNNI__)
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)from));
#else
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)from));
#endif
}

/* Puts codes into the byte of each lane that begins with a bit. */
HELPER Lanes beside(Lanes lanes, Lanes codes, int32_t bit)
{
    return IN_LANES(add_epi32)(lanes, IN_LANES(sllv_epi32)(codes, IN_LANES(set1_epi32)(bit)));
}

/* Adds four products of codes and weights to each sum. */
HELPER Lanes products(Lanes sums, Lanes codes, Lanes weights)
{
#if defined(__AVX512VNNI__)
    return _mm512_dpbusd_epi32(sums, codes, weights);
#else
    return _mm256_dpbusd_avx_epi32(sums, codes, weights);
#endif
}

/* sum * multiplier / 2^shift + zero point, for shifts of 17 or more. Both halves of a sum are multiplied by themselves:
   32 bits hold their products, and the lower 16 bits of the lower one decide nothing. */
HELPER Lanes scaled_lanes(Lanes sums, Lanes multiplier, Lanes rounded, Lanes shift)
{
    const Lanes high = IN_LANES(srai_epi32)(sums, 16);
    const Lanes low = IN_LANES(srli_epi32)(IN_LANES(slli_epi32)(sums, 16), 16);
    Lanes total = IN_LANES(srai_epi32)(IN_LANES(mullo_epi32)(low, multiplier), 16);
    total = IN_LANES(add_epi32)(total, IN_LANES(mullo_epi32)(high, multiplier));
    total = IN_LANES(add_epi32)(total, rounded);
    return IN_LANES(srav_epi32)(total, IN_LANES(sub_epi32)(shift, IN_LANES(set1_epi32)(16)));
}

/* The same, of sums whose products have no more than 31 bits. */
HELPER Lanes scaled_narrow_lanes(Lanes sums, Lanes multiplier, Lanes rounded, Lanes shift)
{
    return IN_LANES(srav_epi32)(IN_LANES(add_epi32)(IN_LANES(mullo_epi32)(sums, multiplier), rounded), shift);
}

HELPER Lanes clipped_lanes(Lanes values, int32_t low, int32_t high)
{
    values = IN_LANES(max_epi32)(values, IN_LANES(set1_epi32)(low));
    return IN_LANES(min_epi32)(values, IN_LANES(set1_epi32)(high));
}

/* Codes of 8 bits, one after another. */
HELPER void lanes_to_8(uint8_t *to, Lanes codes)
{
#if defined(__AVX512VNNI__)
    _mm_storeu_si128((__m128i *)(void *)to, _mm512_cvtepi32_epi8(codes));
#else
    const __m128i eight = _mm_packus_epi32(_mm256_castsi256_si128(codes), _mm256_extracti128_si256(codes, 1));
    _mm_storel_epi64((__m128i *)(void *)to, _mm_packus_epi16(eight, eight));
#endif
}

/* Codes of 16 bits. */
HELPER void lanes_to_16(uint16_t *to, Lanes codes)
{
#if defined(__AVX512VNNI__)
    _mm256_storeu_si256((__m256i *)(void *)to, _mm512_cvtepi32_epi16(codes));
#else
    const __m128i eight = _mm_packus_epi32(_mm256_castsi256_si128(codes), _mm256_extracti128_si256(codes, 1));
    _mm_storeu_si128((__m128i *)(void *)to, eight);
#endif
}
#endif
"""
