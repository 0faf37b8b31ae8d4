/* Toom-Cook of a volume: the transforms of run_toom.c in the plane of each slice, and one more loop of taps over the
 * slices.  The inputs of a pass are [slice][image][tile]; one transform of a slice serves all phases and all slices of
 * the kernel, whose products at a point are added up before they are transformed back. */
#include <string.h>

#include "run.h"

/* Units u0 .. u1-1 (a panel each of a phase of rows and columns) of the phase pz of the depth, for its slices of outputs
 * j0 .. j1-1, which are out_stride x j + pz - pad. */
typedef struct volume_item {
    uint32_t pz, u0, u1;
    int32_t j0, j1;
} volume_item;

/* The images first .. first+images-1 of the chunk, which are transformed together. */
typedef struct volume_pass {
    const gan_tiling *tiling;
    uint32_t first, images;
    int64_t tiles; /* in a slice of all of them */
    uint64_t slice_floats; /* of their transformed inputs */
} volume_pass;

static void transform(gan_worker *worker, const gan_step *step, const volume_pass *pass) {
    const gan_conv *conv = &step->conv;
    const gan_tiling *tiling = pass->tiling;
    const gan_kernels *kernels = worker->shared->kernels;
    const int64_t in_c = padded(conv->in.c, kernels), side = tiling->tile_side;
    const ptrdiff_t blocks = (conv->in.c + KBLOCK - 1) / KBLOCK;
    const register_tiles cut = cut_tiles(pass->tiles, kernels);
    const uint64_t rows = (uint64_t)pass->images * tiling->ty;
    for (uint64_t n; gan_i_group_take(&worker->cursor, rows * conv->in.d, &n);) {
        const uint64_t z = n / rows, tile_row = n % rows;
        const float *slice = value_at(worker, step->inputs[0], pass->first + (uint32_t)(tile_row / tiling->ty)) +
                             z * conv->in.h * conv->in.w * (uint64_t)in_c;
        float *block = worker->transformed + z * pass->slice_floats;
        const int64_t y0 = (int64_t)(tile_row % tiling->ty) * side;
        int64_t tile = (int64_t)tile_row * tiling->tx, head = first_with(cut, tile);
        for (int64_t x = 0; x < tiling->tx; x++, tile++) {
            const float *pixels[(MAX_TOOM - 1) * (MAX_TOOM - 1)];
            const float **pixel = pixels;
            for (int64_t py = y0; py < y0 + side; py++)
                for (int64_t px = x * side; px < (x + 1) * side; px++)
                    *pixel++ = py < conv->in.h && px < conv->in.w ? slice + (py * conv->in.w + px) * in_c
                                                                  : worker->shared->zeros;
            if (tile == head + tiles_with(cut, head)) head = tile;
            float *v = block + (uint64_t)head * tiling->tile_values + (tile - head) * KBLOCK;
            kernels->toom_in(tiling->side, tiling->tile_side, pixels, blocks, v,
                             (ptrdiff_t)tiles_with(cut, head) * KBLOCK);
        }
    }
    gan_i_group_barrier(&worker->cursor);
}

/* What one slice of weights, of a panel, a point and a slice of the kernel, is multiplied with. */
typedef struct weight_slice {
    const float *weights, *next; /* `next`: those wanted after them */
    int64_t point, k0, depth;
    uint32_t tap;
} weight_slice;

/* Add the products of a slice of weights for the outputs j0 .. j1-1 to `products`, [j][tile][point][nr]. */
static void multiply_slice(const gan_worker *worker, const gan_conv *conv, const volume_pass *pass,
                           const weight_slice *s, int32_t j0, int32_t j1, float *products) {
    const gan_kernels *kernels = worker->shared->kernels;
    const gan_tiling *tiling = pass->tiling;
    const int64_t nr = kernels->nr, points = (int64_t)tiling->side * tiling->side, depth_in = conv->in.d;
    const register_tiles cut = cut_tiles(pass->tiles, kernels);
    /* of the next slice of weights, that each register tile fetches */
    const int64_t all = pass->tiles * (j1 - j0);
    const int quarters = all > 3 * kernels->mr ? 1 : all > kernels->mr ? 2 : 4;
    const int64_t share = s->depth / KBLOCK * quarters * 4 * nr;
    int64_t fetched = 0;
    for (int32_t j = j0; j < j1; j++, products += pass->tiles * points * nr) {
        const int64_t z = (int64_t)j - s->tap, least = j < depth_in ? 0 : j - depth_in + 1;
        if (z < 0 || z >= depth_in) continue;
        const int accumulate = s->k0 > 0 || s->tap > least; /* `least`: the first tap that reaches a slice */
        const float *at = worker->transformed + (uint64_t)z * pass->slice_floats;
        float *to = products + s->point * nr;
        for (int64_t n = 0, m; n < pass->tiles; n += m) {
            m = tiles_with(cut, n);
            const float *rows = at + (s->k0 * points + s->point * KBLOCK) * m;
            kernels->gemm_packed((int)m, (int)nr, s->depth, rows, points * m * KBLOCK, s->weights, to, points * nr,
                                 accumulate, fetched < s->depth * nr ? s->next + fetched : s->weights, quarters);
            fetched += share;
            at += m * (int64_t)tiling->tile_values;
            to += m * points * nr;
        }
    }
}

/* products[unit][j][tile][point][nr] of an item's outputs j0 .. j1-1. */
static void multiply(const gan_worker *worker, const gan_conv *conv, const volume_pass *pass, const volume_item *item,
                     int32_t j0, int32_t j1, const float *weights, int64_t unit_floats, float *products) {
    const int64_t nr = worker->shared->kernels->nr, points = (int64_t)pass->tiling->side * pass->tiling->side;
    const int64_t channels = conv->in.c, unit_products = (j1 - j0) * pass->tiles * points * nr;
    const uint32_t taps = phase_taps(conv, conv->kd, item->pz);
    for (int64_t p = 0; p < points; p++)
        for (uint32_t u = item->u0; u < item->u1; u++) {
            const float *panel = weights + u * unit_floats + p * channels * taps * nr;
            const float *behind = u + 1 < item->u1 ? panel + unit_floats
                                                   : weights + item->u0 * unit_floats + (p + 1) * channels * taps * nr;
            for (uint32_t t = 0; t < taps; t++)
                for (int64_t k0 = 0; k0 < channels; k0 += SLICE) {
                    const int64_t depth = channels - k0 < SLICE ? channels - k0 : SLICE;
                    const float *from = panel + (t * channels + k0) * nr;
                    const int last = t + 1 == taps && k0 + depth == channels;
                    const weight_slice s = {
                        from,  !last ? from + depth * nr : p + 1 < points || u + 1 < item->u1 ? behind : from,
                        p,     k0,
                        depth, t};
                    multiply_slice(worker, conv, pass, &s, j0, j1, products + (u - item->u0) * unit_products);
                }
        }
}

/* The rows of coefficients r0 .. r1-1 (strip[0] is r0) of one phase and slice, finished into the output. */
static void emit(const gan_worker *worker, const gan_step *step, const gan_tiling *tiling, float *slice, uint32_t py,
                 uint32_t px, uint32_t panel, const float *strip, int32_t r0, int32_t r1) {
    const gan_conv *conv = &step->conv;
    const gan_kernels *kernels = worker->shared->kernels;
    const int32_t stride = (int32_t)conv->out_stride, shift_y = (int32_t)py - conv->pad_y,
                  shift_x = (int32_t)px - conv->pad;
    const int32_t x0 = ceil_div(-shift_x, stride), x1 = floor_div((int32_t)conv->out.w - 1 - shift_x, stride) + 1;
    const int64_t out_c = padded(conv->out.c, kernels), nr = kernels->nr;
    for (int32_t r = r0; r < r1; r++) {
        const int32_t y = stride * r + shift_y;
        if (y < 0 || y >= (int32_t)conv->out.h) continue;
        float *to = slice + ((int64_t)y * conv->out.w + (int64_t)stride * x0 + shift_x) * out_c + panel * nr;
        kernels->bias_act(strip + ((int64_t)(r - r0) * tiling->width + x0) * nr, nr,
                          worker->shared->program->constants + step->constants + panel * nr, to, stride * out_c,
                          x1 - x0, activation_from(step->act, panel * nr));
    }
}

/* Transform one unit's products of slice z of the output back, for all images of the pass. */
static void restore(const gan_worker *worker, const gan_step *step, const volume_pass *pass, uint32_t unit, int64_t z,
                    const float *products, float *strip) {
    const gan_conv *conv = &step->conv;
    const gan_tiling *tiling = pass->tiling;
    const gan_kernels *kernels = worker->shared->kernels;
    const int64_t nr = kernels->nr, points = (int64_t)tiling->side * tiling->side,
                  strip_stride = (int64_t)tiling->width * nr;
    const uint32_t stride = conv->out_stride, panels = padded(conv->out.c, kernels) / (uint32_t)nr,
                   phase = unit / panels;
    for (uint32_t row = 0; row < pass->images * tiling->ty; row++) {
        const uint32_t y = row % tiling->ty;
        const int32_t r = (int32_t)y * tiling->tile_side, last = y + 1 == tiling->ty;
        float *slice = value_at(worker, step->output, pass->first + row / tiling->ty) +
                       z * conv->out.h * conv->out.w * (int64_t)padded(conv->out.c, kernels);
        for (uint32_t x = 0; x < tiling->tx; x++, products += points * nr)
            kernels->toom_out(tiling->side, tiling->tile_side, products, strip + (int64_t)x * tiling->tile_side * nr,
                              strip_stride, y > 0, x > 0);
        emit(worker, step, tiling, slice, phase / stride, phase % stride, unit % panels, strip, r,
             r + (last ? tiling->side : tiling->tile_side));
        if (!last)
            memmove(strip, strip + tiling->tile_side * strip_stride,
                    sizeof *strip * (size_t)((tiling->side - tiling->tile_side) * strip_stride));
    }
}

static void run_item(gan_worker *worker, const gan_step *step, const volume_pass *pass, const volume_item *item,
                     const float *weights, uint64_t unit_floats) {
    const gan_conv *conv = &step->conv;
    const gan_tiling *tiling = pass->tiling;
    const int64_t nr = worker->shared->kernels->nr;
    const int64_t slice_products = pass->tiles * tiling->side * tiling->side * nr;
    float *strip = worker->thread_scratch, *products = strip + (int64_t)tiling->side * tiling->width * nr;
    for (int32_t j = item->j0, end; j < item->j1; j = end) {
        end = item->j1 - j < (int32_t)tiling->block ? item->j1 : j + (int32_t)tiling->block;
        multiply(worker, conv, pass, item, j, end, weights, (int64_t)unit_floats, products);
        const float *from = products;
        for (uint32_t u = item->u0; u < item->u1; u++)
            for (int32_t i = j; i < end; i++, from += slice_products)
                restore(worker, step, pass, u, (int64_t)conv->out_stride * i + item->pz - conv->pad_z, from, strip);
    }
}

/* The slices j of a phase of the depth that are outputs. */
static void phase_slices(const gan_conv *conv, volume_item *item) {
    const int32_t stride = (int32_t)conv->out_stride, shift = (int32_t)item->pz - conv->pad_z;
    item->j0 = ceil_div(-shift, stride);
    item->j1 = floor_div((int32_t)conv->out.d - 1 - shift, stride) + 1;
}

void gan_i_run_toom_volume(gan_worker *worker, const gan_step *step, gan_method method, const float *weights) {
    const gan_conv *conv = &step->conv;
    const uint64_t nr = (uint64_t)worker->shared->kernels->nr, members = (uint64_t)worker->cursor.group->size;
    const uint32_t stride = conv->out_stride,
                   units = stride * stride * (padded(conv->out.c, worker->shared->kernels) / (uint32_t)nr);
    gan_tiling tiling;
    gan_i_tile(conv, method, worker->shared->kernels, worker->images, (int)members, &tiling);
    const uint64_t tap_floats = (uint64_t)tiling.side * (uint64_t)tiling.side * conv->in.c * nr;
    const uint64_t groups = (units + tiling.panel_group - 1) / tiling.panel_group;
    /* parts of the depth: enough for every member to find work, each reading the weights again */
    const uint64_t wanted = 4 * members, phase_items = groups * stride;
    const uint64_t parts = members == 1 || phase_items >= wanted ? 1 : (wanted + phase_items - 1) / phase_items;
    for (uint32_t first = 0; first < worker->images; first += tiling.pass_images) {
        volume_pass pass = {.tiling = &tiling, .first = first};
        pass.images = worker->images - first < tiling.pass_images ? worker->images - first : tiling.pass_images;
        pass.tiles = (int64_t)pass.images * tiling.ty * tiling.tx;
        pass.slice_floats = (uint64_t)pass.tiles * tiling.tile_values;
        transform(worker, step, &pass);
        for (uint64_t n; gan_i_group_take(&worker->cursor, phase_items * parts, &n);) {
            const uint32_t part = (uint32_t)(n % parts), u0 = (uint32_t)(n / parts % groups) * tiling.panel_group;
            volume_item item = {.pz = (uint32_t)(n / parts / groups),
                                .u0 = u0,
                                .u1 = u0 + tiling.panel_group < units ? u0 + tiling.panel_group : units};
            phase_slices(conv, &item);
            const int64_t slices = item.j1 - item.j0, start = item.j0;
            if (slices <= 0) continue;
            item.j0 = (int32_t)(start + slices * (int64_t)part / (int64_t)parts);
            item.j1 = (int32_t)(start + slices * ((int64_t)part + 1) / (int64_t)parts);
            run_item(worker, step, &pass, &item,
                     weights + (uint64_t)taps_before(conv, conv->kd, item.pz) * units * tap_floats,
                     phase_taps(conv, conv->kd, item.pz) * tap_floats);
        }
        gan_i_group_barrier(&worker->cursor);
    }
}
