/* Which kernels this processor can run, and which of them GAN_CPU allows. */
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

#if defined(GAN_HAVE_AVX2) || defined(GAN_HAVE_AVX512)
/* __builtin_cpu_supports asks CPUID, and XGETBV for what the operating system saves. */
static int has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
#endif
#if defined(GAN_HAVE_AVX512)
static int has_avx512(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && has_avx2();
}
#endif

const gan_kernels *gan_i_kernels_at(int i) {
    const gan_kernels *found[4];
    int n = 0;
    found[n++] = &gan_i_generic;
#if defined(GAN_HAVE_NEON)
    found[n++] = &gan_i_neon; /* every AArch64 processor has it */
#endif
#if defined(GAN_HAVE_SIMD128)
    found[n++] = &gan_i_simd128; /* a module that has it is only started where it runs */
#endif
#if defined(GAN_HAVE_AVX2)
    if (has_avx2()) found[n++] = &gan_i_avx2;
#endif
#if defined(GAN_HAVE_AVX512)
    if (has_avx512()) found[n++] = &gan_i_avx512;
#endif
    return i >= 0 && i < n ? found[i] : NULL;
}

const gan_kernels *gan_i_kernels(void) {
    const char *wanted = getenv("GAN_CPU");
    const gan_kernels *best = NULL;
    for (int i = 0; gan_i_kernels_at(i); i++) {
        const gan_kernels *k = gan_i_kernels_at(i);
        if (!wanted || !*wanted || !strcmp(wanted, k->name)) best = k;
    }
    return best;
}
