/* A convolution by Toom-Cook (docs/engine.md, "Transforms"): tiles of the input are evaluated at points x points
 * places, which serves all output phases; one matrix product per point follows; interpolation gives coefficients, and
 * those that neighboring tiles share are added. */
#include <string.h>

#include "run.h"

/* Units u0 .. u1-1 (a phase's panel each) of a step's products, for the tile-rows row0 .. row1-1 of a pass. */
typedef struct toom_item {
    uint32_t first; /* image of the pass's first tile-row */
    uint32_t row0, row1, u0, u1;
} toom_item;

/* Where the images of a pass are parted: between images, each part reading the weights again. */
static uint32_t part_start(const gan_tiling *tiling, uint32_t images, uint32_t parts, uint32_t part) {
    return (uint32_t)((uint64_t)images * part / parts) * tiling->ty;
}

/* The part that an image is in: the last one that starts at it or before. */
static uint32_t part_of(uint32_t image, uint32_t images, uint32_t parts) {
    return (uint32_t)((((uint64_t)image + 1) * parts - 1) / images);
}

/* A tile of inputs: its image and first pixel, its place in worker->transformed, and the tiles of its register tile times
 * 16. */
typedef struct toom_tile {
    uint32_t image;
    int64_t y, x;
    uint64_t v;
    int64_t v_step;
} toom_tile;

/* Transform the channels of `value`, which are the input's from block `block` on. */
static void transform_tile(const gan_worker *worker, const gan_conv *conv, const gan_tiling *tiling, uint32_t value,
                           const toom_tile *at, int64_t block, const packed_units *weights) {
    const gan_kernels *kernels = worker->shared->kernels;
    const int64_t in_c = (int64_t)wide_of(worker, value), side = tiling->tile_side, row = conv->in.w * in_c,
                  left = conv->in.h - at->y - side, below = left < side ? left : side;
    const ptrdiff_t blocks = (worker->shared->program->values[value].shape.c + KBLOCK - 1) / KBLOCK;
    const float *from = value_at(worker, value, at->image), *pixels[(MAX_TOOM - 1) * (MAX_TOOM - 1)], **pixel = pixels;
    if (below > 0) fetch_to_read(from + (at->y + side) * row + at->x * in_c, below, row, side * in_c);
    for (int64_t y = at->y; y < at->y + side; y++)
        for (int64_t x = at->x; x < at->x + side; x++)
            *pixel++ = y < conv->in.h && x < conv->in.w ? from + (y * conv->in.w + x) * in_c : worker->shared->zeros;
    const uint64_t v = at->v + (uint64_t)(block * tiling->side * tiling->side * at->v_step);
    if (tiling->int16)
        kernels->toom_in_int16(tiling->side, tiling->tile_side, pixels, blocks, weights->in_scales,
                               (int16_t *)(void *)worker->transformed + v, at->v_step);
    else kernels->toom_in(tiling->side, tiling->tile_side, pixels, blocks, worker->transformed + v, at->v_step);
}

static void transform(gan_worker *worker, const gan_step *step, const gan_tiling *tiling, uint32_t first,
                      uint32_t images, uint32_t parts, const packed_units *weights) {
    const gan_kernels *kernels = worker->shared->kernels;
    const gan_program *program = worker->shared->program;
    for (uint64_t n; gan_i_group_take(&worker->cursor, (uint64_t)images * tiling->ty, &n);) {
        const uint32_t tile_row = (uint32_t)n, part = part_of(tile_row / tiling->ty, images, parts);
        const uint32_t part_row = part_start(tiling, images, parts, part);
        const uint32_t part_end = part_start(tiling, images, parts, part + 1);
        /* the block of tile-rows that are multiplied together */
        const uint32_t start = part_row + (tile_row - part_row) / tiling->block * tiling->block;
        const uint32_t end = part_end - start < tiling->block ? part_end : start + tiling->block;
        const register_tiles tiles = cut_tiles((int64_t)(end - start) * tiling->tx, kernels);
        const uint64_t block = (uint64_t)start * tiling->tx * tiling->tile_values;
        const int64_t y0 = (int64_t)(tile_row % tiling->ty) * tiling->tile_side;
        int64_t tile = (int64_t)(tile_row - start) * tiling->tx, head = first_with(tiles, tile);
        for (int64_t x = 0; x < tiling->tx; x++, tile++) {
            if (tile == head + tiles_with(tiles, head)) head = tile;
            const toom_tile at = {first + tile_row / tiling->ty, y0, x * tiling->tile_side,
                                  block + (uint64_t)head * tiling->tile_values + (uint64_t)(tile - head) * KBLOCK,
                                  tiles_with(tiles, head) * KBLOCK};
            for (uint32_t m = 0, c = 0; m < step_pieces(step); c += program->values[step_piece(step, m++)].shape.c)
                transform_tile(worker, &step->conv, tiling, step_piece(step, m), &at, c / KBLOCK, weights);
        }
    }
    gan_i_group_barrier(&worker->cursor);
}

/* Whether all products of a phase at a point are zero.  The value of a kernel at infinity is the coefficient of its last
 * tap, which a phase with fewer taps than others doesn't have. */
static int is_zero(const gan_conv *conv, int side, uint32_t phase, int64_t point) {
    const uint32_t stride = conv->out_stride, taps = conv_taps(conv, conv->kh);
    return (point / side == side - 1 && phase_taps(conv, conv->kh, phase / stride) < taps) ||
           (point % side == side - 1 && phase_taps(conv, conv->kw, phase % stride) < taps);
}

/* products[unit][tile][point][nr].  A point's inputs stay in the second-level cache for all units.  `v`: the first tile's
 * place in worker->transformed; `first`: the first unit. */
static void multiply(const gan_worker *worker, const gan_conv *conv, const gan_tiling *tiling, uint64_t v,
                     int64_t tiles, const packed_units *weights, uint32_t first, int64_t units, float *products) {
    const gan_kernels *kernels = worker->shared->kernels;
    const uint32_t panels = padded(conv->out.c, kernels) / (uint32_t)kernels->nr;
    const int64_t nr = kernels->nr, points = (int64_t)tiling->side * tiling->side, channels = (int64_t)tiling->channels,
                  unit = points * channels * nr, most = tiling->int16 ? (int64_t)INT16_SLICE : (int64_t)SLICE;
    const float *inputs = worker->transformed + v, *floats = weights->floats + first * unit;
    const int16_t *inputs_16 = (const int16_t *)(const void *)worker->transformed + v,
                  *int16 = weights->int16 + first * unit;
    const register_tiles parts = cut_tiles(tiles, kernels);
    const int quarters = prefetch_quarters((tiles + kernels->mr - 1) / kernels->mr);
    for (int64_t p = 0; p < points; p++) {
        for (int64_t u = 0; u < units; u++) {
            const int64_t panel = u * unit + p * channels * nr;
            const int columns = panel_columns(conv->out.c, (first + u) % panels, kernels);
            if (is_zero(conv, tiling->side, (first + (uint32_t)u) / panels, p)) {
                for (int64_t n = 0; n < tiles; n++)
                    memset(products + ((u * tiles + n) * points + p) * nr, 0, sizeof *products * (size_t)nr);
                continue;
            }
            const float *scale = weights->scales + ((first + u) * points + p) * nr;
            for (int64_t k0 = 0; k0 < channels; k0 += most) {
                const ptrdiff_t depth = channels - k0 < most ? channels - k0 : most;
                const int64_t slice = panel + k0 * nr;
                const int64_t next = k0 + most < channels ? slice + depth * nr
                                     : u + 1 < units      ? panel + unit
                                                          : (p + 1) * channels * nr;
                /* a slice's first tile comes after the last of the one before */
                const int64_t offset = k0 * points + p * KBLOCK;
                const int64_t share = depth / KBLOCK * 4 * nr * quarters;
                int64_t at = 0;
                float *to = products + (u * tiles * points + p) * nr;
                for (int64_t n = 0, part = 0, m; n < tiles; n += m, part++) {
                    m = tiles_with(parts, n);
                    const int64_t from = at + offset * m,
                                  fetched = part * share < depth * nr ? next + part * share : slice;
                    if (tiling->int16)
                        kernels->gemm_packed_int16((int)m, columns, depth, inputs_16 + from, points * m * KBLOCK,
                                                   int16 + slice, scale, to, points * nr, k0 > 0, int16 + fetched,
                                                   quarters);
                    else
                        kernels->gemm_packed((int)m, columns, depth, inputs + from, points * m * KBLOCK, floats + slice,
                                             to, points * nr, k0 > 0, floats + fetched, quarters);
                    at += m * (int64_t)tiling->tile_values;
                    to += m * points * nr;
                }
            }
        }
    }
}

/* The rows of coefficients j0 .. j1-1 (strip[0] is j0) of one phase, finished into the output. */
static void emit(const gan_worker *worker, const gan_step *step, const gan_tiling *tiling, uint32_t image, uint32_t py,
                 uint32_t px, uint32_t panel, const float *strip, int32_t j0, int32_t j1) {
    const gan_conv *conv = &step->conv;
    const gan_kernels *kernels = worker->shared->kernels;
    const int32_t stride = (int32_t)conv->out_stride, shift_y = (int32_t)py - conv->pad,
                  shift_x = (int32_t)px - conv->pad;
    const int32_t x0 = ceil_div(-shift_x, stride), x1 = floor_div((int32_t)conv->out.w - 1 - shift_x, stride) + 1;
    const int64_t out_c = padded(conv->out.c, kernels), nr = kernels->nr;
    for (int32_t j = j0; j < j1; j++) {
        const int32_t y = stride * j + shift_y;
        if (y < 0 || y >= (int32_t)conv->out.h) continue;
        float *to = value_at(worker, step->output, image) +
                    ((int64_t)y * conv->out.w + (int64_t)stride * x0 + shift_x) * out_c + panel * nr;
        kernels->bias_act(strip + ((int64_t)(j - j0) * tiling->width + x0) * nr, nr,
                          worker->shared->program->constants + step->constants + panel * nr, to, stride * out_c,
                          x1 - x0, activation_from(step->act, panel * nr));
    }
}

/* Prefetch the memory that emit writes to. */
EXPANDED void fetch_rows(const gan_worker *worker, const gan_step *step, uint32_t image, uint32_t phase, uint32_t panel,
                         int32_t j0, int32_t j1) {
    const gan_conv *conv = &step->conv;
    const int64_t stride = conv->out_stride, out_c = padded(conv->out.c, worker->shared->kernels),
                  nr = worker->shared->kernels->nr;
    for (int32_t j = j0; j < j1; j++) {
        const int64_t y = stride * j + phase / stride - conv->pad;
        if (y < 0 || y >= conv->out.h) continue;
        float *to = value_at(worker, step->output, image) + y * conv->out.w * out_c + panel * nr;
        for (int64_t x = (phase % stride + stride - conv->pad % stride) % stride; x < conv->out.w; x += stride)
            fetch_to_write(to + x * out_c, 1, 0, nr);
    }
}

/* Transform the products of one unit's tile rows tile_row .. end-1 back to coefficients, at the strip's position. */
static void restore(const gan_worker *worker, const gan_step *step, const gan_tiling *tiling, const toom_item *item,
                    uint32_t unit, uint32_t tile_row, uint32_t end, const float *products, float *strip) {
    const gan_conv *conv = &step->conv;
    const gan_kernels *kernels = worker->shared->kernels;
    const int64_t nr = kernels->nr, points = (int64_t)tiling->side * tiling->side,
                  strip_stride = (int64_t)tiling->width * nr;
    const uint32_t stride = conv->out_stride, panels = padded(conv->out.c, kernels) / (uint32_t)nr,
                   phase = unit / panels;
    for (; tile_row < end; tile_row++) {
        const uint32_t y = tile_row % tiling->ty, image = item->first + tile_row / tiling->ty;
        const int32_t j = (int32_t)y * tiling->tile_side, last = y + 1 == tiling->ty;
        fetch_rows(worker, step, image, phase, unit % panels, j, j + tiling->tile_side);
        for (uint32_t x = 0; x < tiling->tx; x++, products += points * nr)
            kernels->toom_out(tiling->side, tiling->tile_side, products, strip + (int64_t)x * tiling->tile_side * nr,
                              strip_stride, y > 0, x > 0);
        emit(worker, step, tiling, image, phase / stride, phase % stride, unit % panels, strip, j,
             j + (last ? tiling->side : tiling->tile_side));
        if (!last)
            memmove(strip, strip + tiling->tile_side * strip_stride,
                    sizeof *strip * (size_t)((tiling->side - tiling->tile_side) * strip_stride));
    }
}

static void run_item(gan_worker *worker, const gan_step *step, const gan_tiling *tiling, const toom_item *item,
                     const packed_units *weights) {
    const int64_t nr = worker->shared->kernels->nr, points = (int64_t)tiling->side * tiling->side;
    const int64_t strip_floats = (int64_t)tiling->side * tiling->width * nr;
    float *strips = worker->thread_scratch, *products = strips + (int64_t)tiling->panel_group * strip_floats;
    for (uint32_t tile_row = item->row0; tile_row < item->row1;) {
        const uint32_t end = item->row1 - tile_row < tiling->block ? item->row1 : tile_row + tiling->block;
        const int64_t tiles = (int64_t)(end - tile_row) * tiling->tx;
        multiply(worker, &step->conv, tiling, (uint64_t)tile_row * tiling->tx * tiling->tile_values, tiles, weights,
                 item->u0, item->u1 - item->u0, products);
        for (uint32_t u = item->u0; u < item->u1; u++)
            restore(worker, step, tiling, item, u, tile_row, end, products + (u - item->u0) * tiles * points * nr,
                    strips + (u - item->u0) * strip_floats);
        tile_row = end;
    }
}

void gan_i_run_toom(gan_worker *worker, const gan_step *step, gan_method method, const float *weights) {
    const gan_conv *conv = &step->conv;
    if (conv->dims > 2) {
        gan_i_run_toom_volume(worker, step, method, weights);
        return;
    }
    const uint32_t units = conv->out_stride * conv->out_stride *
                           (padded(conv->out.c, worker->shared->kernels) / (uint32_t)worker->shared->kernels->nr);
    gan_tiling tiling;
    gan_i_tile(conv, method, worker->shared->kernels, worker->images, worker->cursor.group->size, &tiling);
    const packed_units units_of = packed_units_of(conv, method, worker->shared->kernels, weights);
    const uint32_t panel_groups = (units + tiling.panel_group - 1) / tiling.panel_group,
                   wanted = 4 * (uint32_t)worker->cursor.group->size;
    for (uint32_t first = 0; first < worker->images; first += tiling.pass_images) {
        const uint32_t images = worker->images - first < tiling.pass_images ? worker->images - first
                                                                            : tiling.pass_images;
        const uint32_t max_parts = worker->cursor.group->size == 1 || panel_groups >= wanted
                                       ? 1
                                       : (wanted + panel_groups - 1) / panel_groups;
        const uint32_t parts = max_parts < images ? max_parts : images;
        transform(worker, step, &tiling, first, images, parts, &units_of);
        for (uint64_t n; gan_i_group_take(&worker->cursor, (uint64_t)panel_groups * parts, &n);) {
            const uint32_t part = (uint32_t)(n % parts), u0 = (uint32_t)(n / parts) * tiling.panel_group;
            const toom_item item = {first, part_start(&tiling, images, parts, part),
                                    part_start(&tiling, images, parts, part + 1), u0,
                                    u0 + tiling.panel_group < units ? u0 + tiling.panel_group : units};
            run_item(worker, step, &tiling, &item, &units_of);
        }
        gan_i_group_barrier(&worker->cursor);
    }
}
