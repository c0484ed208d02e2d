/* Passes over all numbers, whose results do not depend on each other. See spaces/passes/passes.py. */

#include "passes.h"

/* The products of a span of a sample; NULL: none are made of it. */
static inline float *products_at(const Layout *at, const Part *part, int64_t sample, int64_t offset)
{
    if (part->products == NULL || sample < part->first || (sample - part->first) % part->every != 0)
        return NULL;
    return part->products + (sample - part->first) / part->every * at->size + offset;
}

/* The norm of x, on the grid. Returns 1 where there was no memory. */
PASS int normalized(const Layout *at, const float *x, float *out, const Norm *norm, const Codes *codes)
{
    return normalize(at, x, out, norm, *codes);
}

static inline void cut_normalized(const float *restrict grad, const float *restrict x, float *restrict out,
                                  float *restrict products, int64_t n, const float *restrict scale,
                                  const float *restrict shift, int by_number, Codes codes)
{
    for (int64_t i = 0; i < n; i++) {
        const float v = fmaf(x[i], scale[by_number ? i : 0], shift[by_number ? i : 0]);
        out[i] = cut(grad[i], v, codes);
        if (products != NULL)
            products[i] = product(grad[i], v, codes);
    }
}

/* The way back through `normalized`, to the norm: the gradient where v is inside. Returns 1 where there was no memory. */
PASS int normalized_back(const Layout *at, const float *grad, const float *x, float *out, const Norm *norm,
                         const Codes *codes, const Part *part)
{
    const Affine by = affine(at, norm);
    if (by.scale == NULL)
        return 1;
    const Codes all = *codes;
    const Part some = *part;
    OVER_SPANS(at)
    {
        SPAN(at);
        float *products = products_at(at, &some, sample, offset);
        if (at->by_number && products == NULL)
            cut_normalized(grad + start, x + start, out + start, NULL, n, by.scale, by.shift, 1, all);
        else if (at->by_number)
            cut_normalized(grad + start, x + start, out + start, products, n, by.scale, by.shift, 1, all);
        else if (products == NULL)
            cut_normalized(grad + start, x + start, out + start, NULL, n, by.scale + s, by.shift + s, 0, all);
        else
            cut_normalized(grad + start, x + start, out + start, products, n, by.scale + s, by.shift + s, 0, all);
    }
    free(by.scale);
    return 0;
}

/* v, put on the grid where it lies. */
PASS void to_grid(int64_t count, int32_t threads, float *v, const Codes *codes)
{
    const Codes all = *codes;
    const float step = step_of(all);
#pragma omp parallel for simd schedule(static) num_threads(threads) if (count > GRAIN)
    for (int64_t i = 0; i < count; i++)
        v[i] = on_grid(v[i], all, step);
}

enum {
    NONE,
    NUMBERS, /* one for each number of a span */
    ONE,     /* for all numbers of a span */
};

/* Whether numbers are inside, a bit of each; of every span from a byte of its own on. */
static inline int64_t bytes_of(const Layout *at)
{
    return (at->length + 7) / 8;
}

#define BLOCK 512 /* numbers whose bits are put together at a time, of whole bytes */

static inline void pack(const uint8_t *restrict insides, uint8_t *restrict bits, int64_t n)
{
    for (int64_t i = 0; i < n; i += 8) {
        uint64_t eight = 0;
        for (int k = 0; k < 8; k++)
            eight |= (uint64_t)insides[i + k] << 8 * k;
        bits[i / 8] = (uint8_t)(eight * 0x0102040810204080U >> 56); /* byte k, of 0 or 1, becomes bit k */
    }
}

static inline void clamp_span(const float *restrict x, const float *restrict plus, const float *restrict keep,
                              float *restrict out, uint8_t *restrict bits, float *restrict sums, int64_t n, int pluses,
                              int keeps, Codes codes, float step)
{
    uint8_t insides[BLOCK] = {0};
    for (int64_t start = 0; start < n; start += BLOCK) {
        const int64_t end = n - start < BLOCK ? n : start + BLOCK;
        for (int64_t i = start; i < end; i++) {
            const float sum = pluses == NONE ? x[i] : x[i] + plus[pluses == NUMBERS ? i : 0];
            const float masked = keeps == NONE ? sum : sum * keep[keeps == NUMBERS ? i : 0];
            out[i] = on_grid(masked / step, codes, step);
            if (bits != NULL)
                insides[i - start] = (uint8_t)inside(sum / step, codes);
            if (sums != NULL)
                sums[i] = sum;
        }
        if (bits != NULL)
            pack(insides, bits + start / 8, end - start);
    }
}

/* A number for each channel, as a span reads them. NULL: there is no memory. */
static float *row_of(const Layout *at, const float *numbers)
{
    const int64_t count = at->by_number ? at->length : at->channels;
    float *made = malloc((size_t)count * sizeof *made);
    if (made != NULL)
        for (int64_t i = 0; i < count; i++)
            made[i] = numbers[i % at->channels];
    return made;
}

/* x + plus, masked, divided by the step and put on the grid, and where x + plus is inside. Returns 1 where there was no
 * memory.
 *
 * plus: NULL, or one for each number or each channel. keep: NULL, or one for each channel. bits: NULL: nobody asks.
 * part: of its samples the sums are written to where their products will be. */
PASS int clamped(const Layout *at, const float *x, const float *plus, int32_t by_channel, const float *keep, float *out,
                 uint8_t *bits, const Codes *codes, const Part *part)
{
    const Codes all = *codes;
    const Part some = *part;
    const float step = step_of(all);
    float *pluses = plus != NULL && by_channel ? row_of(at, plus) : NULL;
    float *keeps = keep != NULL ? row_of(at, keep) : NULL;
    const int failed = (plus != NULL && by_channel && pluses == NULL) || (keep != NULL && keeps == NULL);
    const int by_span = at->by_number ? NUMBERS : ONE;
    const int kinds = (plus == NULL ? NONE : by_channel ? by_span : NUMBERS) * 3 + (keep == NULL ? NONE : by_span);
    if (!failed) {
        OVER_SPANS(at)
        {
            SPAN(at);
            const int64_t first = at->by_number ? 0 : s;
            const float *own = plus == NULL ? NULL : by_channel ? pluses + first : plus + start;
            const float *mask = keep == NULL ? NULL : keeps + first;
            uint8_t *where = bits == NULL ? NULL : bits + u * bytes_of(at);
            float *sums = products_at(at, &some, sample, offset);
#define KIND(p, k)                                                                        \
    case (p) * 3 + (k):                                                                   \
        if (sums == NULL)                                                                 \
            clamp_span(x + start, own, mask, out + start, where, NULL, n, p, k, all, step); \
        else                                                                              \
            clamp_span(x + start, own, mask, out + start, where, sums, n, p, k, all, step); \
        break
            switch (kinds) {
                KIND(NONE, NONE);
                KIND(NONE, NUMBERS);
                KIND(NONE, ONE);
                KIND(NUMBERS, NONE);
                KIND(NUMBERS, NUMBERS);
                KIND(NUMBERS, ONE);
                KIND(ONE, NONE);
                KIND(ONE, ONE);
            }
        }
    }
    free(pluses);
    free(keeps);
    return failed;
}

static inline void unpack(const uint8_t *restrict bits, uint8_t *restrict insides, int64_t n)
{
    for (int64_t i = 0; i < n; i += 8) {
        const uint64_t eight = bits[i / 8] * 0x0101010101010101U & 0x8040201008040201U; /* bit k stays in byte k */
        for (int k = 0; k < 8; k++)
            insides[i + k] = (uint8_t)(eight >> 8 * k);
    }
}

static inline void cut_by_bits(const float *restrict grad, const uint8_t *restrict bits, float *restrict out, int64_t n)
{
    uint8_t insides[BLOCK];
    for (int64_t start = 0; start < n; start += BLOCK) {
        const int64_t end = n - start < BLOCK ? n : start + BLOCK;
        unpack(bits + start / 8, insides, end - start);
        for (int64_t i = start; i < end; i++)
            out[i] = insides[i - start] ? grad[i] : 0.0F;
    }
}

/* The gradient where x was inside. bits: of `clamped`. */
PASS void clamped_back(const Layout *at, const float *grad, const uint8_t *bits, float *out)
{
    OVER_SPANS(at)
    {
        SPAN(at);
        cut_by_bits(grad + start, bits + u * bytes_of(at), out + start, n);
    }
}

static inline void cut_span(const float *restrict grad, const float *restrict x, float *restrict out,
                            float *restrict products, int64_t n, Codes codes, float step)
{
    for (int64_t i = 0; i < n; i++) {
        const float v = x[i] / step;
        out[i] = cut(grad[i], v, codes);
        if (products != NULL)
            products[i] = product(grad[i], v, codes);
    }
}

/* The same of x itself, and the products. */
PASS void clamped_again(const Layout *at, const float *grad, const float *x, float *out, const Codes *codes,
                        const Part *part)
{
    const Codes all = *codes;
    const Part some = *part;
    const float step = step_of(all);
    OVER_SPANS(at)
    {
        SPAN(at);
        float *products = products_at(at, &some, sample, offset);
        if (products == NULL)
            cut_span(grad + start, x + start, out + start, NULL, n, all, step);
        else
            cut_span(grad + start, x + start, out + start, products, n, all, step);
    }
}

/* The products of a part of the samples. grad: of all samples. x: of the part alone. */
PASS void products_of(int64_t samples, int64_t size, int32_t threads, const float *grad, const float *restrict x,
                      const Codes *codes, const Part *part)
{
    const Codes all = *codes;
    const Part some = *part;
    const float step = step_of(all);
#pragma omp parallel for schedule(static) num_threads(threads) if (samples * size > GRAIN)
    for (int64_t k = 0; k < samples; k++) {
        const float *restrict g = grad + (some.first + k * some.every) * size;
        float *restrict products = some.products + k * size;
        for (int64_t i = 0; i < size; i++)
            products[i] = product(g[i], x[k * size + i] / step, all);
    }
}

/* Numbers of precisions and channels: that of precision p and channel c is numbers[p * by_precision + c * by_channel]. */
typedef struct {
    const float *numbers;
    int64_t by_precision, by_channel;
} Table;

/* The weights of channel c of all layers are starts[c] .. starts[c + 1] of a flat vector, and those of layer l are
 * stored from begins[l] on. A channel's are stored input by input, and an input's tap by tap; they are used tap by tap.
 * taps: of each layer, at most ROW; 1: both orders are one. */
typedef struct {
    const int64_t *starts;
    const int32_t *layer;
    const int64_t *taps, *begins;
    int64_t channels;
    int32_t threads;
} Channels;

#define ROW 1024 /* numbers of a buffer */

static inline float at_place(Table table, int64_t p, int64_t c)
{
    return table.numbers[p * table.by_precision + c * table.by_channel];
}

#define OVER_CHANNELS(of)                                                    \
    _Pragma("omp parallel for schedule(static) num_threads(of->threads) if (of->starts[of->channels] > GRAIN)") \
    for (int64_t c = 0; c < of->channels; c++)

#define CHANNEL(of)                                                          \
    const int32_t layer = of->layer[c];                                      \
    const int64_t first = of->starts[c], count = of->starts[c + 1] - first;   \
    const int64_t taps = of->taps[layer], inputs = count / taps;              \
    const int64_t offset = first - of->begins[layer]

static inline void put_on_grid(const float *restrict w, float *restrict out, int64_t n, float step, float bound)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = bound == 0.5F ? (w[i] < 0.0F ? -1.0F : 1.0F) * step : clamp(rintf(w[i] / step), -bound, bound) * step;
}

/* Weights on the grids of their channels, of codes within -bound .. bound; of a bound of 1/2: the sign. w: of each
 * layer, as they are stored. out: flat, as they are used. */
PASS void quantized(const Channels *of, const float *const *w, float *out, const float *steps, const Table *bounds)
{
    OVER_CHANNELS(of)
    {
        CHANNEL(of);
        const float step = steps[c], bound = at_place(*bounds, 0, c);
        const float *own = w[layer] + offset;
        float *made = out + first;
        if (taps == 1) {
            put_on_grid(own, made, count, step, bound);
            continue;
        }
        float row[ROW];
        const int64_t most = ROW / taps;
        for (int64_t start = 0; start < inputs; start += most) {
            const int64_t n = inputs - start < most ? inputs - start : most;
            put_on_grid(own + start * taps, row, n * taps, step, bound);
            for (int64_t t = 0; t < taps; t++)
                for (int64_t i = 0; i < n; i++)
                    made[t * inputs + start + i] = row[i * taps + t];
        }
    }
}

/* The gradients of a channel in the order in which its weights are stored. grads: NULL: they are 0. */
static inline void gather(const float *restrict grads, float *restrict out, int64_t inputs, int64_t taps)
{
    if (grads == NULL)
        memset(out, 0, (size_t)(inputs * taps) * sizeof *out);
    else if (taps == 1)
        memcpy(out, grads, (size_t)inputs * sizeof *out);
    else
        for (int64_t i = 0; i < inputs; i++)
            for (int64_t t = 0; t < taps; t++)
                out[i * taps + t] = grads[t * inputs + i];
}

static inline void multiply(const float *restrict w, const float *restrict g, float *restrict codes,
                            float *restrict insides, int64_t n, float unit, float bound, int sign, float above,
                            float below)
{
    for (int64_t i = 0; i < n; i++) {
        const float v = w[i] / unit, grad = ((v > above) & (v < below)) ? g[i] : 0.0F;
        codes[i] = (sign ? (v < 0.0F ? -1.0F : 1.0F) : rintf(clamp(v, -1.0F, 1.0F) * bound)) * g[i];
        insides[i] = v * grad;
    }
}

/* For each precision the products of g with the codes, and with v = w / (step * bound) where v is inside; and for the
 * precision that is picked the gradient of w: all flat, as weights are stored. w: of each layer, as they are stored. g:
 * of each layer, as they are used; NULL: 0. picked: NULL: the first one. above, below: of v. */
PASS void quantized_back(const Channels *of, int64_t precisions, const float *const *w, const float *const *g,
                         const float *steps, const Table *bounds, const int64_t *picked, float above, float below,
                         float *dw, float *products)
{
    const int64_t all = of->starts[of->channels];
    OVER_CHANNELS(of)
    {
        CHANNEL(of);
        const float *restrict own = w[layer] + offset;
        float *restrict grads = dw + first;
        gather(g[layer] == NULL ? NULL : g[layer] + offset, grads, inputs, taps);
        for (int64_t p = 0; p < precisions; p++) {
            const float limit = at_place(*bounds, p, c), bound = ceilf(limit);
            const float unit = steps[p * of->channels + c] * bound;
            float *codes = products + p * all + first, *insides = products + (precisions + p) * all + first;
            multiply(own, grads, codes, insides, count, unit, bound, limit == 0.5F, above, below);
        }
        const int64_t p = picked == NULL ? 0 : picked[c];
        const float unit = steps[p * of->channels + c] * ceilf(at_place(*bounds, p, c));
        for (int64_t i = 0; i < count; i++) {
            const float v = own[i] / unit;
            grads[i] = ((v > above) & (v < below)) ? grads[i] : 0.0F;
        }
    }
}
