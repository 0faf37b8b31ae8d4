/* A convolution through Toom-Cook: tiles of the input become values at points x points places, which all output
 * phases share; a matrix product a point; then back to coefficients, where neighbouring tiles overlap and add up. */
#include <string.h>

#include "run.h"

/* Units u0 .. u1-1 (a phase's panel each) of a step's products, for the tile-rows row0 .. row1-1 of a pass. */
typedef struct item {
    uint32_t first; /* picture of the pass's first tile-row */
    uint32_t row0, row1, u0, u1;
} item;

/* The register tile of row `row` among `rows` that are multiplied together: its first row and how many it has.
 * Tiles differ by one row at most, the longer first.  A tile's transformed inputs are [block][point][row][16]. */
static int64_t register_tile(int64_t rows, int64_t row, const gan_kernels *k, int *m) {
    const int64_t tiles = (rows + k->mr - 1) / k->mr, least = rows / tiles, longer = rows % tiles * (least + 1);
    *m = (int)(row < longer ? least + 1 : least);
    return row - (row < longer ? row : row - longer) % *m;
}

/* Where a pass's pictures are parted: whole pictures, each part reading the weights again. */
static uint32_t part_start(const tiling *t, uint32_t images, uint32_t parts, uint32_t part) {
    return (uint32_t)((uint64_t)images * part / parts) * t->ty;
}

static void transform(worker *w, const step *st, const tiling *t, uint32_t first, uint32_t images, uint32_t parts) {
    const conv *c = &st->conv;
    const gan_kernels *k = w->j->k;
    const int64_t in_c = padded(c->in.c, k), tile = t->tile_side;
    const ptrdiff_t blocks = (c->in.c + KBLOCK - 1) / KBLOCK;
    for (uint64_t n; gan_i_crew_take(&w->cursor, (uint64_t)images * t->ty, &n);) {
        const float *image = value_at(w, st->inputs[0], first + (uint32_t)(n / t->ty));
        uint32_t part = 0;
        while (n >= part_start(t, images, parts, part + 1)) part++;
        const uint32_t row0 = part_start(t, images, parts, part), row1 = part_start(t, images, parts, part + 1);
        const uint32_t start = row0 + ((uint32_t)n - row0) / t->block * t->block; /* of the rows multiplied together */
        const uint32_t end = row1 - start < t->block ? row1 : start + t->block;
        const int64_t y0 = (int64_t)(n % t->ty) * tile;
        for (int64_t x = 0; x < t->tx; x++) {
            const float *pixels[(MAX_TOOM - 1) * (MAX_TOOM - 1)];
            const float **pixel = pixels;
            for (int64_t py = y0; py < y0 + tile; py++)
                for (int64_t px = x * tile; px < (x + 1) * tile; px++)
                    *pixel++ = py < c->in.h && px < c->in.w ? image + (py * c->in.w + px) * in_c : w->j->zeros;
            int m;
            const int64_t row = (int64_t)(n - start) * t->tx + x;
            const int64_t head = register_tile((int64_t)(end - start) * t->tx, row, k, &m);
            float *v = w->transformed + ((uint64_t)start * t->tx + (uint64_t)head) * t->tile_floats + (row - head) * KBLOCK;
            k->toom_in(t->side, t->tile_side, pixels, blocks, v, (ptrdiff_t)m * KBLOCK);
        }
    }
    gan_i_crew_barrier(&w->cursor);
}

/* products[unit][row][point][nr] for `rows` tiles.  A point's inputs stay in the second-level cache for all units. */
static void multiply(const worker *w, const tiling *t, const float *v, int64_t rows, uint32_t channels, const float *weights,
                     int64_t units, int64_t unit_floats, float *products) {
    const gan_kernels *k = w->j->k;
    const int64_t nr = k->nr, points = (int64_t)t->side * t->side, tiles = (rows + k->mr - 1) / k->mr;
    const int least = (int)(rows / tiles), longer = (int)(rows % tiles);
    const int prefetch_quarters = tiles >= 4 ? 1 : tiles > 1 ? 2 : 4; /* of a slice, that each tile fetches of the next */
    for (int64_t p = 0; p < points; p++) {
        for (int64_t u = 0; u < units; u++) {
            const float *panel = weights + u * unit_floats + p * channels * nr;
            for (uint32_t k0 = 0; k0 < channels; k0 += SLICE) {
                const ptrdiff_t depth = channels - k0 < SLICE ? (ptrdiff_t)(channels - k0) : (ptrdiff_t)SLICE;
                const int last = k0 + SLICE >= channels;
                const float *slice = panel + k0 * nr, *next = slice + depth * nr;
                if (last && u + 1 < units) next = panel + unit_floats;
                else if (last) next = weights + (p + 1) * channels * nr;
                /* a slice's first tile comes after the last of the one before */
                const int64_t offset = k0 * points + p * KBLOCK;
                const int64_t next_p = last && u + 1 == units && p + 1 < points ? p + 1 : p;
                const int64_t next_offset = (last ? 0 : k0 + SLICE) * points + next_p * KBLOCK;
                const int64_t share = depth / KBLOCK * prefetch_quarters * 4 * nr;
                const float *at = v;
                float *to = products + (u * rows * points + p) * nr;
                for (int n = 0; n < tiles; n++) {
                    const int m = least + (n < longer), more = n + 1 < tiles;
                    const float *after = more ? at + m * (int64_t)t->tile_floats : v;
                    const int64_t next_a = (more ? offset : next_offset) * (least + ((more ? n + 1 : 0) < longer));
                    k->gemm_packed(m, depth, at + offset * m, points * m * KBLOCK, slice, to, points * nr, k0 > 0,
                                 n * share < depth * nr ? next + n * share : slice, prefetch_quarters, after + next_a);
                    at = after;
                    to += m * points * nr;
                }
            }
        }
    }
}

/* The rows of coefficients j0 .. j1-1 (strip[0] is j0) of one phase, finished into the output. */
static void emit(const worker *w, const step *st, const tiling *t, uint32_t image, uint32_t py, uint32_t px, uint32_t panel,
                 const float *strip, int32_t j0, int32_t j1) {
    const conv *c = &st->conv;
    const gan_kernels *k = w->j->k;
    const int32_t s = (int32_t)c->out_stride, shift_y = (int32_t)py - c->pad, shift_x = (int32_t)px - c->pad;
    const int32_t x0 = ceil_div(-shift_x, s), x1 = floor_div((int32_t)c->out.w - 1 - shift_x, s) + 1;
    const int64_t out_c = padded(c->out.c, k), nr = k->nr;
    for (int32_t j = j0; j < j1; j++) {
        const int32_t y = s * j + shift_y;
        if (y < 0 || y >= (int32_t)c->out.h) continue;
        float *to = value_at(w, st->output, image) +
                    ((int64_t)y * c->out.w + (int64_t)s * x0 + shift_x) * out_c + panel * nr;
        k->bias_act(strip + ((int64_t)(j - j0) * t->width + x0) * nr, nr, w->j->s->constants + st->constants + panel * nr, to,
                  s * out_c, x1 - x0, st->act);
    }
}

/* One unit's products of tile-rows row .. end-1, which go on where the strip stands, back to coefficients. */
static void restore(const worker *w, const step *st, const tiling *t, const item *it, uint32_t unit, uint32_t row,
                    uint32_t end, const float *products, float *strip) {
    const conv *c = &st->conv;
    const gan_kernels *k = w->j->k;
    const int64_t nr = k->nr, points = (int64_t)t->side * t->side, line = (int64_t)t->width * nr;
    const uint32_t s = c->out_stride, panels = padded(c->out.c, k) / (uint32_t)nr, phase = unit / panels;
    for (; row < end; row++) {
        const uint32_t y = row % t->ty, image = it->first + row / t->ty;
        const int32_t j = (int32_t)y * t->tile_side, last = y + 1 == t->ty;
        for (uint32_t x = 0; x < t->tx; x++, products += points * nr)
            k->toom_out(t->side, t->tile_side, products, strip + (int64_t)x * t->tile_side * nr, line, y > 0, x > 0);
        emit(w, st, t, image, phase / s, phase % s, unit % panels, strip, j, j + (last ? t->side : t->tile_side));
        if (!last) memmove(strip, strip + t->tile_side * line, sizeof *strip * (size_t)((t->side - t->tile_side) * line));
    }
}

static void run_item(worker *w, const step *st, const tiling *t, const item *it, const float *weights,
                     uint64_t unit_floats) {
    const int64_t nr = w->j->k->nr, points = (int64_t)t->side * t->side;
    const int64_t strip_floats = (int64_t)t->side * t->width * nr;
    float *strips = w->thread_scratch, *products = strips + (int64_t)t->group * strip_floats;
    for (uint32_t row = it->row0; row < it->row1;) {
        const uint32_t end = it->row1 - row < t->block ? it->row1 : row + t->block;
        const int64_t rows = (int64_t)(end - row) * t->tx;
        multiply(w, t, w->transformed + (uint64_t)row * t->tx * t->tile_floats, rows, st->conv.in.c, weights + it->u0 * unit_floats,
                 it->u1 - it->u0, (int64_t)unit_floats, products);
        for (uint32_t u = it->u0; u < it->u1; u++)
            restore(w, st, t, it, u, row, end, products + (u - it->u0) * rows * points * nr,
                    strips + (u - it->u0) * strip_floats);
        row = end;
    }
}

void gan_i_run_toom(worker *w, const step *st, method f, const float *weights) {
    const conv *c = &st->conv;
    const uint32_t units = c->out_stride * c->out_stride * (padded(c->out.c, w->j->k) / (uint32_t)w->j->k->nr);
    tiling t;
    gan_i_tile(c, f, w->j->k, w->images, w->cursor.crew->size, &t);
    const uint64_t unit_floats = (uint64_t)t.side * (uint64_t)t.side * c->in.c * (uint64_t)w->j->k->nr;
    const uint32_t groups = (units + t.group - 1) / t.group, wanted = 4 * (uint32_t)w->cursor.crew->size;
    for (uint32_t first = 0; first < w->images; first += t.pass_images) {
        const uint32_t images = w->images - first < t.pass_images ? w->images - first : t.pass_images;
        const uint32_t most = w->cursor.crew->size == 1 || groups >= wanted ? 1 : (wanted + groups - 1) / groups;
        const uint32_t parts = most < images ? most : images;
        transform(w, st, &t, first, images, parts);
        for (uint64_t n; gan_i_crew_take(&w->cursor, (uint64_t)groups * parts, &n);) {
            const uint32_t part = (uint32_t)(n % parts), u0 = (uint32_t)(n / parts) * t.group;
            const item it = {first, part_start(&t, images, parts, part), part_start(&t, images, parts, part + 1), u0,
                             u0 + t.group < units ? u0 + t.group : units};
            run_item(w, st, &t, &it, weights, unit_floats);
        }
        gan_i_crew_barrier(&w->cursor);
    }
}
