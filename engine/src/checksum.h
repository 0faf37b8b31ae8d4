/* What a .gan file's checksums are (docs/gan-file-format.md, "Checksums"). */
#ifndef GAN_CHECKSUM_H
#define GAN_CHECKSUM_H

#include <stdint.h>

/* Two numbers over little-endian 64-bit words, which both start at zero. */
typedef struct gan_checksum {
    uint64_t first, second;
    uint64_t index; /* words so far; versions 1 and 2 alone count them */
} gan_checksum;

/* Versions 1 and 2: the sum of the words, and of (i + 1) x word i.  `size` is a multiple of 8 but for the last call. */
void gan_i_sum_words(gan_checksum *sum, const unsigned char *p, uint64_t size);
/* Version 3: the xor of the words, and their polynomial at x in GF(2^64).  Likewise. */
void gan_i_check_words(gan_checksum *sum, const unsigned char *p, uint64_t size);

static inline uint32_t u32_at(const unsigned char *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t u64_at(const unsigned char *p) { return (uint64_t)u32_at(p) | (uint64_t)u32_at(p + 4) << 32; }

#endif
