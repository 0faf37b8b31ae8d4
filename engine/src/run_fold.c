/* A convolution with few output channels: each input pixel times every kernel element of every output channel in
 * one product, then folded: product (ky, kx) of pixel (y, x) belongs to output (s y + ky - pad, s x + kx - pad). */
#include <string.h>

#include "run.h"

/* One finished row of outputs, [x][channel], to where it belongs. */
static void emit(const gan_worker *worker, const gan_step *step, uint32_t image, int32_t y, float *row, int last) {
    const gan_conv *conv = &step->conv;
    const gan_kernels *kernels = worker->shared->kernels;
    const int64_t nc = conv->out.c, n = nc * conv->out.w;
    kernels->activate(row, row, n, step->act);
    if (!last) {
        const int64_t wide = padded(conv->out.c, kernels);
        float *to = value_at(worker, step->output, image) + (int64_t)y * conv->out.w * wide;
        for (int64_t x = 0; x < conv->out.w; x++, to += wide) {
            for (int64_t i = 0; i < nc; i++) to[i] = row[x * nc + i];
            for (int64_t i = nc; i < wide; i++) to[i] = 0;
        }
        return;
    }
    gan_i_put_row(&worker->shared->out, kernels, worker->first + image, (uint64_t)y, row, (uint64_t)nc);
}

/* products[x][columns] for one row of input pixels. */
static void multiply(const gan_worker *worker, const gan_conv *conv, const float *row, const float *weights,
                     int64_t columns, float *products) {
    const gan_kernels *kernels = worker->shared->kernels;
    const int64_t nr = kernels->nr, in_c = padded(conv->in.c, kernels),
                  tiles = ((int64_t)conv->in.w + kernels->mr - 1) / kernels->mr;
    for (int64_t first = 0; first < columns; first += nr) {
        for (uint32_t k0 = 0; k0 < conv->in.c; k0 += SLICE) {
            const ptrdiff_t depth = conv->in.c - k0 < SLICE ? (ptrdiff_t)(conv->in.c - k0) : (ptrdiff_t)SLICE;
            for (int64_t n = 0, x = 0; n < tiles; n++) {
                const int m = next_part(conv->in.w - x, tiles - n);
                const float *a[MAX_MR];
                float *to[MAX_MR];
                for (int i = 0; i < m; i++, x++) {
                    a[i] = row + x * in_c + k0;
                    to[i] = products + x * columns + first;
                    /* what the tile after reads first; gemm fetches the rest ahead of itself */
                    __builtin_prefetch(a[i] + m * in_c, 0, 3);
                    __builtin_prefetch(a[i] + m * in_c + KBLOCK, 0, 3);
                }
                kernels->gemm(m, depth, a, KBLOCK, weights, to, k0 > 0, NULL);
            }
            weights += depth * nr;
        }
    }
}

/* Fill `to` with `n` floats: the `period` floats at `from`, again and again, by copies that double. */
static void repeat(const float *from, int64_t period, float *to, int64_t n) {
    memcpy(to, from, sizeof *to * (size_t)period);
    for (int64_t done = period, part; done < n; done += part) {
        part = done < n - done ? done : n - done;
        memcpy(to + done, to, sizeof *to * (size_t)part);
    }
}

/* Output rows y0 .. y1-1 of an image. */
static void run_band(gan_worker *worker, const gan_step *step, const float *weights, uint32_t image, int32_t y0,
                     int32_t y1, int last) {
    const gan_conv *conv = &step->conv;
    const gan_kernels *kernels = worker->shared->kernels;
    const int32_t stride = (int32_t)conv->out_stride, kernel = (int32_t)conv->kh;
    const int64_t nc = conv->out.c,
                  columns = (int64_t)round_up((uint64_t)(kernel * kernel) * (uint64_t)nc, (uint64_t)kernels->nr);
    const int64_t line = ((int64_t)(conv->in.w - 1) * stride + kernel) * nc, spacing = (kernel + stride - 1) / stride;
    float *products = worker->thread_scratch,
          *sums = products + conv->in.w * columns; /* sums: the `kernel` output rows in progress */
    const float *bias = worker->shared->program->constants + step->constants;
    int32_t from = ceil_div(y0 + conv->pad - kernel + 1, stride), to = floor_div(y1 - 1 + conv->pad, stride);
    from = from > 0 ? from : 0;
    to = to < (int32_t)conv->in.h - 1 ? to : (int32_t)conv->in.h - 1;
    for (int32_t iy = from; iy <= to; iy++) {
        const int32_t fresh = iy == from ? kernel : stride;
        repeat(bias, nc, sums + (kernel - fresh) * line, fresh * line);
        const float *row = value_at(worker, step->inputs[0], image) +
                           (int64_t)iy * conv->in.w * padded(conv->in.c, kernels);
        multiply(worker, conv, row, weights, columns, products);
        /* pixels this far apart don't overlap: a store is never loaded again at once */
        for (int32_t ky = 0; ky < kernel; ky++)
            for (int64_t g = 0; g < spacing && g < conv->in.w; g++)
                kernels->add_rows(products + g * columns + ky * kernel * nc, spacing * columns,
                                  sums + ky * line + g * stride * nc, spacing * stride * nc,
                                  (conv->in.w - g + spacing - 1) / spacing, kernel * nc);
        const int32_t done = iy == to ? kernel : stride;
        for (int32_t i = 0; i < done; i++) {
            const int32_t y = stride * iy + i - conv->pad;
            if (y >= y0 && y < y1) emit(worker, step, image, y, sums + i * line + conv->pad * nc, last);
        }
        memmove(sums, sums + stride * line, sizeof *sums * (size_t)((kernel - stride) * line));
    }
}

void gan_i_run_fold(gan_worker *worker, const gan_step *step, const float *weights, int last) {
    const uint32_t height = step->conv.out.h, size = (uint32_t)worker->cursor.group->size;
    const uint32_t wanted = size == 1 || worker->images >= 4 * size ? 1
                                                                    : (4 * size + worker->images - 1) / worker->images;
    /* a band reads up to one kernel's rows of inputs again */
    const uint32_t max_bands = height / (4 * step->conv.kh) ? height / (4 * step->conv.kh) : 1,
                   bands = wanted < max_bands ? wanted : max_bands;
    for (uint64_t n; gan_i_group_take(&worker->cursor, (uint64_t)worker->images * bands, &n);) {
        const uint32_t image = (uint32_t)(n / bands), band = (uint32_t)(n % bands);
        run_band(worker, step, weights, image, (int32_t)((uint64_t)height * band / bands),
                 (int32_t)((uint64_t)height * (band + 1) / bands), last);
    }
    gan_i_group_barrier(&worker->cursor);
}
