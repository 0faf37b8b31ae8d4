/* Every kernel in plain C: the definition of what they compute, the oracle of the fast ones, and the fallback. */
#include <math.h>
#include <string.h>

#include "points.h"

enum { NR = 16, MR = 6 };

/* The value at each point of the polynomial with coefficients x[0 .. tile-1]; at infinity it is the last of them. */
static void evaluate(int points, int tile, const float *x, ptrdiff_t xs, float *y, ptrdiff_t ys) {
    for (int p = 0; p < points - 1; p++) {
        float sum = x[(tile - 1) * xs];
        for (int i = tile - 2; i >= 0; i--) sum = x[i * xs] + TOOM_POINTS[points - 3][p] * sum;
        y[p * ys] = sum;
    }
    y[(points - 1) * ys] = x[(tile - 1) * xs];
}

/* The coefficients of the polynomial of degree points-1 with these values: the inverse Vandermonde matrix. */
static void interpolate(int points, const float *p, ptrdiff_t ps, float *c, ptrdiff_t cs) {
    const float z = p[0], u = p[ps], h = p[2 * ps], inf = p[(points - 1) * ps];
    c[0] = z;
    c[(points - 1) * cs] = inf;
    if (points == 3) {
        c[cs] = z + inf - u;
    } else if (points == 4) {
        c[cs] = 0.5f * (u - h) - inf;
        c[2 * cs] = 0.5f * (u + h) - z;
    } else {
        const float t = p[3 * ps];
        c[cs] = 1.5f * z + 2.0f / 9 * u - 16.0f / 9 * h + 1.0f / 18 * t - inf;
        c[2 * cs] = -1.5f * z + 5.0f / 9 * u + 8.0f / 9 * h + 1.0f / 18 * t - 1.5f * inf;
        c[3 * cs] = -z + 2.0f / 9 * u + 8.0f / 9 * h - 1.0f / 9 * t + 1.5f * inf;
    }
}

static float activated(float x, activation act) {
    switch (act.kind) {
    case ACT_RELU:
        return x < 0 ? 0 : x; /* NaN propagates */
    case ACT_LEAKY_RELU:
        return x < 0 ? x * act.slope : x;
    case ACT_TANH:
        return tanhf(x);
    case ACT_SIGMOID:
        return 1 / (1 + expf(-x));
    default:
        return x;
    }
}

static void gemm(int m, int columns, ptrdiff_t k, const float *const *a, ptrdiff_t a_step, const float *b,
                 float *const *c, int accumulate, const float *next, int prefetch_quarters) {
    (void)next, (void)prefetch_quarters;
    for (int i = 0; i < m; i++) {
        float sum[NR] = {0};
        for (ptrdiff_t j = 0; j < k; j++) {
            const float x = a[i][j / KBLOCK * a_step + j % KBLOCK];
            for (int n = 0; n < columns; n++) sum[n] += x * b[j * NR + n];
        }
        for (int n = 0; n < columns; n++) c[i][n] = accumulate ? c[i][n] + sum[n] : sum[n];
    }
}

static void gemm_packed(int m, int columns, ptrdiff_t k, const float *a, ptrdiff_t a_step, const float *b, float *c,
                        ptrdiff_t c_step, int accumulate, const float *next, int prefetch_quarters) {
    const float *rows[MR];
    float *to[MR];
    for (int i = 0; i < m; i++) rows[i] = a + i * KBLOCK, to[i] = c + i * c_step;
    gemm(m, columns, k, rows, a_step, b, to, accumulate, next, prefetch_quarters);
}

static void toom_in(int points, int tile, const float *const *x, ptrdiff_t blocks, float *v, ptrdiff_t v_step) {
    for (ptrdiff_t c = 0; c < blocks * KBLOCK; c++) {
        float pixel[MAX_TOOM * MAX_TOOM] = {0}, half[MAX_TOOM * MAX_TOOM], full[MAX_TOOM * MAX_TOOM];
        for (int i = 0; i < tile * tile; i++) pixel[i] = x[i][c];
        for (int i = 0; i < tile; i++) evaluate(points, tile, pixel + i * tile, 1, half + i * points, 1);
        for (int j = 0; j < points; j++) evaluate(points, tile, half + j, points, full + j, points);
        float *out = v + c / KBLOCK * points * points * v_step + c % KBLOCK;
        for (int i = 0; i < points * points; i++) out[i * v_step] = full[i];
    }
}

static void toom_out(int points, int tile, const float *p, float *strip, ptrdiff_t row, int above, int left) {
    const int kept = points - tile;
    for (int n = 0; n < NR; n++) {
        float half[MAX_TOOM * MAX_TOOM], full[MAX_TOOM * MAX_TOOM];
        for (int i = 0; i < points; i++)
            interpolate(points, p + (ptrdiff_t)i * points * NR + n, NR, half + i * points, 1);
        for (int j = 0; j < points; j++) interpolate(points, half + j, points, full + j, points);
        for (int i = 0; i < points; i++)
            for (int j = 0; j < points; j++) {
                float *y = &strip[i * row + j * NR + n];
                *y = full[i * points + j] + ((i < kept && above) || (j < kept && left) ? *y : 0);
            }
    }
}

/* Values of the transposed interpolation: the polynomials whose zeros are all other points, on the inputs. */
static void winograd_values(int side, const float *d, ptrdiff_t ds, float *v, ptrdiff_t vs) {
    if (side == WINOGRAD_SMALL) {
        v[0] = d[ds] - d[0], v[vs] = d[ds], v[2 * vs] = d[2 * ds] - d[ds];
        return;
    }
    if (side == WINOGRAD_HALVED) {
        const float a = (float)HALVED_POINTS[0], b = (float)HALVED_POINTS[2];
        const float q1 = d[3 * ds] - b * b * d[ds], q2 = d[3 * ds] - a * a * d[ds];
        const float e1 = a * (d[2 * ds] - b * b * d[0]), e2 = b * (d[2 * ds] - a * a * d[0]);
        v[0] = q1 + e1, v[vs] = q1 - e1, v[2 * vs] = q2 + e2, v[3 * vs] = q2 - e2;
        v[4 * vs] = d[4 * ds] - (a * a + b * b) * d[2 * ds] + a * a * b * b * d[0];
        return;
    }
    const float half = (float)WINOGRAD_POINTS[1], two = (float)WINOGRAD_POINTS[3];
    const float q1 = half * (d[3 * ds] - 2 * d[ds]), q2 = two * (d[3 * ds] - 0.5f * d[ds]);
    const float e1 = d[4 * ds] - 2 * d[2 * ds], e2 = d[4 * ds] - 0.5f * d[2 * ds];
    v[0] = d[0] - 2.5f * d[2 * ds] + d[4 * ds];
    v[vs] = e1 + q1, v[2 * vs] = e1 - q1, v[3 * vs] = e2 + q2, v[4 * vs] = e2 - q2;
    v[5 * vs] = d[ds] - 2.5f * d[3 * ds] + d[5 * ds];
}

/* Output i is the sum over the points of point^i times the product there. */
static void winograd_outputs(int side, const float *p, ptrdiff_t ps, float *y, ptrdiff_t ys) {
    if (side == WINOGRAD_SMALL) {
        y[0] = p[0] + p[ps], y[ys] = p[ps] + p[2 * ps];
        return;
    }
    if (side == WINOGRAD_HALVED) {
        const float a = (float)HALVED_POINTS[0], b = (float)HALVED_POINTS[2];
        const float s1 = p[0] + p[ps], s2 = p[2 * ps] + p[3 * ps];
        const float q1 = a * (p[0] - p[ps]), q2 = b * (p[2 * ps] - p[3 * ps]);
        y[0] = s1 + s2, y[ys] = q1 + q2, y[2 * ys] = a * a * s1 + b * b * s2;
        y[3 * ys] = a * a * q1 + b * b * q2 + p[4 * ps];
        return;
    }
    const float half = (float)WINOGRAD_POINTS[1], two = (float)WINOGRAD_POINTS[3];
    const float s1 = p[ps] + p[2 * ps], s2 = p[3 * ps] + p[4 * ps];
    const float q1 = half * (p[ps] - p[2 * ps]), q2 = two * (p[3 * ps] - p[4 * ps]);
    y[0] = p[0] + s1 + s2;
    y[ys] = q1 + q2;
    y[2 * ys] = 0.5f * s1 + 2 * s2;
    y[3 * ys] = 0.5f * q1 + 2 * q2 + p[5 * ps];
}

static void winograd_in(int side, const float *const *x, ptrdiff_t blocks, float *v, ptrdiff_t point_step,
                        ptrdiff_t block_step) {
    for (ptrdiff_t c = 0; c < blocks * KBLOCK; c++) {
        float pixel[WINOGRAD * WINOGRAD], half[WINOGRAD * WINOGRAD], full[WINOGRAD * WINOGRAD];
        for (int i = 0; i < side * side; i++) pixel[i] = x[i][c];
        for (int i = 0; i < side; i++) winograd_values(side, pixel + i * side, 1, half + i * side, 1);
        for (int j = 0; j < side; j++) winograd_values(side, half + j, side, full + j, side);
        float *out = v + c / KBLOCK * block_step + c % KBLOCK;
        for (int i = 0; i < side * side; i++) out[i * point_step] = full[i];
    }
}

static void winograd_out(int side, int channels, const float *p, const float *bias, const float *slope, float *y,
                         ptrdiff_t row, ptrdiff_t step, int rows, int columns) {
    enum { TILE = WINOGRAD_TILE };
    for (int n = 0; n < channels; n++) {
        float half[WINOGRAD * TILE] = {0}, full[TILE * TILE];
        for (int i = 0; i < side; i++) winograd_outputs(side, p + (ptrdiff_t)i * side * NR + n, NR, half + i * TILE, 1);
        for (int j = 0; j < winograd_tile(side); j++) winograd_outputs(side, half + j, TILE, full + j, TILE);
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < columns; j++) {
                const float sum = full[i * TILE + j] + bias[n];
                y[i * row + j * step + n] = sum < 0 ? sum * slope[n] : sum;
            }
    }
}

static void bias_act(const float *x, ptrdiff_t x_step, const float *bias, float *y, ptrdiff_t y_step, ptrdiff_t pixels,
                     activation act) {
    for (ptrdiff_t i = 0; i < pixels; i++)
        for (int n = 0; n < NR; n++) {
            const float sum = x[i * x_step + n] + bias[n];
            y[i * y_step + n] = act.kind != ACT_PRELU ? activated(sum, act) : sum < 0 ? sum * act.slopes[n] : sum;
        }
}

static void activate(const float *x, float *y, ptrdiff_t n, activation act) {
    for (ptrdiff_t i = 0; i < n; i++) y[i] = activated(x[i], act);
}

static void to_bytes(const float *x, uint8_t *out, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) {
        const float scaled = x[i] * 127.5f, y = scaled + 128.0f;
        out[i] = !(y > 0) ? 0 : y >= 255 ? 255 : (uint8_t)y;
    }
}

static void add_rows(const float *x, ptrdiff_t x_step, float *y, ptrdiff_t y_step, ptrdiff_t rows, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t j = 0; j < n; j++) y[i * y_step + j] += x[i * x_step + j];
}

static void add(const float *a, float factor, const float *b, float *y, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) y[i] = a[i] * factor + b[i];
}

static void multiply(const float *a, const float *b, float *y, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) y[i] = a[i] * b[i];
}

static void affine(const float *x, const float *scale, const float *shift, float *y, ptrdiff_t pixels,
                   ptrdiff_t channels, activation act) {
    for (ptrdiff_t i = 0; i < pixels * channels; i++)
        y[i] = activated(x[i] * scale[i % channels] + shift[i % channels], act);
}

static void lerp(const float *a, const float *b, float t, float *y, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) y[i] = a[i] + (b[i] - a[i]) * t;
}

static void moments(const float *x, ptrdiff_t pixels, ptrdiff_t channels, float *mean, float *squares) {
    for (ptrdiff_t j = 0; j < channels; j++) {
        double sum = 0, square = 0;
        for (ptrdiff_t i = 0; i < pixels; i++) sum += (double)x[i * channels + j];
        mean[j] = (float)(sum / (double)pixels);
        for (ptrdiff_t i = 0; i < pixels; i++) {
            const double d = (double)x[i * channels + j] - (double)mean[j];
            square += d * d;
        }
        squares[j] = (float)square;
    }
}

static void prelu(const float *x, const float *slope, float *y, ptrdiff_t pixels, ptrdiff_t channels) {
    for (ptrdiff_t i = 0; i < pixels * channels; i++) y[i] = x[i] < 0 ? x[i] * slope[i % channels] : x[i];
}

static void clamp(const float *x, float *y, ptrdiff_t n, float low, float high) {
    for (ptrdiff_t i = 0; i < n; i++) y[i] = x[i] < low ? low : x[i] > high ? high : x[i]; /* NaN propagates */
}

static void weigh(int taps, const float *const *x, const float *const *weights, float *y, ptrdiff_t channels) {
    for (ptrdiff_t j = 0; j < channels; j++) {
        float sum = 0;
        for (int t = 0; t < taps; t++) sum += x[t][j] * weights[t][j];
        y[j] = sum;
    }
}

static void to_int16(const float *x, float scale, int16_t *y, ptrdiff_t y_step, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) {
        const float scaled = x[i] * scale, most = INT16_MOST;
        int16_t *to = y + i / KBLOCK * y_step + i % KBLOCK;
        *to = (int16_t)(!(scaled > -most) ? -most : scaled > most ? most : nearbyintf(scaled)); /* NaN is the least */
    }
}

/* The floats of `transform`, which lie `step` apart, in 16 bits. */
static void points_to_int16(int points, const float *from, ptrdiff_t step, const float *scale, int16_t *to) {
    for (int p = 0; p < points; p++) to_int16(from + p * KBLOCK, scale[p], to + p * step, KBLOCK, KBLOCK);
}

static void toom_in_int16(int points, int tile, const float *const *x, ptrdiff_t blocks, const float *scale, int16_t *v,
                          ptrdiff_t v_step) {
    float values[MAX_TOOM * MAX_TOOM * KBLOCK];
    const float *at[MAX_TOOM * MAX_TOOM];
    for (ptrdiff_t b = 0; b < blocks; b++) {
        for (int i = 0; i < tile * tile; i++) at[i] = x[i] + b * KBLOCK;
        toom_in(points, tile, at, 1, values, KBLOCK);
        points_to_int16(points * points, values, v_step, scale, v + b * points * points * v_step);
    }
}

static void winograd_in_int16(int side, const float *const *x, ptrdiff_t blocks, const float *scale, int16_t *v,
                              ptrdiff_t point_step, ptrdiff_t block_step) {
    float values[WINOGRAD * WINOGRAD * KBLOCK];
    const float *at[WINOGRAD * WINOGRAD];
    for (ptrdiff_t b = 0; b < blocks; b++) {
        for (int i = 0; i < side * side; i++) at[i] = x[i] + b * KBLOCK;
        winograd_in(side, at, 1, values, KBLOCK, 0);
        points_to_int16(side * side, values, point_step, scale, v + b * block_step);
    }
}

static void gemm_int16(int m, int columns, ptrdiff_t k, const int16_t *const *a, ptrdiff_t a_step, const int16_t *b,
                       const float *scale, float *const *c, int accumulate, const int16_t *next,
                       int prefetch_quarters) {
    (void)next, (void)prefetch_quarters;
    for (int i = 0; i < m; i++) {
        int32_t sum[NR] = {0};
        for (ptrdiff_t j = 0; j < k; j++) {
            const int32_t x = a[i][j / KBLOCK * a_step + j % KBLOCK];
            for (int n = 0; n < columns; n++) sum[n] += x * b[(j / 2 * NR + n) * 2 + j % 2];
        }
        for (int n = 0; n < columns; n++)
            c[i][n] = accumulate ? c[i][n] + (float)sum[n] * scale[n] : (float)sum[n] * scale[n];
    }
}

static void gemm_packed_int16(int m, int columns, ptrdiff_t k, const int16_t *a, ptrdiff_t a_step, const int16_t *b,
                              const float *scale, float *c, ptrdiff_t c_step, int accumulate, const int16_t *next,
                              int prefetch_quarters) {
    const int16_t *rows[MR];
    float *to[MR];
    for (int i = 0; i < m; i++) rows[i] = a + i * KBLOCK, to[i] = c + i * c_step;
    gemm_int16(m, columns, k, rows, a_step, b, scale, to, accumulate, next, prefetch_quarters);
}

static void styled(const float *x, const float *scale, const float *shift, const float *plane, float *y,
                   ptrdiff_t pixels, ptrdiff_t channels, activation act, float low, float high) {
    for (ptrdiff_t i = 0; i < pixels; i++)
        for (ptrdiff_t j = 0; j < channels; j++) {
            const float sum = x[i * channels + j] * scale[j] + (shift[j] + (plane ? plane[i] : 0));
            const float value = activated(sum, act);
            y[i * channels + j] = value < low ? low : value > high ? high : value; /* NaN propagates */
        }
}

static void fir(int taps, const float *const *x, const float *weights, float *y, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) {
        float sum = 0;
        for (int t = 0; t < taps; t++) sum += x[t][i] * weights[t];
        y[i] = sum;
    }
}

const gan_kernels gan_i_generic = {
    .name = "generic",
    .nr = NR,
    .mr = MR,
    .fma_per_cycle = 1,
    .gemm = gemm,
    .gemm_packed = gemm_packed,
    .toom_in = toom_in,
    .toom_out = toom_out,
    .winograd_in = winograd_in,
    .winograd_out = winograd_out,
    .bias_act = bias_act,
    .activate = activate,
    .to_bytes = to_bytes,
    .add_rows = add_rows,
    .add = add,
    .multiply = multiply,
    .affine = affine,
    .lerp = lerp,
    .moments = moments,
    .prelu = prelu,
    .clamp = clamp,
    .weigh = weigh,
    .int16_rate = 1.2,
    .to_int16 = to_int16,
    .toom_in_int16 = toom_in_int16,
    .winograd_in_int16 = winograd_in_int16,
    .gemm_int16 = gemm_int16,
    .gemm_packed_int16 = gemm_packed_int16,
    .styled = styled,
    .fir = fir,
};
