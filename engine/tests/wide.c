/* The template at AVX-512's shape, 14 rows by two vectors of 16, over the compiler's portable vectors: so that its
 * logic at that shape is checked on machines without AVX-512.  Slow; not part of the library. */
#include <math.h>

#define VL 16
#define MR 14
#define NV 2
#define NAME "wide"
#define RUNS NULL
#define TABLE gan_i_wide
#define FMA_PER_CYCLE 32

typedef float vf __attribute__((vector_size(64), aligned(4), may_alias));
typedef int vi __attribute__((vector_size(64), aligned(4), may_alias));
#define OP static inline __attribute__((always_inline))
#define EACH(value) \
    vf y; \
    for (int i = 0; i < VL; i++) y[i] = value; \
    return y
OP vf v_load(const float *p) { return *(const vf *)p; }
OP void v_store(float *p, vf x) { *(vf *)p = x; }
OP vf v_set1(float x) { EACH(x); }
OP vf v_add(vf a, vf b) { return a + b; }
OP vf v_sub(vf a, vf b) { return a - b; }
OP vf v_mul(vf a, vf b) { return a * b; }
OP vf v_div(vf a, vf b) { return a / b; }
OP vf v_fma(vf a, vf b, vf c) { return a * b + c; }
OP vf v_fnma(vf a, vf b, vf c) { return c - a * b; }
OP vf v_max(vf a, vf b) { EACH(a[i] > b[i] ? a[i] : b[i]); }
OP vf v_min(vf a, vf b) { EACH(a[i] < b[i] ? a[i] : b[i]); }
OP vf v_pow2(vf n) { EACH(n[i] == n[i] ? ldexpf(1, (int)n[i]) : n[i]); }
OP void v_bytes(unsigned char *out, vf x) {
    for (int i = 0; i < VL; i++) out[i] = !(x[i] > 0) ? 0 : x[i] >= 255 ? 255 : (unsigned char)x[i];
}

#include "kernels/template.h"
