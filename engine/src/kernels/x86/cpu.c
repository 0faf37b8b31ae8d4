/* CPUID's answers.  Not by __builtin_cpu_supports, which needs a runtime that fills in its answer; zig's leaves it at
 * "no". */
#include "../cpu.h"

#include "../kernels.h"

#if GAN_X86
#include <cpuid.h>
#include <stdatomic.h>

/* Bits of XCR0: the registers that the operating system saves. */
enum { SAVES_AVX = 0x06, SAVES_AVX512 = 0xe6, KNOWN = 1 << 30 };

/* Whether a processor with AVX-512 starts two 512-bit multiply-adds per cycle.  Sources: Intel's and AMD's optimization
 * manuals; the client parts are those of libdeflate's lib/x86/cpu_features.c and Agner Fog's tables. */
static int has_two_512_bit_ports(uint32_t vendor, uint32_t signature) {
    const uint32_t family = (signature >> 8 & 0xf) + (signature >> 20 & 0xff);
    const uint32_t model = (signature >> 4 & 0xf) | (signature >> 12 & 0xf0);
    if (vendor == signature_AMD_ebx) {
        if (family == 0x19) return 0; /* Zen 4 */
        if (family == 0x1a) return !((model >= 0x20 && model < 0x40) || model >= 0x60); /* Zen 5, but for mobile ones */
        return 1;
    }
    switch (family == 6 ? model : 0) {
    case 0x7d: /* Ice Lake client */
    case 0x7e:
    case 0x8c: /* Tiger Lake */
    case 0x8d:
    case 0xa7: /* Rocket Lake */
        return 0;
    default:
        return 1;
    }
}

static uint32_t ask(void) {
    const uint32_t needed_512 = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    uint32_t a, b, c, d, vendor, signature, low, high, found = 0;
    if (!__get_cpuid(0, &a, &vendor, &c, &d) || !__get_cpuid(1, &signature, &b, &c, &d)) return 0;
    if (!(c & bit_OSXSAVE) || !(c & bit_FMA)) return 0;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (low & SAVES_AVX) != SAVES_AVX || !(b & bit_AVX2)) return 0;
    found = X86_AVX2;
    if ((low & SAVES_AVX512) != SAVES_AVX512 || (b & needed_512) != needed_512) return found;
    if (c & bit_AVX512VNNI) found |= X86_VNNI;
    return found | X86_AVX512 | (has_two_512_bit_ports(vendor, signature) ? X86_FULL_512 : 0);
}

uint32_t gan_i_x86_features(void) {
    static atomic_uint known; /* the same for every thread that asks */
    uint32_t found = atomic_load_explicit(&known, memory_order_relaxed);
    if (!found) {
        found = ask() | KNOWN;
        atomic_store_explicit(&known, found, memory_order_relaxed);
    }
    return found;
}
#else
typedef int gan_i_no_x86; /* a file needs something in it */
#endif
