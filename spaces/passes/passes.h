/* What the passes over memory share: how numbers lie, how they are put on the grid, and what a norm makes of them.
 *
 * Numbers of a tensor (samples, ...) are met span by span. A span is a run of numbers of one sample that lie side by
 * side. A vector with one number for each channel meets them in one of two ways:
 *   - by span: a span is one channel (channels first), so that span s of a sample reads number s;
 *   - by number: a span is whole rows of channels (channels last), so that number i of a span reads number i of a row
 *     that is repeated as long as the span is.
 * fmaf stands where torch's kernels contract a product and a sum. Whoever loads this compares all results with torch.
 */

#ifndef PASSES_H
#define PASSES_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PASS __attribute__((visibility("default")))
#define GRAIN 32768 /* numbers; fewer are done by one thread, as in torch */

typedef struct {
    int64_t samples, size; /* numbers of a sample */
    int64_t spans, length; /* of a sample; its last span may be shorter */
    int64_t channels;
    int32_t by_number, threads;
} Layout;

typedef struct {
    float low, high;
    float above, below; /* what lies between these two passes its gradient on */
    const float *step;  /* NULL: numbers are clamped, and stay between codes */
} Codes;

/* The products that make the gradient of the step, of samples first, first + every, ... */
typedef struct {
    int64_t first, every;
    float *products; /* NULL: none are made */
} Part;

/* scale * (x - mean) * inverse + shift of each channel, where inverse = 1 / sqrt(variance + eps). */
typedef struct {
    const float *mean, *spread, *scale, *shift;
    float eps;
    int32_t kind; /* of spread */
} Norm;

enum {
    INVERSE,
    VARIANCE,
    AGAIN, /* inverse, of which the variance, eps in it, is computed, and of this the inverse that counts */
};

/* The same as x * scale + shift: vectors that a span reads. They are one block of memory. */
typedef struct {
    float *scale, *shift; /* NULL: there is no memory */
} Affine;

static inline float clamp(float v, float low, float high)
{
    v = v < low ? low : v; /* NaN stays */
    return v > high ? high : v;
}

static inline float on_grid(float v, Codes codes, float step)
{
    return codes.step == NULL ? clamp(v, codes.low, codes.high) : clamp(rintf(v), codes.low, codes.high) * step;
}

static inline float step_of(Codes codes)
{
    return codes.step == NULL ? 1.0F : *codes.step;
}

static inline int inside(float v, Codes codes)
{
    return (v > codes.above) & (v < codes.below);
}

/* The gradient where v is inside. */
static inline float cut(float grad, float v, Codes codes)
{
    return inside(v, codes) ? grad : 0.0F;
}

/* The product of the gradient that comes back with round(v) - v inside, and with the bound outside. */
static inline float product(float grad, float v, Codes codes)
{
    return fmaf(-v, cut(grad, v, codes), rintf(clamp(v, codes.low, codes.high)) * grad);
}

#define OVER_SPANS(at)                                                                                        \
    _Pragma("omp parallel for schedule(static) num_threads(at->threads) if (at->samples * at->size > GRAIN)") \
    for (int64_t u = 0; u < at->samples * at->spans; u++)

#define SPAN(at)                                                                               \
    const int64_t sample = u / at->spans, s = u % at->spans;                                    \
    const int64_t offset = s * at->length, start = sample * at->size + offset;                  \
    const int64_t left = at->size - offset, n = left < at->length ? left : at->length

static inline float inverse_of(const Norm *norm, int64_t c)
{
    const float spread = norm->spread[c];
    if (norm->kind == INVERSE)
        return spread;
    return 1.0F / sqrtf(norm->kind == AGAIN ? 1.0F / (spread * spread) : spread + norm->eps);
}

/* What a channel is multiplied by, and what is added. */
static inline void affine_of(const Norm *norm, int64_t c, float *scale, float *shift)
{
    *scale = inverse_of(norm, c) * norm->scale[c];
    *shift = fmaf(-norm->mean[c], *scale, norm->shift[c]);
}

static inline Affine affine(const Layout *at, const Norm *norm)
{
    const int64_t count = at->by_number ? at->length : at->channels;
    float *made = malloc(2 * (size_t)count * sizeof *made);
    if (made != NULL)
        for (int64_t i = 0; i < count; i++)
            affine_of(norm, i % at->channels, made + i, made + count + i);
    return (Affine){made, made == NULL ? NULL : made + count};
}

static inline void normalize_span(const float *restrict x, float *restrict out, int64_t n, const float *restrict scale,
                                  const float *restrict shift, int by_number, Codes codes, float step)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = on_grid(fmaf(x[i], scale[by_number ? i : 0], shift[by_number ? i : 0]), codes, step);
}

/* The norm of x, on the grid. Returns 1 where there was no memory. */
static inline int normalize(const Layout *at, const float *x, float *out, const Norm *norm, Codes codes)
{
    const float step = step_of(codes);
    const Affine by = affine(at, norm);
    if (by.scale == NULL)
        return 1;
    OVER_SPANS(at)
    {
        SPAN(at);
        if (at->by_number)
            normalize_span(x + start, out + start, n, by.scale, by.shift, 1, codes, step);
        else
            normalize_span(x + start, out + start, n, by.scale + s, by.shift + s, 0, codes, step);
    }
    free(by.scale);
    return 0;
}

#endif
