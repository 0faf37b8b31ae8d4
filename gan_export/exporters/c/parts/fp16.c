
/* IEEE 754 binary16 to float, for numbers that are finite; n is a multiple of 8. */
static void widen(const uint16_t *half, int n, float *out)
{
#if defined(LANES) && LANES >= 8 && defined(__F16C__)
    for (int i = 0; i < n; i += 8)
        _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(half + i))));
#else
    for (int i = 0; i < n; i++) {
        const uint32_t size = half[i] & 0x7FFFu, sign = (uint32_t)(half[i] & 0x8000u) << 16;
        const uint32_t usual = (size << 13) + (112u << 23), small = (size << 13) + (113u << 23);
        float as_usual, as_small;
        uint32_t bits;
        memcpy(&as_usual, &usual, sizeof usual);
        memcpy(&as_small, &small, sizeof small);
        as_small -= 6.103515625e-5f; /* 2^-14: what the implicit one put in */
        as_usual = size < 0x400u ? as_small : as_usual;
        memcpy(&bits, &as_usual, sizeof bits);
        bits |= sign;
        memcpy(&out[i], &bits, sizeof bits);
    }
#endif
}
