/* Which kernels this processor can run, and which of them GAN_CPU allows. */
#include <stdlib.h>
#include <string.h>

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
    &gan_i_avx2,
    &gan_i_avx512,
#endif
};

const gan_kernels *gan_i_kernels_at(int i) {
    for (size_t n = 0; n < sizeof TABLES / sizeof *TABLES; n++)
        if ((!TABLES[n]->runs || TABLES[n]->runs()) && i-- == 0) return TABLES[n];
    return NULL;
}

int gan_i_fma_per_cycle(const gan_kernels *k) {
#if GAN_X86
    if (k == &gan_i_avx512 && !(gan_i_x86_features() & X86_FULL_512)) return k->fma_per_cycle / 2;
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
