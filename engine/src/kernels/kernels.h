/* The table of functions that a processor provides.  `generic.c` says plainly what each one computes; the
 * others are instances of the templates beside this file and must agree with it (tests/check_kernels.c).
 *
 * Activations lie as [pixel][channel], channels padded (with anything) to a multiple of `nr`.  Weights lie in
 * panels of `nr` output channels, [k][nr].  Nothing here needs alignment.
 */
#ifndef GAN_KERNELS_H
#define GAN_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "../format.h"

enum {
    KBLOCK = 16,  /* channels that lie together in transformed inputs */
    MAX_MR = 14,  /* rows of the largest register tile */
    MAX_NR = 32,  /* width of the widest panel */
    MAX_TOOM = 5, /* points per side of the largest Toom-Cook transform */
    WINOGRAD = 6, /* of Winograd's, with tiles of WINOGRAD_TILE outputs */
    WINOGRAD_HALVED = 5, /* the same of convolutions of stride 2 */
    WINOGRAD_SMALL = 3, /* the same with tiles of half the side, for images of few tiles */
    WINOGRAD_TILE = 4,
    /* The largest number that an input becomes in 16 bits, and how many products are added up as whole numbers.  Inputs
     * have 14 bits, so weights can have 12 or 13 before a sum of INT16_SLICE products overflows (pack_int16.c). */
    INT16_MOST = 16383,
    INT16_SLICE = 128
};

/* Outputs per side of a tile of Winograd's transform with `side` points. */
static inline int winograd_tile(int side) { return side == WINOGRAD_SMALL ? WINOGRAD_TILE / 2 : WINOGRAD_TILE; }

typedef struct activation {
    activation_kind kind;
    float slope;
    const float *slopes; /* of ACT_PRELU, which only bias_act knows: one per channel, padded */
} activation;

/* The activation of the channels from `first` on. */
static inline activation activation_from(activation act, ptrdiff_t first) {
    if (act.kind == ACT_PRELU) act.slopes += first;
    return act;
}

typedef struct gan_kernels {
    const char *name;
    int (*runs)(void); /* whether this processor and system can run the table */
    int nr, mr;
    /* Multiply-adds per cycle that the processor can start: the cost model's unit. */
    int fma_per_cycle;
    /* c[i][j] (+)= sum over k of A[i][k] x b[k][j] for i < m <= mr, j < columns <= nr; later columns get any values.
     * A[i][k] = a[i][k / 16 x a_step + k % 16].  The sum starts from zero and is added to c, or without `accumulate`
     * overwrites it.  `next`: weights that are wanted soon, of which the first k / KBLOCK x 4 nr x `prefetch_quarters`
     * (1, 2 or 4) are fetched into the second-level cache, or with 0 the first 4 nr. */
    void (*gemm)(int m, int columns, ptrdiff_t k, const float *const *a, ptrdiff_t a_step, const float *b,
                 float *const *c, int accumulate, const float *next, int prefetch_quarters);
    /* The same of rows that lie side by side: A[i][k] = a[k / 16 x a_step + i x 16 + k % 16], c[i][j] = c[i x c_step +
     * j]. */
    void (*gemm_packed)(int m, int columns, ptrdiff_t k, const float *a, ptrdiff_t a_step, const float *b, float *c,
                        ptrdiff_t c_step, int accumulate, const float *next, int prefetch_quarters);
    /* Toom-Cook.  The points are 0, -1, inf (3), 0, 1, -1, inf (4) or 0, 1, -1/2, -2, inf (5 a side): toom_in gives the
     * value at each of the polynomial with coefficients x (at infinity the last coefficient), toom_out goes back.  A
     * product of polynomials is a product at each point, so that a convolution of `points + 1 - taps` inputs with
     * `taps` weights takes `points` multiplications. x: tile^2 pixels in rows, 2 <= tile < points, each `blocks` x 16
     * channels.  v: [block][points^2][v_step], of which the first 16 are written.  v = E x E', E the evaluation
     * (points, tile). */
    void (*toom_in)(int points, int tile, const float *const *x, ptrdiff_t blocks, float *v, ptrdiff_t v_step);
    /* p: [points^2][nr].  Puts the interpolation C p C' into strip[i x row + j x nr + n], i, j < points.  The tiles
     * above and to the left, if there are any, have been there: it is added to their last points - tile rows or
     * columns, and overwrites elsewhere. */
    void (*toom_out)(int points, int tile, const float *p, float *strip, ptrdiff_t row, int above, int left);
    /* Winograd's F(4 x 4, 3 x 3) at 0, +-sqrt(1/2), +-sqrt(2), inf if `side` is 6, and F(4 x 4, 2 x 2) at +-1/2, +-3/2,
     * inf if it is 5.  x: side x side pixels, each `blocks` x 16 channels; the values at point p of block k go to
     * v[p x point_step + k x block_step], 16 of them. */
    void (*winograd_in)(int side, const float *const *x, ptrdiff_t blocks, float *v, ptrdiff_t point_step,
                        ptrdiff_t block_step);
    /* p: [side x side][nr].  y[i x row + j x step + n] = the 4 x 4 outputs, plus bias[n], times slope[n] below zero, for
     * i < rows, j < columns, n < channels <= nr; later channels get any values. */
    void (*winograd_out)(int side, int channels, const float *p, const float *bias, const float *slope, float *y,
                         ptrdiff_t row, ptrdiff_t step, int rows, int columns);
    /* y[i x y_step + n] = act(x[i x x_step + n] + bias[n]) for i < pixels, n < nr. */
    void (*bias_act)(const float *x, ptrdiff_t x_step, const float *bias, float *y, ptrdiff_t y_step, ptrdiff_t pixels,
                     activation act);
    /* y[i] = act(x[i]); x may be y. */
    void (*activate)(const float *x, float *y, ptrdiff_t n, activation act);
    /* out[i] = clamp(floor(x[i] * 127.5 + 128), 0, 255), each operation rounded to float; 0 for NaN. */
    void (*to_bytes)(const float *x, uint8_t *out, ptrdiff_t n);
    /* y[i x y_step + j] += x[i x x_step + j] for i < rows, j < n; the rows of y are apart. */
    void (*add_rows)(const float *x, ptrdiff_t x_step, float *y, ptrdiff_t y_step, ptrdiff_t rows, ptrdiff_t n);
    /* y[i] = a[i] x factor + b[i], rounded in the same way for every i; y[i] = a[i] x b[i]. */
    void (*add)(const float *a, float factor, const float *b, float *y, ptrdiff_t n);
    void (*multiply)(const float *a, const float *b, float *y, ptrdiff_t n);
    /* y[i][j] = x[i][j] x scale[j] + shift[j], then act, for i < pixels, j < channels. */
    void (*affine)(const float *x, const float *scale, const float *shift, float *y, ptrdiff_t pixels,
                   ptrdiff_t channels, activation act);
    /* y[i] = a[i] + (b[i] - a[i]) x t. */
    void (*lerp)(const float *a, const float *b, float t, float *y, ptrdiff_t n);
    /* In what follows, `channels` is a multiple of nr. */
    /* mean[j]: the mean of x[i][j] over i < pixels; squares[j]: the sum of (x[i][j] - mean[j])^2. */
    void (*moments)(const float *x, ptrdiff_t pixels, ptrdiff_t channels, float *mean, float *squares);
    /* y[i][j] = x[i][j], times slope[j] below zero. */
    void (*prelu)(const float *x, const float *slope, float *y, ptrdiff_t pixels, ptrdiff_t channels);
    /* y[i] = x[i] held within low .. high. */
    void (*clamp)(const float *x, float *y, ptrdiff_t n, float low, float high);
    /* y[j] = sum over t < taps of x[t][j] x weights[t][j]. */
    void (*weigh)(int taps, const float *const *x, const float *const *weights, float *y, ptrdiff_t channels);
    /* y[i][j] = act(x[i][j] x scale[j] + (shift[j] + plane[i])), held within low .. high, for i < pixels; plane NULL: 0.
     * x may be y. */
    void (*styled)(const float *x, const float *scale, const float *shift, const float *plane, float *y,
                   ptrdiff_t pixels, ptrdiff_t channels, activation act, float low, float high);
    /* y[i] = sum over t < taps of x[t][i] x weights[t] for i < n, a multiple of nr. */
    void (*fir)(int taps, const float *const *x, const float *weights, float *y, ptrdiff_t n);
    /* Products of 16-bit numbers, docs/engine.md, "16-bit arithmetic".  A table may have none: then `int16_rate`, the
     * multiply-adds for one of floats, is 0, and what follows it is NULL. */
    double int16_rate;
    /* y[i / 16 x y_step + i % 16] = x[i] x scale, rounded to the nearest whole number (ties to even) within
     * +-INT16_MOST. */
    void (*to_int16)(const float *x, float scale, int16_t *y, ptrdiff_t y_step, ptrdiff_t n);
    /* As toom_in and winograd_in, of values that to_int16 brings to 16 bits: scale[p] is that of point p. */
    void (*toom_in_int16)(int points, int tile, const float *const *x, ptrdiff_t blocks, const float *scale, int16_t *v,
                          ptrdiff_t v_step);
    void (*winograd_in_int16)(int side, const float *const *x, ptrdiff_t blocks, const float *scale, int16_t *v,
                              ptrdiff_t point_step, ptrdiff_t block_step);
    /* As gemm and gemm_packed, with k a multiple of 16, at most INT16_SLICE; b lies as [k / 2][nr][2].  The sum is whole
     * and must not overflow 32 bits; scale[j] times it is added to c or overwrites it. */
    void (*gemm_int16)(int m, int columns, ptrdiff_t k, const int16_t *const *a, ptrdiff_t a_step, const int16_t *b,
                       const float *scale, float *const *c, int accumulate, const int16_t *next, int prefetch_quarters);
    void (*gemm_packed_int16)(int m, int columns, ptrdiff_t k, const int16_t *a, ptrdiff_t a_step, const int16_t *b,
                              const float *scale, float *c, ptrdiff_t c_step, int accumulate, const int16_t *next,
                              int prefetch_quarters);
} gan_kernels;

/* Every kernel file is compiled everywhere and is empty unless its processor is the target's.  To add a table, write
 * its file, declare it below, and list it in dispatch.c. */
#if defined(__x86_64__) && !defined(GAN_NO_VECTORS)
#define GAN_X86 1
#else
#define GAN_X86 0
#endif
#if defined(__aarch64__) && defined(__ARM_NEON)
#define GAN_ARM 1
#else
#define GAN_ARM 0
#endif
#if defined(__wasm_simd128__)
#define GAN_WASM 1
#else
#define GAN_WASM 0
#endif

extern const gan_kernels gan_i_generic;
extern const gan_kernels gan_i_neon; /* if GAN_ARM */
extern const gan_kernels gan_i_simd128; /* if GAN_WASM */
extern const gan_kernels gan_i_avx2; /* if GAN_X86 */
extern const gan_kernels gan_i_avx512; /* if GAN_X86 */
extern const gan_kernels gan_i_avx512vnni; /* if GAN_X86: the same, but for products of 16-bit numbers */

/* The table of this name, or if it is NULL the fastest; NULL if there is none that runs here. */
const gan_kernels *gan_i_kernels(const char *name);
/* The table's fma_per_cycle, for this processor: half of it if it executes the vectors in two halves, twice if it has
 * twice the units. */
int gan_i_fma_per_cycle(const gan_kernels *kernels);
/* The i-th table that this processor can run, from generic up; NULL past the last. */
const gan_kernels *gan_i_kernels_at(int i);

#endif
