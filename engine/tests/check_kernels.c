/* Every kernel of every table against generic.c's, on odd sizes and misaligned buffers that end at a page that can't be
 * read; then every method on fixed and on random layers (check_layers.c).
 *
 *   check_kernels [--seed N] [--only NAME] [--errors | --bench]
 *
 * --seed    other numbers, and other random layers; 0 unless given
 * --only    the tables and the checks whose names contain NAME: avx2, gemm, layers, ...
 * --errors  print how far each method is from float64 (docs/gan-file-format.md, "Error budget")
 * --bench   time the kernels and the layers instead */
#include "check.h"
#include "kernels/points.h"

uint64_t check_seed;
int check_prints_errors;

enum { HALF = 16 }; /* generic.c's panel width; a wider panel is checked half by half */

/* The 16 columns of a [rows][nr] panel from `first` on. */
static float *columns(const float *b, ptrdiff_t rows, int nr, int first) {
    float *out = floats((uint64_t)rows * HALF);
    for (ptrdiff_t i = 0; i < rows; i++) memcpy(out + i * HALF, b + i * nr + first, sizeof *out * HALF);
    return out;
}

/* Whether the first `columns` of each row of a product are those of `whole`: `part` was asked for no more. */
static int check_part(const gan_kernels *kernels, const float *whole, const float *part, int columns, int m,
                      ptrdiff_t row, const char *what) {
    int alike = 1;
    for (int i = 0; i < m; i++) alike &= !memcmp(whole + i * row, part + i * row, sizeof *part * (size_t)columns);
    return expect(alike, kernels->name, what, columns);
}

/* Rows side by side against the same rows by their addresses. */
static int check_gemm_packed(const gan_kernels *kernels) {
    const ptrdiff_t depths[] = {1, 16, 33, 128};
    int failed = 0;
    for (size_t d = 0; d < sizeof depths / sizeof *depths; d++) {
        for (int m = 1; m <= kernels->mr; m++) {
            const ptrdiff_t depth = depths[d], step = 3 * m * KBLOCK, c_step = 2 * kernels->nr;
            const uint64_t size = (uint64_t)(m * c_step);
            float *a = floats((uint64_t)(step * (depth / KBLOCK + 1))), *b = floats((uint64_t)(depth * kernels->nr));
            float *c = floats(size), *want = floats(size);
            fill(a, (uint64_t)(step * (depth / KBLOCK + 1)), 1);
            fill(b, (uint64_t)(depth * kernels->nr), 2);
            for (int accumulate = 0; accumulate < 2; accumulate++) {
                const float *rows[MAX_MR];
                float *to[MAX_MR];
                fill(c, size, 3);
                memcpy(want, c, sizeof *c * size);
                for (int i = 0; i < m; i++) rows[i] = a + i * KBLOCK, to[i] = want + i * c_step;
                kernels->gemm(m, kernels->nr, depth, rows, step, b, to, accumulate, b, 0);
                kernels->gemm_packed(m, kernels->nr, depth, a, step, b, c, c_step, accumulate, b, 1 << d % 3);
                const double error = largest_difference(c, want, size);
                failed += expect(error <= 1e-6 * sqrt((double)depth), kernels->name, "gemm_packed", error);
                for (int columns = kernels->nr / 2; columns >= kernels->nr / 4; columns /= 2) {
                    fill(want, size, 3);
                    kernels->gemm_packed(m, columns, depth, a, step, b, want, c_step, accumulate, b, 1);
                    failed += check_part(kernels, c, want, columns, m, c_step, "gemm_packed of part of a panel");
                }
            }
            release(a), release(b), release(c), release(want);
        }
    }
    return failed;
}

static int check_gemm(const gan_kernels *kernels) {
    const ptrdiff_t depths[] = {1, 2, 15, 16, 17, 33, 100, 256};
    int failed = 0;
    for (size_t d = 0; d < sizeof depths / sizeof *depths; d++) {
        const ptrdiff_t depth = depths[d], step = d % 2 ? 16 : 48, row = (depth / KBLOCK + 1) * step;
        float *a = floats((uint64_t)(row * MAX_MR)), *b = floats((uint64_t)(depth * kernels->nr)),
              *c = floats(MAX_MR * MAX_NR);
        float *want = floats(MAX_MR * MAX_NR);
        fill(a, (uint64_t)(row * MAX_MR), 1);
        fill(b, (uint64_t)(depth * kernels->nr), 2);
        for (int m = 1; m <= kernels->mr; m++) {
            for (int accumulate = 0; accumulate < 2; accumulate++) {
                const float *rows[MAX_MR];
                float *to[MAX_MR], *wanted[MAX_MR];
                fill(c, MAX_MR * MAX_NR, 3);
                memcpy(want, c, sizeof *c * MAX_MR * MAX_NR);
                for (int i = 0; i < m; i++) rows[i] = a + (m - 1 - i) * row, to[i] = c + i * kernels->nr;
                kernels->gemm(m, kernels->nr, depth, rows, step, b, to, accumulate, b, d % 2 ? 1 << d % 3 : 0);
                for (int first = 0; first < kernels->nr; first += HALF) {
                    float *half = columns(b, depth, kernels->nr, first);
                    for (int i = 0; i < m; i += gan_i_generic.mr) {
                        const int some = m - i < gan_i_generic.mr ? m - i : gan_i_generic.mr;
                        for (int j = 0; j < some; j++) wanted[j] = want + (i + j) * kernels->nr + first;
                        gan_i_generic.gemm(some, HALF, depth, rows + i, step, half, wanted, accumulate, b, 0);
                    }
                    release(half);
                }
                const double error = largest_difference(c, want, MAX_MR * MAX_NR);
                failed += expect(error <= 1e-5 * sqrt((double)depth), kernels->name, "gemm", error);
                fill(want, MAX_MR * MAX_NR, 3);
                for (int i = 0; i < m; i++) to[i] = want + i * kernels->nr;
                kernels->gemm(m, kernels->nr / 2, depth, rows, step, b, to, accumulate, b, 0);
                failed += check_part(kernels, c, want, kernels->nr / 2, m, kernels->nr, "gemm of half a panel");
            }
        }
        release(a), release(b), release(c), release(want);
    }
    return failed;
}

static int check_toom_out(const gan_kernels *kernels, int points, int tile, int above, int left) {
    const int all = points * points;
    const ptrdiff_t row = (points + 2) * kernels->nr, half_row = (points + 2) * HALF;
    float *p = floats((uint64_t)(all * kernels->nr)), *strip = floats((uint64_t)(row * points)),
          *want = floats((uint64_t)(row * points));
    fill(p, (uint64_t)(all * kernels->nr), 5);
    fill(strip, (uint64_t)(row * points), 6);
    memcpy(want, strip, sizeof *want * (size_t)(row * points));
    kernels->toom_out(points, tile, p, strip, row, above, left);
    for (int first = 0; first < kernels->nr; first += HALF) {
        float *half_p = columns(p, all, kernels->nr, first),
              *half = columns(want, points * (points + 2), kernels->nr, first);
        gan_i_generic.toom_out(points, tile, half_p, half, half_row, above, left);
        for (ptrdiff_t i = 0; i < points * (points + 2); i++)
            memcpy(want + i * kernels->nr + first, half + i * HALF, sizeof *half * HALF);
        release(half_p), release(half);
    }
    const double error = largest_difference(strip, want, (uint64_t)(row * points));
    release(p), release(strip), release(want);
    return expect(error <= 3e-5, kernels->name, "toom_out", error);
}

/* The value of a polynomial at a point of the table; beyond the finite ones, at infinity. */
static double value_of(const double *x, int n, int points, int p) {
    if (p == points - 1) return x[n - 1];
    double sum = 0;
    for (int i = n; i--;) sum = sum * (double)TOOM_POINTS[points - 3][p] + x[i];
    return sum;
}

/* Both directions against points.h: values of a tile's polynomial, and a polynomial's coefficients from its values. */
static int check_points(const gan_kernels *kernels) {
    int failed = 0;
    for (int points = 3; points <= MAX_TOOM; points++) {
        const int all = points * points;
        double x[MAX_TOOM][MAX_TOOM], half[MAX_TOOM][MAX_TOOM], line[MAX_TOOM];
        uint64_t state = (uint64_t)points;
        for (int i = 0; i < all; i++) x[i / points][i % points] = (double)next_number(&state);
        /* of degree points-1 in both directions: what toom_out is to find again */
        float *p = floats((uint64_t)(all * kernels->nr)), *strip = floats((uint64_t)(all * kernels->nr));
        for (int i = 0; i < points; i++)
            for (int q = 0; q < points; q++) half[i][q] = value_of(x[i], points, points, q);
        for (int q = 0; q < points; q++) {
            for (int i = 0; i < points; i++) line[i] = half[i][q];
            for (int r = 0; r < points; r++)
                for (int n = 0; n < kernels->nr; n++)
                    p[(r * points + q) * kernels->nr + n] = (float)value_of(line, points, points, r);
        }
        kernels->toom_out(points, 2, p, strip, points * kernels->nr, 0, 0);
        double error = 0;
        for (int i = 0; i < all; i++) {
            const double d = fabs((double)strip[i * kernels->nr] - x[i / points][i % points]);
            error = d > error ? d : error;
        }
        failed += expect(error <= 1e-4, kernels->name, "toom_out of a polynomial's values", error);
        /* one tile of two by two pixels: what toom_in is to give */
        float pixels[4][KBLOCK], v[MAX_TOOM * MAX_TOOM * KBLOCK];
        const float *at[4] = {pixels[0], pixels[1], pixels[2], pixels[3]};
        for (int i = 0; i < 4; i++)
            for (int c = 0; c < KBLOCK; c++) pixels[i][c] = (float)x[i / 2][i % 2];
        kernels->toom_in(points, 2, at, 1, v, KBLOCK);
        error = 0;
        for (int r = 0; r < points; r++)
            for (int q = 0; q < points; q++) {
                const double rows[2] = {value_of(x[0], 2, points, q), value_of(x[1], 2, points, q)};
                const double d = fabs((double)v[(r * points + q) * KBLOCK] - value_of(rows, 2, points, r));
                error = d > error ? d : error;
            }
        failed += expect(error <= 1e-5, kernels->name, "toom_in of a polynomial", error);
        release(p), release(strip);
    }
    return failed;
}

static int check_toom(const gan_kernels *kernels) {
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
                kernels->toom_in(points, tile, pixels, blocks, v, step);
                gan_i_generic.toom_in(points, tile, pixels, blocks, want, step);
                const double error = largest_difference(v, want, out);
                failed += expect(error <= 225 * 1e-6, kernels->name, "toom_in", error); /* values reach 15^2 */
                release(x), release(v), release(want);
            }
            for (int old = 0; old < 4; old++) failed += check_toom_out(kernels, points, tile, old & 1, old >> 1);
        }
    }
    return failed;
}

static int check_activations(const gan_kernels *kernels) {
    enum { N = 4099 };
    int failed = 0;
    float *x = floats(N), *y = floats(N), *want = floats(N);
    for (int i = 0; i < N; i++) x[i] = (float)(i - N / 2) / 50.0f;
    x[0] = -INFINITY, x[1] = INFINITY, x[2] = 1e-41f, x[3] = -0.0f, x[4] = 3e38f, x[5] = -3e38f;
    for (int kind = ACT_NONE; kind < ACT_COUNT; kind++) {
        const activation act = {.kind = (activation_kind)kind, .slope = 0.2f};
        for (ptrdiff_t n = 0; n <= 40; n++) {
            fill(y, 64, 9), fill(want, 64, 9);
            kernels->activate(x + n, y, n, act);
            gan_i_generic.activate(x + n, want, n, act);
            const double error = largest_difference(y, want, 64);
            failed += expect(error <= 3e-7, kernels->name, "activate, tails", error);
        }
        const int from = kind == ACT_NONE || kind == ACT_RELU || kind == ACT_LEAKY_RELU ? 6 : 0;
        kernels->activate(x + from, y, N - from, act);
        gan_i_generic.activate(x + from, want, N - from, act);
        const double error = largest_difference(y, want, N - 6);
        failed += expect(error <= 1e-5 * (kind <= ACT_LEAKY_RELU) + 3e-7, kernels->name, "activate", error);
        x[7] = NAN;
        kernels->activate(x, y, 8, act);
        failed += expect(isnan(y[7]), kernels->name, "activate propagates NaN", y[7]);
        x[7] = 0;
        const ptrdiff_t steps[] = {kernels->nr, 3 * kernels->nr};
        kernels->bias_act(x + 100, steps[1], x + 2000, y, steps[0], 5, act);
        for (int i = 0; i < 5; i++)
            for (int n = 0; n < kernels->nr; n++) want[n + i * kernels->nr] = x[100 + i * steps[1] + n] + x[2000 + n];
        gan_i_generic.activate(want, want, 5 * kernels->nr, act);
        failed += expect(largest_difference(y, want, (uint64_t)(5 * kernels->nr)) <= 1e-5, kernels->name, "bias_act",
                         0);
        kernels->affine(x + 100, x + 1000, x + 2000, y, 3, 2 * kernels->nr, act);
        gan_i_generic.affine(x + 100, x + 1000, x + 2000, want, 3, 2 * kernels->nr, act);
        const double affine = largest_difference(y, want, (uint64_t)(6 * kernels->nr));
        failed += expect(affine <= 3e-4, kernels->name, "affine", affine); /* values reach 2,000 */
    }
    const ptrdiff_t step = 3 * kernels->nr;
    const activation prelu = {.kind = ACT_PRELU, .slopes = x + 3000};
    kernels->bias_act(x + 1900, step, x + 2100, y, kernels->nr, 5, prelu);
    for (int i = 0; i < 5; i++)
        for (int n = 0; n < kernels->nr; n++) {
            const float sum = x[1900 + i * step + n] + x[2100 + n];
            want[i * kernels->nr + n] = sum < 0 ? sum * x[3000 + n] : sum;
        }
    failed += expect(largest_difference(y, want, (uint64_t)(5 * kernels->nr)) == 0, kernels->name, "bias_act, prelu",
                     0);
    release(x), release(y), release(want);
    return failed;
}

static int check_rows(const gan_kernels *kernels) {
    enum { N = 70 };
    int failed = 0;
    float *a = floats(4 * N), *b = floats(4 * N), *y = floats(4 * N), *want = floats(4 * N), whole[N];
    uint8_t bytes[N + 1], wanted[N + 1];
    fill(a, 4 * N, 7), fill(b, 4 * N, 8);
    for (int i = 0; i < N; i++) a[i] *= 1.1f;
    for (ptrdiff_t n = 0; n <= N; n++) {
        memset(bytes, 77, sizeof bytes), memset(wanted, 77, sizeof wanted);
        kernels->to_bytes(a, bytes, n), gan_i_generic.to_bytes(a, wanted, n);
        failed += expect(!memcmp(bytes, wanted, sizeof bytes), kernels->name, "to_bytes", 0);
        kernels->add(a, 1, b, y, n), gan_i_generic.add(a, 1, b, want, n);
        failed += expect(largest_difference(y, want, 4 * N) == 0, kernels->name, "add", 0);
        kernels->add(a, 0.2f, b, y, n), gan_i_generic.add(a, 0.2f, b, want, n);
        failed += expect(largest_difference(y, want, 4 * N) <= 3e-7, kernels->name, "add", 0);
        kernels->add(a, 0.2f, b, whole, N); /* the same of a longer row */
        failed += expect(!memcmp(y, whole, sizeof *y * (size_t)n), kernels->name, "add, tails", 0);
        kernels->multiply(a, b, y, n), gan_i_generic.multiply(a, b, want, n);
        failed += expect(largest_difference(y, want, 4 * N) == 0, kernels->name, "multiply", 0);
        kernels->lerp(a, b, 0.25f, y, n), gan_i_generic.lerp(a, b, 0.25f, want, n);
        failed += expect(largest_difference(y, want, 4 * N) <= 3e-7, kernels->name, "lerp", 0);
        kernels->add_rows(a, n + 1, y, n, 3, n), gan_i_generic.add_rows(a, n + 1, want, n, 3, n);
        failed += expect(largest_difference(y, want, 4 * N) <= 3e-7, kernels->name, "add_rows", 0);
    }
    const float odd[] = {NAN, INFINITY, -INFINITY, 1, -1, 0.99607843f, 2, -2, 1e-41f};
    kernels->to_bytes(odd, bytes, 9), gan_i_generic.to_bytes(odd, wanted, 9);
    failed += expect(!memcmp(bytes, wanted, 9), kernels->name, "to_bytes of odd numbers", 0);
    release(a), release(b), release(y), release(want);
    return failed;
}

/* Both transforms against generic's; that these are right, the layers show. */
static int check_winograd_of(const gan_kernels *kernels, int side) {
    enum { POINTS = WINOGRAD * WINOGRAD, BLOCKS = 2 };
    const ptrdiff_t step = 3 * KBLOCK, row = 6 * kernels->nr, n = (ptrdiff_t)side * side * BLOCKS * step;
    int failed = 0;
    float *x = floats(POINTS * BLOCKS * KBLOCK), *v = floats((uint64_t)n), *want = floats((uint64_t)n),
          *p = floats((uint64_t)(POINTS * kernels->nr)), *y = floats((uint64_t)(4 * row)),
          *wanted = floats((uint64_t)(4 * row)), *bias = floats(MAX_NR), *slope = floats(MAX_NR);
    const float *pixels[POINTS];
    fill(x, POINTS * BLOCKS * KBLOCK, 21), fill(p, (uint64_t)(POINTS * kernels->nr), 22), fill(bias, MAX_NR, 23);
    fill(slope, MAX_NR, 24);
    for (int i = 0; i < POINTS; i++) pixels[i] = x + (POINTS - 1 - i) * BLOCKS * KBLOCK;
    kernels->winograd_in(side, pixels, BLOCKS, v, step, side * side * step);
    gan_i_generic.winograd_in(side, pixels, BLOCKS, want, step, side * side * step);
    const double in = largest_difference(v, want, (uint64_t)n);
    failed += expect(in <= 36e-6, kernels->name, "winograd_in", in); /* values reach 6^2 */
    for (int rows = 1; rows <= winograd_tile(side); rows++) {
        for (int wide = 1; wide <= winograd_tile(side); wide++) {
            memset(y, 0, sizeof *y * (size_t)(4 * row)), memset(wanted, 0, sizeof *y * (size_t)(4 * row));
            kernels->winograd_out(side, kernels->nr, p, bias, slope, y, row, kernels->nr, rows, wide);
            for (int first = 0; first < kernels->nr; first += HALF) {
                float *half = columns(p, (uint64_t)(side * side), kernels->nr, first);
                float some[16 * HALF] = {0};
                gan_i_generic.winograd_out(side, HALF, half, bias + first, slope + first, some, 4 * HALF, HALF, rows,
                                           wide);
                for (int i = 0; i < rows; i++)
                    for (int j = 0; j < wide; j++)
                        memcpy(wanted + i * row + j * kernels->nr + first, some + (4 * i + j) * HALF,
                               sizeof *some * HALF);
                release(half);
            }
            const double out = largest_difference(y, wanted, (uint64_t)(4 * row));
            failed += expect(out <= 1e-4, kernels->name, "winograd_out", out); /* values reach 100 */
        }
    }
    release(x), release(v), release(want), release(p), release(y), release(wanted), release(bias), release(slope);
    return failed;
}

static int check_winograd(const gan_kernels *kernels) {
    return check_winograd_of(kernels, WINOGRAD) + check_winograd_of(kernels, WINOGRAD_HALVED) +
           check_winograd_of(kernels, WINOGRAD_SMALL);
}

/* Those of generators that take images. */
static int check_images(const gan_kernels *kernels) {
    enum { PIXELS = 131 };
    const ptrdiff_t channels = 2 * kernels->nr, n = PIXELS * channels;
    int failed = 0;
    float *x = floats((uint64_t)n), *y = floats((uint64_t)n), *want = floats((uint64_t)n),
          *slopes = floats((uint64_t)channels);
    fill(x, (uint64_t)n, 11), fill(slopes, (uint64_t)channels, 12);
    x[channels] = NAN;
    kernels->prelu(x, slopes, y, PIXELS, channels), gan_i_generic.prelu(x, slopes, want, PIXELS, channels);
    failed += expect(isnan(y[channels]) && isnan(want[channels]), kernels->name, "prelu propagates NaN", 0);
    y[channels] = want[channels] = 0;
    failed += expect(largest_difference(y, want, (uint64_t)n) == 0, kernels->name, "prelu", 0);
    kernels->clamp(x, y, n - 3, -0.25f, 0.5f), gan_i_generic.clamp(x, want, n - 3, -0.25f, 0.5f);
    failed += expect(isnan(y[channels]) && isnan(want[channels]), kernels->name, "clamp propagates NaN", 0);
    y[channels] = want[channels] = x[channels] = 0;
    failed += expect(largest_difference(y, want, (uint64_t)n) == 0, kernels->name, "clamp", 0);
    for (ptrdiff_t i = 0; i < n; i++) x[i] += (float)(i % channels); /* means of their own */
    for (ptrdiff_t pixels = 1; pixels <= PIXELS; pixels += pixels < 5 ? 1 : 63) {
        kernels->moments(x, pixels, channels, y, y + channels);
        gan_i_generic.moments(x, pixels, channels, want, want + channels);
        const double means = largest_difference(y, want, (uint64_t)channels),
                     squares = largest_difference(y + channels, want + channels, (uint64_t)channels);
        failed += expect(means <= 1e-5, kernels->name, "mean", means); /* values reach 64 */
        failed += expect(squares <= 1e-5 * (double)pixels, kernels->name, "squares", squares);
    }
    const float *rows[16], *weights[16];
    for (int t = 0; t < 16; t++) rows[t] = x + t * channels, weights[t] = x + (40 + t) * channels;
    for (int taps = 1; taps <= 16; taps++) {
        kernels->weigh(taps, rows, weights, y, channels), gan_i_generic.weigh(taps, rows, weights, want, channels);
        const double error = largest_difference(y, want, (uint64_t)channels);
        failed += expect(error <= 1e-6 * taps * 65 * 65, kernels->name, "weigh", error);
    }
    release(x), release(y), release(want), release(slopes);
    return failed;
}

/* Those of style-based generators. */
static int check_styles(const gan_kernels *kernels) {
    enum { PIXELS = 23 };
    const ptrdiff_t channels = 2 * kernels->nr, n = PIXELS * channels;
    const activation acts[] = {{.kind = ACT_NONE}, {.kind = ACT_RELU}, {.kind = ACT_LEAKY_RELU, .slope = 0.2f}};
    int failed = 0;
    float *x = floats((uint64_t)n), *y = floats((uint64_t)n), *want = floats((uint64_t)n),
          *vectors = floats((uint64_t)(2 * channels)), plane[PIXELS];
    fill(x, (uint64_t)n, 14), fill(vectors, (uint64_t)(2 * channels), 15), fill(plane, PIXELS, 16);
    const float *shift = vectors + channels;
    x[channels] = NAN;
    for (size_t a = 0; a < sizeof acts / sizeof *acts; a++)
        for (int noisy = 0; noisy < 2; noisy++) {
            const float *added = noisy ? plane : NULL;
            memcpy(y, x, sizeof *x * (size_t)n);
            kernels->styled(y, vectors, shift, added, y, PIXELS, channels, acts[a], -0.5f, 0.75f);
            gan_i_generic.styled(x, vectors, shift, added, want, PIXELS, channels, acts[a], -0.5f, 0.75f);
            failed += expect(isnan(y[channels]) && isnan(want[channels]), kernels->name, "styled propagates NaN", 0);
            y[channels] = want[channels] = 0;
            const double error = largest_difference(y, want, (uint64_t)n);
            failed += expect(error <= 1e-6, kernels->name, "styled", error);
        }
    x[channels] = 0;
    const float *rows[16];
    for (int t = 0; t < 16; t++) rows[t] = x + t * kernels->nr;
    for (int taps = 0; taps <= 16; taps++) {
        const ptrdiff_t length = n - 16 * kernels->nr;
        kernels->fir(taps, rows, vectors, y, length), gan_i_generic.fir(taps, rows, vectors, want, length);
        const double error = largest_difference(y, want, (uint64_t)length);
        failed += expect(error <= 1e-6 * (taps + 1), kernels->name, "fir", error);
    }
    release(x), release(y), release(want), release(vectors);
    return failed;
}

/* Billions of operations a second of products whose operands stay in the first-level cache: what a core can do. */
static double gemm_rate(const gan_kernels *kernels, int m, ptrdiff_t depth) {
    float *a = floats((uint64_t)(m * depth)), *b = floats((uint64_t)(depth * kernels->nr)),
          *c = floats(MAX_MR * MAX_NR);
    const float *rows[MAX_MR];
    float *to[MAX_MR];
    for (int i = 0; i < m; i++) rows[i] = a + i * depth, to[i] = c + i * kernels->nr;
    double best = 0;
    for (int round = 0; round < 30; round++) {
        const double start = cpu_seconds();
        const int calls = 2000000 / (int)(m * depth) + 1;
        for (int i = 0; i < calls; i++) kernels->gemm(m, kernels->nr, depth, rows, KBLOCK, b, to, 1, b, 0);
        const double rate = 2e-9 * m * (double)depth * kernels->nr * calls / (cpu_seconds() - start);
        best = rate > best ? rate : best;
    }
    release(a), release(b), release(c);
    return best;
}

typedef struct check_options {
    const char *only;
    uint64_t seed;
    int errors, bench;
} check_options;

static int usage(void) {
    fprintf(stderr, "check_kernels [--seed N] [--only NAME] [--errors | --bench]\n");
    return 2;
}

/* 0 for an option that isn't known. */
static int parse(int argc, char **argv, check_options *to) {
    *to = (check_options){.only = "", .seed = 0};
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--errors")) to->errors = 1;
        else if (!strcmp(argv[i], "--bench")) to->bench = 1;
        else if (!strcmp(argv[i], "--seed") && i + 1 < argc) to->seed = strtoull(argv[++i], NULL, 10);
        else if (!strcmp(argv[i], "--only") && i + 1 < argc) to->only = argv[++i];
        else return 0;
    }
    return 1;
}

static void bench(const gan_kernels *kernels) {
    const double peak = gemm_rate(kernels, kernels->mr, 128);
    printf("%s: %.1f GFLOP/s per core, tile %d x %d\n", kernels->name, peak, kernels->mr, kernels->nr);
    for (int m = 1; m <= kernels->mr; m++)
        printf("  product of %2d rows: %4.0f %%\n", m, 100 * gemm_rate(kernels, m, 128) / peak);
    if (kernels != &gan_i_generic) bench_layers(kernels, peak);
}

typedef struct kernel_check {
    const char *name;
    int (*run)(const gan_kernels *kernels);
} kernel_check;

static const kernel_check CHECKS[] = {
    {"gemm", check_gemm},         {"gemm_packed", check_gemm_packed},
    {"toom", check_toom},         {"points", check_points},
    {"rows", check_rows},         {"activations", check_activations},
    {"layers", check_layers},     {"random layers", check_random_layers},
    {"errors", check_errors},     {"choices", check_choices},
    {"images", check_images},     {"styles", check_styles},
    {"winograd", check_winograd}, {"int16", check_int16},
};

int main(int argc, char **argv) {
    check_options options;
    const gan_kernels *tables[8];
    int n = 0, failed = 0;
    if (!parse(argc, argv, &options)) return usage();
    for (; gan_i_kernels_at(n); n++) tables[n] = gan_i_kernels_at(n);
#if defined(WIDE)
    if (!options.bench) tables[n++] = &gan_i_wide; /* no processor's: there is nothing to time */
#endif
    check_seed = options.seed;
    check_prints_errors = options.errors;
    printf("seed %llu\n", (unsigned long long)options.seed);
    for (int i = 0; i < n; i++) {
        const int whole = strstr(tables[i]->name, options.only) != NULL;
        int ran = 0, bad = 0;
        if (options.bench && whole) bench(tables[i]);
        for (size_t j = 0; !options.bench && j < sizeof CHECKS / sizeof *CHECKS; j++) {
            if (!whole && !strstr(CHECKS[j].name, options.only)) continue;
            bad += CHECKS[j].run(tables[i]);
            ran++;
        }
        if (ran) printf("%s: %s\n", tables[i]->name, bad ? "FAILED" : "agrees with generic");
        failed += bad;
    }
    return failed != 0;
}
