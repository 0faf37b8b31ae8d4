
/* Whole numbers -127 .. 127 times each output channel's own unit. */
static void widen(const int8_t *whole, const float *unit, int depth, float *out)
{
    for (int k = 0; k < depth; k++)
        for (int n = 0; n < PANEL; n++) out[k * PANEL + n] = (float)whole[k * PANEL + n] * unit[n];
}
