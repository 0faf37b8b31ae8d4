
/* 1 from 9 on: float knows nothing between.  NaN stays NaN. */
static void apply_tanh(const float *x, float *y, int n)
{
    for (int i = 0; i < n; i++) {
        const float held = x[i] < -9.0f ? -9.0f : x[i] > 9.0f ? 9.0f : x[i] == x[i] ? x[i] : 0.0f;
        const float e = exponential(2.0f * held);
        y[i] = x[i] == x[i] ? (e - 1.0f) / (e + 1.0f) : x[i];
    }
}
