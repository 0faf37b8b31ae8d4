/* A small cost model: cycles of each way to compute a convolution, of which the cheapest is taken.
 *
 * Its constants are estimates for Zen 4, not fits; what matters is their ratios, and choices change only near a tie:
 * docs/engine.md says what each means and what raising it does, and how to see what was chosen. */
#include "plan.h"

/* Bytes per cycle that one thread streams from the last-level cache, and from memory.  They price reading the weights.
 * Raising them makes large transforms, whose weights are 25/16 to 4 times as many, pay at smaller batches. */
static const double CACHE_RATE = 10.0, MEMORY_RATE = 3.0;
/* Cycles of a dependent multiply-add: the least that a step of a register tile takes, however few rows it has.  Raising
 * it makes small batches prefer ways that fill tiles. */
static const double LATENCY = 4.0;
/* The share of the last-level cache in which a layer's weights survive until the next call.  Raising it makes batch 1
 * take larger transforms, which is wrong once the layers' weights evict each other. */
static const double KEPT = 0.3;
/* Cycles of a barrier, with what is lost to unequal shares.  Raising it makes threads draw images of their own earlier,
 * instead of sharing one. */
static const double BARRIER = 3000.0;
static const double CHUNK_BARRIERS = 4; /* those that a chunk has beside one per layer */
/* The share of the peak that full register tiles reach.  It scales all products alike; raising it weighs transforms,
 * adds and streaming more. */
static const double EFFICIENCY = 0.92;
/* Operations per output float of a direct convolution beside its products (bias, sums read and written, activation), and
 * per transformed value of Toom-Cook, in and out.  Raising one drives layers from that way to the others. */
static const double DIRECT_EXTRA = 3.0, TOOM_IN = 4.0, TOOM_OUT = 8.0;
/* Cycles per input pixel of the fold: per column of products, and for the pixel itself. */
static const double FOLD_COLUMN = 0.5, FOLD_PIXEL = 8.0;
/* Parts that a step is cut into for each thread, so that late members cost little.  Raising it reads weights more often. */
static const double PARTS = 4;
/* Floats per cycle of the steps that are no products. */
static const double ROWS_RATE = 4;

enum {
    /* For each row of the register tile, so that tiles are about as full and as many on every processor. */
    /* Bytes of transformed inputs per thread: all panels read them again, from the last-level cache.  Raising it makes
     * longer passes, which read the weights less often and evict more. */
    V_BYTES = 320000,
    /* Tiles that share a read of a point's weights.  Raising it reads weights less often; their products must stay in
     * the second-level cache. */
    BLOCK_ROWS = 11,
    /* Bytes of products of a group of panels: half a second-level cache at 14 rows.  Raising it makes larger groups,
     * which read a point's inputs less often. */
    PRODUCT_BYTES = 43700,
    MOST_PANELS = 4 /* of a group */
};

void gan_i_tile(const conv *c, method f, const gan_kernels *k, uint32_t chunk, int crew, tiling *t) {
    const uint32_t taps = conv_taps(c, c->kh);
    t->side = method_points(f);
    t->tile_side = t->side + 1 - (int)taps;
    const uint32_t tile = (uint32_t)t->tile_side;
    t->ty = (c->in.h + tile - 1) / tile;
    t->tx = (c->in.w + tile - 1) / tile;
    t->width = t->tx * tile + taps - 1;
    t->tile_floats = round_up(c->in.c, KBLOCK) * (uint64_t)(t->side * t->side);
    const uint64_t image = t->tile_floats * t->ty * t->tx * sizeof(float);
    const uint64_t fit = (uint64_t)V_BYTES * (uint64_t)k->mr * (uint64_t)crew / image;
    t->max_pass_images = fit < 1 ? 1 : fit < chunk ? (uint32_t)fit : chunk;
    /* equal passes rather than a short last one */
    const uint32_t passes = (chunk + t->max_pass_images - 1) / t->max_pass_images;
    t->pass_images = (chunk + passes - 1) / passes;
    const uint32_t rows = t->pass_images * t->ty, most = BLOCK_ROWS * (uint32_t)k->mr / t->tx, block = most ? most : 1;
    const uint32_t blocks = (rows + block - 1) / block;
    t->block = (rows + blocks - 1) / blocks;
    const uint64_t row_bytes = (uint64_t)t->tx * (uint64_t)(t->side * t->side * k->nr) * sizeof(float);
    const uint64_t products = (uint64_t)PRODUCT_BYTES * (uint64_t)k->mr, group = products / (t->block * row_bytes);
    const uint64_t single = block * row_bytes;
    t->thread_scratch = (single > products ? single : products) / sizeof(float) +
             MOST_PANELS * (uint64_t)t->side * t->width * (uint64_t)k->nr;
    const uint32_t panels = padded(c->out.c, k) / (uint32_t)k->nr * c->out_stride * c->out_stride;
    t->group = group < 1 ? 1 : group < MOST_PANELS ? (uint32_t)group : MOST_PANELS;
    while (t->group > 1 && panels / t->group < 4 * (uint32_t)crew) t->group--; /* work for every member */
}

/* Cycles of m rows times one panel for one k: full tiles cost their multiply-adds, small ones their latency. */
static double rows_cost(double rows, const gan_kernels *k, const machine *m) {
    const uint64_t mr = (uint64_t)k->mr;
    const double row = (double)k->nr / m->fma_per_cycle, tiles = (double)(((uint64_t)rows + mr - 1) / mr);
    const double full = rows / tiles * row / EFFICIENCY;
    return tiles * (full > LATENCY ? full : LATENCY);
}

/* Along one dimension: how many kernel elements reach an output that exists, and how many pixels all of them reach. */
typedef struct reached {
    uint64_t elements, pixels;
} reached;

static reached reach_of(const conv *c, uint32_t kernel, uint32_t in, uint32_t out) {
    if (c->in_stride > 1) return (reached){kernel, (uint64_t)kernel * out};
    const int32_t s = (int32_t)c->out_stride;
    reached r = {0};
    for (int32_t e = 0; e < (int32_t)kernel; e++) {
        const int32_t first = ceil_div(c->pad - e, s), last = floor_div((int32_t)out - 1 + c->pad - e, s);
        const int32_t from = first > 0 ? first : 0, to = last < (int32_t)in - 1 ? last : (int32_t)in - 1;
        if (to < from) continue;
        r.elements++;
        r.pixels += (uint64_t)(to - from + 1);
    }
    return r;
}

double gan_i_conv_cost(const conv *c, method f, const gan_kernels *k, uint32_t images, int crew, const machine *m) {
    const double in = c->in.c, panels = (double)padded(c->out.c, k) / k->nr, vectors = (double)m->fma_per_cycle / 2;
    const double bytes = 4.0 * (double)gan_i_method_floats(c, f, k), phases = (double)c->out_stride * c->out_stride;
    double work = 0, other = 0, reads = 1, parts = panels * phases;
    if (f == METHOD_DIRECT) {
        const reached y = reach_of(c, c->kh, c->in.h, c->out.h), x = reach_of(c, c->kw, c->in.w, c->out.w);
        const double elements = (double)y.elements * x.elements; /* of the kernel, that reach anything */
        if (elements > 0) work = elements * rows_cost((double)y.pixels * x.pixels / elements * images, k, m) * in * panels;
        other = DIRECT_EXTRA * images * c->out.h * c->out.w * panels * k->nr / vectors;
        parts *= PARTS;
    } else if (f == METHOD_FOLD) {
        const double columns = (double)gan_i_method_floats(c, f, k) / in;
        work = rows_cost(c->in.w, k, m) * c->in.h * images * in * columns / k->nr;
        other = images * c->in.h * c->in.w * (columns * FOLD_COLUMN + FOLD_PIXEL);
        parts = images * PARTS;
        reads = images;
    } else {
        tiling t;
        gan_i_tile(c, f, k, images, crew, &t);
        const double points = (double)t.side * t.side, tiles = (double)t.ty * t.tx;
        const double block = (double)t.block * t.tx, rows = tiles * images;
        work = rows_cost(rows < block ? rows : block, k, m) * (rows < block ? 1 : rows / block) * in * panels * phases *
               points;
        other = images * tiles * points * (TOOM_IN * in + TOOM_OUT * panels * k->nr * phases) / vectors / 2;
        reads = (images + t.pass_images - 1) / t.pass_images;
    }
    const double kept = KEPT * (double)m->cache, near = bytes < kept ? bytes : kept;
    const double streams = f == METHOD_FOLD ? 0 : reads * (near / CACHE_RATE + (bytes - near) / MEMORY_RATE);
    const double share = parts < crew ? parts : crew;
    return ((work > streams ? work : streams) + other) / share + (crew > 1 ? BARRIER : 0);
}

static double schedule_cost(const schedule *s, const gan_kernels *k, const method *methods, uint32_t images, int crew) {
    double cost = crew > 1 ? CHUNK_BARRIERS * BARRIER : 0;
    for (uint32_t i = 0; i < s->n_steps; i++) {
        const step *st = &s->steps[i];
        if (!st->run) cost += gan_i_conv_cost(&st->conv, methods[i], k, images, crew, &s->machine);
        else cost += (double)s->values[st->output].per_image * images / crew / ROWS_RATE;
    }
    return cost;
}

plan gan_i_plan(const schedule *s, const gan_kernels *k, const method *methods, uint64_t count, int threads,
                uint32_t largest, uint32_t largest_together) {
    plan best = {0};
    for (int together = 0; together < 2; together++) {
        const int crew = together ? threads : 1, crews = threads / crew;
        if (!together && threads > 1 && count < (uint64_t)threads) continue; /* some would stand idle */
        /* as few equal rounds as the largest chunk allows */
        const uint64_t most = (together ? largest_together : largest) * (uint64_t)crews, rounds = (count + most - 1) / most;
        const uint64_t share = rounds * (uint64_t)crews;
        plan p = {crew, (uint32_t)((count + share - 1) / share), 0};
        p.cost = schedule_cost(s, k, methods, p.chunk, crew) * (double)rounds;
        if (!best.crew || p.cost < best.cost) best = p;
    }
    return best;
}

plan gan_i_plan_methods(const schedule *s, const gan_kernels *k, uint64_t count, int threads, uint32_t largest,
                      limits allowed, method *methods, method *trial) {
    plan best = {0};
    for (int together = 1; together >= 0; together--) {
        const int crew = together ? threads : 1;
        const uint64_t most = (uint64_t)largest * (uint64_t)threads, rounds = (count + most - 1) / most;
        const uint64_t share = rounds * (uint64_t)(threads / crew);
        const uint32_t images = (uint32_t)((count + share - 1) / share);
        for (uint32_t i = 0; i < s->n_steps; i++) {
            trial[i] = METHOD_DIRECT;
            if (s->steps[i].run) continue;
            const conv *c = &s->steps[i].conv;
            double least = gan_i_conv_cost(c, METHOD_DIRECT, k, images, crew, &s->machine);
            for (int f = METHOD_FOLD; f < METHOD_COUNT; f++) {
                if (method_points((method)f) > allowed.points || !method_is_within((method)f, allowed.error_budget)) continue;
                if (!gan_i_method_fits(c, (method)f)) continue;
                const double cost = gan_i_conv_cost(c, (method)f, k, images, crew, &s->machine);
                if (cost < least) {
                    least = cost;
                    trial[i] = (method)f;
                }
            }
        }
        const plan p = gan_i_plan(s, k, trial, count, threads, largest, largest * (uint32_t)threads);
        if (best.crew && p.cost >= best.cost) continue;
        best = p;
        for (uint32_t i = 0; i < s->n_steps; i++) methods[i] = trial[i];
    }
    return best;
}

needs gan_i_needs(const schedule *s, const gan_kernels *k, const method *methods, int crew, uint32_t chunk) {
    needs n = {0};
    uint64_t transformed = 0, own = s->max_row_floats; /* bilinear upsampling mixes two rows into one */
    for (uint32_t i = 0; i < s->n_steps; i++) {
        const conv *c = &s->steps[i].conv;
        uint64_t mine = 0;
        if (s->steps[i].run) continue;
        if (methods[i] == METHOD_FOLD) {
            const uint64_t columns = round_up((uint64_t)c->kh * c->kw * c->out.c, (uint64_t)k->nr);
            mine = c->in.w * columns + (uint64_t)c->kh * (((uint64_t)c->in.w - 1) * c->out_stride + c->kw) * c->out.c;
        } else if (methods[i] != METHOD_DIRECT) {
            tiling t;
            gan_i_tile(c, methods[i], k, chunk, crew, &t);
            const uint64_t all = t.tile_floats * t.ty * t.tx * t.max_pass_images;
            transformed = all > transformed ? all : transformed;
            mine = t.thread_scratch;
        }
        own = mine > own ? mine : own;
    }
    n.shared = round_up(s->values_per_image * chunk + transformed + 2ull * chunk + 16, 64); /* and the labels */
    n.thread_scratch = round_up(own + 64, 64);
    return n;
}
