/* NEON on AArch64: tiles of 6 x 16, 24 sums, 4 weights and an input of 32 registers. */
#include "../kernels.h"

#if GAN_ARM
#include <arm_neon.h>

#define VL 4
#define MR 6
#define NV 4
#define NAME "neon"
#define RUNS NULL
#define TABLE gan_i_neon
#define FMA_PER_CYCLE 8

typedef float32x4_t vf;
#define OP static inline __attribute__((always_inline))
OP vf v_load(const float *p) { return vld1q_f32(p); }
OP void v_store(float *p, vf x) { vst1q_f32(p, x); }
OP vf v_set1(float x) { return vdupq_n_f32(x); }
OP vf v_add(vf a, vf b) { return vaddq_f32(a, b); }
OP vf v_sub(vf a, vf b) { return vsubq_f32(a, b); }
OP vf v_mul(vf a, vf b) { return vmulq_f32(a, b); }
OP vf v_div(vf a, vf b) { return vdivq_f32(a, b); }
OP vf v_fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
OP vf v_fnma(vf a, vf b, vf c) { return vfmsq_f32(c, a, b); }
OP vf v_max(vf a, vf b) { return vbslq_f32(vcgtq_f32(a, b), a, b); } /* x86's rule for NaN */
OP vf v_min(vf a, vf b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
OP vf v_pow2(vf n) { return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127)), 23)); }
OP void v_bytes(unsigned char *out, vf x) {
    const uint16x4_t words = vqmovn_u32(vcvtq_u32_f32(x)); /* saturates, and gives 0 below 0 and for NaN */
    const uint8x8_t packed = vqmovn_u16(vcombine_u16(words, words));
    vst1_lane_u32((uint32_t *)(void *)out, vreinterpret_u32_u8(packed), 0);
}

#include "../template.h"
#endif
