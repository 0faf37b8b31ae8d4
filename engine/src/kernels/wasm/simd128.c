/* WebAssembly's 128-bit vectors: tiles of MR x 16.  Built twice: with relaxed SIMD, whose multiply-add is the
 * processor's own if it has one, and without. */
#include "../kernels.h"

#if GAN_WASM
#include <wasm_simd128.h>

#define VL 4
#define MR 3
#define NV 4
#define RUNS NULL
#define TABLE gan_i_simd128
#define FMA_PER_CYCLE 8

typedef v128_t vf;
#define OP static inline __attribute__((always_inline))
OP vf v_load(const float *p) { return wasm_v128_load(p); }
OP void v_store(float *p, vf x) { wasm_v128_store(p, x); }
OP vf v_set1(float x) { return wasm_f32x4_splat(x); }
OP vf v_add(vf a, vf b) { return wasm_f32x4_add(a, b); }
OP vf v_sub(vf a, vf b) { return wasm_f32x4_sub(a, b); }
OP vf v_mul(vf a, vf b) { return wasm_f32x4_mul(a, b); }
OP vf v_div(vf a, vf b) { return wasm_f32x4_div(a, b); }
#if defined(__wasm_relaxed_simd__)
#define NAME "simd128+relaxed"
OP vf v_fma(vf a, vf b, vf c) { return wasm_f32x4_relaxed_madd(a, b, c); }
OP vf v_fnma(vf a, vf b, vf c) { return wasm_f32x4_relaxed_nmadd(a, b, c); }
#else
#define NAME "simd128"
OP vf v_fma(vf a, vf b, vf c) { return wasm_f32x4_add(wasm_f32x4_mul(a, b), c); }
OP vf v_fnma(vf a, vf b, vf c) { return wasm_f32x4_sub(c, wasm_f32x4_mul(a, b)); }
#endif
/* pmax(b, a) is b < a ? a : b, and pmin(b, a) is a < b ? a : b: x86's rule for NaN */
OP vf v_max(vf a, vf b) { return wasm_f32x4_pmax(b, a); }
OP vf v_min(vf a, vf b) { return wasm_f32x4_pmin(b, a); }
OP vf v_pow2(vf n) { return wasm_i32x4_shl(wasm_i32x4_add(wasm_i32x4_trunc_sat_f32x4(n), wasm_i32x4_splat(127)), 23); }
OP void v_bytes(unsigned char *out, vf x) {
    const vf whole = wasm_i32x4_trunc_sat_f32x4(x); /* 0 for NaN; the narrowing saturates */
    const vf words = wasm_i16x8_narrow_i32x4(whole, whole);
    wasm_v128_store32_lane(out, wasm_u8x16_narrow_i16x8(words, words), 0);
}

#include "../template.h"
#endif
