/* A convolution as one matrix product per kernel element, over the output pixels of a phase that the element reaches
 * (so padding costs nothing), added to the output in place. */
#include "run.h"

typedef struct direct_item {
    uint32_t py, px, panel;
    uint32_t row0, row1; /* rows of the phase, counted through all images of the chunk */
} direct_item;

/* Rows (or columns) j of outputs out_stride x j + phase - pad within 0 .. out-1. */
static void phase_range(const gan_conv *conv, uint32_t phase, uint32_t out, int32_t *from, int32_t *to) {
    const int32_t stride = (int32_t)conv->out_stride, shift = conv->in_stride > 1 ? 0 : (int32_t)phase - conv->pad;
    *from = ceil_div(-shift, stride);
    *to = floor_div((int32_t)out - 1 - shift, stride) + 1;
}

/* Those j among from .. to-1 for which input in_stride x j + offset exists. */
static void reach(const gan_conv *conv, int32_t offset, uint32_t in, int32_t *from, int32_t *to) {
    const int32_t stride = (int32_t)conv->in_stride, low = ceil_div(-offset, stride),
                  high = floor_div((int32_t)in - 1 - offset, stride) + 1;
    *from = low > *from ? low : *from;
    *to = high < *to ? high : *to;
}

static void run_item(gan_worker *worker, const gan_step *step, const direct_item *item, const float *weights) {
    const gan_conv *conv = &step->conv;
    const gan_kernels *kernels = worker->shared->kernels;
    const int64_t in_c = padded(conv->in.c, kernels), out_c = padded(conv->out.c, kernels), nr = kernels->nr;
    const int32_t stride = (int32_t)conv->out_stride, in_stride = (int32_t)conv->in_stride;
    const int32_t shift_y = in_stride > 1 ? 0 : (int32_t)item->py - conv->pad,
                  shift_x = in_stride > 1 ? 0 : (int32_t)item->px - conv->pad;
    const float *bias = worker->shared->program->constants + step->constants;
    rectangle all;
    phase_range(conv, item->py, conv->out.h, &all.y0, &all.y1);
    phase_range(conv, item->px, conv->out.w, &all.x0, &all.x1);
    const uint32_t rows = (uint32_t)(all.y1 - all.y0);
    const int64_t x_step = stride * out_c;

    for (uint32_t r = item->row0; r < item->row1; r++) {
        const int64_t y = stride * (all.y0 + (int32_t)(r % rows)) + shift_y, x = (int64_t)stride * all.x0 + shift_x;
        const int64_t pixel = y * conv->out.w + x;
        float *to = value_at(worker, step->output, r / rows) + pixel * out_c + item->panel * nr;
        if (!conv->pixel_bias) {
            kernels->bias_act(worker->shared->zeros, 0, bias + item->panel * nr, to, x_step, all.x1 - all.x0,
                              (activation){ACT_NONE, 0});
            continue;
        }
        for (int32_t i = 0; i < all.x1 - all.x0; i++)
            kernels->bias_act(worker->shared->zeros, 0, bias + (pixel + (int64_t)i * stride) * out_c + item->panel * nr,
                              to + i * x_step, 0, 1, (activation){ACT_NONE, 0});
    }
    const uint32_t taps_y = phase_taps(conv, conv->kh, item->py), taps_x = phase_taps(conv, conv->kw, item->px);
    for (uint32_t tap = 0; tap < taps_y * taps_x; tap++, weights += (int64_t)conv->in.c * nr) {
        const int32_t ty = (int32_t)(tap / taps_x), tx = (int32_t)(tap % taps_x);
        const int32_t off_y = in_stride > 1 ? ty - conv->pad : -ty, off_x = in_stride > 1 ? tx - conv->pad : -tx;
        rectangle part = all;
        reach(conv, off_y, conv->in.h, &part.y0, &part.y1);
        reach(conv, off_x, conv->in.w, &part.x0, &part.x1);
        if (!rectangle_area(part)) continue;
        /* this item's rows of the rectangle, as whole images and rests */
        const int64_t wide = part.x1 - part.x0;
        for (uint32_t k0 = 0; k0 < conv->in.c; k0 += SLICE) {
            const ptrdiff_t depth = conv->in.c - k0 < SLICE ? (ptrdiff_t)(conv->in.c - k0) : (ptrdiff_t)SLICE;
            const float *a[MAX_MR];
            float *to[MAX_MR];
            int64_t left = 0;
            for (uint32_t r = item->row0; r < item->row1; r++) {
                const int32_t y = all.y0 + (int32_t)(r % rows);
                left += y >= part.y0 && y < part.y1 ? wide : 0;
            }
            int64_t tiles = (left + kernels->mr - 1) / kernels->mr;
            int filled = 0, want = tiles ? next_part(left, tiles) : 0;
            for (uint32_t r = item->row0; r < item->row1; r++) {
                const int32_t y = all.y0 + (int32_t)(r % rows);
                if (y < part.y0 || y >= part.y1) continue;
                const float *from = value_at(worker, step->inputs[0], r / rows);
                float *row = value_at(worker, step->output, r / rows);
                /* numbers, since a pointer to pixel x = 0 may lie before the array if shift_x or off_x is negative */
                const int64_t from_x0 = ((int64_t)(in_stride * y + off_y) * conv->in.w + off_x) * in_c + k0;
                const int64_t row_x0 = ((int64_t)(stride * y + shift_y) * conv->out.w + shift_x) * out_c +
                                       item->panel * nr;
                for (int32_t x = part.x0; x < part.x1; x++) {
                    a[filled] = from + (from_x0 + (int64_t)in_stride * x * in_c);
                    to[filled] = row + (row_x0 + (int64_t)x * x_step);
                    if (++filled < want) continue;
                    kernels->gemm(filled, depth, a, KBLOCK, weights + (int64_t)k0 * nr, to, 1, NULL);
                    left -= filled;
                    tiles--;
                    filled = 0;
                    want = tiles ? next_part(left, tiles) : 0;
                }
            }
        }
    }
    if (step->act.kind == ACT_NONE) return;
    for (uint32_t r = item->row0; r < item->row1; r++) {
        const int64_t y = stride * (all.y0 + (int32_t)(r % rows)) + shift_y;
        float *to = value_at(worker, step->output, r / rows) +
                    (y * conv->out.w + (int64_t)stride * all.x0 + shift_x) * out_c + item->panel * nr;
        kernels->bias_act(to, x_step, worker->shared->zeros, to, x_step, all.x1 - all.x0, step->act);
    }
}

/* Of one pixel (a latent) each output pixel is one product, finished as it is made: all of one panel for the images
 * i0 .. i1-1. */
static void run_pixel(gan_worker *worker, const gan_step *step, uint32_t panel, uint32_t i0, uint32_t i1,
                      const float *weights) {
    const gan_conv *conv = &step->conv;
    const gan_kernels *kernels = worker->shared->kernels;
    const int64_t out_c = padded(conv->out.c, kernels), nr = kernels->nr,
                  tiles = (i1 - i0 + (uint32_t)kernels->mr - 1) / (uint32_t)kernels->mr;
    const float *bias = worker->shared->program->constants + step->constants + panel * nr;
    const int64_t per_image =
        (int64_t)worker->shared->program->values[worker->shared->program->values[step->output].alias].per_image;
    for (uint32_t tap = 0; tap < conv->kh * conv->kw; tap++, weights += (int64_t)conv->in.c * nr) {
        const int64_t y = (int64_t)(tap / conv->kw) - conv->pad, x = (int64_t)(tap % conv->kw) - conv->pad;
        if (y < 0 || x < 0 || y >= conv->out.h || x >= conv->out.w) continue;
        const int64_t pixel = y * conv->out.w + x;
        uint32_t image = i0;
        for (int64_t n = 0; n < tiles; n++) {
            const int m = next_part(i1 - image, tiles - n);
            float products[MAX_MR * MAX_NR];
            const float *a[MAX_MR];
            float *to[MAX_MR];
            for (int i = 0; i < m; i++) to[i] = products + i * nr;
            for (uint32_t k0 = 0; k0 < conv->in.c; k0 += SLICE) {
                const ptrdiff_t depth = conv->in.c - k0 < SLICE ? (ptrdiff_t)(conv->in.c - k0) : (ptrdiff_t)SLICE;
                for (int i = 0; i < m; i++) a[i] = value_at(worker, step->inputs[0], image + (uint32_t)i) + k0;
                /* each tile fetches its share of the next weights */
                const float *next = weights + (k0 + depth) * nr;
                const int64_t share = n * (depth / KBLOCK * 4 * nr);
                kernels->gemm(m, depth, a, KBLOCK, next - depth * nr, to, k0 > 0,
                              share < depth * nr ? next + share : NULL);
            }
            float *out = value_at(worker, step->output, image) + pixel * out_c + panel * nr;
            kernels->bias_act(products, nr, bias + (conv->pixel_bias ? pixel * out_c : 0), out, per_image, m,
                              step->act);
            image += (uint32_t)m;
        }
    }
}

void gan_i_run_direct(gan_worker *worker, const gan_step *step, const float *weights) {
    const gan_conv *conv = &step->conv;
    if (gan_i_blocks_fit(conv)) {
        gan_i_run_blocks(worker, step, weights);
        return;
    }
    const int64_t nr = worker->shared->kernels->nr;
    const uint32_t stride = conv->out_stride, panels = padded(conv->out.c, worker->shared->kernels) / (uint32_t)nr;
    /* enough items for every member to find work, and no more: each reads its panel's weights again */
    const uint32_t units = stride * stride * panels, wanted = 4 * (uint32_t)worker->cursor.group->size;
    const uint32_t parts = worker->cursor.group->size == 1 || units >= wanted ? 1 : (wanted + units - 1) / units;
    const uint64_t items = (uint64_t)units * parts;
    /* whether every output has a kernel element over the one pixel */
    const int pixel = conv->in.h == 1 && conv->in.w == 1 && conv->in_stride == 1 && stride == 1 && conv->pad >= 0 &&
                      conv->out.h + (uint32_t)conv->pad <= conv->kh && conv->out.w + (uint32_t)conv->pad <= conv->kw;
    for (uint64_t n; gan_i_group_take(&worker->cursor, items, &n);) {
        if (pixel) {
            const uint64_t part = n % parts, panel = n / parts;
            run_pixel(worker, step, (uint32_t)panel, (uint32_t)(worker->images * part / parts),
                      (uint32_t)(worker->images * (part + 1) / parts),
                      weights + panel * conv->kh * conv->kw * conv->in.c * (uint64_t)nr);
            continue;
        }
        direct_item item = {.panel = (uint32_t)(n / parts % panels),
                            .px = (uint32_t)(n / parts / panels % stride),
                            .py = (uint32_t)(n / parts / panels / stride)};
        int32_t from, to;
        phase_range(conv, item.py, conv->out.h, &from, &to);
        if (to <= from) continue;
        const uint64_t rows = (uint64_t)(to - from) * worker->images, part = n % parts;
        item.row0 = (uint32_t)(rows * part / parts);
        item.row1 = (uint32_t)(rows * (part + 1) / parts);
        if (item.row0 == item.row1) continue;
        /* [phase y][phase x][panel][taps] */
        uint64_t before = 0;
        for (uint32_t p = 0; p < item.py; p++) before += (uint64_t)phase_taps(conv, conv->kh, p) * conv->kw;
        for (uint32_t p = 0; p < item.px; p++)
            before += (uint64_t)phase_taps(conv, conv->kh, item.py) * phase_taps(conv, conv->kw, p);
        const uint64_t own = (uint64_t)phase_taps(conv, conv->kh, item.py) * phase_taps(conv, conv->kw, item.px);
        run_item(worker, step, &item, weights + (before * panels + own * item.panel) * conv->in.c * (uint64_t)nr);
    }
    gan_i_group_barrier(&worker->cursor);
}
