/* A convolution as one matrix product per kernel element, over the output pixels of a phase that the element reaches
 * (so padding costs nothing), added to the output in place. */
#include "run.h"

typedef struct direct_item {
    uint32_t pz, py, px, panel;
    uint32_t row0, row1; /* rows of the phase, counted through the slices of all images of the chunk */
} direct_item;

/* Half open. */
typedef struct range {
    int32_t from, to;
} range;

/* What an item's outputs and inputs are along one dimension. */
typedef struct axis {
    range all;     /* outputs out_stride x j + shift that exist */
    int32_t shift; /* phase - pad */
    int32_t pad;
    uint32_t in, out, taps;
} axis;

static axis axis_of(const gan_conv *conv, uint32_t phase, int32_t pad, uint32_t kernel, uint32_t in, uint32_t out) {
    const int32_t stride = (int32_t)conv->out_stride, shift = conv->in_stride > 1 ? 0 : (int32_t)phase - pad;
    const range all = {ceil_div(-shift, stride), floor_div((int32_t)out - 1 - shift, stride) + 1};
    return (axis){all, shift, pad, in, out, phase_taps(conv, kernel, phase)};
}

static uint32_t length(range r) { return r.to > r.from ? (uint32_t)(r.to - r.from) : 0; }

/* The input of tap t for j = 0. */
static int32_t offset_of(const gan_conv *conv, const axis *a, uint32_t t) {
    return conv->in_stride > 1 ? (int32_t)t - a->pad : -(int32_t)t;
}

/* Those j for which input in_stride x j + offset exists. */
static range reach(const gan_conv *conv, const axis *a, int32_t offset) {
    const int32_t stride = (int32_t)conv->in_stride, low = ceil_div(-offset, stride),
                  high = floor_div((int32_t)a->in - 1 - offset, stride) + 1;
    return (range){low > a->all.from ? low : a->all.from, high < a->all.to ? high : a->all.to};
}

static int holds(range r, int32_t j) { return j >= r.from && j < r.to; }

/* The depth, height and width of an item. */
typedef struct axes {
    axis z, y, x;
} axes;

static axes axes_of(const gan_conv *conv, const direct_item *item) {
    return (axes){axis_of(conv, item->pz, conv->pad_z, conv->kd, shape_depth(conv->in), shape_depth(conv->out)),
                  axis_of(conv, item->py, conv->pad_y, conv->kh, conv->in.h, conv->out.h),
                  axis_of(conv, item->px, conv->pad, conv->kw, conv->in.w, conv->out.w)};
}

/* A row of an item: its image, and j of its slice and of the row in it. */
typedef struct row_place {
    uint32_t image;
    int32_t z, y;
} row_place;

static row_place place_of(const axes *of, uint32_t row) {
    const uint32_t high = length(of->y.all), rest = row / high, deep = length(of->z.all);
    return (row_place){rest / deep, of->z.all.from + (int32_t)(rest % deep), of->y.all.from + (int32_t)(row % high)};
}

/* The index of the row's pixel at x = 0 of the output, in its image. */
static int64_t output_of(const gan_conv *conv, const axes *of, row_place at) {
    const int64_t stride = conv->out_stride, z = stride * at.z + of->z.shift, y = stride * at.y + of->y.shift;
    return (z * conv->out.h + y) * conv->out.w + of->x.shift;
}

/* The bias to the outputs of an item's row. */
static void begin_row(gan_worker *worker, const gan_step *step, const direct_item *item, const axes *of, uint32_t r) {
    const gan_conv *conv = &step->conv;
    const gan_kernels *kernels = worker->shared->kernels;
    const int64_t out_c = padded(conv->out.c, kernels), nr = kernels->nr, stride = conv->out_stride;
    const float *bias = worker->shared->program->constants + step->constants, *zeros = worker->shared->zeros;
    const activation none = {.kind = ACT_NONE};
    const row_place at = place_of(of, r);
    const int64_t pixel = output_of(conv, of, at) + stride * of->x.all.from, wide = length(of->x.all);
    float *to = value_at(worker, step->output, at.image) + pixel * out_c + item->panel * nr;
    if (!conv->pixel_bias) {
        kernels->bias_act(zeros, 0, bias + item->panel * nr, to, stride * out_c, wide, none);
        return;
    }
    for (int64_t i = 0; i < wide; i++)
        kernels->bias_act(zeros, 0, bias + (pixel + i * stride) * out_c + item->panel * nr, to + i * stride * out_c, 0,
                          1, none);
}

/* The products of one kernel element: j of the slices, rows and columns that it reaches, and what it adds to those of
 * the input. */
typedef struct reached_part {
    range z, y, x;
    int32_t off_z, off_y, off_x;
} reached_part;

static void add_products(gan_worker *worker, const gan_step *step, const direct_item *item, const axes *of,
                         const reached_part *part, const float *weights) {
    const gan_conv *conv = &step->conv;
    const gan_kernels *kernels = worker->shared->kernels;
    const int64_t in_c = padded(conv->in.c, kernels), out_c = padded(conv->out.c, kernels), nr = kernels->nr;
    const int64_t in_stride = conv->in_stride, x_step = conv->out_stride * out_c;
    const int columns = panel_columns(conv->out.c, item->panel, kernels);
    int64_t products = 0;
    for (uint32_t r = item->row0; r < item->row1; r++) {
        const row_place at = place_of(of, r);
        products += holds(part->z, at.z) && holds(part->y, at.y) ? length(part->x) : 0;
    }
    for (uint32_t k0 = 0; k0 < conv->in.c; k0 += SLICE) {
        const ptrdiff_t depth = conv->in.c - k0 < SLICE ? (ptrdiff_t)(conv->in.c - k0) : (ptrdiff_t)SLICE;
        const float *a[MAX_MR];
        float *to[MAX_MR];
        int64_t left = products, tiles = (left + kernels->mr - 1) / kernels->mr, share = 0;
        const int quarters = prefetch_quarters(tiles);
        int filled = 0, want = tiles ? next_part(left, tiles) : 0;
        for (uint32_t r = item->row0; r < item->row1; r++) {
            const row_place at = place_of(of, r);
            if (!holds(part->z, at.z) || !holds(part->y, at.y)) continue;
            const float *from = value_at(worker, step->inputs[0], at.image);
            float *row = value_at(worker, step->output, at.image);
            /* numbers, since a pointer to pixel x = 0 may lie before the array if a shift or an offset is negative */
            const int64_t slice = in_stride * at.z + part->off_z, line = in_stride * at.y + part->off_y;
            const int64_t from_x0 = ((slice * conv->in.h + line) * conv->in.w + part->off_x) * in_c + k0;
            const int64_t row_x0 = output_of(conv, of, at) * out_c + item->panel * nr;
            for (int32_t x = part->x.from; x < part->x.to; x++) {
                a[filled] = from + (from_x0 + in_stride * x * in_c);
                to[filled] = row + (row_x0 + (int64_t)x * x_step);
                if (++filled < want) continue;
                const float *now = weights + (int64_t)k0 * nr;
                kernels->gemm(filled, columns, depth, a, KBLOCK, now, to, 1,
                              share < depth * nr ? now + depth * nr + share : NULL, quarters);
                share += depth / KBLOCK * 4 * nr * quarters;
                left -= filled;
                tiles--;
                filled = 0;
                want = tiles ? next_part(left, tiles) : 0;
            }
        }
    }
}

static void run_item(gan_worker *worker, const gan_step *step, const direct_item *item, const axes *of,
                     const float *weights) {
    const gan_conv *conv = &step->conv;
    const gan_kernels *kernels = worker->shared->kernels;
    const int64_t out_c = padded(conv->out.c, kernels), nr = kernels->nr, x_step = conv->out_stride * out_c;
    for (uint32_t r = item->row0; r < item->row1; r++) begin_row(worker, step, item, of, r);
    for (uint32_t tz = 0; tz < of->z.taps; tz++)
        for (uint32_t ty = 0; ty < of->y.taps; ty++)
            for (uint32_t tx = 0; tx < of->x.taps; tx++, weights += (int64_t)conv->in.c * nr) {
                reached_part part = {.off_z = offset_of(conv, &of->z, tz),
                                     .off_y = offset_of(conv, &of->y, ty),
                                     .off_x = offset_of(conv, &of->x, tx)};
                part.z = reach(conv, &of->z, part.off_z);
                part.y = reach(conv, &of->y, part.off_y);
                part.x = reach(conv, &of->x, part.off_x);
                if (length(part.z) && length(part.y) && length(part.x))
                    add_products(worker, step, item, of, &part, weights);
            }
    if (step->act.kind == ACT_NONE) return;
    for (uint32_t r = item->row0; r < item->row1; r++) {
        const row_place at = place_of(of, r);
        const int64_t pixel = output_of(conv, of, at) + (int64_t)conv->out_stride * of->x.all.from;
        float *to = value_at(worker, step->output, at.image) + pixel * out_c + item->panel * nr;
        kernels->bias_act(to, x_step, worker->shared->zeros, to, x_step, length(of->x.all),
                          activation_from(step->act, item->panel * nr));
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
    const int64_t out_d = shape_depth(conv->out), slice = (int64_t)conv->kh * conv->kw;
    for (int64_t tap = 0; tap < conv->kd * slice; tap++, weights += (int64_t)conv->in.c * nr) {
        const int64_t z = tap / slice - conv->pad_z, y = tap % slice / conv->kw - conv->pad_y,
                      x = tap % conv->kw - conv->pad;
        if (z < 0 || y < 0 || x < 0 || z >= out_d || y >= conv->out.h || x >= conv->out.w) continue;
        const int64_t pixel = (z * conv->out.h + y) * conv->out.w + x;
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
                kernels->gemm(m, panel_columns(conv->out.c, panel, kernels), depth, a, KBLOCK, next - depth * nr, to,
                              k0 > 0, share < depth * nr ? next + share : NULL, 1);
            }
            float *out = value_at(worker, step->output, image) + pixel * out_c + panel * nr;
            kernels->bias_act(products, nr, bias + (conv->pixel_bias ? pixel * out_c : 0), out, per_image, m,
                              activation_from(step->act, panel * nr));
            image += (uint32_t)m;
        }
    }
}

/* Whether the input is one pixel and every output has a kernel element over it. */
static int is_pixel(const gan_conv *conv) {
    return shape_pixels(conv->in) == 1 && conv->in_stride == 1 && conv->out_stride == 1 && conv->pad >= 0 &&
           shape_depth(conv->out) + (uint32_t)conv->pad_z <= conv->kd &&
           conv->out.h + (uint32_t)conv->pad_y <= conv->kh && conv->out.w + (uint32_t)conv->pad <= conv->kw;
}

void gan_i_run_direct(gan_worker *worker, const gan_step *step, const float *weights) {
    const gan_conv *conv = &step->conv;
    if (gan_i_blocks_fit(conv)) {
        gan_i_run_blocks(worker, step, weights);
        return;
    }
    const int64_t nr = worker->shared->kernels->nr;
    const uint32_t stride = conv->out_stride, panels = padded(conv->out.c, worker->shared->kernels) / (uint32_t)nr;
    const uint32_t phases_z = conv->dims > 2 ? stride : 1;
    /* enough items for every member to find work, and no more: each reads its panel's weights again */
    const uint32_t units = phases_z * stride * stride * panels, wanted = 4 * (uint32_t)worker->cursor.group->size;
    const uint32_t parts = worker->cursor.group->size == 1 || units >= wanted ? 1 : (wanted + units - 1) / units;
    const uint64_t items = (uint64_t)units * parts;
    const int pixel = is_pixel(conv);
    for (uint64_t n; gan_i_group_take(&worker->cursor, items, &n);) {
        if (pixel) {
            const uint64_t part = n % parts, panel = n / parts;
            run_pixel(worker, step, (uint32_t)panel, (uint32_t)(worker->images * part / parts),
                      (uint32_t)(worker->images * (part + 1) / parts),
                      weights + panel * conv_elements(conv) * conv->in.c * (uint64_t)nr);
            continue;
        }
        direct_item item = {.panel = (uint32_t)(n / parts % panels),
                            .px = (uint32_t)(n / parts / panels % stride),
                            .py = (uint32_t)(n / parts / panels / stride % stride),
                            .pz = (uint32_t)(n / parts / panels / stride / stride)};
        const axes of = axes_of(conv, &item);
        if (!length(of.x.all)) continue;
        const uint64_t rows = (uint64_t)length(of.z.all) * length(of.y.all) * worker->images, part = n % parts;
        item.row0 = (uint32_t)(rows * part / parts);
        item.row1 = (uint32_t)(rows * (part + 1) / parts);
        if (item.row0 == item.row1) continue;
        /* [phase z][phase y][phase x][panel][taps] */
        const uint64_t before = (uint64_t)taps_before(conv, conv->kd, item.pz) * conv->kh * conv->kw +
                                (uint64_t)of.z.taps * (taps_before(conv, conv->kh, item.py) * conv->kw +
                                                       of.y.taps * taps_before(conv, conv->kw, item.px));
        const uint64_t own = (uint64_t)of.z.taps * of.y.taps * of.x.taps;
        run_item(worker, step, &item, &of, weights + (before * panels + own * item.panel) * conv->in.c * (uint64_t)nr);
    }
    gan_i_group_barrier(&worker->cursor);
}
