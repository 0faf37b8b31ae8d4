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
        return x < 0 ? 0 : x; /* what is no number stays none */
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

static void gemm(int m, ptrdiff_t k, const float *const *a, ptrdiff_t a_step, const float *b, float *const *c, int accumulate,
                 const float *next) {
    (void)next;
    for (int i = 0; i < m; i++) {
        float sum[NR] = {0};
        for (ptrdiff_t j = 0; j < k; j++) {
            const float x = a[i][j / KBLOCK * a_step + j % KBLOCK];
            for (int n = 0; n < NR; n++) sum[n] += x * b[j * NR + n];
        }
        for (int n = 0; n < NR; n++) c[i][n] = accumulate ? c[i][n] + sum[n] : sum[n];
    }
}

static void gemm_packed(int m, ptrdiff_t k, const float *a, ptrdiff_t a_step, const float *b, float *c, ptrdiff_t c_step, int accumulate,
                      const float *next, int prefetch_quarters, const float *next_a) {
    (void)prefetch_quarters, (void)next_a;
    const float *rows[MR];
    float *to[MR];
    for (int i = 0; i < m; i++) rows[i] = a + i * KBLOCK, to[i] = c + i * c_step;
    gemm(m, k, rows, a_step, b, to, accumulate, next);
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
        for (int i = 0; i < points; i++) interpolate(points, p + (ptrdiff_t)i * points * NR + n, NR, half + i * points, 1);
        for (int j = 0; j < points; j++) interpolate(points, half + j, points, full + j, points);
        for (int i = 0; i < points; i++)
            for (int j = 0; j < points; j++) {
                float *y = &strip[i * row + j * NR + n];
                *y = full[i * points + j] + ((i < kept && above) || (j < kept && left) ? *y : 0);
            }
    }
}

static void bias_act(const float *x, ptrdiff_t x_step, const float *bias, float *y, ptrdiff_t y_step, ptrdiff_t pixels,
                   activation act) {
    for (ptrdiff_t i = 0; i < pixels; i++)
        for (int n = 0; n < NR; n++) y[i * y_step + n] = activated(x[i * x_step + n] + bias[n], act);
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

static void add(const float *a, const float *b, float *y, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) y[i] = a[i] + b[i];
}

static void multiply(const float *a, const float *b, float *y, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) y[i] = a[i] * b[i];
}

static void affine(const float *x, const float *scale, const float *shift, float *y, ptrdiff_t pixels, ptrdiff_t channels,
                   activation act) {
    for (ptrdiff_t i = 0; i < pixels * channels; i++)
        y[i] = activated(x[i] * scale[i % channels] + shift[i % channels], act);
}

static void lerp(const float *a, const float *b, float t, float *y, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) y[i] = a[i] + (b[i] - a[i]) * t;
}

const gan_kernels gan_i_generic = {
    .name = "generic", .nr = NR, .mr = MR, .fma_per_cycle = 1,
    .gemm = gemm, .gemm_packed = gemm_packed, .toom_in = toom_in, .toom_out = toom_out,
    .bias_act = bias_act, .activate = activate, .to_bytes = to_bytes,
    .add_rows = add_rows, .add = add, .multiply = multiply, .affine = affine, .lerp = lerp,
};
