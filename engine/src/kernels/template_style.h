/* The kernels of style-based generators, in the terms of template.h, which includes this file. */

INLINE void styled_kind(const float *x, const float *scale, const float *shift, const float *plane, float *y,
                        ptrdiff_t pixels, ptrdiff_t channels, const activation_kind kind, float slope, float low,
                        float high) {
    const vf least = v_set1(low), most = v_set1(high);
    for (ptrdiff_t i = 0; i < pixels; i++, x += channels, y += channels) {
        const vf added = v_set1(plane ? plane[i] : 0);
        for (ptrdiff_t j = 0; j < channels; j += VL) {
            const vf sum = v_fma(v_load(x + j), v_load(scale + j), v_add(v_load(shift + j), added));
            v_store(y + j, v_min(most, v_max(least, v_act(sum, kind, v_set1(slope)))));
        }
    }
}

static void styled(const float *x, const float *scale, const float *shift, const float *plane, float *y,
                   ptrdiff_t pixels, ptrdiff_t channels, activation act, float low, float high){
#define CALL(kind) styled_kind(x, scale, shift, plane, y, pixels, channels, kind, act.slope, low, high)
    BY_KIND(CALL)
#undef CALL
}

/* `taps` is a constant in the use that matters: filters of four numbers. */
INLINE void fir_of(const int taps, const float *const *x, const float *weights, float *y, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i += VL) {
        vf sum = v_set1(0);
#pragma GCC unroll 4
        for (int t = 0; t < taps; t++) sum = v_fma(v_load(x[t] + i), v_set1(weights[t]), sum);
        v_store(y + i, sum);
    }
}

static void fir(int taps, const float *const *x, const float *weights, float *y, ptrdiff_t n) {
    if (taps == 4) fir_of(4, x, weights, y, n);
    else fir_of(taps, x, weights, y, n);
}
