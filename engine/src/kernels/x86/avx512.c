/* AVX-512 (F, BW, DQ, VL): tiles of 14 x 32, 28 sums, 2 weights and an input of 32 registers. */
#include "../cpu.h"
#include "../kernels.h"

#if GAN_X86
#include <immintrin.h>
#include <string.h>

/* From here on, whatever the rest of the library is compiled for. */
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma")
#endif

#define VL 16
#define MR 14
#define NV 2
#define NAME "avx512"
#define RUNS runs
#define TABLE gan_i_avx512
#define FMA_PER_CYCLE 32

typedef __m512 vf;
#define OP static inline __attribute__((always_inline))
OP vf v_load(const float *p) { return _mm512_loadu_ps(p); }
OP void v_store(float *p, vf x) { _mm512_storeu_ps(p, x); }
OP vf v_set1(float x) { return _mm512_set1_ps(x); }
OP vf v_add(vf a, vf b) { return _mm512_add_ps(a, b); }
OP vf v_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
OP vf v_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
OP vf v_div(vf a, vf b) { return _mm512_div_ps(a, b); }
OP vf v_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
OP vf v_fnma(vf a, vf b, vf c) { return _mm512_fnmadd_ps(a, b, c); }
OP vf v_max(vf a, vf b) { return _mm512_max_ps(a, b); }
OP vf v_min(vf a, vf b) { return _mm512_min_ps(a, b); }
OP vf v_pow2(vf n) {
    const __m512i exponent = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23));
}
OP void v_bytes(unsigned char *out, vf x) {
    const vf bounded = _mm512_min_ps(_mm512_max_ps(x, _mm512_setzero_ps()), _mm512_set1_ps(255));
    _mm_storeu_si128((__m128i *)(void *)out, _mm512_cvtusepi32_epi8(_mm512_cvttps_epi32(bounded)));
}

static int runs(void) { return (gan_i_x86_features() & X86_AVX512) != 0; }

#include "../template.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
