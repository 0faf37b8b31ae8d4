/* Convolutions in groups of channels: rows of one image, by products of each group's channels, or by Winograd's
 * F(4 x 4, 3 x 3) as run_winograd.c has it. */
#include <math.h>
#include <string.h>

#include "run.h"

enum { POINTS = WINOGRAD * WINOGRAD };

static gan_shape shape_of(const gan_worker *worker, uint32_t value) {
    return worker->shared->program->values[value].shape;
}

/* Row `y` directly: a product for each group, tap and mr pixels. */
static void group_row(const gan_worker *worker, const gan_step *step, uint32_t image, int64_t y) {
    const gan_kernels *kernels = worker->shared->kernels;
    const uint32_t *g = step->style.filter->args; /* in, out, kernel, groups, padding */
    const gan_shape in = shape_of(worker, step->inputs[0]), out = shape_of(worker, step->output);
    const int64_t side = g[2], pad = g[4], wide = (int64_t)padded(out.c, kernels), nr = kernels->nr,
                  in_wide = (int64_t)padded(in.c, kernels), each = g[0] / g[3], made = g[1] / g[3],
                  panels = padded((uint32_t)made, kernels) / nr;
    const float *from = value_at(worker, step->inputs[0], image),
                *weights = worker->shared->program->constants + step->constants,
                *zeros = weights + g[3] * panels * side * side * each * nr;
    float *to = value_at(worker, step->output, image) + y * out.w * wide;
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
                const float *of = weights + (n * side * side + t) * each * nr;
                kernels->gemm(m, panel_columns((uint32_t)made, n % panels, kernels), each, rows, KBLOCK, of, sums, 1,
                              of, 0);
            }
            const int64_t first = n % panels * nr, left = made - first, count = left < nr ? left : nr;
            for (int i = 0; i < m; i++)
                memcpy(to + (x + i) * wide + n / panels * made + first, sums[i], sizeof *to * (size_t)count);
        }
}

/* Groups whose channels are transformed together, for tiles that follow each other in an image, row by row. */
typedef struct group_tiles {
    int64_t first, groups; /* groups */
    int64_t tile, count, across; /* the first tile, how many, and the tiles of a row */
    register_tiles cut;
} group_tiles;

typedef struct grouping {
    gan_shape in, out;
    int64_t each, made, panels, pad; /* channels of a group, in and out; padding */
    int64_t together, tiles; /* most groups and tiles that are transformed together */
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

int gan_i_groups_pair(const gan_layer *filter, const gan_kernels *kernels) {
    return kernels->nr == 2 * KBLOCK && filter->args[1] / filter->args[3] <= KBLOCK; /* half a panel has a kernel */
}

uint64_t gan_i_groups_floats(const gan_program *program, const gan_step *step, const gan_kernels *kernels) {
    const uint64_t nr = (uint64_t)kernels->nr;
    if (!step->style.transformed) return (uint64_t)kernels->mr * nr;
    const grouping of = grouping_of(program, kernels, step);
    const uint64_t inputs = (uint64_t)(of.tiles * of.together * of.each) + KBLOCK;
    return POINTS * (inputs + (uint64_t)of.tiles * nr) + WINOGRAD_TILE * WINOGRAD_TILE * nr;
}

int gan_i_groups_finish(const gan_step *step) {
    const gan_style *style = &step->style;
    const uint32_t *g = style->grouped ? style->filter->args : NULL;
    const activation_kind act = step->act.kind;
    return g && style->transformed && g[1] / g[3] % KBLOCK == 0 && !style->scale && !style->plane &&
           style->low == -INFINITY && style->high == INFINITY &&
           (act == ACT_NONE || act == ACT_RELU || act == ACT_LEAKY_RELU);
}

/* A tile's first output pixel. */
static int64_t tile_y(const group_tiles *at, int64_t n) { return (at->tile + n) / at->across * WINOGRAD_TILE; }
static int64_t tile_x(const group_tiles *at, int64_t n) { return (at->tile + n) % at->across * WINOGRAD_TILE; }

/* v[point][register tile][block of 16 channels][tile][16] of all its groups. */
static void transform(const gan_worker *worker, const gan_step *step, const grouping *of, uint32_t image,
                      const group_tiles *at, float *v) {
    const gan_kernels *kernels = worker->shared->kernels;
    const int64_t blocks = at->groups * of->each / KBLOCK, in_c = padded(of->in.c, kernels);
    const float *from = value_at(worker, step->inputs[0], image) + at->first * of->each;
    for (int64_t n = 0; n < at->count; n++) {
        const int64_t head = first_with(at->cut, n), rows = tiles_with(at->cut, n);
        const float *pixels[POINTS];
        for (int64_t i = 0; i < POINTS; i++) {
            const int64_t y = tile_y(at, n) - of->pad + i / WINOGRAD, x = tile_x(at, n) - of->pad + i % WINOGRAD;
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
    const int64_t nr = kernels->nr, blocks = at->groups * of->each / KBLOCK, own = group * of->each / KBLOCK,
                  step = at->count * blocks * KBLOCK + KBLOCK, weights_step = of->each * nr,
                  parts = (at->count + kernels->mr - 1) / kernels->mr, quarters = prefetch_quarters(parts),
                  share = of->each / KBLOCK * 4 * nr * quarters;
    for (int64_t p = 0; p < POINTS; p++)
        for (int64_t n = 0, part = 0, rows; n < at->count; n += rows, part++) {
            rows = tiles_with(at->cut, n);
            const float *from = v + p * step + (n * blocks + own * rows) * KBLOCK, *now = weights + p * weights_step,
                        *soon = now + 2 * weights_step; /* the last-level cache is slow */
            kernels->gemm_packed((int)rows, channels, of->each, from, rows * KBLOCK, now,
                                 products + (n * POINTS + p) * nr, POINTS * nr, 0,
                                 part * share < weights_step ? soon + part * share : now, (int)quarters);
        }
}

/* Bias and slopes below zero of a panel's channels, as winograd_out takes them. */
typedef struct group_end {
    const float *bias;
    float slopes[MAX_NR];
} group_end;

static group_end end_of(const gan_worker *worker, const gan_step *step, const float *bias, int64_t channel) {
    group_end end = {bias ? bias + channel : worker->shared->zeros, {0}};
    const float slope = !bias || step->act.kind == ACT_NONE ? 1
                        : step->act.kind == ACT_LEAKY_RELU  ? step->act.slope
                                                            : 0;
    for (int n = 0; n < worker->shared->kernels->nr; n++) end.slopes[n] = slope;
    return end;
}

/* Transform a panel's products back.  `to`: the panel's first channel in the image's first pixel; `tile`: memory for a
 * tile whose channels fill no whole vectors. */
static void restore(const gan_worker *worker, const grouping *of, const group_tiles *at, int channels,
                    const group_end *end, const float *products, float *tile, float *to) {
    const gan_kernels *kernels = worker->shared->kernels;
    const int64_t nr = kernels->nr, out_c = padded(of->out.c, kernels);
    for (int64_t n = 0; n < at->count; n++) {
        const int64_t y = tile_y(at, n), x = tile_x(at, n), rows = of->out.h - y, columns = of->out.w - x;
        const int high = rows < WINOGRAD_TILE ? (int)rows : WINOGRAD_TILE,
                  wide = columns < WINOGRAD_TILE ? (int)columns : WINOGRAD_TILE, whole = channels % KBLOCK == 0;
        float *first = to + (y * of->out.w + x) * out_c;
        kernels->winograd_out(WINOGRAD, channels, products + n * POINTS * nr, end->bias, end->slopes,
                              whole ? first : tile, whole ? of->out.w * out_c : WINOGRAD_TILE * nr, whole ? out_c : nr,
                              high, wide);
        for (int64_t i = 0; i < high && !whole; i++)
            for (int64_t j = 0; j < wide; j++)
                memcpy(first + (i * of->out.w + j) * out_c, tile + (i * WINOGRAD_TILE + j) * nr,
                       sizeof *to * (size_t)channels);
    }
}

/* Prefetch the pixels of a tile for the next groups, without the two columns that the tile to its left has too. */
EXPANDED void fetch_next_groups(const gan_worker *worker, const gan_step *step, const grouping *of, uint32_t image,
                                const group_tiles *at, int64_t tile) {
    const int64_t in_c = padded(of->in.c, worker->shared->kernels), c = (at->first + at->groups) * of->each,
                  left = of->in.c - c, wanted = of->together * of->each, y0 = tile_y(at, tile) - of->pad,
                  x = tile_x(at, tile), columns = of->in.w - x;
    if (left <= 0 || columns <= 0) return;
    for (int64_t y = y0 < 0 ? 0 : y0; y < y0 + WINOGRAD && y < of->in.h; y++)
        fetch_to_read(value_at(worker, step->inputs[0], image) + (y * of->in.w + x) * in_c + c,
                      columns < WINOGRAD_TILE ? columns : WINOGRAD_TILE, in_c, left < wanted ? left : wanted);
}

/* Prefetch the memory that a panel's outputs are written to.  `to`: the panel's first channel in the image's first
 * pixel. */
EXPANDED void fetch_outputs(const gan_worker *worker, const grouping *of, const group_tiles *at, int channels,
                            const float *to) {
    const int64_t out_c = padded(of->out.c, worker->shared->kernels);
    for (int64_t n = 0; n < at->count; n++) {
        const int64_t y = tile_y(at, n), x = tile_x(at, n), columns = of->out.w - x,
                      wide = columns < WINOGRAD_TILE ? columns : WINOGRAD_TILE;
        for (int64_t i = y; i < y + WINOGRAD_TILE && i < of->out.h; i++)
            fetch_to_write(to + (i * of->out.w + x) * out_c, wide, out_c, channels);
    }
}

static void run_tiles(const gan_worker *worker, const gan_step *step, const grouping *of, uint32_t image,
                      const group_tiles *at, const float *bias) {
    const int64_t nr = worker->shared->kernels->nr, panel = POINTS * of->each * nr, panels = at->groups * of->panels;
    const float *weights = worker->shared->program->constants + step->constants;
    float *v = worker->thread_scratch, *products = v + POINTS * (of->tiles * of->together * of->each + KBLOCK),
          *tile = products + POINTS * of->tiles * nr;
    transform(worker, step, of, image, at, v);
    const int paired = gan_i_groups_pair(step->style.filter, worker->shared->kernels);
    for (int64_t n = 0; n < panels; n++) {
        const int64_t group = n / of->panels, first = n % of->panels * nr, all = at->first + group,
                      channel = all * of->made + first,
                      place = paired ? all / 2 * panel + all % 2 * nr / 2 : (at->first * of->panels + n) * panel;
        const int channels = panel_columns((uint32_t)of->made, n % of->panels, worker->shared->kernels);
        const group_end end = end_of(worker, step, bias, channel);
        float *to = value_at(worker, step->output, image) + channel;
        for (int64_t i = at->count * n / panels; i < at->count * (n + 1) / panels; i++)
            fetch_next_groups(worker, step, of, image, at, i);
        fetch_outputs(worker, of, at, channels, to);
        multiply(worker, of, at, group, channels, weights + place, v, products);
        restore(worker, of, at, channels, &end, products, tile, to);
    }
}

void gan_i_run_groups(const gan_worker *worker, const gan_step *step, const gan_rows *r, const float *bias) {
    const uint32_t groups = step->style.filter->args[3];
    const gan_kernels *kernels = worker->shared->kernels;
    const grouping of = grouping_of(worker->shared->program, kernels, step);
    if (!step->style.transformed) {
        for (uint32_t y = r->y0; y < r->y1; y++) group_row(worker, step, r->image, y);
        return;
    }
    const int64_t across = (of.out.w + WINOGRAD_TILE - 1) / WINOGRAD_TILE, start = r->y0 / WINOGRAD_TILE * across,
                  tiles = (r->y1 + WINOGRAD_TILE - 1) / WINOGRAD_TILE * across - start,
                  parts = (tiles + of.tiles - 1) / of.tiles;
    for (int64_t part = 0; part < parts; part++)
        for (int64_t first = 0; first < groups; first += of.together) {
            const int64_t from = tiles * part / parts, count = tiles * (part + 1) / parts - from;
            const group_tiles at = {first,        groups - first < of.together ? groups - first : of.together,
                                    start + from, count,
                                    across,       cut_tiles(count, kernels)};
            run_tiles(worker, step, &of, r->image, &at, bias);
        }
}
