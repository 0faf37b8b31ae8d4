
static void apply_relu(const float *x, float *y, int n)
{
    for (int i = 0; i < n; i++) y[i] = x[i] < 0 ? 0 : x[i];
}
