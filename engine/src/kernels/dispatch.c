/* Which kernels this processor can run. */
#include <string.h>

#include "../system.h"
#include "cpu.h"
#include "kernels.h"

static const gan_kernels *const TABLES[] = {
#if !GAN_WASM /* a build with vectors is loaded only if they run: it leaves the plain kernels out */
    &gan_i_generic,
#endif
#if GAN_ARM
    &gan_i_neon,
#endif
#if GAN_WASM
    &gan_i_simd128,
#endif
#if GAN_X86
    &gan_i_avx2,    &gan_i_avx512, &gan_i_avx512vnni,
#endif
};

const gan_kernels *gan_i_kernels_at(int i) {
    for (size_t n = 0; n < sizeof TABLES / sizeof *TABLES; n++)
        if ((!TABLES[n]->runs || TABLES[n]->runs()) && i-- == 0) return TABLES[n];
    return NULL;
}

#if GAN_ARM
/* Whether the processor starts four 128-bit multiply-adds per cycle; the others start two.  Sources: Arm's software
 * optimization guides for these cores; for Apple's, measurements that are published. */
static int has_four_pipes(void) {
    const uint32_t name = gan_i_arm_processor(), maker = name >> 24, part = name >> 4 & 0xfff;
    if (maker == 0x61) return 1; /* Apple */
    if (maker != 0x41) return 0;
    switch (part) {
    case 0xd40: /* Neoverse V1, V2, V3, V3AE */
    case 0xd4f:
    case 0xd84:
    case 0xd83:
    case 0xd44: /* Cortex-X1, X1C, X2, X3, X4, X925 */
    case 0xd4c:
    case 0xd48:
    case 0xd4e:
    case 0xd82:
    case 0xd85:
        return 1;
    default:
        return 0;
    }
}
#endif

int gan_i_fma_per_cycle(const gan_kernels *kernels) {
#if GAN_X86
    const int wide = kernels == &gan_i_avx512 || kernels == &gan_i_avx512vnni;
    if (wide && !(gan_i_x86_features() & X86_FULL_512)) return kernels->fma_per_cycle / 2;
#endif
#if GAN_ARM
    if (kernels == &gan_i_neon && has_four_pipes()) return kernels->fma_per_cycle * 2;
#endif
    return kernels->fma_per_cycle;
}

const gan_kernels *gan_i_kernels(const char *name) {
    const gan_kernels *best = NULL;
    for (int i = 0; gan_i_kernels_at(i); i++) {
        const gan_kernels *kernels = gan_i_kernels_at(i);
        if (!name || !strcmp(name, kernels->name)) best = kernels;
    }
    return best;
}
