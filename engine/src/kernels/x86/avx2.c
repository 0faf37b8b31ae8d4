/* AVX2 with FMA: tiles of 6 x 16, 12 sums, 2 weights and an input of 16 registers. */
#include "../cpu.h"
#include "../kernels.h"

#if GAN_X86
#include <immintrin.h>
#include <string.h>

/* From here on, whatever the rest of the library is compiled for. */
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

#define VL 8
#define MR 6
#define NV 2
#define NAME "avx2"
#define RUNS runs
#define TABLE gan_i_avx2
#define FMA_PER_CYCLE 16
#define INT16_RATE 1.5 /* a product and an addition of twice as many, for which more ports are there */

typedef __m256 vf;
#define OP static inline __attribute__((always_inline))
OP vf v_load(const float *p) { return _mm256_loadu_ps(p); }
OP void v_store(float *p, vf x) { _mm256_storeu_ps(p, x); }
OP vf v_set1(float x) { return _mm256_set1_ps(x); }
OP vf v_add(vf a, vf b) { return _mm256_add_ps(a, b); }
OP vf v_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
OP vf v_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
OP vf v_div(vf a, vf b) { return _mm256_div_ps(a, b); }
OP vf v_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
OP vf v_fnma(vf a, vf b, vf c) { return _mm256_fnmadd_ps(a, b, c); }
OP vf v_max(vf a, vf b) { return _mm256_max_ps(a, b); }
OP vf v_min(vf a, vf b) { return _mm256_min_ps(a, b); }
OP vf v_pow2(vf n) {
    const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
}
OP void v_bytes(unsigned char *out, vf x) {
    /* max(x, 0) gives its second operand, 0, for NaN */
    const vf bounded = _mm256_min_ps(_mm256_max_ps(x, _mm256_setzero_ps()), _mm256_set1_ps(255));
    const __m256i whole = _mm256_cvttps_epi32(bounded);
    const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
    _mm_storel_epi64((__m128i *)(void *)out, _mm_packus_epi16(words, words));
}

typedef __m256i vi;
OP void v_int16(int16_t *to, vf x) {
    const __m256i whole = _mm256_cvtps_epi32(x);
    _mm_storeu_si128((__m128i *)(void *)to,
                     _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1)));
}
OP vi i_zero(void) { return _mm256_setzero_si256(); }
OP vi i_load(const int16_t *p) { return _mm256_loadu_si256((const __m256i *)(const void *)p); }
OP vi i_pair(const int16_t *p) { return _mm256_set1_epi32(gan_i_pair_at(p)); }
OP vf i_float(vi x) { return _mm256_cvtepi32_ps(x); }
OP vi i_dot(vi sum, vi a, vi b) {
    vi next = _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
    __asm__("" : "+x"(next)); /* or GCC would add in another order, which takes more registers than there are */
    return next;
}
#define I_DOT i_dot
#define INT16_HALVES HALVES

static int runs(void) { return (gan_i_x86_features() & X86_AVX2) != 0; }

#include "../template.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
