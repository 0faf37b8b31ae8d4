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

/* A step in 16 bits: all inputs of the chunk, [pixel][channels, rounded up]; a kernel element's weights, and the scales
 * of their products, [nr]. */
typedef struct int16_part {
    const int16_t *inputs, *weights;
    const float *scale;
} int16_part;

_Static_assert((int)SLICE <= (int)INT16_SLICE, "the sums of a slice don't overflow");

/* The products of one kernel element: j of the slices, rows and columns that it reaches, and what it adds to those of
 * the input. */
typedef struct reached_part {
    range z, y, x;
    int32_t off_z, off_y, off_x;
} reached_part;

static void add_products(gan_worker *worker, const gan_step *step, const direct_item *item, const axes *of,
                         const reached_part *part, const float *weights, const int16_part *narrow) {
    const gan_conv *conv = &step->conv;
    const gan_kernels *kernels = worker->shared->kernels;
    const uint32_t channels = narrow ? (uint32_t)round_up(conv->in.c, KBLOCK) : conv->in.c;
    const int64_t in_c = narrow ? channels : (int64_t)wide_of(worker, step->inputs[0]),
                  out_c = padded(conv->out.c, kernels), nr = kernels->nr,
                  image_values = (int64_t)shape_pixels(conv->in) * in_c;
    const int64_t in_stride = conv->in_stride, x_step = conv->out_stride * out_c;
    const int columns = panel_columns(conv->out.c, item->panel, kernels);
    int64_t products = 0;
    for (uint32_t r = item->row0; r < item->row1; r++) {
        const row_place at = place_of(of, r);
        products += holds(part->z, at.z) && holds(part->y, at.y) ? length(part->x) : 0;
    }
    for (uint32_t k0 = 0; k0 < channels; k0 += SLICE) {
        const ptrdiff_t depth = channels - k0 < SLICE ? (ptrdiff_t)(channels - k0) : (ptrdiff_t)SLICE;
        const float *a[MAX_MR];
        const int16_t *a_16[MAX_MR];
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
                const int64_t input = from_x0 + in_stride * x * in_c;
                if (narrow) a_16[filled] = narrow->inputs + (at.image * image_values + input);
                else a[filled] = from + input;
                to[filled] = row + (row_x0 + (int64_t)x * x_step);
                if (++filled < want) continue;
                const int64_t now = (int64_t)k0 * nr, next = now + (share < depth * nr ? depth * nr + share : 0);
                if (narrow)
                    kernels->gemm_int16(filled, columns, depth, a_16, KBLOCK, narrow->weights + now, narrow->scale, to,
                                        1, narrow->weights + next, quarters);
                else kernels->gemm(filled, columns, depth, a, KBLOCK, weights + now, to, 1, weights + next, quarters);
                share += depth / KBLOCK * 4 * nr * quarters;
                left -= filled;
                tiles--;
                filled = 0;
                want = tiles ? next_part(left, tiles) : 0;
            }
        }
    }
}

/* `narrow`: 16-bit weights of the item's first kernel element; NULL if the products are of floats. */
static void run_item(gan_worker *worker, const gan_step *step, const direct_item *item, const axes *of,
                     const float *weights, const int16_part *narrow) {
    const gan_conv *conv = &step->conv;
    const gan_kernels *kernels = worker->shared->kernels;
    int16_part now = narrow ? *narrow : (int16_part){0};
    const int64_t out_c = padded(conv->out.c, kernels), nr = kernels->nr, x_step = conv->out_stride * out_c;
    for (uint32_t r = item->row0; r < item->row1; r++) begin_row(worker, step, item, of, r);
    for (uint32_t tz = 0; tz < of->z.taps; tz++)
        for (uint32_t ty = 0; ty < of->y.taps; ty++)
            for (uint32_t tx = 0; tx < of->x.taps; tx++) {
                reached_part part = {.off_z = offset_of(conv, &of->z, tz),
                                     .off_y = offset_of(conv, &of->y, ty),
                                     .off_x = offset_of(conv, &of->x, tx)};
                part.z = reach(conv, &of->z, part.off_z);
                part.y = reach(conv, &of->y, part.off_y);
                part.x = reach(conv, &of->x, part.off_x);
                if (length(part.z) && length(part.y) && length(part.x))
                    add_products(worker, step, item, of, &part, weights, narrow ? &now : NULL);
                if (narrow) now.weights += (int64_t)round_up(conv->in.c, KBLOCK) * nr, now.scale += nr;
                else weights += (int64_t)conv->in.c * nr;
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
                              k0 > 0, share < depth * nr ? next + share : next, 1);
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

/* Each output phase's panels, in parts: enough items for every member to find work, and no more, since each reads its
 * panel's weights again. */
typedef struct direct_items {
    uint32_t stride, panels, parts;
    uint64_t count;
} direct_items;

static direct_items items_of(const gan_worker *worker, const gan_conv *conv) {
    const gan_kernels *kernels = worker->shared->kernels;
    direct_items all = {conv->out_stride, padded(conv->out.c, kernels) / (uint32_t)kernels->nr, 1, 0};
    const uint32_t phases_z = conv->dims > 2 ? all.stride : 1, size = (uint32_t)worker->cursor.group->size,
                   units = phases_z * all.stride * all.stride * all.panels, wanted = 4 * size;
    if (size > 1 && units < wanted) all.parts = (wanted + units - 1) / units;
    all.count = (uint64_t)units * all.parts;
    return all;
}

/* Item `n`, and its axes; 0 if it has no outputs. */
static int item_at(const gan_worker *worker, const gan_conv *conv, const direct_items *all, uint64_t n,
                   direct_item *item, axes *of) {
    const uint64_t part = n % all->parts, unit = n / all->parts, phase = unit / all->panels;
    *item = (direct_item){.panel = (uint32_t)(unit % all->panels),
                          .px = (uint32_t)(phase % all->stride),
                          .py = (uint32_t)(phase / all->stride % all->stride),
                          .pz = (uint32_t)(phase / all->stride / all->stride)};
    *of = axes_of(conv, item);
    if (!length(of->x.all)) return 0;
    const uint64_t rows = (uint64_t)length(of->z.all) * length(of->y.all) * worker->images;
    item->row0 = (uint32_t)(rows * part / all->parts);
    item->row1 = (uint32_t)(rows * (part + 1) / all->parts);
    return item->row0 < item->row1;
}

void gan_i_run_direct(gan_worker *worker, const gan_step *step, const float *weights) {
    const gan_conv *conv = &step->conv;
    if (gan_i_blocks_fit(conv)) {
        gan_i_run_blocks(worker, step, weights);
        return;
    }
    const uint64_t nr = (uint64_t)worker->shared->kernels->nr;
    const direct_items all = items_of(worker, conv);
    const int pixel = is_pixel(conv);
    for (uint64_t n; gan_i_group_take(&worker->cursor, all.count, &n);) {
        if (pixel) {
            const uint64_t part = n % all.parts, panel = n / all.parts;
            run_pixel(worker, step, (uint32_t)panel, (uint32_t)(worker->images * part / all.parts),
                      (uint32_t)(worker->images * (part + 1) / all.parts),
                      weights + panel * conv_elements(conv) * conv->in.c * nr);
            continue;
        }
        direct_item item;
        axes of;
        if (!item_at(worker, conv, &all, n, &item, &of)) continue;
        /* [phase z][phase y][phase x][panel][taps] */
        const uint64_t before = (uint64_t)taps_before(conv, conv->kd, item.pz) * conv->kh * conv->kw +
                                (uint64_t)of.z.taps * (taps_before(conv, conv->kh, item.py) * conv->kw +
                                                       of.y.taps * taps_before(conv, conv->kw, item.px));
        const uint64_t own = (uint64_t)of.z.taps * of.y.taps * of.x.taps;
        run_item(worker, step, &item, &of, weights + (before * all.panels + own * item.panel) * conv->in.c * nr, NULL);
    }
    gan_i_group_barrier(&worker->cursor);
}

int gan_i_direct_fits_int16(const gan_conv *conv) {
    return conv->dims == 2 && !conv->pixel_bias && conv->in.c >= KBLOCK && !is_pixel(conv);
}

uint64_t gan_i_narrow_floats(const gan_conv *conv) {
    return shape_pixels(conv->in) * round_up(conv->in.c, KBLOCK) / (sizeof(float) / sizeof(int16_t));
}

/* All inputs are rounded to 16 bits first, because several kernel elements multiply each of them. */
void gan_i_run_direct_int16(gan_worker *worker, const gan_step *step, const float *packed) {
    const gan_conv *conv = &step->conv;
    const gan_kernels *kernels = worker->shared->kernels;
    if (gan_i_blocks_fit_int16(conv)) {
        gan_i_run_blocks_int16(worker, step, packed);
        return;
    }
    const packed_units weights = packed_units_of(conv, METHOD_DIRECT_INT16, kernels, packed);
    const uint64_t nr = (uint64_t)kernels->nr, wide = round_up(conv->in.c, KBLOCK), in_c = padded(conv->in.c, kernels),
                   sets = int16_sets(conv, METHOD_DIRECT_INT16);
    int16_t *inputs = (int16_t *)(void *)worker->transformed;
    for (gan_rows r; gan_i_take_rows(worker, step->inputs[0], 1, &r);) {
        const uint64_t first = (uint64_t)r.y0 * conv->in.w, end = (uint64_t)r.y1 * conv->in.w;
        int16_t *to = inputs + r.image * shape_pixels(conv->in) * wide;
        for (uint64_t i = first; i < end; i++)
            kernels->to_int16(value_at(worker, step->inputs[0], r.image) + i * in_c, weights.in_scales[0],
                              to + i * wide, KBLOCK, (ptrdiff_t)wide);
    }
    gan_i_group_barrier(&worker->cursor);
    const direct_items all = items_of(worker, conv);
    for (uint64_t n; gan_i_group_take(&worker->cursor, all.count, &n);) {
        direct_item item;
        axes of;
        if (!item_at(worker, conv, &all, n, &item, &of)) continue;
        const uint64_t unit = (item.py * all.stride + item.px) * all.panels + item.panel;
        const int16_part part = {inputs, weights.int16 + unit * sets * wide * nr, weights.scales + unit * sets * nr};
        run_item(worker, step, &item, &of, NULL, &part);
    }
    gan_i_group_barrier(&worker->cursor);
}
