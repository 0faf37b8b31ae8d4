/* ---- from a seed to random numbers: the law philox4x32-10/normal-table-16/1 ---- */

/* Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): four random words of a
 * counter (block, stream, index) and the seed.  Stream 0 is for latents, 1 for labels, 4096 + k for dropout k. */
static void random_words(uint64_t seed, uint64_t index, uint32_t block, uint32_t stream, uint32_t c[4])
{
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    c[0] = block;
    c[1] = stream;
    c[2] = (uint32_t)index;
    c[3] = (uint32_t)(index >> 32);
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)c[0] * 0xD2511F53u, p1 = (uint64_t)c[2] * 0xCD9E8D57u;
        c[0] = (uint32_t)(p1 >> 32) ^ c[1] ^ k0;
        c[2] = (uint32_t)(p0 >> 32) ^ c[3] ^ k1;
        c[1] = (uint32_t)p1;
        c[3] = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}
