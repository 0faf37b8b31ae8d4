/* Products of rows of inputs that were packed for it, and a panel of weights. */
#include "run.h"

void gan_i_multiply_packed(const gan_kernels *kernels, const gan_packed_rows *rows, const gan_panel *panel, float *sums,
                           int64_t step, int accumulate) {
    const int64_t nr = kernels->nr, channels = rows->channels, blocks = (channels + KBLOCK - 1) / KBLOCK,
                  parts = (rows->count + kernels->mr - 1) / kernels->mr,
                  most = rows->int16 ? (int64_t)INT16_SLICE : (int64_t)SLICE;
    const int quarters = prefetch_quarters(parts);
    for (int64_t k0 = 0; k0 < channels; k0 += most) {
        const int64_t depth = channels - k0 < most ? channels - k0 : most, slice = k0 * nr, next = slice + depth * nr,
                      share = depth / KBLOCK * 4 * nr * quarters;
        int64_t tiles = parts;
        for (int64_t n = 0, part = 0; n < rows->count; tiles--, part++) {
            const int m = next_part(rows->count - n, tiles);
            const int64_t from = n * blocks * KBLOCK + k0 * m,
                          fetched = part * share < depth * nr ? next + part * share : slice;
            if (rows->int16)
                kernels->gemm_packed_int16(m, panel->columns, depth, rows->int16 + from, m * KBLOCK,
                                           panel->int16 + slice, panel->scale, sums + n * step, step,
                                           accumulate || k0 > 0, panel->int16 + fetched, quarters);
            else
                kernels->gemm_packed(m, panel->columns, depth, rows->floats + from, m * KBLOCK, panel->floats + slice,
                                     sums + n * step, step, accumulate || k0 > 0, panel->floats + fetched, quarters);
            n += m;
        }
    }
}
