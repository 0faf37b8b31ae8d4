/* Products of 16-bit numbers with sums of 32 bits, which template.h includes, perhaps twice, for other instructions.
 *
 * INT16(name) names this inclusion's functions; the including file defines INT16_HALVES, whether packed products have a
 * kernel for half a panel; the type vi of VL int32s or 2 VL int16s; and i_zero, i_load (2 VL int16s), i_pair (two
 * int16s, VL times), i_float (VL int32s as floats), and I_DOT(sum, a, b): sum plus, in each of VL int32s, both products
 * of its two int16s.  With INT16_QUARTERS, also the type viq of half a vector and iq_zero and so on for it. */

/* As multiply_add of template_gemm.h, for one pair of k. */
INLINE void INT16(multiply_add)(const int m, const int nv, const int packed, const int16_t *a,
                                const int16_t *const *rows, const int pair, const int16_t *b, vi sum[MR][NV]) {
    vi weight[NV];
#pragma GCC unroll 16
    for (int j = 0; j < nv; j++) weight[j] = i_load(b + 2 * ((ptrdiff_t)pair * NR + j * VL));
#pragma GCC unroll 16
    for (int i = 0; i < m; i++) {
        const vi x = i_pair(packed ? a + i * KBLOCK + 2 * pair : rows[i] + 2 * pair);
#pragma GCC unroll 16
        for (int j = 0; j < nv; j++) sum[i][j] = I_DOT(sum[i][j], x, weight[j]);
    }
}

INLINE void INT16(tile)(const int m, const int nv, const int packed, ptrdiff_t k, const int16_t *a,
                        const int16_t *const *a_rows, ptrdiff_t a_step, const int16_t *b, const float *scale, float *c,
                        float *const *c_rows, ptrdiff_t c_step, int accumulate, const int16_t *next,
                        int prefetch_quarters) {
    vi sum[MR][NV];
    const int16_t *rows[MR];
#pragma GCC unroll 16
    for (int i = 0; i < m; i++) {
        if (!packed) rows[i] = a_rows[i];
#pragma GCC unroll 16
        for (int j = 0; j < nv; j++) sum[i][j] = i_zero();
    }
    do {
#pragma GCC unroll 8
        for (int pair = 0; pair < KBLOCK / 2; pair++) {
            INT16(multiply_add)(m, nv, packed, a, rows, pair, b, sum);
            if (pair * NR % 64 == 0) __builtin_prefetch(next + (ptrdiff_t)pair * NR / 2, 0, 2);
        }
        if (packed && prefetch_quarters > 1) {
#pragma GCC unroll 16
            for (int i = 0; i < 4 * NR; i += 32) __builtin_prefetch(next + 4 * NR + i, 0, 2);
        }
        if (packed && prefetch_quarters > 2) {
#pragma GCC unroll 16
            for (int i = 0; i < 8 * NR; i += 32) __builtin_prefetch(next + 8 * NR + i, 0, 2);
        }
        if (!packed) {
#pragma GCC unroll 1
            for (int i = 4 * NR; i < prefetch_quarters * 4 * NR; i += 32) __builtin_prefetch(next + i, 0, 2);
        }
        b += (ptrdiff_t)KBLOCK * NR;
        next += prefetch_quarters * 4 * NR;
        if (packed) a += a_step;
#pragma GCC unroll 16
        for (int i = 0; i < m; i++)
            if (!packed) rows[i] += a_step;
    } while ((k -= KBLOCK) > 0);
    vf factor[NV];
#pragma GCC unroll 16
    for (int j = 0; j < nv; j++) factor[j] = v_load(scale + j * VL);
#pragma GCC unroll 16
    for (int i = 0; i < m; i++)
#pragma GCC unroll 16
        for (int j = 0; j < nv; j++) {
            float *to = (packed ? c + i * c_step : c_rows[i]) + j * VL;
            const vf x = i_float(sum[i][j]);
            v_store(to, accumulate ? v_fma(x, factor[j], v_load(to)) : v_mul(x, factor[j]));
        }
}

static void INT16(gemm)(int m, int columns, ptrdiff_t k, const int16_t *const *a, ptrdiff_t a_step, const int16_t *b,
                        const float *scale, float *const *c, int accumulate, const int16_t *next,
                        int prefetch_quarters) {
    (void)columns; /* all are computed: it is seldom called with fewer */
#define CASE(M) \
    case M: \
        INT16(tile)(M, NV, 0, k, NULL, a, a_step, b, scale, NULL, c, 0, accumulate, next, prefetch_quarters); \
        break;
    switch (m) { CASES(CASE) }
#undef CASE
}

#ifdef INT16_QUARTERS
/* As quarter_tile of template_gemm.h. */
INLINE void INT16(quarter_tile)(const int m, ptrdiff_t k, const int16_t *a, ptrdiff_t a_step, const int16_t *b,
                                const float *scale, float *c, ptrdiff_t c_step, int accumulate, const int16_t *next,
                                int prefetch_quarters) {
    viq sum[MR];
#pragma GCC unroll 16
    for (int i = 0; i < m; i++) sum[i] = iq_zero();
    for (; k > 0; k -= KBLOCK) {
#pragma GCC unroll 8
        for (int pair = 0; pair < KBLOCK / 2; pair++) {
            const viq weight = iq_load(b + 2 * (ptrdiff_t)pair * NR);
#pragma GCC unroll 16
            for (int i = 0; i < m; i++) sum[i] = IQ_DOT(sum[i], iq_pair(a + i * KBLOCK + 2 * pair), weight);
        }
        for (int i = 0; i < prefetch_quarters * 4 * NR; i += 32) __builtin_prefetch(next + i, 0, 2);
        a += a_step, b += (ptrdiff_t)KBLOCK * NR, next += prefetch_quarters * 4 * NR;
    }
    const vq factor = q_load(scale);
#pragma GCC unroll 16
    for (int i = 0; i < m; i++) {
        float *to = c + i * c_step;
        const vq x = iq_float(sum[i]);
        q_store(to, accumulate ? q_fma(x, factor, q_load(to)) : q_mul(x, factor));
    }
}

INLINE void INT16(gemm_packed_quarter)(int m, ptrdiff_t k, const int16_t *a, ptrdiff_t a_step, const int16_t *b,
                                       const float *scale, float *c, ptrdiff_t c_step, int accumulate,
                                       const int16_t *next, int prefetch_quarters) {
#define CASE(M) \
    case M: \
        INT16(quarter_tile)(M, k, a, a_step, b, scale, c, c_step, accumulate, next, prefetch_quarters); \
        break;
    switch (m) { CASES(CASE) }
#undef CASE
}
#endif

/* As gemm_packed_of of template_gemm.h. */
INLINE void INT16(gemm_packed_of)(const int nv, int m, ptrdiff_t k, const int16_t *a, ptrdiff_t a_step,
                                  const int16_t *b, const float *scale, float *c, ptrdiff_t c_step, int accumulate,
                                  const int16_t *next, int prefetch_quarters) {
#define CASE(M) \
    case M: \
        INT16(tile)(M, nv, 1, k, a, NULL, a_step, b, scale, c, NULL, c_step, accumulate, next, prefetch_quarters); \
        break;
    switch (m) { CASES(CASE) }
#undef CASE
}

static void INT16(gemm_packed)(int m, int columns, ptrdiff_t k, const int16_t *a, ptrdiff_t a_step, const int16_t *b,
                               const float *scale, float *c, ptrdiff_t c_step, int accumulate, const int16_t *next,
                               int prefetch_quarters) {
#ifdef INT16_QUARTERS
    if (columns <= NR / 4) {
        INT16(gemm_packed_quarter)(m, k, a, a_step, b, scale, c, c_step, accumulate, next, prefetch_quarters);
        return;
    }
#endif
    if (INT16_HALVES && columns <= NR / 2)
        INT16(gemm_packed_of)(NV / 2, m, k, a, a_step, b, scale, c, c_step, accumulate, next, prefetch_quarters);
    else INT16(gemm_packed_of)(NV, m, k, a, a_step, b, scale, c, c_step, accumulate, next, prefetch_quarters);
}
