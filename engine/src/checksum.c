#include "checksum.h"

#include <string.h>

/* The last word, filled up with zeros. */
static uint64_t tail_word(const unsigned char *p, uint64_t size) {
    unsigned char tail[8] = {0};
    memcpy(tail, p, size);
    return u64_at(tail);
}

void gan_i_sum_words(gan_checksum *sum, const unsigned char *p, uint64_t size) {
    uint64_t i = sum->index, a = sum->first, b = sum->second;
    for (; size >= 8; size -= 8, p += 8) {
        const uint64_t w = u64_at(p);
        a += w;
        b += ++i * w;
    }
    if (size) {
        const uint64_t w = tail_word(p, size);
        a += w;
        b += ++i * w;
    }
    *sum = (gan_checksum){a, b, i};
}

/* Times x modulo x^64 + x^4 + x^3 + x + 1, which is primitive: the powers of x repeat after 2^64 - 1. */
static inline uint64_t times_x(uint64_t a) { return (a << 1) ^ (0x1B & (0 - (a >> 63))); }

/* Times x^8: what leaves at the top comes back as h (x^4 + x^3 + x + 1) = h (x + 1) (x^3 + 1). */
static inline uint64_t times_x8(uint64_t a) {
    const uint64_t h = a >> 56, twice = h ^ (h << 1);
    return (a << 8) ^ twice ^ (twice << 3);
}

/* Horner's rule, q = q x + w.  Eight words side by side go on by x^8 each, so that none waits for the one before and
 * the loop becomes vector code. */
void gan_i_check_words(gan_checksum *sum, const unsigned char *p, uint64_t size) {
    enum { LANES = 8 };
    uint64_t all = sum->first, q = sum->second;
    if (size >= 8 * LANES) {
        uint64_t x[LANES] = {0}, y[LANES] = {0};
        y[LANES - 1] = q;
        for (; size >= 8 * LANES; size -= 8 * LANES, p += 8 * LANES) {
            for (int i = 0; i < LANES; i++) {
                const uint64_t w = u64_at(p + 8 * i);
                x[i] ^= w;
                y[i] = times_x8(y[i]) ^ w;
            }
        }
        q = 0;
        for (int i = 0; i < LANES; i++) {
            all ^= x[i];
            q = times_x(q) ^ y[i];
        }
    }
    for (; size; size -= size < 8 ? size : 8, p += 8) {
        const uint64_t w = size < 8 ? tail_word(p, size) : u64_at(p);
        all ^= w;
        q = times_x(q) ^ w;
    }
    *sum = (gan_checksum){all, q, 0};
}
