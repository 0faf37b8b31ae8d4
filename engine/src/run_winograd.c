/* A 3 x 3 convolution by Winograd's F(4 x 4, 3 x 3): tiles of 4 x 4 outputs, each from 6 x 6 inputs.  A thread transforms
 * a block of tiles, multiplies it at each point and transforms back, so that nothing but the output leaves its caches.
 * Transformed inputs lie as [point][register tile][slice][block of 16 channels][tile][16]: the slices of a volume under
 * the kernel are channels side by side.  So are, for a 3 x 3 or 4 x 4 convolution of stride 2, the pixels of even and odd
 * rows and columns: with each of these four, it is a 2 x 2 convolution of stride 1, by F(4 x 4, 2 x 2). */
#include "run.h"

enum { MOST_POINTS = WINOGRAD * WINOGRAD };

/* The tiles first .. first+count-1 of a chunk. */
typedef struct tile_block {
    uint64_t first;
    int64_t count;
} tile_block;

/* A tile's image, its slice, and its first output pixel there. */
typedef struct tile_place {
    uint32_t image;
    int32_t z, y, x;
} tile_place;

static tile_place place_of(const winograd_tiling *tiling, const gan_conv *conv, uint64_t tile) {
    const uint64_t per_slice = (uint64_t)tiling->ty * tiling->tx, rest = tile % per_slice, slice = tile / per_slice,
                   depth = shape_depth(conv->out);
    return (tile_place){(uint32_t)(slice / depth), (int32_t)(slice % depth),
                        (int32_t)(rest / tiling->tx) * tiling->tile, (int32_t)(rest % tiling->tx) * tiling->tile};
}

/* The distance of two points' inputs: the `values` of a point and one or two cache lines.  If it were a power of two, a
 * tile's values at all points would compete for the same lines of the first-level cache. */
static int64_t winograd_step(const winograd_tiling *tiling, int64_t values) {
    const int64_t line = 64 / (tiling->int16 ? (int64_t)sizeof(int16_t) : (int64_t)sizeof(float));
    return (int64_t)round_up((uint64_t)values, 2 * (uint64_t)line) + line;
}

/* The pixels of a slice of `value` that a tile is computed from: zeros beyond the edges. */
static void take_pixels(const gan_worker *worker, const gan_step *step, const winograd_tiling *tiling, uint32_t value,
                        tile_place at, int32_t slice, const float *pixels[MOST_POINTS]) {
    const gan_conv *conv = &step->conv;
    const int32_t stride = (int32_t)conv->in_stride, side = tiling->side, high = (int32_t)conv->in.h,
                  wide = (int32_t)conv->in.w, halved = stride == 2;
    const int32_t z = at.z + (halved ? 0 : conv->pad_z - slice);
    const int32_t y0 = halved ? 2 * at.y + slice / 2 - conv->pad_y : at.y + conv->pad_y - 2,
                  x0 = halved ? 2 * at.x + slice % 2 - conv->pad : at.x + conv->pad - 2;
    const int64_t in_c = (int64_t)wide_of(worker, value);
    const int inside = z >= 0 && z < (int32_t)shape_depth(conv->in);
    const float *image = value_at(worker, value, at.image) + (inside ? (int64_t)z * high * wide * in_c : 0);
    /* most tiles need no decision for each pixel: 2 % of SRVGGNetCompact */
    const int32_t reach = stride * (side - 1);
    if (inside && y0 >= 0 && x0 >= 0 && y0 + reach < high && x0 + reach < wide) {
        const float *first = image + ((int64_t)y0 * wide + x0) * in_c;
        for (int32_t i = 0; i < side; i++, first += stride * wide * in_c)
            for (int32_t j = 0; j < side; j++) *pixels++ = first + j * stride * in_c;
        return;
    }
    for (int32_t i = 0; i < side; i++) {
        const int32_t y = y0 + stride * i;
        const int row = inside && y >= 0 && y < high;
        for (int32_t j = 0; j < side; j++) {
            const int32_t x = x0 + stride * j;
            *pixels++ = row && x >= 0 && x < wide ? image + ((int64_t)y * wide + x) * in_c : worker->shared->zeros;
        }
    }
}

/* Prefetch the rows of a value that the tile below this one reads, but not this one. */
EXPANDED void fetch_below(const gan_worker *worker, const gan_conv *conv, const winograd_tiling *tiling, uint32_t value,
                          tile_place at) {
    const int64_t tile = tiling->tile * (int64_t)conv->in_stride, in_c = (int64_t)wide_of(worker, value),
                  row = conv->in.w * in_c, y = at.y * (int64_t)conv->in_stride + tile + 1,
                  x = at.x * (int64_t)conv->in_stride, rows = conv->in.h - y, columns = conv->in.w - x;
    if (rows <= 0 || columns <= 0 || conv->kd > 1) return;
    fetch_to_read(value_at(worker, value, at.image) + y * row + x * in_c, rows < tile ? rows : tile, row,
                  (columns < tile ? columns : tile) * in_c);
}

/* Transform the channels of `value`, which are the input's channels from block `first` on. */
static void transform(const gan_worker *worker, const gan_step *step, const winograd_tiling *tiling, tile_block block,
                      const packed_units *weights, uint32_t value, int64_t first, float *v) {
    const gan_conv *conv = &step->conv;
    const gan_kernels *kernels = worker->shared->kernels;
    const uint32_t channels = worker->shared->program->values[value].shape.c;
    const int64_t blocks = (channels + KBLOCK - 1) / KBLOCK, in_blocks = (conv->in.c + KBLOCK - 1) / KBLOCK,
                  all = in_blocks * tiling->slices, point_step = winograd_step(tiling, block.count * all * KBLOCK);
    const register_tiles parts = cut_tiles(block.count, kernels);
    for (int64_t n = 0, head = 0, rows = tiles_with(parts, 0); n < block.count; n++) {
        const tile_place at = place_of(tiling, conv, block.first + (uint64_t)n);
        if (n == head + rows) head = n, rows = tiles_with(parts, n);
        fetch_below(worker, conv, tiling, value, at);
        for (int32_t t = 0; t < (int32_t)tiling->slices; t++) {
            const float *pixels[MOST_POINTS];
            take_pixels(worker, step, tiling, value, at, t, pixels);
            const int64_t to = (head * all + (t * in_blocks + first) * rows + (n - head)) * KBLOCK;
            if (tiling->int16)
                kernels->winograd_in_int16(tiling->side, pixels, blocks, weights->in_scales, (int16_t *)(void *)v + to,
                                           point_step, rows * KBLOCK);
            else kernels->winograd_in(tiling->side, pixels, blocks, v + to, point_step, rows * KBLOCK);
        }
    }
}

/* products[tile][point][nr] of one panel. */
static void multiply(const gan_worker *worker, const gan_conv *conv, const winograd_tiling *tiling, tile_block block,
                     const float *v, const packed_units *weights, uint32_t panel, float *products) {
    const gan_kernels *kernels = worker->shared->kernels;
    const int64_t nr = kernels->nr, points = tiling->side * tiling->side,
                  each = tiling->int16 ? (int64_t)round_up(conv->in.c, KBLOCK) : (int64_t)conv->in.c;
    const int flat = each % KBLOCK == 0; /* no padding between slices: they are multiplied as one */
    const int64_t slices = flat ? 1 : tiling->slices, channels = flat ? each * tiling->slices : each,
                  blocks = (channels + KBLOCK - 1) / KBLOCK, point_values = channels * slices * nr,
                  most = tiling->int16 ? (int64_t)INT16_SLICE : (int64_t)SLICE;
    const float *floats = weights->floats + panel * points * point_values;
    const int16_t *int16 = weights->int16 + panel * points * point_values, *v_16 = (const int16_t *)(const void *)v;
    const register_tiles parts = cut_tiles(block.count, kernels);
    const int quarters = prefetch_quarters((block.count + kernels->mr - 1) / kernels->mr),
              columns = panel_columns(conv->out.c, panel, kernels);
    for (int64_t p = 0; p < points; p++) {
        const int64_t inputs = p * winograd_step(tiling, block.count * blocks * slices * KBLOCK);
        const float *scale = weights->scales + (panel * points + p) * nr;
        for (int64_t t = 0, k0 = 0; t < slices; k0 = k0 + most < channels ? k0 + most : 0, t += !k0) {
            const int64_t depth = channels - k0 < most ? channels - k0 : most;
            const int64_t slice = p * point_values + (t * channels + k0) * nr, next = slice + depth * nr,
                          share = depth / KBLOCK * quarters * 4 * nr;
            for (int64_t n = 0, part = 0, rows; n < block.count; n += rows, part++) {
                rows = tiles_with(parts, n);
                const int64_t from = inputs + (n * slices + t * rows) * blocks * KBLOCK + k0 * rows,
                              fetched = part * share < depth * nr ? next + part * share : slice;
                float *to = products + (n * points + p) * nr;
                if (tiling->int16)
                    kernels->gemm_packed_int16((int)rows, columns, depth, v_16 + from, rows * KBLOCK, int16 + slice,
                                               scale, to, points * nr, t + k0 > 0, int16 + fetched, quarters);
                else
                    kernels->gemm_packed((int)rows, columns, depth, v + from, rows * KBLOCK, floats + slice, to,
                                         points * nr, t + k0 > 0, floats + fetched, quarters);
            }
        }
    }
}

/* The outputs of one panel. */
static void restore(const gan_worker *worker, const gan_step *step, const winograd_tiling *tiling, tile_block block,
                    uint32_t panel, const float *products, const float *slopes) {
    const gan_conv *conv = &step->conv;
    const gan_kernels *kernels = worker->shared->kernels;
    const int64_t out_c = padded(conv->out.c, kernels), nr = kernels->nr, points = tiling->side * tiling->side;
    const float *bias = worker->shared->program->constants + step->constants + panel * nr;
    const int channels = panel_columns(conv->out.c, panel, kernels);
    const int curved = step->act.kind == ACT_TANH || step->act.kind == ACT_SIGMOID;
    for (int64_t n = 0; n < block.count; n++) {
        const tile_place at = place_of(tiling, conv, block.first + (uint64_t)n);
        const int32_t high = (int32_t)conv->out.h - at.y, wide = (int32_t)conv->out.w - at.x, tile = tiling->tile,
                      rows = high < tile ? high : tile, columns = wide < tile ? wide : tile;
        const int64_t row = (int64_t)at.z * conv->out.h + at.y, below = high - tile;
        float *to = value_at(worker, step->output, at.image) + (row * conv->out.w + at.x) * out_c + panel * nr;
        for (int64_t j = 0; j < columns; j++) /* this panel of the tile below */
            fetch_to_write(to + tile * (int64_t)conv->out.w * out_c + j * out_c, below < rows ? below : rows,
                           conv->out.w * out_c, channels);
        kernels->winograd_out(tiling->side, channels, products + n * points * nr, bias, slopes, to, conv->out.w * out_c,
                              out_c, rows, columns);
        for (int32_t i = 0; curved && i < rows; i++)
            kernels->bias_act(to + i * conv->out.w * out_c, out_c, worker->shared->zeros, to + i * conv->out.w * out_c,
                              out_c, columns, step->act);
    }
}

void gan_i_run_winograd(gan_worker *worker, const gan_step *step, gan_method method, const float *weights) {
    const gan_conv *conv = &step->conv;
    const gan_kernels *kernels = worker->shared->kernels;
    const uint32_t nr = (uint32_t)kernels->nr, panels = padded(conv->out.c, kernels) / nr;
    winograd_tiling tiling;
    gan_i_tile_winograd(conv, method, kernels, worker->images, worker->cursor.group->size, &tiling);
    const uint64_t tiles = (uint64_t)tiling.ty * tiling.tx * shape_depth(conv->out) * worker->images;
    const packed_units packed = packed_units_of(conv, method, kernels, weights);
    const int prelu = step->act.kind == ACT_PRELU;
    float *v = worker->thread_scratch, *products = v + tiling.inputs, slopes[MAX_NR];
    for (uint32_t n = 0; n < nr; n++)
        slopes[n] = step->act.kind == ACT_RELU ? 0 : step->act.kind == ACT_LEAKY_RELU ? step->act.slope : 1;
    for (uint64_t n; gan_i_group_take(&worker->cursor, (uint64_t)tiling.blocks * tiling.parts, &n);) {
        const uint64_t first = n / tiling.parts * tiling.block, part = n % tiling.parts;
        const tile_block block = {first, (int64_t)(tiles - first < tiling.block ? tiles - first : tiling.block)};
        for (uint32_t m = 0, at = 0; m < step_pieces(step); m++) {
            transform(worker, step, &tiling, block, &packed, step_piece(step, m), at / KBLOCK, v);
            at += worker->shared->program->values[step_piece(step, m)].shape.c;
        }
        const uint32_t end = (uint32_t)(panels * (part + 1) / tiling.parts);
        for (uint32_t u = (uint32_t)(panels * part / tiling.parts); u < end; u++) {
            multiply(worker, conv, &tiling, block, v, &packed, u, products);
            restore(worker, step, &tiling, block, u, products, prelu ? step->act.slopes + u * nr : slopes);
        }
    }
    gan_i_group_barrier(&worker->cursor);
}
