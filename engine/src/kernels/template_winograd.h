/* Winograd's transforms of template.h, which includes this file: generic.c says what they compute. */

static const float SQRT_HALF = 0.70710678f, SQRT_TWO = 1.41421356f;

/* `side` is a constant in every use: 6, 5 or 3. */
INLINE void winograd_values(const int side, const vf *d, vf *v) {
    if (side == WINOGRAD_SMALL) {
        v[0] = v_sub(d[1], d[0]), v[1] = d[1], v[2] = v_sub(d[2], d[1]);
        return;
    }
    if (side == WINOGRAD_HALVED) {
        const vf a = v_set1(0.5f), b = v_set1(1.5f), aa = v_set1(0.25f), bb = v_set1(2.25f);
        const vf q1 = v_fnma(bb, d[1], d[3]), q2 = v_fnma(aa, d[1], d[3]);
        const vf e1 = v_fnma(bb, d[0], d[2]), e2 = v_fnma(aa, d[0], d[2]);
        v[0] = v_fma(a, e1, q1);
        v[1] = v_fnma(a, e1, q1);
        v[2] = v_fma(b, e2, q2);
        v[3] = v_fnma(b, e2, q2);
        v[4] = v_fma(v_set1(0.5625f), d[0], v_fnma(v_set1(2.5f), d[2], d[4]));
        return;
    }
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

INLINE void winograd_outputs(const int side, const vf *p, vf *y) {
    if (side == WINOGRAD_SMALL) {
        y[0] = v_add(p[0], p[1]), y[1] = v_add(p[1], p[2]);
        return;
    }
    if (side == WINOGRAD_HALVED) {
        const vf s1 = v_add(p[0], p[1]), s2 = v_add(p[2], p[3]), bb = v_set1(2.25f), aa = v_set1(0.25f);
        const vf q1 = v_mul(v_set1(0.5f), v_sub(p[0], p[1])), q2 = v_mul(v_set1(1.5f), v_sub(p[2], p[3]));
        y[0] = v_add(s1, s2);
        y[1] = v_add(q1, q2);
        y[2] = v_fma(aa, s1, v_mul(bb, s2));
        y[3] = v_fma(aa, q1, v_fma(bb, q2, p[4]));
        return;
    }
    const vf two = v_set1(2), half = v_set1(0.5f);
    const vf s1 = v_add(p[1], p[2]), s2 = v_add(p[3], p[4]);
    const vf q1 = v_mul(v_set1(SQRT_HALF), v_sub(p[1], p[2])), q2 = v_mul(v_set1(SQRT_TWO), v_sub(p[3], p[4]));
    y[0] = v_add(p[0], v_add(s1, s2));
    y[1] = v_add(q1, q2);
    y[2] = v_fma(half, s1, v_add(s2, s2));
    y[3] = v_fma(half, q1, v_fma(two, q2, p[5]));
}

INLINE void winograd_in_as(const int side, const int narrow, const float *const *x, ptrdiff_t blocks,
                           const float *scale, void *v, ptrdiff_t point_step, ptrdiff_t block_step) {
    for (ptrdiff_t block = 0, first = 0; block < blocks; block++, first += block_step) {
        for (int part = 0; part < KBLOCK; part += VL) {
            vf columns[WINOGRAD * WINOGRAD];
#pragma GCC unroll 6
            for (int j = 0; j < side; j++) {
                vf pixel[WINOGRAD], value[WINOGRAD];
#pragma GCC unroll 6
                for (int i = 0; i < side; i++) pixel[i] = v_load(x[i * side + j] + block * KBLOCK + part);
                winograd_values(side, pixel, value);
#pragma GCC unroll 6
                for (int i = 0; i < side; i++) columns[i * side + j] = value[i];
            }
#pragma GCC unroll 6
            for (int i = 0; i < side; i++) {
                vf value[WINOGRAD];
                winograd_values(side, columns + i * side, value);
#pragma GCC unroll 6
                for (int j = 0; j < side; j++)
                    put(narrow, v, first + (i * side + j) * point_step + part, value[j],
                        narrow ? scale + i * side + j : scale);
            }
        }
    }
}

static void winograd_in(int side, const float *const *x, ptrdiff_t blocks, float *v, ptrdiff_t point_step,
                        ptrdiff_t block_step) {
    if (side == WINOGRAD) winograd_in_as(WINOGRAD, 0, x, blocks, NULL, v, point_step, block_step);
    else if (side == WINOGRAD_HALVED) winograd_in_as(WINOGRAD_HALVED, 0, x, blocks, NULL, v, point_step, block_step);
    else winograd_in_as(WINOGRAD_SMALL, 0, x, blocks, NULL, v, point_step, block_step);
}

#ifdef INT16_RATE
static void winograd_in_int16(int side, const float *const *x, ptrdiff_t blocks, const float *scale, int16_t *v,
                              ptrdiff_t point_step, ptrdiff_t block_step) {
    if (side == WINOGRAD) winograd_in_as(WINOGRAD, 1, x, blocks, scale, v, point_step, block_step);
    else if (side == WINOGRAD_HALVED) winograd_in_as(WINOGRAD_HALVED, 1, x, blocks, scale, v, point_step, block_step);
    else winograd_in_as(WINOGRAD_SMALL, 1, x, blocks, scale, v, point_step, block_step);
}
#endif

INLINE void winograd_out_of(const int side, int channels, const float *p, const float *bias, const float *slope,
                            float *y, ptrdiff_t row, ptrdiff_t step, int rows, int columns) {
    const int tile = winograd_tile(side);
    for (int part = 0; part < channels; part += VL) {
        const vf shift = v_load(bias + part), below = v_load(slope + part);
        vf half[WINOGRAD_TILE * WINOGRAD];
#pragma GCC unroll 6
        for (int j = 0; j < side; j++) {
            vf value[WINOGRAD], out[WINOGRAD_TILE];
#pragma GCC unroll 6
            for (int i = 0; i < side; i++) value[i] = v_load(p + (ptrdiff_t)(i * side + j) * NR + part);
            winograd_outputs(side, value, out);
#pragma GCC unroll 4
            for (int i = 0; i < tile; i++) half[i * side + j] = out[i];
        }
#pragma GCC unroll 4
        for (int i = 0; i < tile; i++) {
            if (i >= rows) break;
            vf out[WINOGRAD_TILE];
            winograd_outputs(side, half + i * side, out);
#pragma GCC unroll 4
            for (int j = 0; j < tile; j++)
                if (j < columns)
                    v_store(y + i * row + j * step + part, v_act(v_add(out[j], shift), ACT_LEAKY_RELU, below));
        }
    }
}

static void winograd_out(int side, int channels, const float *p, const float *bias, const float *slope, float *y,
                         ptrdiff_t row, ptrdiff_t step, int rows, int columns) {
    if (side == WINOGRAD) winograd_out_of(WINOGRAD, channels, p, bias, slope, y, row, step, rows, columns);
    else if (side == WINOGRAD_HALVED)
        winograd_out_of(WINOGRAD_HALVED, channels, p, bias, slope, y, row, step, rows, columns);
    else winograd_out_of(WINOGRAD_SMALL, channels, p, bias, slope, y, row, step, rows, columns);
}
