/* The activations of template.h, which includes this file. */

/* e^x for x within -87..87: x = n ln 2 + f, |f| <= 0.347, and f^8 / 8! is under 6e-9 of e^f. */
INLINE vf v_exp(vf x) {
    const vf magic = v_set1(12582912.0f); /* 1.5 x 2^23: adding it rounds to a whole number */
    const vf n = v_sub(v_fma(x, v_set1(1.44269504f), magic), magic);
    const vf f = v_fnma(n, v_set1(-2.12194440e-4f), v_fnma(n, v_set1(0.693359375f), x));
    vf e = v_set1(1.0f / 5040);
    e = v_fma(e, f, v_set1(1.0f / 720));
    e = v_fma(e, f, v_set1(1.0f / 120));
    e = v_fma(e, f, v_set1(1.0f / 24));
    e = v_fma(e, f, v_set1(1.0f / 6));
    e = v_fma(e, f, v_set1(0.5f));
    e = v_fma(e, f, v_set1(1));
    e = v_fma(e, f, v_set1(1));
    return v_mul(e, v_pow2(n));
}

/* `kind` is a constant in every use.  NaN propagates, so that a broken model shows. */
INLINE vf v_act(vf x, const activation_kind kind, vf slope) {
    const vf one = v_set1(1), zero = v_set1(0);
    if (kind == ACT_RELU) return v_max(zero, x);
    if (kind == ACT_LEAKY_RELU) return v_fma(v_min(zero, x), slope, v_max(zero, x));
    if (kind == ACT_TANH) { /* 1 - 2 / (e^2x + 1); beyond 9.1 the float nearest to tanh is 1 */
        const vf e = v_exp(v_max(v_set1(-18.2f), v_min(v_set1(18.2f), v_add(x, x))));
        return v_sub(one, v_div(v_set1(2), v_add(e, one)));
    }
    if (kind == ACT_SIGMOID) {
        const vf e = v_exp(v_max(v_set1(-86), v_min(v_set1(86), v_sub(zero, x))));
        return v_div(one, v_add(one, e));
    }
    return x;
}

#define BY_KIND(call) \
    switch (act.kind) { \
    case ACT_RELU: \
        call(ACT_RELU); \
        break; \
    case ACT_LEAKY_RELU: \
        call(ACT_LEAKY_RELU); \
        break; \
    case ACT_TANH: \
        call(ACT_TANH); \
        break; \
    case ACT_SIGMOID: \
        call(ACT_SIGMOID); \
        break; \
    default: \
        call(ACT_NONE); \
    }

/* `slopes` is NULL if all channels have the one. */
INLINE void bias_act_kind(const float *x, ptrdiff_t x_step, const float *bias, float *y, ptrdiff_t y_step,
                          ptrdiff_t pixels, const activation_kind kind, float slope, const float *slopes) {
    vf shift[NV], below[NV];
    for (int j = 0; j < NV; j++) {
        shift[j] = v_load(bias + j * VL);
        below[j] = slopes ? v_load(slopes + j * VL) : v_set1(slope);
    }
    for (ptrdiff_t i = 0; i < pixels; i++)
#pragma GCC unroll 8
        for (int j = 0; j < NV; j++)
            v_store(y + i * y_step + j * VL, v_act(v_add(v_load(x + i * x_step + j * VL), shift[j]), kind, below[j]));
}

static void bias_act(const float *x, ptrdiff_t x_step, const float *bias, float *y, ptrdiff_t y_step, ptrdiff_t pixels,
                     activation act) {
    if (act.kind == ACT_PRELU) {
        bias_act_kind(x, x_step, bias, y, y_step, pixels, ACT_LEAKY_RELU, 0, act.slopes);
        return;
    }
#define CALL(kind) bias_act_kind(x, x_step, bias, y, y_step, pixels, kind, act.slope, NULL)
    BY_KIND(CALL)
#undef CALL
}

INLINE void activate_kind(const float *x, float *y, ptrdiff_t n, const activation_kind kind, float slope) {
    ptrdiff_t i = 0;
    for (; i + VL <= n; i += VL) v_store(y + i, v_act(v_load(x + i), kind, v_set1(slope)));
    if (i < n) {
        float rest[VL] = {0};
        memcpy(rest, x + i, sizeof(float) * (size_t)(n - i));
        v_store(rest, v_act(v_load(rest), kind, v_set1(slope)));
        memcpy(y + i, rest, sizeof(float) * (size_t)(n - i));
    }
}

static void activate(const float *x, float *y, ptrdiff_t n, activation act) {
#define CALL(kind) activate_kind(x, y, n, kind, act.slope)
    BY_KIND(CALL)
#undef CALL
}
