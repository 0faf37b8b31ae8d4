/* Winograd's transforms of template.h, which includes this file: generic.c says what they compute. */

static const float SQRT_HALF = 0.70710678f, SQRT_TWO = 1.41421356f;

INLINE void winograd_values(const vf d[6], vf v[6]) {
    const vf two = v_set1(2), half = v_set1(0.5f), more = v_set1(2.5f), a = v_set1(SQRT_HALF), b = v_set1(SQRT_TWO);
    const vf q1 = v_fnma(two, d[1], d[3]), q2 = v_fnma(half, d[1], d[3]);
    const vf e1 = v_fnma(two, d[2], d[4]), e2 = v_fnma(half, d[2], d[4]);
    v[0] = v_fnma(more, d[2], v_add(d[0], d[4]));
    v[1] = v_fma(a, q1, e1);
    v[2] = v_fnma(a, q1, e1);
    v[3] = v_fma(b, q2, e2);
    v[4] = v_fnma(b, q2, e2);
    v[5] = v_fnma(more, d[3], v_add(d[1], d[5]));
}

INLINE void winograd_outputs(const vf p[6], vf y[4]) {
    const vf two = v_set1(2), half = v_set1(0.5f);
    const vf s1 = v_add(p[1], p[2]), s2 = v_add(p[3], p[4]);
    const vf q1 = v_mul(v_set1(SQRT_HALF), v_sub(p[1], p[2])), q2 = v_mul(v_set1(SQRT_TWO), v_sub(p[3], p[4]));
    y[0] = v_add(p[0], v_add(s1, s2));
    y[1] = v_add(q1, q2);
    y[2] = v_fma(half, s1, v_add(s2, s2));
    y[3] = v_fma(half, q1, v_fma(two, q2, p[5]));
}

INLINE void winograd_in_as(const int narrow, const float *const *x, ptrdiff_t blocks, const float *scale, void *v,
                           ptrdiff_t point_step, ptrdiff_t block_step) {
    for (ptrdiff_t block = 0, first = 0; block < blocks; block++, first += block_step) {
        for (int part = 0; part < KBLOCK; part += VL) {
            vf columns[36];
#pragma GCC unroll 6
            for (int j = 0; j < 6; j++) {
                vf pixel[6], value[6];
#pragma GCC unroll 6
                for (int i = 0; i < 6; i++) pixel[i] = v_load(x[i * 6 + j] + block * KBLOCK + part);
                winograd_values(pixel, value);
#pragma GCC unroll 6
                for (int i = 0; i < 6; i++) columns[i * 6 + j] = value[i];
            }
#pragma GCC unroll 6
            for (int i = 0; i < 6; i++) {
                vf value[6];
                winograd_values(columns + i * 6, value);
#pragma GCC unroll 6
                for (int j = 0; j < 6; j++)
                    put(narrow, v, first + (i * 6 + j) * point_step + part, value[j],
                        narrow ? scale + i * 6 + j : scale);
            }
        }
    }
}

static void winograd_in(const float *const *x, ptrdiff_t blocks, float *v, ptrdiff_t point_step, ptrdiff_t block_step) {
    winograd_in_as(0, x, blocks, NULL, v, point_step, block_step);
}

#ifdef INT16_RATE
static void winograd_in_int16(const float *const *x, ptrdiff_t blocks, const float *scale, int16_t *v,
                              ptrdiff_t point_step, ptrdiff_t block_step) {
    winograd_in_as(1, x, blocks, scale, v, point_step, block_step);
}
#endif

static void winograd_out(const float *p, const float *bias, const float *slope, float *y, ptrdiff_t row, ptrdiff_t step,
                         int rows, int columns) {
    for (int part = 0; part < NR; part += VL) {
        const vf shift = v_load(bias + part), below = v_load(slope + part);
        vf half[24];
#pragma GCC unroll 6
        for (int j = 0; j < 6; j++) {
            vf value[6], out[4];
#pragma GCC unroll 6
            for (int i = 0; i < 6; i++) value[i] = v_load(p + (ptrdiff_t)(i * 6 + j) * NR + part);
            winograd_outputs(value, out);
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) half[i * 6 + j] = out[i];
        }
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            if (i >= rows) break;
            vf out[4];
            winograd_outputs(half + i * 6, out);
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++)
                if (j < columns)
                    v_store(y + i * row + j * step + part, v_act(v_add(out[j], shift), ACT_LEAKY_RELU, below));
        }
    }
}
