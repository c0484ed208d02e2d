/* A norm with the statistics of its batch, over rows of channels (channels last), forward and back.
 *
 * The sum of a channel is made in the order of torch's kernel: each of as many parts of the rows as torch has threads is
 * summed row after row in float, and the sums of the parts are added in double.
 */

#include "passes.h"

#define LANES 16     /* channels that are met at once */
#define FEWER 8      /* and the last ones: channels are a multiple of it */
#define AT_ONCE 4096 /* numbers of rows that stay near the processor, about */

typedef struct {
    int64_t count, channels, parts, each; /* rows, and those of a part; the last part may have fewer */
} Rows;

typedef struct {
    float *mean, *variance; /* running, of each channel */
    double momentum, eps;
} Running;

static Rows rows_of(const Layout *at)
{
    const int64_t count = at->samples * at->size / at->channels;
    return (Rows){count, at->channels, at->threads, (count + at->threads - 1) / at->threads};
}

#define OVER_PARTS(rows)                                                                                    \
    _Pragma("omp parallel for schedule(static, 1) num_threads((int)rows.parts) if (rows.count * rows.channels > GRAIN)") \
    for (int64_t p = 0; p < rows.parts; p++)

/* For rows from .. to of part p, and channels c .. c + lanes. The rows of a channel come one after another. */
#define OVER_BLOCKS(rows)                                                                               \
    const int64_t end = (p + 1) * rows.each < rows.count ? (p + 1) * rows.each : rows.count;             \
    const int64_t some = rows.channels < AT_ONCE ? AT_ONCE / rows.channels : 1;                          \
    for (int64_t from = p * rows.each; from < end; from += some)                                         \
        for (int64_t c = 0, lanes, to = from + some < end ? from + some : end; c < rows.channels; c += lanes)

/* Calls with N, the lanes of a block, as a constant, so that a block is a vector. */
#define BLOCK(call)                                          \
    do {                                                     \
        lanes = rows.channels - c < LANES ? FEWER : LANES;   \
        if (lanes == LANES) {                                \
            enum { N = LANES };                              \
            call;                                            \
        } else {                                             \
            enum { N = FEWER };                              \
            call;                                            \
        }                                                    \
    } while (0)

static inline void add(const float *restrict x, int64_t rows, int64_t channels, float *restrict sums, int lanes)
{
    float sum[LANES];
    memcpy(sum, sums, (size_t)lanes * sizeof *sum);
    for (int64_t r = 0; r < rows; r++)
        for (int i = 0; i < lanes; i++)
            sum[i] += x[r * channels + i];
    memcpy(sums, sum, (size_t)lanes * sizeof *sum);
}

static inline void add_squares(const float *restrict x, int64_t rows, int64_t channels, const float *restrict mean,
                               float *restrict sums, int lanes)
{
    float sum[LANES];
    memcpy(sum, sums, (size_t)lanes * sizeof *sum);
    for (int64_t r = 0; r < rows; r++)
        for (int i = 0; i < lanes; i++) {
            const float d = x[r * channels + i] - mean[i];
            sum[i] = fmaf(d, d, sum[i]);
        }
    memcpy(sums, sum, (size_t)lanes * sizeof *sum);
}

/* The sum of channel c over all parts. */
static double total(const float *sums, Rows rows, int64_t c)
{
    double sum = 0.0;
    for (int64_t p = 0; p < rows.parts; p++)
        sum += sums[p * rows.channels + c];
    return sum;
}

/* The mean and 1 / sqrt(variance + eps) of a batch. The running statistics are updated. sums: two for each part. */
static void statistics(Rows rows, const float *x, float *sums, float *mean, float *inverse, const Running *running)
{
    const float momentum = (float)running->momentum, kept = 1.0F - momentum;
    float *squares = sums + rows.parts * rows.channels;
    OVER_PARTS(rows)
    {
        OVER_BLOCKS(rows)
            BLOCK(add(x + from * rows.channels + c, to - from, rows.channels, sums + p * rows.channels + c, N));
    }
    for (int64_t c = 0; c < rows.channels; c++) {
        mean[c] = (float)(total(sums, rows, c) / (double)rows.count);
        running->mean[c] = momentum * mean[c] + kept * running->mean[c];
    }
    OVER_PARTS(rows)
    {
        OVER_BLOCKS(rows)
            BLOCK(add_squares(x + from * rows.channels + c, to - from, rows.channels, mean + c,
                              squares + p * rows.channels + c, N));
    }
    for (int64_t c = 0; c < rows.channels; c++) {
        const float sum = (float)total(squares, rows, c), variance = sum / (float)rows.count;
        inverse[c] = (float)(1.0 / sqrt((double)variance + running->eps));
        running->variance[c] = fmaf(momentum, sum / (float)(rows.count - 1), kept * running->variance[c]);
    }
}

/* The norm of x with the statistics of the batch, on the grid. Returns 1 where there was no memory.
 *
 * mean, inverse: what the batch has. */
PASS int trained(const Layout *at, const float *x, float *out, float *mean, float *inverse, const float *scale,
                 const float *shift, const Running *running, const Codes *codes)
{
    const Rows rows = rows_of(at);
    float *sums = calloc(2 * (size_t)(rows.parts * rows.channels), sizeof *sums);
    if (sums == NULL)
        return 1;
    statistics(rows, x, sums, mean, inverse, running);
    free(sums);
    const Norm norm = {mean, inverse, scale, shift, 0.0F, INVERSE};
    return normalize(at, x, out, &norm, *codes);
}

/* Vectors that the way back reads, a number for each channel. They are one block of memory. */
typedef struct {
    Affine by;                    /* x to v; a number for each channel, and not for each number of a span */
    float *inverse;               /* of the norm that the gradient is of */
    float *slope, *grad_mean;     /* of the gradient of x */
    float *sums, *dots;           /* of the gradient, and of its products with x - mean; for each part */
} Back;

/* memory: 5 + 2 * parts numbers for each channel. */
static Back back_of(Rows rows, float *memory, const Norm *norm, const float *inverse, int of_batch)
{
    const int64_t n = rows.channels;
    const Back back = {{memory, memory + n}, memory + 2 * n,           memory + 3 * n,
                       memory + 4 * n,       memory + 5 * n, memory + (5 + rows.parts) * n};
    for (int64_t c = 0; c < n; c++) {
        affine_of(norm, c, back.by.scale + c, back.by.shift + c);
        back.inverse[c] = of_batch ? inverse[c] : (float)(1.0 / sqrt((double)(1.0F / (inverse[c] * inverse[c]))));
    }
    return back;
}

static inline void add_gradients(const float *restrict grad, const float *restrict x, int64_t rows, int64_t channels,
                                 const float *mean, Back back, int64_t c, float *restrict sums, float *restrict dots,
                                 Codes codes, int lanes)
{
    float scale[LANES], shift[LANES], means[LANES], sum[LANES], dot[LANES];
    memcpy(scale, back.by.scale + c, (size_t)lanes * sizeof *scale);
    memcpy(shift, back.by.shift + c, (size_t)lanes * sizeof *shift);
    memcpy(means, mean + c, (size_t)lanes * sizeof *means);
    memcpy(sum, sums, (size_t)lanes * sizeof *sum);
    memcpy(dot, dots, (size_t)lanes * sizeof *dot);
    for (int64_t r = 0; r < rows; r++)
        for (int i = 0; i < lanes; i++) {
            const float number = x[r * channels + i];
            const float g = cut(grad[r * channels + i], fmaf(number, scale[i], shift[i]), codes);
            sum[i] += g;
            dot[i] = fmaf(number - means[i], g, dot[i]);
        }
    memcpy(sums, sum, (size_t)lanes * sizeof *sum);
    memcpy(dots, dot, (size_t)lanes * sizeof *dot);
}

static inline void gradients_of_x(const float *restrict grad, const float *restrict x, float *restrict out,
                                  int64_t rows, int64_t channels, const float *mean, const float *gain, Back back,
                                  int64_t c, int of_batch, Codes codes, int lanes)
{
    float scale[LANES], shift[LANES], means[LANES], slope[LANES], grad_mean[LANES], inverse[LANES], gains[LANES];
    memcpy(scale, back.by.scale + c, (size_t)lanes * sizeof *scale);
    memcpy(shift, back.by.shift + c, (size_t)lanes * sizeof *shift);
    memcpy(means, mean + c, (size_t)lanes * sizeof *means);
    memcpy(slope, back.slope + c, (size_t)lanes * sizeof *slope);
    memcpy(grad_mean, back.grad_mean + c, (size_t)lanes * sizeof *grad_mean);
    memcpy(inverse, back.inverse + c, (size_t)lanes * sizeof *inverse);
    memcpy(gains, gain + c, (size_t)lanes * sizeof *gains);
    for (int64_t r = 0; r < rows; r++)
        for (int i = 0; i < lanes; i++) {
            const float number = x[r * channels + i];
            const float g = cut(grad[r * channels + i], fmaf(number, scale[i], shift[i]), codes);
            const float centred = fmaf(-(number - means[i]), slope[i], g - grad_mean[i]);
            out[r * channels + i] = (of_batch ? centred : g) * inverse[i] * gains[i];
        }
}

/* The products of a part of the samples, for the norm of the way back. */
static void products_of_norm(const Layout *at, const float *grad, const float *x, Affine by, Codes codes, Part part)
{
    const int64_t samples = (at->samples - part.first + part.every - 1) / part.every;
#pragma omp parallel for schedule(static) num_threads(at->threads) if (samples * at->size > GRAIN)
    for (int64_t r = 0; r < samples * (at->size / at->channels); r++) {
        const int64_t rows = at->size / at->channels;
        const int64_t from = (part.first + r / rows * part.every) * at->size + r % rows * at->channels;
        float *restrict products = part.products + r * at->channels;
        for (int64_t c = 0; c < at->channels; c++)
            products[c] = product(grad[from + c], fmaf(x[from + c], by.scale[c], by.shift[c]), codes);
    }
}

/* The way back through a norm and its grid. Returns 1 where there was no memory.
 *
 * norm: makes v of x. mean, inverse, gain: of the norm that the gradient is of, where the first two are constants
 * unless of_batch. out: the gradient of x. d_scale, d_shift: those of a norm's gain and offset. */
PASS int trained_back(const Layout *at, const float *grad, const float *x, float *out, const Norm *norm,
                      const float *mean, const float *inverse, const float *gain, int32_t of_batch, const Codes *codes,
                      const Part *part, float *d_scale, float *d_shift)
{
    const Rows rows = rows_of(at);
    float *memory = calloc((size_t)((5 + 2 * rows.parts) * rows.channels), sizeof *memory);
    if (memory == NULL)
        return 1;
    const Back back = back_of(rows, memory, norm, inverse, of_batch);
    const Codes all = *codes;
    if (part->products != NULL)
        products_of_norm(at, grad, x, back.by, all, *part);
    OVER_PARTS(rows)
    {
        OVER_BLOCKS(rows)
        {
            const int64_t at_block = from * rows.channels + c, at_sums = p * rows.channels + c;
            BLOCK(add_gradients(grad + at_block, x + at_block, to - from, rows.channels, mean, back, c,
                                back.sums + at_sums, back.dots + at_sums, all, N));
        }
    }
    for (int64_t c = 0; c < rows.channels; c++) {
        const float dot = (float)total(back.dots, rows, c), count = (float)rows.count;
        d_shift[c] = (float)total(back.sums, rows, c);
        d_scale[c] = dot * back.inverse[c];
        back.slope[c] = dot * back.inverse[c] * back.inverse[c] / count;
        back.grad_mean[c] = d_shift[c] / count;
    }
    OVER_PARTS(rows)
    {
        OVER_BLOCKS(rows)
        {
            const int64_t at_block = from * rows.channels + c;
            BLOCK(gradients_of_x(grad + at_block, x + at_block, out + at_block, to - from, rows.channels, mean, gain,
                                 back, c, of_batch, all, N));
        }
    }
    free(memory);
    return 0;
}
