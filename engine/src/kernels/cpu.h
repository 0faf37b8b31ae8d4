/* What an x86 processor and its system can do, found out once: CPUID traps to the host in a virtual machine. */
#ifndef GAN_CPU_H
#define GAN_CPU_H

#include <stdint.h>
#include <string.h>

enum {
    X86_AVX2 = 1,   /* with FMA, and its registers saved by the system */
    X86_AVX512 = 2, /* F, BW, DQ and VL, likewise */
    X86_VNNI = 8,   /* with AVX-512 */
    X86_FULL_512 = 4 /* starts two 512-bit multiply-adds per cycle; the others take halves, or have one port for them */
};

uint32_t gan_i_x86_features(void);

/* Two 16-bit numbers that lie side by side, as one of 32 bits. */
static inline int32_t gan_i_pair_at(const int16_t *p) {
    int32_t both;
    memcpy(&both, p, sizeof both);
    return both;
}

#endif
