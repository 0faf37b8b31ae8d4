/* Which kernels this processor can run, and which of them GAN_CPU allows. */
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

#if defined(GAN_HAVE_AVX2) || defined(GAN_HAVE_AVX512)
#include <cpuid.h>

/* Bits of XCR0: the registers that the operating system saves. */
enum { SAVES_AVX = 0x06, SAVES_AVX512 = 0xe6 };

/* Does the processor have FMA and `features` (CPUID leaf 7, EBX), and the system save what they use?  Asked here, since
 * __builtin_cpu_supports needs a runtime that fills in its answer, and zig's leaves it at no. */
static int runs(uint32_t features, uint32_t registers) {
    uint32_t a, b, c, d, saved, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || !(c & bit_FMA)) return 0;
    __asm__("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
    return (saved & registers) == registers && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & features) == features;
}

static int has_avx2(void) { return runs(bit_AVX2, SAVES_AVX); }
#endif
#if defined(GAN_HAVE_AVX512)
static int has_avx512(void) {
    return has_avx2() && runs(bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL, SAVES_AVX512);
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

#if defined(GAN_HAVE_AVX512)
/* Zen 4 (AMD's family 25) works on 512 bits in two halves. */
static int halves_vectors(void) {
    uint32_t a, b, c, d;
    if (!__get_cpuid(0, &a, &b, &c, &d) || b != signature_AMD_ebx || !__get_cpuid(1, &a, &b, &c, &d)) return 0;
    return (a >> 8 & 0xf) + (a >> 20 & 0xff) == 25;
}
#endif

int gan_i_fma_per_cycle(const gan_kernels *k) {
#if defined(GAN_HAVE_AVX512)
    if (k == &gan_i_avx512 && halves_vectors()) return k->fma_per_cycle / 2;
#endif
    return k->fma_per_cycle;
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
