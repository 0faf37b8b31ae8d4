/* A convolution with few output channels: each input pixel times every kernel element of every output channel in
 * one product, then folded: product (ky, kx) of pixel (y, x) belongs to output (s y + ky - pad, s x + kx - pad). */
#include <string.h>

#include "run.h"

/* One finished row of outputs, [x][channel], to where it belongs. */
static void emit(const worker *w, const step *st, uint32_t image, int32_t y, float *row, int last) {
    const conv *c = &st->conv;
    const gan_kernels *k = w->j->k;
    const int64_t nc = c->out.c, n = nc * c->out.w;
    k->activate(row, row, n, st->act);
    if (!last) {
        const int64_t wide = padded(c->out.c, k);
        float *to = value_at(w, st->output, image) + (int64_t)y * c->out.w * wide;
        for (int64_t x = 0; x < c->out.w; x++, to += wide) {
            for (int64_t i = 0; i < nc; i++) to[i] = row[x * nc + i];
            for (int64_t i = nc; i < wide; i++) to[i] = 0;
        }
        return;
    }
    const int64_t picture = (int64_t)(w->first + image);
    if (w->j->bytes) {
        put_bytes(w->j, row, w->j->bytes + (picture * c->out.h + y) * n, n);
        return;
    }
    for (int64_t i = 0; i < nc; i++) {
        float *to = w->j->floats + ((picture * nc + i) * c->out.h + y) * c->out.w;
        for (int64_t x = 0; x < c->out.w; x++) to[x] = row[x * nc + i];
    }
}

/* products[x][columns] for one row of input pixels. */
static void multiply(const worker *w, const conv *c, const float *row, const float *weights, int64_t columns,
                     float *products) {
    const gan_kernels *k = w->j->k;
    const int64_t nr = k->nr, in_c = padded(c->in.c, k), tiles = (c->in.w + k->mr - 1) / k->mr;
    for (int64_t first = 0; first < columns; first += nr) {
        for (uint32_t k0 = 0; k0 < c->in.c; k0 += SLICE) {
            const ptrdiff_t depth = c->in.c - k0 < SLICE ? (ptrdiff_t)(c->in.c - k0) : (ptrdiff_t)SLICE;
            for (int64_t n = 0, x = 0; n < tiles; n++) {
                const int m = next_part(c->in.w - x, tiles - n);
                const float *a[MAX_MR];
                float *to[MAX_MR];
                for (int i = 0; i < m; i++, x++) {
                    a[i] = row + x * in_c + k0;
                    to[i] = products + x * columns + first;
                    /* what the tile after reads first; gemm fetches the rest ahead of itself */
                    __builtin_prefetch(a[i] + m * in_c, 0, 3);
                    __builtin_prefetch(a[i] + m * in_c + KBLOCK, 0, 3);
                }
                k->gemm(m, depth, a, KBLOCK, weights, to, k0 > 0, NULL);
            }
            weights += depth * nr;
        }
    }
}

/* Output rows y0 .. y1-1 of a picture. */
static void run_band(worker *w, const step *st, const float *weights, uint32_t image, int32_t y0, int32_t y1, int last) {
    const conv *c = &st->conv;
    const gan_kernels *k = w->j->k;
    const int32_t s = (int32_t)c->out_stride, kernel = (int32_t)c->kh;
    const int64_t nc = c->out.c, columns = (int64_t)round_up((uint64_t)(kernel * kernel) * (uint64_t)nc, (uint64_t)k->nr);
    const int64_t line = ((int64_t)(c->in.w - 1) * s + kernel) * nc, group = (kernel + s - 1) / s;
    float *products = w->thread_scratch, *sums = products + c->in.w * columns; /* sums: the `kernel` output rows in progress */
    const float *bias = w->j->s->constants + st->constants;
    int32_t from = ceil_div(y0 + c->pad - kernel + 1, s), to = floor_div(y1 - 1 + c->pad, s);
    from = from > 0 ? from : 0;
    to = to < (int32_t)c->in.h - 1 ? to : (int32_t)c->in.h - 1;
    for (int32_t iy = from; iy <= to; iy++) {
        const int32_t fresh = iy == from ? kernel : s;
        for (int64_t i = (int64_t)(kernel - fresh) * line; i < kernel * line; i++) sums[i] = bias[i % nc];
        const float *row = value_at(w, st->inputs[0], image) + (int64_t)iy * c->in.w * padded(c->in.c, k);
        multiply(w, c, row, weights, columns, products);
        /* pixels `group` apart don't overlap: a store is never loaded again at once */
        for (int32_t ky = 0; ky < kernel; ky++)
            for (int64_t g = 0; g < group && g < c->in.w; g++)
                k->add_rows(products + g * columns + ky * kernel * nc, group * columns, sums + ky * line + g * s * nc,
                            group * s * nc, (c->in.w - g + group - 1) / group, kernel * nc);
        const int32_t done = iy == to ? kernel : s;
        for (int32_t i = 0; i < done; i++) {
            const int32_t y = s * iy + i - c->pad;
            if (y >= y0 && y < y1) emit(w, st, image, y, sums + i * line + c->pad * nc, last);
        }
        memmove(sums, sums + s * line, sizeof *sums * (size_t)((kernel - s) * line));
    }
}

void gan_i_run_fold(worker *w, const step *st, const float *weights, int last) {
    const uint32_t height = st->conv.out.h, size = (uint32_t)w->cursor.crew->size;
    const uint32_t wanted = size == 1 || w->images >= 4 * size ? 1 : (4 * size + w->images - 1) / w->images;
    /* a band reads up to one kernel's rows of inputs again */
    const uint32_t most = height / (4 * st->conv.kh) ? height / (4 * st->conv.kh) : 1, bands = wanted < most ? wanted : most;
    for (uint64_t n; gan_i_crew_take(&w->cursor, (uint64_t)w->images * bands, &n);) {
        const uint32_t image = (uint32_t)(n / bands), band = (uint32_t)(n % bands);
        run_band(w, st, weights, image, (int32_t)((uint64_t)height * band / bands),
                 (int32_t)((uint64_t)height * (band + 1) / bands), last);
    }
    gan_i_crew_barrier(&w->cursor);
}
