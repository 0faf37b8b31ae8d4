/* The matrix products of template.h, which includes this file. */

/* sum[i][j] += A[i][kk] x b[kk][j].  `m` and `packed` are constants in every use, so that the sums live in registers
 * and packed rows, which lie side by side, share one address. */
INLINE void multiply_add(const int m, const int nv, const int packed, const float *a, const float *const *rows,
                         const int kk, const float *b, vf sum[MR][NV]) {
    vf weight[NV];
#pragma GCC unroll 16
    for (int j = 0; j < nv; j++) weight[j] = v_load(b + (ptrdiff_t)kk * NR + j * VL);
#pragma GCC unroll 16
    for (int i = 0; i < m; i++) {
        const vf x = v_set1(packed ? a[i * KBLOCK + kk] : rows[i][kk]);
#pragma GCC unroll 16
        for (int j = 0; j < nv; j++) sum[i][j] = v_fma(x, weight[j], sum[i][j]);
    }
}

/* Both products of the table: gemm takes its rows from `a_rows` and writes to `c_rows`; gemm_packed takes them from `a`
 * and writes to `c`.  Of all these only weights are prefetched: they come from memory, inputs and sums from the
 * second-level cache, and a prefetch of those takes a place from one of the weights. */
INLINE void tile(const int m, const int nv, const int packed, ptrdiff_t k, const float *a, const float *const *a_rows,
                 ptrdiff_t a_step, const float *b, float *c, float *const *c_rows, ptrdiff_t c_step, int accumulate,
                 const float *next, int prefetch_quarters) {
    vf sum[MR][NV];
    const float *rows[MR];
#pragma GCC unroll 16
    for (int i = 0; i < m; i++) {
        if (!packed) rows[i] = a_rows[i];
#pragma GCC unroll 16
        for (int j = 0; j < nv; j++) sum[i][j] = v_set1(0);
    }
    for (; k >= KBLOCK; k -= KBLOCK) {
#pragma GCC unroll 4
        for (int kk = 0; kk < KBLOCK; kk++) {
            multiply_add(m, nv, packed, a, rows, kk, b, sum);
            if (kk * NR % 64 == 0) __builtin_prefetch(next + (ptrdiff_t)kk * NR / 4, 0, 2);
        }
        if (packed && prefetch_quarters > 1) {
#pragma GCC unroll 16
            for (int i = 0; i < 4 * NR; i += 16) __builtin_prefetch(next + 4 * NR + i, 0, 2);
        }
        if (packed && prefetch_quarters > 2) {
#pragma GCC unroll 16
            for (int i = 0; i < 8 * NR; i += 16) __builtin_prefetch(next + 8 * NR + i, 0, 2);
        }
        if (!packed) {
#pragma GCC unroll 1
            for (int i = 4 * NR; i < prefetch_quarters * 4 * NR; i += 16) __builtin_prefetch(next + i, 0, 2);
        }
        b += (ptrdiff_t)KBLOCK * NR;
        next += prefetch_quarters * 4 * NR;
        if (packed) a += a_step;
#pragma GCC unroll 16
        for (int i = 0; i < m; i++)
            if (!packed) rows[i] += a_step;
    }
    for (int kk = 0; kk < k; kk++) multiply_add(m, nv, packed, a, rows, kk, b, sum);
#pragma GCC unroll 16
    for (int i = 0; i < m; i++)
#pragma GCC unroll 16
        for (int j = 0; j < nv; j++) {
            float *to = (packed ? c + i * c_step : c_rows[i]) + j * VL;
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

/* Whether there are kernels for the first half of a panel alone: if that is a block of channels. */
#define HALVES (NR > 16)

/* `nv`: vectors of the panel's columns, a constant in every use. */
INLINE void gemm_of(const int nv, int m, ptrdiff_t k, const float *const *a, ptrdiff_t a_step, const float *b,
                    float *const *c, int accumulate, const float *next, int prefetch_quarters) {
#define CASE(M) \
    case M: \
        tile(M, nv, 0, k, NULL, a, a_step, b, NULL, c, 0, accumulate, next, prefetch_quarters); \
        break;
    switch (m) { CASES(CASE) }
#undef CASE
}

static void gemm(int m, int columns, ptrdiff_t k, const float *const *a, ptrdiff_t a_step, const float *b,
                 float *const *c, int accumulate, const float *next, int prefetch_quarters) {
    if (HALVES && columns <= NR / 2) gemm_of(NV / 2, m, k, a, a_step, b, c, accumulate, next, prefetch_quarters);
    else gemm_of(NV, m, k, a, a_step, b, c, accumulate, next, prefetch_quarters);
}

#ifdef QUARTERS
/* As multiply_add, of packed rows and the first quarter of a panel's columns: VL / 2 at a time. */
INLINE void quarter_multiply_add(const int m, const float *a, int kk, const float *b, vq sum[MR]) {
    const vq weight = q_load(b + (ptrdiff_t)kk * NR);
#pragma GCC unroll 16
    for (int i = 0; i < m; i++) sum[i] = q_fma(q_set1(a[i * KBLOCK + kk]), weight, sum[i]);
}

/* As tile, of the same. */
INLINE void quarter_tile(const int m, ptrdiff_t k, const float *a, ptrdiff_t a_step, const float *b, float *c,
                         ptrdiff_t c_step, int accumulate, const float *next, int prefetch_quarters) {
    vq sum[MR];
#pragma GCC unroll 16
    for (int i = 0; i < m; i++) sum[i] = q_set1(0);
    for (; k > 0; k -= KBLOCK) {
        const int n = k < KBLOCK ? (int)k : KBLOCK;
        int kk = 0;
        for (; kk + 8 <= n; kk += 8) /* GCC unrolls no loop whose length it doesn't know */
#pragma GCC unroll 8
            for (int e = 0; e < 8; e++) quarter_multiply_add(m, a, kk + e, b, sum);
#pragma GCC unroll 1
        for (; kk < n; kk++) quarter_multiply_add(m, a, kk, b, sum);
        for (int i = 0; i < prefetch_quarters * 4 * NR; i += 16) __builtin_prefetch(next + i, 0, 2);
        a += a_step, b += (ptrdiff_t)KBLOCK * NR, next += prefetch_quarters * 4 * NR;
    }
#pragma GCC unroll 16
    for (int i = 0; i < m; i++) {
        float *to = c + i * c_step;
        q_store(to, accumulate ? q_add(sum[i], q_load(to)) : sum[i]);
    }
}

INLINE void gemm_packed_quarter(int m, ptrdiff_t k, const float *a, ptrdiff_t a_step, const float *b, float *c,
                                ptrdiff_t c_step, int accumulate, const float *next, int prefetch_quarters) {
#define CASE(M) \
    case M: \
        quarter_tile(M, k, a, a_step, b, c, c_step, accumulate, next, prefetch_quarters); \
        break;
    switch (m) { CASES(CASE) }
#undef CASE
}
#endif

INLINE void gemm_packed_of(const int nv, int m, ptrdiff_t k, const float *a, ptrdiff_t a_step, const float *b, float *c,
                           ptrdiff_t c_step, int accumulate, const float *next, int prefetch_quarters) {
#define CASE(M) \
    case M: \
        tile(M, nv, 1, k, a, NULL, a_step, b, c, NULL, c_step, accumulate, next, prefetch_quarters); \
        break;
    switch (m) { CASES(CASE) }
#undef CASE
}

static void gemm_packed(int m, int columns, ptrdiff_t k, const float *a, ptrdiff_t a_step, const float *b, float *c,
                        ptrdiff_t c_step, int accumulate, const float *next, int prefetch_quarters) {
#ifdef QUARTERS
    if (columns <= NR / 4) {
        gemm_packed_quarter(m, k, a, a_step, b, c, c_step, accumulate, next, prefetch_quarters);
        return;
    }
#endif
    if (HALVES && columns <= NR / 2)
        gemm_packed_of(NV / 2, m, k, a, a_step, b, c, c_step, accumulate, next, prefetch_quarters);
    else gemm_packed_of(NV, m, k, a, a_step, b, c, c_step, accumulate, next, prefetch_quarters);
}
