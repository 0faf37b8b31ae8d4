/* AVX-512 (F, BW, DQ, VL): tiles of 14 x 32, 28 sums, 2 weights and an input of 32 registers.  A second table has VNNI's
 * products of 16-bit numbers, which add up in one instruction. */
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
#define INT16_RATE 1.2 /* a product and an addition of twice as many, on the ports of a multiply-add */

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

typedef __m512i vi;
OP void v_int16(int16_t *to, vf x) {
    _mm256_storeu_si256((__m256i *)(void *)to, _mm512_cvtsepi32_epi16(_mm512_cvtps_epi32(x)));
}
OP vi i_zero(void) { return _mm512_setzero_si512(); }
OP vi i_load(const int16_t *p) { return _mm512_loadu_si512(p); }
OP vi i_pair(const int16_t *p) { return _mm512_set1_epi32(gan_i_pair_at(p)); }
OP vf i_float(vi x) { return _mm512_cvtepi32_ps(x); }
OP vi i_dot(vi sum, vi a, vi b) {
    vi next = _mm512_add_epi32(sum, _mm512_madd_epi16(a, b));
    __asm__("" : "+v"(next)); /* or GCC would add in another order, which takes more registers than there are */
    return next;
}
#define I_DOT i_dot
#define INT16_HALVES 0 /* it is seldom used: the library would be a twelfth larger */

/* Vectors of half the length, for the first quarter of a panel: a processor that executes the longer ones in two halves
 * takes half the time for these. */
#define QUARTERS
typedef __m256 vq;
OP vq q_load(const float *p) { return _mm256_loadu_ps(p); }
OP void q_store(float *p, vq x) { _mm256_storeu_ps(p, x); }
OP vq q_set1(float x) { return _mm256_set1_ps(x); }
OP vq q_add(vq a, vq b) { return _mm256_add_ps(a, b); }
OP vq q_mul(vq a, vq b) { return _mm256_mul_ps(a, b); }
OP vq q_fma(vq a, vq b, vq c) { return _mm256_fmadd_ps(a, b, c); }

static int runs(void) { return (gan_i_x86_features() & X86_AVX512) != 0; }

#include "../template.h"

#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma"))), \
                             apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma")
/* or GCC 12 moves half of the sums of 16-bit products to memory and back in every round of their loop */
#pragma GCC optimize("no-tree-coalesce-vars")
#endif

#undef NAME
#undef RUNS
#undef TABLE
#undef INT16_RATE
#undef I_DOT
#undef INT16_HALVES
#define INT16_HALVES HALVES
#define NAME "avx512vnni"
#define RUNS runs_vnni
#define TABLE gan_i_avx512vnni
#define INT16_RATE 1.8
#define I_DOT i_dot_vnni
#define INT16(name) name##_vnni

/* Not by the intrinsic, around which GCC 12 moves sums to memory and back. */
OP vi i_dot_vnni(vi sum, vi a, vi b) {
    __asm__("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
}

#define INT16_QUARTERS
typedef __m256i viq;
OP viq iq_zero(void) { return _mm256_setzero_si256(); }
OP viq iq_load(const int16_t *p) { return _mm256_loadu_si256((const __m256i *)(const void *)p); }
OP viq iq_pair(const int16_t *p) { return _mm256_set1_epi32(gan_i_pair_at(p)); }
OP vq iq_float(viq x) { return _mm256_cvtepi32_ps(x); }
OP viq iq_dot(viq sum, viq a, viq b) {
    __asm__("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
}
#define IQ_DOT iq_dot

static int runs_vnni(void) { return (gan_i_x86_features() & X86_VNNI) != 0; }

#include "../template_int16.h"
#include "../template_table.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
