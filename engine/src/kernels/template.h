/* The fast kernels over a vector of VL floats and a register tile of MR rows by NV vectors.
 *
 * The file that includes this one defines, for its processor: VL, MR, NV, NAME, RUNS, TABLE, FMA_PER_CYCLE; the
 * type `vf` of VL floats; and v_load, v_store, v_set1, v_add, v_sub, v_mul, v_fma (a x b + c, one rounding or
 * two), v_fnma (c - a x b), v_max, v_min (the second operand if the first is NaN), v_div,
 * v_pow2 (2^n for whole n within -126..127), v_bytes (store clamped truncations to 0..255).  With INT16_RATE it also
 * defines v_int16 (store whole numbers, rounded, in 16 bits) and what template_int16.h says.  With QUARTERS it defines the
 * type `vq` of VL / 2 floats and q_load, q_store, q_set1, q_add, q_mul and q_fma: a quarter of a panel's columns, if NV
 * is 2, has a kernel of its own.
 */
#include <string.h>

#include "kernels.h"

enum { NR = NV * VL };
#define INLINE static inline __attribute__((always_inline))
_Static_assert(MR <= (int)MAX_MR && (int)NR <= (int)MAX_NR && NR % 16 == 0 && KBLOCK % VL == 0, "tile");

#include "template_gemm.h"
#ifdef INT16_RATE
#define INT16(name) name##_int16
#include "template_int16.h"
#undef INT16
#endif

/* A transformed value into v[at]: as it is, or times *scale in 16 bits.  `narrow` is a constant in every use. */
INLINE void put(const int narrow, void *v, ptrdiff_t at, vf x, const float *scale) {
#ifdef INT16_RATE
    if (narrow) {
        const vf scaled = v_max(v_mul(x, v_set1(*scale)), v_set1(-INT16_MOST)); /* NaN is the least */
        v_int16((int16_t *)v + at, v_min(scaled, v_set1(INT16_MOST)));
        return;
    }
#endif
    (void)narrow, (void)scale;
    v_store((float *)v + at, x);
}

/* ---- Toom-Cook transforms ---- */

/* `points` and `tile` are constants in every use. */
INLINE void evaluate(const int points, const int tile, const vf *x, const int xs, vf *y, const int ys) {
    const vf a = x[0], b = x[xs];
    y[0] = a;
    if (points == 3) {
        y[ys] = v_sub(a, b);
    } else if (points == 4) {
        const vf even = tile > 2 ? v_add(a, x[2 * xs]) : a;
        y[ys] = v_add(even, b);
        y[2 * ys] = v_sub(even, b);
    } else {
        const vf half = v_set1(0.5f), two = v_set1(2), c = tile > 2 ? x[2 * xs] : v_set1(0);
        y[ys] = tile > 2 ? v_add(v_add(a, b), tile > 3 ? v_add(c, x[3 * xs]) : c) : v_add(a, b);
        const vf c_half = tile > 3 ? v_fnma(half, x[3 * xs], c) : c, c_two = tile > 3 ? v_fnma(two, x[3 * xs], c) : c;
        y[2 * ys] = v_fnma(half, tile > 2 ? v_fnma(half, c_half, b) : b, a);
        y[3 * ys] = v_fnma(two, tile > 2 ? v_fnma(two, c_two, b) : b, a);
    }
    y[(points - 1) * ys] = x[(tile - 1) * xs];
}

INLINE void interpolate(const int points, const vf *p, const int ps, vf *c, const int cs) {
    const vf z = p[0], u = p[ps], h = p[2 * ps], inf = p[(points - 1) * ps];
    c[0] = z;
    if (points == 3) {
        c[cs] = v_sub(v_add(z, inf), u);
    } else if (points == 4) {
        const vf half = v_set1(0.5f);
        c[cs] = v_sub(v_mul(half, v_sub(u, h)), inf);
        c[2 * cs] = v_sub(v_mul(half, v_add(u, h)), z);
    } else {
        const vf t = p[3 * ps], a = v_set1(1.5f), e = v_set1(8.0f / 9), t18 = v_mul(t, v_set1(1.0f / 18));
        const vf u2 = v_mul(u, v_set1(2.0f / 9));
        c[cs] = v_sub(v_fma(a, z, v_fnma(v_set1(16.0f / 9), h, v_add(u2, t18))), inf);
        c[2 * cs] = v_fnma(a, v_add(z, inf), v_fma(v_set1(5.0f / 9), u, v_fma(e, h, t18)));
        c[3 * cs] = v_sub(v_fma(a, inf, v_fma(e, h, v_sub(u2, v_add(t18, t18)))), z);
    }
    c[(points - 1) * cs] = inf;
}

INLINE void in_points(const int points, const int tile, const float *const *x, ptrdiff_t blocks, const int narrow,
                      const float *scale, void *v, ptrdiff_t v_step) {
    for (ptrdiff_t block = 0, first = 0; block < blocks; block++, first += points * points * v_step) {
        for (int part = 0; part < KBLOCK; part += VL) {
            vf rows[(MAX_TOOM - 1) * MAX_TOOM];
#pragma GCC unroll 8
            for (int i = 0; i < tile; i++) {
                vf pixel[MAX_TOOM];
#pragma GCC unroll 8
                for (int j = 0; j < tile; j++) pixel[j] = v_load(x[i * tile + j] + block * KBLOCK + part);
                evaluate(points, tile, pixel, 1, rows + i * points, 1);
            }
#pragma GCC unroll 8
            for (int j = 0; j < points; j++) {
                vf out[MAX_TOOM];
                evaluate(points, tile, rows + j, points, out, 1);
#pragma GCC unroll 8
                for (int i = 0; i < points; i++) {
                    const int p = i * points + j;
                    put(narrow, v, first + p * v_step + part, out[i], narrow ? scale + p : scale);
                }
            }
        }
    }
}

INLINE void toom_in_as(const int narrow, int points, int tile, const float *const *x, ptrdiff_t blocks,
                       const float *scale, void *v, ptrdiff_t v_step) {
    switch (points * 8 + tile) {
    case 3 * 8 + 2:
        in_points(3, 2, x, blocks, narrow, scale, v, v_step);
        break;
    case 4 * 8 + 2:
        in_points(4, 2, x, blocks, narrow, scale, v, v_step);
        break;
    case 4 * 8 + 3:
        in_points(4, 3, x, blocks, narrow, scale, v, v_step);
        break;
    case 5 * 8 + 2:
        in_points(5, 2, x, blocks, narrow, scale, v, v_step);
        break;
    case 5 * 8 + 3:
        in_points(5, 3, x, blocks, narrow, scale, v, v_step);
        break;
    case 5 * 8 + 4:
        in_points(5, 4, x, blocks, narrow, scale, v, v_step);
        break;
    }
}

static void toom_in(int points, int tile, const float *const *x, ptrdiff_t blocks, float *v, ptrdiff_t v_step) {
    toom_in_as(0, points, tile, x, blocks, NULL, v, v_step);
}

#ifdef INT16_RATE
static void toom_in_int16(int points, int tile, const float *const *x, ptrdiff_t blocks, const float *scale, int16_t *v,
                          ptrdiff_t v_step) {
    toom_in_as(1, points, tile, x, blocks, scale, v, v_step);
}

static void to_int16(const float *x, float scale, int16_t *y, ptrdiff_t y_step, ptrdiff_t n) {
    ptrdiff_t i = 0;
    for (; i + VL <= n; i += VL) put(1, y, i / KBLOCK * y_step + i % KBLOCK, v_load(x + i), &scale);
    if (i < n) {
        float rest[VL] = {0};
        int16_t last[VL];
        memcpy(rest, x + i, sizeof(float) * (size_t)(n - i));
        put(1, last, 0, v_load(rest), &scale);
        memcpy(y + i / KBLOCK * y_step + i % KBLOCK, last, sizeof *y * (size_t)(n - i));
    }
}
#endif

/* `kept`, the coefficients that neighboring tiles share, is a constant in every use too. */
INLINE void out_points(const int points, const int kept, const float *p, float *strip, ptrdiff_t row, int above,
                       int left) {
    for (int part = 0; part < NR; part += VL) {
        vf columns[MAX_TOOM * MAX_TOOM];
#pragma GCC unroll 8
        for (int j = 0; j < points; j++) {
            vf value[MAX_TOOM];
#pragma GCC unroll 8
            for (int i = 0; i < points; i++) value[i] = v_load(p + (ptrdiff_t)(i * points + j) * NR + part);
            interpolate(points, value, 1, columns + j, points);
        }
#pragma GCC unroll 8
        for (int i = 0; i < points; i++) {
            vf out[MAX_TOOM];
            interpolate(points, columns + i * points, 1, out, 1);
#pragma GCC unroll 8
            for (int j = 0; j < points; j++) {
                float *y = strip + i * row + (ptrdiff_t)j * NR + part;
                const int old = (i < kept && above) || (j < kept && left);
                v_store(y, old ? v_add(v_load(y), out[j]) : out[j]);
            }
        }
    }
}

static void toom_out(int points, int tile, const float *p, float *strip, ptrdiff_t row, int above, int left) {
    switch (points * 8 + points - tile) {
    case 3 * 8 + 1:
        out_points(3, 1, p, strip, row, above, left);
        break;
    case 4 * 8 + 1:
        out_points(4, 1, p, strip, row, above, left);
        break;
    case 4 * 8 + 2:
        out_points(4, 2, p, strip, row, above, left);
        break;
    case 5 * 8 + 1:
        out_points(5, 1, p, strip, row, above, left);
        break;
    case 5 * 8 + 2:
        out_points(5, 2, p, strip, row, above, left);
        break;
    case 5 * 8 + 3:
        out_points(5, 3, p, strip, row, above, left);
        break;
    }
}

#include "template_act.h"
#include "template_winograd.h"

/* ---- bytes and elementwise ---- */

static void to_bytes(const float *x, uint8_t *out, ptrdiff_t n) {
    const vf factor = v_set1(127.5f), offset = v_set1(128);
    ptrdiff_t i = 0;
    for (; i + VL <= n; i += VL) v_bytes(out + i, v_add(v_mul(v_load(x + i), factor), offset));
    if (i < n) {
        float rest[VL] = {0};
        uint8_t last[VL];
        memcpy(rest, x + i, sizeof(float) * (size_t)(n - i));
        v_bytes(last, v_add(v_mul(v_load(rest), factor), offset));
        memcpy(out + i, last, (size_t)(n - i));
    }
}

/* Rows of 4 to 16 floats are the rule here (a kernel's width times the image's channels): groups of four. */
typedef float four __attribute__((vector_size(16), aligned(4), may_alias));

static void add_rows(const float *x, ptrdiff_t x_step, float *y, ptrdiff_t y_step, ptrdiff_t rows, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < rows; i++, x += x_step, y += y_step) {
        ptrdiff_t j = 0;
        for (; j + 4 <= n; j += 4) *(four *)(y + j) += *(const four *)(x + j);
        for (; j < n; j++) y[j] += x[j];
    }
}

static void add(const float *a, float factor, const float *b, float *y, ptrdiff_t n) {
    const vf times = v_set1(factor);
    ptrdiff_t i = 0;
    for (; i + VL <= n; i += VL) v_store(y + i, v_fma(v_load(a + i), times, v_load(b + i)));
    if (i < n) {
        float rest[2][VL] = {{0}};
        memcpy(rest[0], a + i, sizeof(float) * (size_t)(n - i));
        memcpy(rest[1], b + i, sizeof(float) * (size_t)(n - i));
        v_store(rest[0], v_fma(v_load(rest[0]), times, v_load(rest[1])));
        memcpy(y + i, rest[0], sizeof(float) * (size_t)(n - i));
    }
}

static void multiply(const float *a, const float *b, float *y, ptrdiff_t n) {
    ptrdiff_t i = 0;
    for (; i + VL <= n; i += VL) v_store(y + i, v_mul(v_load(a + i), v_load(b + i)));
    for (; i < n; i++) y[i] = a[i] * b[i];
}

INLINE void affine_kind(const float *x, const float *scale, const float *shift, float *y, ptrdiff_t pixels,
                        ptrdiff_t channels, const activation_kind kind, float slope) {
    for (ptrdiff_t i = 0; i < pixels; i++)
        for (ptrdiff_t j = 0; j < channels; j += VL)
            v_store(
                y + i * channels + j,
                v_act(v_fma(v_load(x + i * channels + j), v_load(scale + j), v_load(shift + j)), kind, v_set1(slope)));
}

/* `channels` is a multiple of NR. */
static void affine(const float *x, const float *scale, const float *shift, float *y, ptrdiff_t pixels,
                   ptrdiff_t channels, activation act) {
#define CALL(kind) affine_kind(x, scale, shift, y, pixels, channels, kind, act.slope)
    BY_KIND(CALL)
#undef CALL
}

static void lerp(const float *a, const float *b, float t, float *y, ptrdiff_t n) {
    const vf weight = v_set1(t);
    ptrdiff_t i = 0;
    for (; i + VL <= n; i += VL) {
        const vf from = v_load(a + i);
        v_store(y + i, v_fma(v_sub(v_load(b + i), from), weight, from));
    }
    for (; i < n; i++) y[i] = a[i] + (b[i] - a[i]) * t;
}

/* ---- norms, slopes and filters per channel ---- */

/* sum[j], squares[j] = the sums of x - about and of its square, over the pixels: NV vectors of channels.  The same number
 * of pixels behind them is prefetched, which a processor doesn't do by itself in steps of whole pixels. */
INLINE void deviations(const float *x, ptrdiff_t pixels, ptrdiff_t channels, const vf about[NV], vf sum[NV],
                       vf squares[NV]) {
    vf odd[NV], odd_squares[NV]; /* the sums of every other pixel */
    for (int j = 0; j < NV; j++) sum[j] = squares[j] = odd[j] = odd_squares[j] = v_set1(0);
    ptrdiff_t i = 0;
    for (; i + 2 <= pixels; i += 2) {
        for (int j = 0; j < NR; j += 16) {
            __builtin_prefetch(x + (i + pixels) * channels + j, 0, 2);
            __builtin_prefetch(x + (i + 1 + pixels) * channels + j, 0, 2);
        }
#pragma GCC unroll 8
        for (int j = 0; j < NV; j++) {
            const vf d = v_sub(v_load(x + i * channels + j * VL), about[j]),
                     e = v_sub(v_load(x + (i + 1) * channels + j * VL), about[j]);
            sum[j] = v_add(sum[j], d), squares[j] = v_fma(d, d, squares[j]);
            odd[j] = v_add(odd[j], e), odd_squares[j] = v_fma(e, e, odd_squares[j]);
        }
    }
    for (; i < pixels; i++)
        for (int j = 0; j < NV; j++) {
            const vf d = v_sub(v_load(x + i * channels + j * VL), about[j]);
            sum[j] = v_add(sum[j], d), squares[j] = v_fma(d, d, squares[j]);
        }
    for (int j = 0; j < NV; j++) sum[j] = v_add(sum[j], odd[j]), squares[j] = v_add(squares[j], odd_squares[j]);
}

/* Pixels are taken in groups.  The moments of a group are summed about the mean of the pixels before it, which keeps the
 * numbers small, so that they round little, and joined to those of these pixels. */
static void moments(const float *x, ptrdiff_t pixels, ptrdiff_t channels, float *mean, float *squares) {
    enum { GROUP = 16 };
    for (ptrdiff_t before = 0; before < pixels; before += GROUP) {
        const ptrdiff_t n = before + GROUP < pixels ? GROUP : pixels - before;
        const vf part = v_set1(1 / (float)n), share = v_set1((float)n / (float)(before + n)),
                 old = v_set1((float)before);
        for (ptrdiff_t first = 0; first < channels; first += NR) {
            const float *from = x + before * channels + first;
            vf about[NV], sum[NV], summed[NV];
            for (int j = 0; j < NV; j++) about[j] = v_load((before ? mean + first : from) + j * VL);
            deviations(from, n, channels, about, sum, summed);
            for (int j = 0; j < NV; j++) {
                float *to = mean + first + j * VL, *to_squares = squares + first + j * VL;
                const vf apart = v_mul(sum[j], part); /* the group's mean from `about` */
                vf middle = v_add(about[j], apart), all = v_max(v_set1(0), v_fnma(sum[j], apart, summed[j]));
                if (before) {
                    const vf moved = v_mul(apart, share);
                    middle = v_add(about[j], moved);
                    all = v_add(all, v_fma(v_mul(moved, old), apart, v_load(to_squares)));
                }
                v_store(to, middle);
                v_store(to_squares, all);
            }
        }
    }
}

static void prelu(const float *x, const float *slope, float *y, ptrdiff_t pixels, ptrdiff_t channels) {
    for (ptrdiff_t i = 0; i < pixels; i++)
        for (ptrdiff_t j = 0; j < channels; j += VL)
            v_store(y + i * channels + j, v_act(v_load(x + i * channels + j), ACT_LEAKY_RELU, v_load(slope + j)));
}

static void clamp(const float *x, float *y, ptrdiff_t n, float low, float high) {
    const vf least = v_set1(low), most = v_set1(high);
    ptrdiff_t i = 0;
    for (; i + VL <= n; i += VL) v_store(y + i, v_min(most, v_max(least, v_load(x + i))));
    for (; i < n; i++) y[i] = x[i] < low ? low : x[i] > high ? high : x[i];
}

static void weigh(int taps, const float *const *x, const float *const *weights, float *y, ptrdiff_t channels) {
    for (ptrdiff_t j = 0; j < channels; j += VL) {
        vf sum = v_set1(0);
        for (int t = 0; t < taps; t++) sum = v_fma(v_load(x[t] + j), v_load(weights[t] + j), sum);
        v_store(y + j, sum);
    }
}

#include "template_style.h"

#define INT16(name) name##_int16
#include "template_table.h"
#undef INT16
