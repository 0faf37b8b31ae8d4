
/* 1 from 9 on: float knows nothing between. */
static void apply_tanh(const float *x, float *y, int n)
{
    for (int i = 0; i < n; i++) {
        const float held = !(x[i] > -9.0f) ? -9.0f : x[i] > 9.0f ? 9.0f : x[i];
        const float e = exponential(2.0f * held);
        y[i] = (e - 1.0f) / (e + 1.0f);
    }
}
