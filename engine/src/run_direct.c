/* A convolution as one matrix product for each kernel element: over the output pixels of one phase that this
 * element reaches, so that padding costs nothing, added up in place. */
#include "run.h"

typedef struct item {
    uint32_t py, px, panel;
    uint32_t row0, row1; /* rows of the phase, counted through all pictures of the chunk */
} item;

/* Rows (or columns) j of outputs out_stride x j + phase - pad within 0 .. out-1. */
static void phase_range(const conv *c, uint32_t phase, uint32_t out, int32_t *from, int32_t *to) {
    const int32_t s = (int32_t)c->out_stride, shift = c->in_stride > 1 ? 0 : (int32_t)phase - c->pad;
    *from = ceil_div(-shift, s);
    *to = floor_div((int32_t)out - 1 - shift, s) + 1;
}

/* Those j among from .. to-1 for which input in_stride x j + offset exists. */
static void reach(const conv *c, int32_t offset, uint32_t in, int32_t *from, int32_t *to) {
    const int32_t s = (int32_t)c->in_stride, low = ceil_div(-offset, s), high = floor_div((int32_t)in - 1 - offset, s) + 1;
    *from = low > *from ? low : *from;
    *to = high < *to ? high : *to;
}

static void run_item(worker *w, const step *st, const item *it, const float *weights) {
    const conv *c = &st->conv;
    const gan_kernels *k = w->j->k;
    const int64_t in_c = padded(c->in.c, k), out_c = padded(c->out.c, k), nr = k->nr;
    const int32_t s = (int32_t)c->out_stride, is = (int32_t)c->in_stride;
    const int32_t shift_y = is > 1 ? 0 : (int32_t)it->py - c->pad, shift_x = is > 1 ? 0 : (int32_t)it->px - c->pad;
    const float *bias = w->j->s->constants + st->constants;
    rectangle all;
    phase_range(c, it->py, c->out.h, &all.y0, &all.y1);
    phase_range(c, it->px, c->out.w, &all.x0, &all.x1);
    const uint32_t rows = (uint32_t)(all.y1 - all.y0);
    const int64_t x_step = s * out_c;

    for (uint32_t r = it->row0; r < it->row1; r++) {
        const int64_t y = s * (all.y0 + (int32_t)(r % rows)) + shift_y, x = (int64_t)s * all.x0 + shift_x;
        const int64_t pixel = y * c->out.w + x;
        float *to = value_at(w, st->output, r / rows) + pixel * out_c + it->panel * nr;
        if (!c->pixel_bias) {
            k->bias_act(w->j->zeros, 0, bias + it->panel * nr, to, x_step, all.x1 - all.x0, (activation){ACT_NONE, 0});
            continue;
        }
        for (int32_t i = 0; i < all.x1 - all.x0; i++)
            k->bias_act(w->j->zeros, 0, bias + (pixel + (int64_t)i * s) * out_c + it->panel * nr, to + i * x_step, 0, 1,
                      (activation){ACT_NONE, 0});
    }
    const uint32_t taps_y = phase_taps(c, c->kh, it->py), taps_x = phase_taps(c, c->kw, it->px);
    for (uint32_t tap = 0; tap < taps_y * taps_x; tap++, weights += (int64_t)c->in.c * nr) {
        const int32_t ty = (int32_t)(tap / taps_x), tx = (int32_t)(tap % taps_x);
        const int32_t off_y = is > 1 ? ty - c->pad : -ty, off_x = is > 1 ? tx - c->pad : -tx;
        rectangle part = all;
        reach(c, off_y, c->in.h, &part.y0, &part.y1);
        reach(c, off_x, c->in.w, &part.x0, &part.x1);
        if (!rectangle_area(part)) continue;
        /* this item's rows of the rectangle, as whole pictures and rests */
        const int64_t wide = part.x1 - part.x0;
        for (uint32_t k0 = 0; k0 < c->in.c; k0 += SLICE) {
            const ptrdiff_t depth = c->in.c - k0 < SLICE ? (ptrdiff_t)(c->in.c - k0) : (ptrdiff_t)SLICE;
            const float *a[MAX_MR];
            float *to[MAX_MR];
            int64_t left = 0;
            for (uint32_t r = it->row0; r < it->row1; r++) {
                const int32_t y = all.y0 + (int32_t)(r % rows);
                left += y >= part.y0 && y < part.y1 ? wide : 0;
            }
            int64_t tiles = (left + k->mr - 1) / k->mr;
            int filled = 0, want = tiles ? next_part(left, tiles) : 0;
            for (uint32_t r = it->row0; r < it->row1; r++) {
                const int32_t y = all.y0 + (int32_t)(r % rows);
                if (y < part.y0 || y >= part.y1) continue;
                const float *from = value_at(w, st->inputs[0], r / rows) +
                                    ((int64_t)(is * y + off_y) * c->in.w + off_x) * in_c + k0;
                float *row = value_at(w, st->output, r / rows) +
                             ((int64_t)(s * y + shift_y) * c->out.w + shift_x) * out_c + it->panel * nr;
                for (int32_t x = part.x0; x < part.x1; x++) {
                    a[filled] = from + (int64_t)is * x * in_c;
                    to[filled] = row + (int64_t)x * x_step;
                    if (++filled < want) continue;
                    k->gemm(filled, depth, a, KBLOCK, weights + (int64_t)k0 * nr, to, 1, NULL);
                    left -= filled;
                    tiles--;
                    filled = 0;
                    want = tiles ? next_part(left, tiles) : 0;
                }
            }
        }
    }
    if (st->act.kind == ACT_NONE) return;
    for (uint32_t r = it->row0; r < it->row1; r++) {
        const int64_t y = s * (all.y0 + (int32_t)(r % rows)) + shift_y;
        float *to = value_at(w, st->output, r / rows) +
                    (y * c->out.w + (int64_t)s * all.x0 + shift_x) * out_c + it->panel * nr;
        k->bias_act(to, x_step, w->j->zeros, to, x_step, all.x1 - all.x0, st->act);
    }
}

/* Of one pixel (a latent) each output pixel is one product, finished as it is made: all of one panel for the pictures
 * i0 .. i1-1. */
static void run_pixel(worker *w, const step *st, uint32_t panel, uint32_t i0, uint32_t i1, const float *weights) {
    const conv *c = &st->conv;
    const gan_kernels *k = w->j->k;
    const int64_t out_c = padded(c->out.c, k), nr = k->nr, tiles = (i1 - i0 + (uint32_t)k->mr - 1) / (uint32_t)k->mr;
    const float *bias = w->j->s->constants + st->constants + panel * nr;
    const int64_t per_image = (int64_t)w->j->s->values[w->j->s->values[st->output].alias].per_image;
    for (uint32_t tap = 0; tap < c->kh * c->kw; tap++, weights += (int64_t)c->in.c * nr) {
        const int64_t y = (int64_t)(tap / c->kw) - c->pad, x = (int64_t)(tap % c->kw) - c->pad;
        if (y < 0 || x < 0 || y >= c->out.h || x >= c->out.w) continue;
        const int64_t pixel = y * c->out.w + x;
        uint32_t image = i0;
        for (int64_t n = 0; n < tiles; n++) {
            const int m = next_part(i1 - image, tiles - n);
            float products[MAX_MR * MAX_NR];
            const float *a[MAX_MR];
            float *to[MAX_MR];
            for (int i = 0; i < m; i++) to[i] = products + i * nr;
            for (uint32_t k0 = 0; k0 < c->in.c; k0 += SLICE) {
                const ptrdiff_t depth = c->in.c - k0 < SLICE ? (ptrdiff_t)(c->in.c - k0) : (ptrdiff_t)SLICE;
                for (int i = 0; i < m; i++) a[i] = value_at(w, st->inputs[0], image + (uint32_t)i) + k0;
                /* each tile fetches its share of the next weights */
                const float *next = weights + (k0 + depth) * nr;
                const int64_t share = n * (depth / KBLOCK * 4 * nr);
                k->gemm(m, depth, a, KBLOCK, next - depth * nr, to, k0 > 0, share < depth * nr ? next + share : NULL);
            }
            float *out = value_at(w, st->output, image) + pixel * out_c + panel * nr;
            k->bias_act(products, nr, bias + (c->pixel_bias ? pixel * out_c : 0), out, per_image, m, st->act);
            image += (uint32_t)m;
        }
    }
}

void gan_i_run_direct(worker *w, const step *st, const float *weights) {
    const conv *c = &st->conv;
    const int64_t nr = w->j->k->nr;
    const uint32_t s = c->out_stride, panels = padded(c->out.c, w->j->k) / (uint32_t)nr;
    /* enough items for every member to find work, and no more: each reads its panel's weights again */
    const uint32_t units = s * s * panels, wanted = 4 * (uint32_t)w->cursor.crew->size;
    const uint32_t parts = w->cursor.crew->size == 1 || units >= wanted ? 1 : (wanted + units - 1) / units;
    const uint64_t items = (uint64_t)units * parts;
    /* whether every output has a kernel element over the one pixel */
    const int pixel = c->in.h == 1 && c->in.w == 1 && c->in_stride == 1 && s == 1 && c->pad >= 0 &&
                      c->out.h + (uint32_t)c->pad <= c->kh && c->out.w + (uint32_t)c->pad <= c->kw;
    for (uint64_t n; gan_i_crew_take(&w->cursor, items, &n);) {
        if (pixel) {
            const uint64_t part = n % parts, panel = n / parts;
            run_pixel(w, st, (uint32_t)panel, (uint32_t)(w->images * part / parts),
                      (uint32_t)(w->images * (part + 1) / parts), weights + panel * c->kh * c->kw * c->in.c * (uint64_t)nr);
            continue;
        }
        item it = {.panel = (uint32_t)(n / parts % panels), .px = (uint32_t)(n / parts / panels % s),
                   .py = (uint32_t)(n / parts / panels / s)};
        int32_t from, to;
        phase_range(c, it.py, c->out.h, &from, &to);
        if (to <= from) continue;
        const uint64_t rows = (uint64_t)(to - from) * w->images, part = n % parts;
        it.row0 = (uint32_t)(rows * part / parts);
        it.row1 = (uint32_t)(rows * (part + 1) / parts);
        if (it.row0 == it.row1) continue;
        /* [phase y][phase x][panel][taps] */
        uint64_t before = 0;
        for (uint32_t p = 0; p < it.py; p++) before += (uint64_t)phase_taps(c, c->kh, p) * c->kw;
        for (uint32_t p = 0; p < it.px; p++) before += (uint64_t)phase_taps(c, c->kh, it.py) * phase_taps(c, c->kw, p);
        const uint64_t own = (uint64_t)phase_taps(c, c->kh, it.py) * phase_taps(c, c->kw, it.px);
        run_item(w, st, &it, weights + (before * panels + own * it.panel) * c->in.c * (uint64_t)nr);
    }
    gan_i_crew_barrier(&w->cursor);
}
