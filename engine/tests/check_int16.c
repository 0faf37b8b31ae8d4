/* The kernels of 16-bit arithmetic against generic.c's, at the largest numbers too. */
#include "check.h"

enum { HALF = 16, MOST_VALUES = WINOGRAD * WINOGRAD * 3 * KBLOCK };

static int16_t whole(uint64_t *state, int most) { return (int16_t)(next_number(state) * (float)most); }

/* 16-bit numbers that end at a page that can't be read. */
static int16_t *int16s(uint64_t n) { return (int16_t *)(void *)floats((n + 1) / 2) + n % 2; }
static void release_int16s(int16_t *p, uint64_t n) { release((float *)(void *)(p - n % 2)); }

/* Sums as large as they get: every input is INT16_MOST, and the weights of a column add up to what it leaves. */
static int check_products(const gan_kernels *kernels, ptrdiff_t depth, int m, int largest) {
    const uint64_t n_a = (uint64_t)(m * depth), n_b = (uint64_t)(depth * kernels->nr),
                   n_c = (uint64_t)(m * kernels->nr);
    int16_t *a = int16s(n_a), *b = int16s(n_b), half_b[INT16_SLICE * HALF];
    float *scale = floats((uint64_t)kernels->nr), *c = floats(n_c), *want = floats(n_c), *packed = floats(n_c);
    uint64_t state = check_seed + 31;
    for (uint64_t i = 0; i < n_a; i++) a[i] = largest ? INT16_MOST : whole(&state, INT16_MOST);
    for (uint64_t i = 0; i < n_b; i++) b[i] = largest ? (int16_t)(INT32_MAX / INT16_MOST / depth) : whole(&state, 900);
    fill(scale, (uint64_t)kernels->nr, 32), fill(c, n_c, 33);
    int failed = 0;
    for (int accumulate = 0; accumulate < 2; accumulate++) {
        const int16_t *rows[MAX_MR];
        float *to[MAX_MR];
        memcpy(want, c, sizeof *c * n_c), memcpy(packed, c, sizeof *c * n_c);
        for (int first = 0; first < kernels->nr; first += HALF) {
            for (ptrdiff_t k = 0; k < depth / 2; k++)
                memcpy(half_b + k * HALF * 2, b + (k * kernels->nr + first) * 2, sizeof *b * HALF * 2);
            for (int i = 0; i < m; i += gan_i_generic.mr) {
                const int some = m - i < gan_i_generic.mr ? m - i : gan_i_generic.mr;
                for (int j = 0; j < some; j++)
                    rows[j] = a + (i + j) * KBLOCK, to[j] = want + (i + j) * kernels->nr + first;
                gan_i_generic.gemm_int16(some, HALF, depth, rows, m * KBLOCK, half_b, scale + first, to, accumulate,
                                         half_b, 0);
            }
        }
        for (int i = 0; i < m; i++) rows[i] = a + i * KBLOCK, to[i] = c + i * kernels->nr;
        kernels->gemm_packed_int16(m, kernels->nr, depth, a, m * KBLOCK, b, scale, packed, kernels->nr, accumulate, b,
                                   1);
        kernels->gemm_int16(m, kernels->nr, depth, rows, m * KBLOCK, b, scale, to, accumulate, b, 1 << m % 3);
        double error = 0; /* one rounding of the product or none: whole sums are alike */
        for (uint64_t i = 0; i < n_c; i++) {
            const double d = fabs((double)c[i] - (double)want[i]) / (1 + fabs((double)want[i])),
                         e = fabs((double)packed[i] - (double)c[i]);
            error = d > error ? d : error;
            error = e > 0 ? 1 : error;
        }
        failed += expect(error <= 3e-7, kernels->name, "gemm_int16", error);
        /* what wasn't asked for is free to be anything */
        for (int i = 0; i < m; i++) to[i] = want + i * kernels->nr;
        kernels->gemm_int16(m, kernels->nr / 2, depth, rows, m * KBLOCK, b, scale, to, 0, b, 0);
        kernels->gemm_packed_int16(m, kernels->nr / 2, depth, a, m * KBLOCK, b, scale, packed, kernels->nr, 0, b, 1);
        if (!accumulate)
            for (int i = 0; i < m; i++) {
                const size_t half = sizeof *c * (size_t)kernels->nr / 2;
                const ptrdiff_t row = i * kernels->nr;
                failed += expect(!memcmp(c + row, want + row, half) && !memcmp(c + row, packed + row, half),
                                 kernels->name, "gemm_int16 of half a panel", i);
            }
        kernels->gemm_packed_int16(m, kernels->nr / 4, depth, a, m * KBLOCK, b, scale, packed, kernels->nr, 0, b, 1);
        for (int i = 0; i < m && !accumulate; i++)
            failed += expect(
                !memcmp(c + i * kernels->nr, packed + i * kernels->nr, sizeof *c * (size_t)kernels->nr / 4),
                kernels->name, "gemm_packed_int16 of a quarter of a panel", i);
    }
    release_int16s(a, n_a), release_int16s(b, n_b), release(scale), release(c), release(want), release(packed);
    return failed;
}

/* Values at the points, as generic.c rounds them, to one whole number; `tile` is 0 for Winograd. */
static int check_values(const gan_kernels *kernels, int points, int tile) {
    const ptrdiff_t step = 2 * KBLOCK, blocks = 2;
    const int all = points * points, side = tile ? tile : points;
    float *x = floats((uint64_t)(side * side * blocks * KBLOCK)), scale[WINOGRAD * WINOGRAD];
    int16_t got[2 * MOST_VALUES] = {0}, want[2 * MOST_VALUES] = {0};
    const float *pixels[WINOGRAD * WINOGRAD];
    fill(x, (uint64_t)(side * side * blocks * KBLOCK), 34);
    x[3] = 1e30f, x[5] = -1e30f; /* beyond every range */
    for (int i = 0; i < all; i++) scale[i] = (float)INT16_MOST / (4 + (float)i);
    for (int i = 0; i < side * side; i++) pixels[i] = x + i * blocks * KBLOCK;
    if (!tile) {
        kernels->winograd_in_int16(points, pixels, blocks, scale, got, step, all * step);
        gan_i_generic.winograd_in_int16(points, pixels, blocks, scale, want, step, all * step);
    } else {
        kernels->toom_in_int16(points, tile, pixels, blocks, scale, got, step);
        gan_i_generic.toom_in_int16(points, tile, pixels, blocks, scale, want, step);
    }
    int error = 0, most = 0;
    for (ptrdiff_t i = 0; i < all * blocks * step; i++) {
        const int d = abs(got[i] - want[i]);
        error = d > error ? d : error;
        most = abs(got[i]) > most ? abs(got[i]) : most;
    }
    release(x);
    return expect(error <= 1 && most == INT16_MOST, kernels->name, "values in 16 bits", error);
}

int check_int16(const gan_kernels *kernels) {
    int failed = 0;
    if (!(kernels->int16_rate > 0)) return 0;
    for (int m = 1; m <= kernels->mr; m++)
        for (ptrdiff_t depth = KBLOCK; depth <= INT16_SLICE; depth *= 2)
            failed += check_products(kernels, depth, m, 0) + check_products(kernels, depth, m, 1);
    for (int points = 3; points <= MAX_TOOM; points++)
        for (int tile = 2; tile < points; tile++) failed += check_values(kernels, points, tile);
    failed += check_values(kernels, WINOGRAD, 0) + check_values(kernels, WINOGRAD_HALVED, 0) +
              check_values(kernels, WINOGRAD_SMALL, 0);
    const float odd[] = {0.5f, 1.5f, -2.5f, 1e9f, -1e9f, INFINITY, -INFINITY, NAN, 3};
    for (ptrdiff_t n = 0; n <= 9; n++) {
        int16_t got[9] = {7, 7, 7, 7, 7, 7, 7, 7, 7};
        const int16_t want[9] = {0, 2, -2, INT16_MOST, -INT16_MOST, INT16_MOST, -INT16_MOST, -INT16_MOST, 3};
        kernels->to_int16(odd, 1, got, KBLOCK, n);
        failed += expect(!memcmp(got, want, sizeof *got * (size_t)n) && (n == 9 || got[n] == 7), kernels->name,
                         "to_int16", (double)n);
    }
    return failed;
}
