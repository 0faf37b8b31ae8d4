/* ---- matrix products, which take most of the time ----
 *
 * Weights lie in panels of 16 output channels, w[depth][16].  A tile is a few pixels by one panel; its sums stay in
 * registers while the depth runs.  They are variables with names, since compilers keep those in registers and
 * arrays in memory.  Define GENERATOR_SCALAR for the plain loops alone. */
#if defined(GENERATOR_SCALAR)
#elif defined(__AVX512F__)
#include <immintrin.h>
typedef __m512 vec;
#define LANES 16
#define TALLEST 12
#define FUSED(t, w, s) _mm512_fmadd_ps(_mm512_set1_ps(t), w, s)
#elif defined(__AVX__) && defined(__FMA__)
#include <immintrin.h>
typedef __m256 vec;
#define LANES 8
#define TALLEST 6
#define FUSED(t, w, s) _mm256_fmadd_ps(_mm256_set1_ps(t), w, s)
#elif defined(__aarch64__) && defined(__ARM_NEON)
#include <arm_neon.h>
typedef float32x4_t vec;
#define LANES 4
#define TALLEST 6
#define FUSED(t, w, s) vfmaq_n_f32(s, w, t)
#elif defined(__GNUC__) && (defined(__SSE__) || defined(__wasm_simd128__))
typedef float vec __attribute__((vector_size(16)));
#define LANES 4
#define TALLEST 3
#define FUSED(t, w, s) ((t) * (w) + (s))
#endif

enum { PANEL = 16, SLICE = 128 }; /* SLICE of the depth: its weights, 8 KB, stay in the first cache for all pixels */

#if defined(LANES)
#if LANES == 16
#define ROW(DO, i) DO(i, 0)
#elif LANES == 8
#define ROW(DO, i) DO(i, 0) DO(i, 1)
#else
#define ROW(DO, i) DO(i, 0) DO(i, 1) DO(i, 2) DO(i, 3)
#endif
#define ROWS_1(DO) ROW(DO, 0)
#define ROWS_2(DO) ROWS_1(DO) ROW(DO, 1)
#define ROWS_3(DO) ROWS_2(DO) ROW(DO, 2)
#define ROWS_4(DO) ROWS_3(DO) ROW(DO, 3)
#define ROWS_5(DO) ROWS_4(DO) ROW(DO, 4)
#define ROWS_6(DO) ROWS_5(DO) ROW(DO, 5)
#define ROWS_7(DO) ROWS_6(DO) ROW(DO, 6)
#define ROWS_8(DO) ROWS_7(DO) ROW(DO, 7)
#define ROWS_9(DO) ROWS_8(DO) ROW(DO, 8)
#define ROWS_10(DO) ROWS_9(DO) ROW(DO, 9)
#define ROWS_11(DO) ROWS_10(DO) ROW(DO, 10)
#define ROWS_12(DO) ROWS_11(DO) ROW(DO, 11)

static vec load(const float *from)
{
    vec v;
    memcpy(&v, from, sizeof v);
    return v;
}

#define ZERO(i, j) vec s##i##_##j = {0};
#define WEIGHT(i, j) const vec w##j = load(w + j * LANES);
#define MORE(i, j) s##i##_##j = FUSED(x[i][k], w##j, s##i##_##j);
#define STORE(i, j)                                       \
    s##i##_##j = s##i##_##j + load(y[i] + j * LANES);     \
    memcpy(y[i] + j * LANES, &s##i##_##j, sizeof(vec));
#define TILE(ROWS)                                                                                              \
    static void tile_##ROWS(const float *const *x, const float *w, int depth, float *const *y)                  \
    {                                                                                                           \
        ROWS_##ROWS(ZERO)                                                                                       \
        for (int k = 0; k < depth; k++, w += PANEL) {                                                           \
            ROW(WEIGHT, 0)                                                                                      \
            ROWS_##ROWS(MORE)                                                                                   \
        }                                                                                                       \
        ROWS_##ROWS(STORE)                                                                                      \
    }
TILE(1)
TILE(2)
TILE(3)
#if TALLEST >= 6
TILE(4)
TILE(5)
TILE(6)
#endif
#if TALLEST >= 12
TILE(7)
TILE(8)
TILE(9)
TILE(10)
TILE(11)
TILE(12)
#endif

/* y[i][n] += the sum over k < depth of x[i][k] * w[k][n], for i < rows and n < PANEL. */
static void tile(int rows, const float *const *x, const float *w, int depth, float *const *y)
{
    switch (rows) {
    case 1: tile_1(x, w, depth, y); break;
    case 2: tile_2(x, w, depth, y); break;
    case 3: tile_3(x, w, depth, y); break;
#if TALLEST >= 6
    case 4: tile_4(x, w, depth, y); break;
    case 5: tile_5(x, w, depth, y); break;
    case 6: tile_6(x, w, depth, y); break;
#endif
#if TALLEST >= 12
    case 7: tile_7(x, w, depth, y); break;
    case 8: tile_8(x, w, depth, y); break;
    case 9: tile_9(x, w, depth, y); break;
    case 10: tile_10(x, w, depth, y); break;
    case 11: tile_11(x, w, depth, y); break;
    case 12: tile_12(x, w, depth, y); break;
#endif
    }
}
#else
#define TALLEST 4

/* y[i][n] += the sum over k < depth of x[i][k] * w[k][n], for i < rows and n < PANEL. */
static void tile(int rows, const float *const *x, const float *w, int depth, float *const *y)
{
    for (int i = 0; i < rows; i++) {
        float sum[PANEL] = {0};
        for (int k = 0; k < depth; k++)
            for (int n = 0; n < PANEL; n++) sum[n] += x[i][k] * w[k * PANEL + n];
        for (int n = 0; n < PANEL; n++) y[i][n] += sum[n];
    }
}
#endif
