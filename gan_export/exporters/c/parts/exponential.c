
/* exp(x) for |x| <= 60, to 2e-7 of itself: 2^n times a polynomial (the series of exp, to the eighth power) on
 * [-log(2) / 2, log(2) / 2].  No call and no branch, so that the loops below become vector code. */
static float exponential(float x)
{
    const float turns = x * 1.44269504f;
    const int n = (int)(turns + (turns < 0 ? -0.5f : 0.5f));
    const float r = (x - (float)n * 0.693359375f) + (float)n * 2.12194440e-4f; /* log(2), in two parts */
    const float series =
        1.0f + r * (1.0f + r * (0.5f + r * (0.166666667f + r * (0.0416666667f + r * (0.00833333333f + r * (0.00138888889f +
        r * 0.000198412698f))))));
    const uint32_t bits = (uint32_t)(n + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return power * series;
}
