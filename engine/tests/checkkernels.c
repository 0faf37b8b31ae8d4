/* Every kernel of every table against generic.c's, on odd sizes and misaligned buffers; then every way to compute
 * a layer (checklayers.c).  With --errors: how far each method is from float64 as well.  With --bench: the share of the multiply-add peak, kernel by kernel and layer by layer. */
#include "check.h"
#include "kernels/points.h"

enum { HALF = 16 }; /* generic.c's panel width; a wider panel is checked half by half */

/* The 16 columns of a [rows][nr] panel from `first` on. */
static float *columns(const float *b, ptrdiff_t rows, int nr, int first) {
    float *out = floats((uint64_t)rows * HALF);
    for (ptrdiff_t i = 0; i < rows; i++) memcpy(out + i * HALF, b + i * nr + first, sizeof *out * HALF);
    return out;
}

/* Rows side by side against the same rows by their addresses. */
static int check_gemm_packed(const gan_kernels *k) {
    const ptrdiff_t depths[] = {1, 16, 33, 128};
    int failed = 0;
    for (size_t d = 0; d < sizeof depths / sizeof *depths; d++) {
        for (int m = 1; m <= k->mr; m++) {
            const ptrdiff_t depth = depths[d], step = 3 * m * KBLOCK, c_step = 2 * k->nr;
            const uint64_t size = (uint64_t)(m * c_step);
            float *a = floats((uint64_t)(step * (depth / KBLOCK + 1))), *b = floats((uint64_t)(depth * k->nr));
            float *c = floats(size), *want = floats(size);
            fill(a, (uint64_t)(step * (depth / KBLOCK + 1)), 1);
            fill(b, (uint64_t)(depth * k->nr), 2);
            for (int accumulate = 0; accumulate < 2; accumulate++) {
                const float *rows[MAX_MR];
                float *to[MAX_MR];
                fill(c, size, 3);
                memcpy(want, c, sizeof *c * size);
                for (int i = 0; i < m; i++) rows[i] = a + i * KBLOCK, to[i] = want + i * c_step;
                k->gemm(m, depth, rows, step, b, to, accumulate, NULL);
                k->gemm_packed(m, depth, a, step, b, c, c_step, accumulate, b, 1 << d % 3, a);
                const double error = largest_difference(c, want, size);
                failed += expect(error <= 1e-6 * sqrt((double)depth), k->name, "gemm_near", error);
            }
            release(a), release(b), release(c), release(want);
        }
    }
    return failed;
}

static int check_gemm(const gan_kernels *k) {
    const ptrdiff_t depths[] = {1, 2, 15, 16, 17, 33, 100, 256};
    int failed = 0;
    for (size_t d = 0; d < sizeof depths / sizeof *depths; d++) {
        const ptrdiff_t depth = depths[d], step = d % 2 ? 16 : 48, row = (depth / KBLOCK + 1) * step;
        float *a = floats((uint64_t)(row * MAX_MR)), *b = floats((uint64_t)(depth * k->nr)), *c = floats(MAX_MR * MAX_NR);
        float *want = floats(MAX_MR * MAX_NR);
        fill(a, (uint64_t)(row * MAX_MR), 1);
        fill(b, (uint64_t)(depth * k->nr), 2);
        for (int m = 1; m <= k->mr; m++) {
            for (int accumulate = 0; accumulate < 2; accumulate++) {
                const float *rows[MAX_MR];
                float *to[MAX_MR], *wanted[MAX_MR];
                fill(c, MAX_MR * MAX_NR, 3);
                memcpy(want, c, sizeof *c * MAX_MR * MAX_NR);
                for (int i = 0; i < m; i++) rows[i] = a + (m - 1 - i) * row, to[i] = c + i * k->nr;
                k->gemm(m, depth, rows, step, b, to, accumulate, d % 2 ? b : NULL);
                for (int first = 0; first < k->nr; first += HALF) {
                    float *half = columns(b, depth, k->nr, first);
                    for (int i = 0; i < m; i += gan_i_generic.mr) {
                        const int some = m - i < gan_i_generic.mr ? m - i : gan_i_generic.mr;
                        for (int j = 0; j < some; j++) wanted[j] = want + (i + j) * k->nr + first;
                        gan_i_generic.gemm(some, depth, rows + i, step, half, wanted, accumulate, NULL);
                    }
                    release(half);
                }
                const double error = largest_difference(c, want, MAX_MR * MAX_NR);
                failed += expect(error <= 1e-5 * sqrt((double)depth), k->name, "gemm", error);
            }
        }
        release(a), release(b), release(c), release(want);
    }
    return failed;
}

static int check_toom_out(const gan_kernels *k, int points, int tile, int above, int left) {
    const int all = points * points;
    const ptrdiff_t row = (points + 2) * k->nr, half_row = (points + 2) * HALF;
    float *p = floats((uint64_t)(all * k->nr)), *strip = floats((uint64_t)(row * points)), *want = floats((uint64_t)(row * points));
    fill(p, (uint64_t)(all * k->nr), 5);
    fill(strip, (uint64_t)(row * points), 6);
    memcpy(want, strip, sizeof *want * (size_t)(row * points));
    k->toom_out(points, tile, p, strip, row, above, left);
    for (int first = 0; first < k->nr; first += HALF) {
        float *half_p = columns(p, all, k->nr, first), *half = columns(want, points * (points + 2), k->nr, first);
        gan_i_generic.toom_out(points, tile, half_p, half, half_row, above, left);
        for (ptrdiff_t i = 0; i < points * (points + 2); i++) memcpy(want + i * k->nr + first, half + i * HALF, sizeof *half * HALF);
        release(half_p), release(half);
    }
    const double error = largest_difference(strip, want, (uint64_t)(row * points));
    release(p), release(strip), release(want);
    return expect(error <= 3e-5, k->name, "toom_out", error);
}

/* The value of a polynomial at a point of the table; beyond the finite ones, at infinity. */
static double value_of(const double *x, int n, int points, int p) {
    if (p == points - 1) return x[n - 1];
    double sum = 0;
    for (int i = n; i--;) sum = sum * (double)TOOM_POINTS[points - 3][p] + x[i];
    return sum;
}

/* Both directions against points.h: values of a tile's polynomial, and a polynomial's coefficients from its values. */
static int check_points(const gan_kernels *k) {
    int failed = 0;
    for (int points = 3; points <= MAX_TOOM; points++) {
        const int all = points * points;
        double x[MAX_TOOM][MAX_TOOM], half[MAX_TOOM][MAX_TOOM], line[MAX_TOOM];
        uint64_t state = (uint64_t)points;
        for (int i = 0; i < all; i++) x[i / points][i % points] = (double)next_number(&state);
        /* of degree points-1 in both directions: what toom_out is to find again */
        float *p = floats((uint64_t)(all * k->nr)), *strip = floats((uint64_t)(all * k->nr));
        for (int i = 0; i < points; i++)
            for (int q = 0; q < points; q++) half[i][q] = value_of(x[i], points, points, q);
        for (int q = 0; q < points; q++) {
            for (int i = 0; i < points; i++) line[i] = half[i][q];
            for (int r = 0; r < points; r++)
                for (int n = 0; n < k->nr; n++) p[(r * points + q) * k->nr + n] = (float)value_of(line, points, points, r);
        }
        k->toom_out(points, 2, p, strip, points * k->nr, 0, 0);
        double error = 0;
        for (int i = 0; i < all; i++) {
            const double d = fabs((double)strip[i * k->nr] - x[i / points][i % points]);
            error = d > error ? d : error;
        }
        failed += expect(error <= 1e-4, k->name, "toom_out of a polynomial's values", error);
        /* one tile of two by two pixels: what toom_in is to give */
        float pixels[4][KBLOCK], v[MAX_TOOM * MAX_TOOM * KBLOCK];
        const float *at[4] = {pixels[0], pixels[1], pixels[2], pixels[3]};
        for (int i = 0; i < 4; i++)
            for (int c = 0; c < KBLOCK; c++) pixels[i][c] = (float)x[i / 2][i % 2];
        k->toom_in(points, 2, at, 1, v, KBLOCK);
        error = 0;
        for (int r = 0; r < points; r++)
            for (int q = 0; q < points; q++) {
                const double rows[2] = {value_of(x[0], 2, points, q), value_of(x[1], 2, points, q)};
                const double d = fabs((double)v[(r * points + q) * KBLOCK] - value_of(rows, 2, points, r));
                error = d > error ? d : error;
            }
        failed += expect(error <= 1e-5, k->name, "toom_in of a polynomial", error);
        release(p), release(strip);
    }
    return failed;
}

static int check_toom(const gan_kernels *k) {
    int failed = 0;
    for (int points = 3; points <= MAX_TOOM; points++) {
        const int all = points * points;
        for (int tile = 2; tile < points; tile++) {
            for (ptrdiff_t blocks = 1; blocks <= 3; blocks++) {
                const ptrdiff_t step = blocks * KBLOCK; /* the step between packed rows */
                const uint64_t in = (uint64_t)(tile * tile * blocks * KBLOCK), out = (uint64_t)(all * blocks * step);
                float *x = floats(in), *v = floats(out), *want = floats(out);
                const float *pixels[MAX_TOOM * MAX_TOOM];
                fill(x, in, 4);
                fill(v, out, 7);
                memcpy(want, v, sizeof *v * out);
                for (int i = 0; i < tile * tile; i++) pixels[i] = x + (tile * tile - 1 - i) * blocks * KBLOCK;
                k->toom_in(points, tile, pixels, blocks, v, step);
                gan_i_generic.toom_in(points, tile, pixels, blocks, want, step);
                const double error = largest_difference(v, want, out);
                failed += expect(error <= 225 * 1e-6, k->name, "toom_in", error); /* values reach 15^2 */
                release(x), release(v), release(want);
            }
            for (int old = 0; old < 4; old++) failed += check_toom_out(k, points, tile, old & 1, old >> 1);
        }
    }
    return failed;
}

static int check_activations(const gan_kernels *k) {
    enum { N = 4099 };
    int failed = 0;
    float *x = floats(N), *y = floats(N), *want = floats(N);
    for (int i = 0; i < N; i++) x[i] = (float)(i - N / 2) / 50.0f;
    x[0] = -INFINITY, x[1] = INFINITY, x[2] = 1e-41f, x[3] = -0.0f, x[4] = 3e38f, x[5] = -3e38f;
    for (int kind = ACT_NONE; kind < ACT_COUNT; kind++) {
        const activation act = {(activation_kind)kind, 0.2f};
        for (ptrdiff_t n = 0; n <= 40; n++) {
            fill(y, 64, 9), fill(want, 64, 9);
            k->activate(x + n, y, n, act);
            gan_i_generic.activate(x + n, want, n, act);
            const double error = largest_difference(y, want, 64);
            failed += expect(error <= 3e-7, k->name, "activate, tails", error);
        }
        const int from = kind == ACT_NONE || kind == ACT_RELU || kind == ACT_LEAKY_RELU ? 6 : 0;
        k->activate(x + from, y, N - from, act);
        gan_i_generic.activate(x + from, want, N - from, act);
        const double error = largest_difference(y, want, N - 6);
        failed += expect(error <= 1e-5 * (kind <= ACT_LEAKY_RELU) + 3e-7, k->name, "activate", error);
        x[7] = NAN;
        k->activate(x, y, 8, act);
        failed += expect(isnan(y[7]), k->name, "activate keeps what is no number", y[7]);
        x[7] = 0;
        const ptrdiff_t steps[] = {k->nr, 3 * k->nr};
        k->bias_act(x + 100, steps[1], x + 2000, y, steps[0], 5, act);
        for (int i = 0; i < 5; i++)
            for (int n = 0; n < k->nr; n++) want[n + i * k->nr] = x[100 + i * steps[1] + n] + x[2000 + n];
        gan_i_generic.activate(want, want, 5 * k->nr, act);
        failed += expect(largest_difference(y, want, (uint64_t)(5 * k->nr)) <= 1e-5, k->name, "finish", 0);
        k->affine(x + 100, x + 1000, x + 2000, y, 3, 2 * k->nr, act);
        gan_i_generic.affine(x + 100, x + 1000, x + 2000, want, 3, 2 * k->nr, act);
        const double affine = largest_difference(y, want, (uint64_t)(6 * k->nr));
        failed += expect(affine <= 3e-4, k->name, "affine", affine); /* values reach 2,000 */
    }
    release(x), release(y), release(want);
    return failed;
}

static int check_rows(const gan_kernels *k) {
    enum { N = 70 };
    int failed = 0;
    float *a = floats(4 * N), *b = floats(4 * N), *y = floats(4 * N), *want = floats(4 * N);
    uint8_t bytes[N + 1], wanted[N + 1];
    fill(a, 4 * N, 7), fill(b, 4 * N, 8);
    for (int i = 0; i < N; i++) a[i] *= 1.1f;
    for (ptrdiff_t n = 0; n <= N; n++) {
        memset(bytes, 77, sizeof bytes), memset(wanted, 77, sizeof wanted);
        k->to_bytes(a, bytes, n), gan_i_generic.to_bytes(a, wanted, n);
        failed += expect(!memcmp(bytes, wanted, sizeof bytes), k->name, "bytes", 0);
        k->add(a, b, y, n), gan_i_generic.add(a, b, want, n);
        failed += expect(largest_difference(y, want, 4 * N) == 0, k->name, "add", 0);
        k->multiply(a, b, y, n), gan_i_generic.multiply(a, b, want, n);
        failed += expect(largest_difference(y, want, 4 * N) == 0, k->name, "multiply", 0);
        k->lerp(a, b, 0.25f, y, n), gan_i_generic.lerp(a, b, 0.25f, want, n);
        failed += expect(largest_difference(y, want, 4 * N) <= 3e-7, k->name, "mix", 0);
        k->add_rows(a, n + 1, y, n, 3, n), gan_i_generic.add_rows(a, n + 1, want, n, 3, n);
        failed += expect(largest_difference(y, want, 4 * N) <= 3e-7, k->name, "add_rows", 0);
    }
    const float odd[] = {NAN, INFINITY, -INFINITY, 1, -1, 0.99607843f, 2, -2, 1e-41f};
    k->to_bytes(odd, bytes, 9), gan_i_generic.to_bytes(odd, wanted, 9);
    failed += expect(!memcmp(bytes, wanted, 9), k->name, "bytes of odd numbers", 0);
    release(a), release(b), release(y), release(want);
    return failed;
}

/* Billions of operations a second of products whose operands stay in the first-level cache: what a core can do. */
static double gemm_rate(const gan_kernels *k, int m, ptrdiff_t depth) {
    float *a = floats((uint64_t)(m * depth)), *b = floats((uint64_t)(depth * k->nr)), *c = floats(MAX_MR * MAX_NR);
    const float *rows[MAX_MR];
    float *to[MAX_MR];
    for (int i = 0; i < m; i++) rows[i] = a + i * depth, to[i] = c + i * k->nr;
    double best = 0;
    for (int round = 0; round < 30; round++) {
        const double start = cpu_seconds();
        const int calls = 2000000 / (int)(m * depth) + 1;
        for (int i = 0; i < calls; i++) k->gemm(m, depth, rows, KBLOCK, b, to, 1, NULL);
        const double rate = 2e-9 * m * (double)depth * k->nr * calls / (cpu_seconds() - start);
        best = rate > best ? rate : best;
    }
    release(a), release(b), release(c);
    return best;
}

int main(int argc, char **argv) {
    int failed = 0;
    const gan_kernels *tables[8];
    int n = 0;
    for (; gan_i_kernels_at(n); n++) tables[n] = gan_i_kernels_at(n);
#if defined(WIDE)
    if (argc == 1) tables[n++] = &gan_i_wide; /* no processor's: there is nothing to time */
#endif
    for (int i = 0; i < n; i++) {
        const gan_kernels *k = tables[i];
        if (argc > 1 && !strcmp(argv[1], "--bench")) {
            const double peak = gemm_rate(k, k->mr, 128);
            printf("%s: %.1f GFLOP/s a core, tile %d x %d\n", k->name, peak, k->mr, k->nr);
            for (int m = 1; m <= k->mr; m++) printf("  product of %2d rows: %4.0f %%\n", m, 100 * gemm_rate(k, m, 128) / peak);
            if (i) bench_layers(k, peak);
            continue;
        }
        const int bad = check_gemm(k) + check_gemm_packed(k) + check_toom(k) + check_points(k) + check_activations(k) + check_rows(k) + check_layers(k) + check_errors(k, argc > 1);
        printf("%s: %s\n", k->name, bad ? "FAILED" : "agrees with generic");
        failed += bad;
    }
    return failed != 0;
}
