/* The matrix products of template.h, which includes this file. */

/* `m` is a constant in every use, so that the sums live in registers. */
INLINE void tile(const int m, ptrdiff_t k, const float *const *a, ptrdiff_t a_step, const float *b, float *const *c,
                 int accumulate, const float *next) {
    vf sum[MR][NV];
    const float *p[MR];
#pragma GCC unroll 16
    for (int i = 0; i < m; i++) {
        p[i] = a[i];
#pragma GCC unroll 16
        for (int j = 0; j < NV; j++) sum[i][j] = v_set1(0);
    }
    for (; k >= KBLOCK; k -= KBLOCK) {
#pragma GCC unroll 4
        for (int kk = 0; kk < KBLOCK; kk++) {
            vf w[NV];
#pragma GCC unroll 16
            for (int j = 0; j < NV; j++) w[j] = v_load(b + (ptrdiff_t)kk * NR + j * VL);
#pragma GCC unroll 16
            for (int i = 0; i < m; i++) {
                const vf x = v_set1(p[i][kk]);
#pragma GCC unroll 16
                for (int j = 0; j < NV; j++) sum[i][j] = v_fma(x, w[j], sum[i][j]);
            }
            if (next && kk * NR % 64 == 0) __builtin_prefetch(next + (ptrdiff_t)kk * NR / 4, 0, 2);
        }
        b += (ptrdiff_t)KBLOCK * NR;
        if (next) next += 4 * NR;
#pragma GCC unroll 16
        for (int i = 0; i < m; i++) {
            p[i] += a_step;
            __builtin_prefetch(p[i] + 2 * a_step, 0, 3);
        }
    }
    for (int kk = 0; kk < k; kk++) {
        vf w[NV];
#pragma GCC unroll 16
        for (int j = 0; j < NV; j++) w[j] = v_load(b + (ptrdiff_t)kk * NR + j * VL);
#pragma GCC unroll 16
        for (int i = 0; i < m; i++) {
            const vf x = v_set1(p[i][kk]);
#pragma GCC unroll 16
            for (int j = 0; j < NV; j++) sum[i][j] = v_fma(x, w[j], sum[i][j]);
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < m; i++)
#pragma GCC unroll 16
        for (int j = 0; j < NV; j++) {
            float *to = c[i] + j * VL;
            v_store(to, accumulate ? v_add(sum[i][j], v_load(to)) : sum[i][j]);
        }
}

/* Rows that lie side by side take one address between them, and what comes next is known. */
INLINE void packed_tile(const int m, ptrdiff_t k, const float *a, ptrdiff_t a_step, const float *b, float *c, ptrdiff_t c_step,
                      int accumulate, const float *next, int prefetch_quarters, const float *next_a) {
    vf sum[MR][NV];
#pragma GCC unroll 16
    for (int i = 0; i < m; i++) {
        __builtin_prefetch(c + i * c_step, 1, 3);
#pragma GCC unroll 16
        for (int j = 0; j < NV; j++) sum[i][j] = v_set1(0);
    }
    for (; k >= KBLOCK; k -= KBLOCK) {
#pragma GCC unroll 4
        for (int kk = 0; kk < KBLOCK; kk++) {
            vf w[NV];
#pragma GCC unroll 16
            for (int j = 0; j < NV; j++) w[j] = v_load(b + (ptrdiff_t)kk * NR + j * VL);
#pragma GCC unroll 16
            for (int i = 0; i < m; i++) {
                const vf x = v_set1(a[i * KBLOCK + kk]);
#pragma GCC unroll 16
                for (int j = 0; j < NV; j++) sum[i][j] = v_fma(x, w[j], sum[i][j]);
            }
            if (kk * NR % 64 == 0) __builtin_prefetch(next + (ptrdiff_t)kk * NR / 4, 0, 2);
        }
        if (prefetch_quarters > 1) {
#pragma GCC unroll 16
            for (int i = 0; i < 4 * NR; i += 16) __builtin_prefetch(next + 4 * NR + i, 0, 2);
        }
        if (prefetch_quarters > 2) {
#pragma GCC unroll 16
            for (int i = 0; i < 8 * NR; i += 16) __builtin_prefetch(next + 8 * NR + i, 0, 2);
        }
#pragma GCC unroll 16
        for (int i = 0; i < m; i++) __builtin_prefetch(next_a + i * KBLOCK, 0, 3);
        b += (ptrdiff_t)KBLOCK * NR;
        next += prefetch_quarters * 4 * NR;
        a += a_step;
        next_a += a_step;
    }
    for (int kk = 0; kk < k; kk++) {
        vf w[NV];
#pragma GCC unroll 16
        for (int j = 0; j < NV; j++) w[j] = v_load(b + (ptrdiff_t)kk * NR + j * VL);
#pragma GCC unroll 16
        for (int i = 0; i < m; i++) {
            const vf x = v_set1(a[i * KBLOCK + kk]);
#pragma GCC unroll 16
            for (int j = 0; j < NV; j++) sum[i][j] = v_fma(x, w[j], sum[i][j]);
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < m; i++)
#pragma GCC unroll 16
        for (int j = 0; j < NV; j++) {
            float *to = c + i * c_step + j * VL;
            v_store(to, accumulate ? v_add(sum[i][j], v_load(to)) : sum[i][j]);
        }
}

#if MR > 8
#define CASES_TO_14(CASE) CASE(9) CASE(10) CASE(11) CASE(12) CASE(13) CASE(14)
#else
#define CASES_TO_14(CASE)
#endif
#if MR > 6
#define CASES_TO_8(CASE) CASE(7) CASE(8)
#else
#define CASES_TO_8(CASE)
#endif
#if MR > 4
#define CASES_TO_6(CASE) CASE(5) CASE(6)
#else
#define CASES_TO_6(CASE)
#endif
#define CASES(CASE) CASE(1) CASE(2) CASE(3) CASE(4) CASES_TO_6(CASE) CASES_TO_8(CASE) CASES_TO_14(CASE) /* up to MR */

static void gemm(int m, ptrdiff_t k, const float *const *a, ptrdiff_t a_step, const float *b, float *const *c, int accumulate,
                 const float *next) {
#define CASE(M) \
    case M: \
        tile(M, k, a, a_step, b, c, accumulate, next); \
        break;
    switch (m) { CASES(CASE) }
#undef CASE
}

static void gemm_packed(int m, ptrdiff_t k, const float *a, ptrdiff_t a_step, const float *b, float *c, ptrdiff_t c_step, int accumulate,
                      const float *next, int prefetch_quarters, const float *next_a) {
#define CASE(M) \
    case M: \
        packed_tile(M, k, a, a_step, b, c, c_step, accumulate, next, prefetch_quarters, next_a); \
        break;
    switch (m) { CASES(CASE) }
#undef CASE
}
