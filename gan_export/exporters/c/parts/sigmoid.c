
/* NaN stays NaN. */
static void apply_sigmoid(const float *x, float *y, int n)
{
    for (int i = 0; i < n; i++) {
        const float held = x[i] < -60.0f ? -60.0f : x[i] > 60.0f ? 60.0f : x[i] == x[i] ? x[i] : 0.0f;
        y[i] = x[i] == x[i] ? 1.0f / (1.0f + exponential(-held)) : x[i];
    }
}
