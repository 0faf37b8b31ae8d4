/* Convolutions in groups of channels: rows of one image, by products of each group's channels, or by Winograd's
 * F(4 x 4, 3 x 3) as run_winograd.c has it. */
#include <string.h>

#include "run.h"

enum { POINTS = WINOGRAD * WINOGRAD };

static gan_shape shape_of(const gan_worker *worker, uint32_t value) {
    return worker->shared->program->values[value].shape;
}

/* Row `y` directly: a product for each group, tap and mr pixels. */
static void group_row(const gan_worker *worker, const gan_step *step, uint32_t image, int64_t y, float *to) {
    const gan_kernels *kernels = worker->shared->kernels;
    const uint32_t *g = step->style.filter->args; /* in, out, kernel, groups, padding */
    const gan_shape in = shape_of(worker, step->inputs[0]), out = shape_of(worker, step->output);
    const int64_t side = g[2], pad = g[4], wide = (int64_t)padded(out.c, kernels), nr = kernels->nr,
                  in_wide = (int64_t)padded(in.c, kernels), each = g[0] / g[3], made = g[1] / g[3],
                  panels = padded((uint32_t)made, kernels) / nr;
    const float *from = value_at(worker, step->inputs[0], image),
                *weights = worker->shared->program->constants + step->constants,
                *zeros = weights + g[3] * panels * side * side * each * nr;
    for (int64_t x = 0; x < out.w; x += kernels->mr)
        for (int64_t n = 0; n < g[3] * panels; n++) {
            const int m = out.w - x < kernels->mr ? (int)(out.w - x) : kernels->mr;
            const float *rows[MAX_MR];
            float *sums[MAX_MR];
            for (int i = 0; i < m; i++) sums[i] = worker->thread_scratch + i * nr;
            memset(worker->thread_scratch, 0, sizeof(float) * (size_t)(m * nr));
            for (int64_t t = 0; t < side * side; t++) {
                const int64_t iy = y + t / side - pad;
                if (iy < 0 || iy >= in.h) continue;
                for (int i = 0; i < m; i++) {
                    const int64_t ix = x + i + t % side - pad;
                    rows[i] = ix < 0 || ix >= in.w ? zeros : from + (iy * in.w + ix) * in_wide + n / panels * each;
                }
                kernels->gemm(m, panel_columns((uint32_t)made, n % panels, kernels), each, rows, KBLOCK,
                              weights + (n * side * side + t) * each * nr, sums, 1, NULL, 0);
            }
            const int64_t first = n % panels * nr, left = made - first, count = left < nr ? left : nr;
            for (int i = 0; i < m; i++)
                memcpy(to + (x + i) * wide + n / panels * made + first, sums[i], sizeof *to * (size_t)count);
        }
}

/* Groups whose channels are transformed together, for some tiles of a row of tiles. */
typedef struct group_tiles {
    int64_t first, groups; /* groups */
    int64_t y, x, count; /* the first tile's first output pixel; tiles beside each other */
} group_tiles;

typedef struct grouping {
    gan_shape in, out;
    int64_t each, made, panels, pad; /* channels of a group, in and out; padding */
    int64_t tiles, together; /* most tiles and groups that are transformed together */
} grouping;

static grouping grouping_of(const gan_program *program, const gan_kernels *kernels, const gan_step *step) {
    const uint32_t *g = step->style.filter->args; /* in, out, kernel, groups, padding */
    grouping of = {.in = program->values[step->inputs[0]].shape,
                   .out = program->values[step->output].shape,
                   .each = g[0] / g[3],
                   .made = g[1] / g[3],
                   .pad = g[4],
                   .tiles = GROUP_TILES / kernels->mr * kernels->mr};
    of.panels = padded((uint32_t)of.made, kernels) / kernels->nr;
    of.together = GROUP_CHANNELS / of.each < 1 ? 1 : GROUP_CHANNELS / of.each;
    return of;
}

uint64_t gan_i_groups_floats(const gan_program *program, const gan_step *step, const gan_kernels *kernels) {
    const uint64_t nr = (uint64_t)kernels->nr;
    if (!step->style.transformed) return (uint64_t)kernels->mr * nr;
    const grouping of = grouping_of(program, kernels, step);
    const uint64_t inputs = (uint64_t)(of.tiles * of.together * of.each) + KBLOCK;
    return POINTS * (inputs + (uint64_t)of.tiles * nr) + WINOGRAD_TILE * WINOGRAD_TILE * nr;
}

/* v[point][register tile][block of 16 channels][tile][16] of all its groups. */
static void transform(const gan_worker *worker, const gan_step *step, const grouping *of, uint32_t image,
                      const group_tiles *at, float *v) {
    const gan_kernels *kernels = worker->shared->kernels;
    const int64_t mr = kernels->mr, blocks = at->groups * of->each / KBLOCK, in_c = padded(of->in.c, kernels);
    const float *from = value_at(worker, step->inputs[0], image) + at->first * of->each;
    for (int64_t n = 0; n < at->count; n++) {
        const int64_t head = n / mr * mr, rows = at->count - head < mr ? at->count - head : mr;
        const float *pixels[POINTS];
        for (int64_t i = 0; i < POINTS; i++) {
            const int64_t y = at->y - of->pad + i / WINOGRAD, x = at->x + WINOGRAD_TILE * n - of->pad + i % WINOGRAD;
            const int inside = y >= 0 && x >= 0 && y < of->in.h && x < of->in.w;
            pixels[i] = inside ? from + (y * of->in.w + x) * in_c : worker->shared->zeros;
        }
        kernels->winograd_in(WINOGRAD, pixels, blocks, v + (head * blocks + n - head) * KBLOCK,
                             at->count * blocks * KBLOCK + KBLOCK, rows * KBLOCK);
    }
}

/* products[tile][point][nr] of one group's panel; `group` counts from the first that is transformed. */
static void multiply(const gan_worker *worker, const grouping *of, const group_tiles *at, int64_t group, int channels,
                     const float *weights, const float *v, float *products) {
    const gan_kernels *kernels = worker->shared->kernels;
    const int64_t nr = kernels->nr, mr = kernels->mr, blocks = at->groups * of->each / KBLOCK;
    for (int64_t p = 0; p < POINTS; p++)
        for (int64_t n = 0; n < at->count; n += mr) {
            const int64_t rows = at->count - n < mr ? at->count - n : mr;
            const float *from = v + p * (at->count * blocks * KBLOCK + KBLOCK) +
                                (n * blocks + group * of->each / KBLOCK * rows) * KBLOCK;
            kernels->gemm_packed((int)rows, channels, of->each, from, rows * KBLOCK, weights + p * of->each * nr,
                                 products + (n * POINTS + p) * nr, POINTS * nr, 0, weights + (p + 1) * of->each * nr, 1,
                                 from + rows * of->each);
        }
}

/* Transform a panel's products back.  `to`: the panel's first channel in the image's first pixel. */
static void restore(const gan_worker *worker, const grouping *of, const group_tiles *at, int channels,
                    const float *products, float *tile, float *to) {
    const gan_kernels *kernels = worker->shared->kernels;
    const int64_t nr = kernels->nr, out_c = padded(of->out.c, kernels);
    float ones[MAX_NR];
    for (int64_t n = 0; n < nr; n++) ones[n] = 1;
    for (int64_t n = 0; n < at->count; n++) {
        const int64_t x = at->x + WINOGRAD_TILE * n, rows = of->out.h - at->y, columns = of->out.w - x;
        const int high = rows < WINOGRAD_TILE ? (int)rows : WINOGRAD_TILE,
                  wide = columns < WINOGRAD_TILE ? (int)columns : WINOGRAD_TILE;
        kernels->winograd_out(WINOGRAD, channels, products + n * POINTS * nr, worker->shared->zeros, ones, tile,
                              WINOGRAD_TILE * nr, nr, high, wide);
        for (int64_t i = 0; i < high; i++)
            for (int64_t j = 0; j < wide; j++)
                memcpy(to + ((at->y + i) * of->out.w + x + j) * out_c, tile + (i * WINOGRAD_TILE + j) * nr,
                       sizeof *to * (size_t)channels);
    }
}

/* Prefetch one row of the pixels that the next groups read for the same tiles. */
EXPANDED void fetch_next_groups(const gan_worker *worker, const gan_step *step, const grouping *of, uint32_t image,
                                const group_tiles *at, int64_t row) {
    const int64_t in_c = padded(of->in.c, worker->shared->kernels), c = (at->first + at->groups) * of->each,
                  left = of->in.c - c, y = at->y - of->pad + row, x = at->x < of->pad ? 0 : at->x - of->pad,
                  columns = of->in.w - x, most = at->count * WINOGRAD_TILE + 2;
    if (row >= WINOGRAD || left <= 0 || y < 0 || y >= of->in.h || columns <= 0) return;
    fetch_to_read(value_at(worker, step->inputs[0], image) + (y * of->in.w + x) * in_c + c,
                  columns < most ? columns : most, in_c, left < GROUP_CHANNELS ? left : GROUP_CHANNELS);
}

/* Prefetch the memory that a panel's outputs are written to.  `to`: the panel's first channel in the image's first
 * pixel. */
EXPANDED void fetch_outputs(const gan_worker *worker, const grouping *of, const group_tiles *at, int channels,
                            const float *to) {
    const int64_t out_c = padded(of->out.c, worker->shared->kernels), left = of->out.w - at->x,
                  wide = at->count * WINOGRAD_TILE;
    for (int64_t y = at->y; y < at->y + WINOGRAD_TILE && y < of->out.h; y++)
        fetch_to_write(to + (y * of->out.w + at->x) * out_c, wide < left ? wide : left, out_c, channels);
}

static void run_tiles(const gan_worker *worker, const gan_step *step, const grouping *of, uint32_t image,
                      const group_tiles *at) {
    const int64_t nr = worker->shared->kernels->nr, panel = POINTS * of->each * nr;
    const float *weights = worker->shared->program->constants + step->constants + at->first * of->panels * panel;
    float *v = worker->thread_scratch, *products = v + POINTS * (of->tiles * of->together * of->each + KBLOCK),
          *tile = products + POINTS * of->tiles * nr;
    transform(worker, step, of, image, at, v);
    for (int64_t n = 0; n < at->groups * of->panels; n++) {
        const int64_t group = n / of->panels, first = n % of->panels * nr;
        const int channels = panel_columns((uint32_t)of->made, n % of->panels, worker->shared->kernels);
        float *to = value_at(worker, step->output, image) + (at->first + group) * of->made + first;
        fetch_next_groups(worker, step, of, image, at, n);
        fetch_outputs(worker, of, at, channels, to);
        multiply(worker, of, at, group, channels, weights + n * panel, v, products);
        restore(worker, of, at, channels, products, tile, to);
    }
}

uint32_t gan_i_run_groups(const gan_worker *worker, const gan_step *step, uint32_t image, uint32_t y, uint32_t end) {
    const uint32_t groups = step->style.filter->args[3];
    const grouping of = grouping_of(worker->shared->program, worker->shared->kernels, step);
    if (!step->style.transformed) {
        group_row(worker, step, image, y,
                  value_at(worker, step->output, image) +
                      (uint64_t)y * of.out.w * padded(of.out.c, worker->shared->kernels));
        return y + 1;
    }
    const int64_t tiles = (of.out.w + WINOGRAD_TILE - 1) / WINOGRAD_TILE, parts = (tiles + of.tiles - 1) / of.tiles;
    for (int64_t part = 0; part < parts; part++)
        for (int64_t first = 0; first < groups; first += of.together) {
            const int64_t from = tiles * part / parts, to = tiles * (part + 1) / parts;
            const group_tiles at = {first, groups - first < of.together ? groups - first : of.together, y,
                                    from * WINOGRAD_TILE, to - from};
            run_tiles(worker, step, &of, image, &at);
        }
    return y + WINOGRAD_TILE < end ? y + WINOGRAD_TILE : end;
}
