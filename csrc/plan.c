/* A small cost model.  Its constants are estimates for one kind of processor, not fits; what matters is their ratios. */
#include "plan.h"

/* Bytes a cycle that one thread streams, from the last-level cache and from memory. */
static const double CACHE_RATE = 10.0, MEMORY_RATE = 3.0;
static const double LATENCY = 4.0;     /* cycles of a dependent multiply-add: the least for a step of a tile */
static const double KEPT = 0.3;        /* of the last-level cache: so much of a layer's weights stays for the next one */
static const double BARRIER = 3000.0;  /* cycles, with what is lost to unequal shares */
static const double EFFICIENCY = 0.92; /* of the peak that full tiles reach */

enum {
    /* for each row of the register tile, so that the tiles are about as full and as many on every processor */
    V_BYTES = 320000,      /* transformed inputs a thread: they are read again from the last-level cache */
    BLOCK_ROWS = 11,       /* tiles that share a read of the weights */
    PRODUCT_BYTES = 43700, /* products of a group of panels: they stay in half a second-level cache */
    MOST_PANELS = 4
};

void gan_i_tile(const conv *c, form f, const gan_kernels *k, uint32_t chunk, int crew, tiling *t) {
    const uint32_t taps = conv_taps(c, c->kh);
    t->points = form_points(f);
    t->tile = t->points + 1 - (int)taps;
    const uint32_t tile = (uint32_t)t->tile;
    t->ty = (c->in.h + tile - 1) / tile;
    t->tx = (c->in.w + tile - 1) / tile;
    t->width = t->tx * tile + taps - 1;
    t->row = round_up(c->in.c, KBLOCK) * (uint64_t)(t->points * t->points);
    const uint64_t image = t->row * t->ty * t->tx * sizeof(float);
    const uint64_t fit = (uint64_t)V_BYTES * (uint64_t)k->mr * (uint64_t)crew / image;
    t->most = fit < 1 ? 1 : fit < chunk ? (uint32_t)fit : chunk;
    /* equal passes rather than a short last one */
    const uint32_t passes = (chunk + t->most - 1) / t->most;
    t->pass = (chunk + passes - 1) / passes;
    const uint32_t rows = t->pass * t->ty, most = BLOCK_ROWS * (uint32_t)k->mr / t->tx, block = most ? most : 1;
    const uint32_t blocks = (rows + block - 1) / block;
    t->block = (rows + blocks - 1) / blocks;
    const uint64_t row_bytes = (uint64_t)t->tx * (uint64_t)(t->points * t->points * k->nr) * sizeof(float);
    const uint64_t products = (uint64_t)PRODUCT_BYTES * (uint64_t)k->mr, group = products / (t->block * row_bytes);
    const uint64_t single = block * row_bytes;
    t->own = (single > products ? single : products) / sizeof(float) +
             MOST_PANELS * (uint64_t)t->points * t->width * (uint64_t)k->nr;
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

double gan_i_conv_cost(const conv *c, form f, const gan_kernels *k, uint32_t images, int crew, const machine *m) {
    const double in = c->in.c, panels = (double)padded(c->out.c, k) / k->nr, vectors = (double)m->fma_per_cycle / 2;
    const double bytes = 4.0 * (double)gan_i_form_floats(c, f, k), phases = (double)c->out_stride * c->out_stride;
    double work = 0, other = 0, reads = 1, parts = panels * phases;
    if (f == FORM_DIRECT) {
        const reached y = reach_of(c, c->kh, c->in.h, c->out.h), x = reach_of(c, c->kw, c->in.w, c->out.w);
        const double elements = (double)y.elements * x.elements; /* of the kernel, that reach anything */
        if (elements > 0) work = elements * rows_cost((double)y.pixels * x.pixels / elements * images, k, m) * in * panels;
        other = 3.0 * images * c->out.h * c->out.w * panels * k->nr / vectors;
        parts *= 4;
    } else if (f == FORM_FOLD) {
        const double columns = (double)gan_i_form_floats(c, f, k) / in;
        work = rows_cost(c->in.w, k, m) * c->in.h * images * in * columns / k->nr;
        other = images * c->in.h * c->in.w * (columns / 2 + 8);
        parts = images * 4.0;
        reads = images;
    } else {
        tiling t;
        gan_i_tile(c, f, k, images, crew, &t);
        const double points = (double)t.points * t.points, tiles = (double)t.ty * t.tx;
        const double block = (double)t.block * t.tx, rows = tiles * images;
        work = rows_cost(rows < block ? rows : block, k, m) * (rows < block ? 1 : rows / block) * in * panels * phases *
               points;
        /* adds and loads: about 4 a point in and 8 a point out, for each vector of channels */
        other = images * tiles * points * (4 * in + 8 * panels * k->nr * phases) / vectors / 2;
        reads = (images + t.pass - 1) / t.pass;
    }
    const double kept = KEPT * (double)m->cache, near = bytes < kept ? bytes : kept;
    const double streams = f == FORM_FOLD ? 0 : reads * (near / CACHE_RATE + (bytes - near) / MEMORY_RATE);
    const double share = parts < crew ? parts : crew;
    return ((work > streams ? work : streams) + other) / share + (crew > 1 ? BARRIER : 0);
}

static double schedule_cost(const schedule *s, const gan_kernels *k, const form *forms, uint32_t images, int crew) {
    double cost = crew > 1 ? 4 * BARRIER : 0;
    for (uint32_t i = 0; i < s->n_steps; i++) {
        const step *st = &s->steps[i];
        if (!st->run) cost += gan_i_conv_cost(&st->conv, forms[i], k, images, crew, &s->machine);
        else cost += (double)s->values[st->output].per_image * images / crew / 4;
    }
    return cost;
}

plan gan_i_plan(const schedule *s, const gan_kernels *k, const form *forms, uint64_t count, int threads,
                uint32_t largest, uint32_t largest_together) {
    plan best = {0};
    for (int together = 0; together < 2; together++) {
        const int crew = together ? threads : 1, crews = threads / crew;
        if (!together && threads > 1 && count < (uint64_t)threads) continue; /* some would stand idle */
        /* as few equal rounds as the largest chunk allows */
        const uint64_t most = (together ? largest_together : largest) * (uint64_t)crews, rounds = (count + most - 1) / most;
        const uint64_t share = rounds * (uint64_t)crews;
        plan p = {crew, (uint32_t)((count + share - 1) / share), 0};
        p.cost = schedule_cost(s, k, forms, p.chunk, crew) * (double)rounds;
        if (!best.crew || p.cost < best.cost) best = p;
    }
    return best;
}

plan gan_i_plan_forms(const schedule *s, const gan_kernels *k, uint64_t count, int threads, uint32_t largest,
                      limits allowed, form *forms, form *trial) {
    plan best = {0};
    for (int together = 1; together >= 0; together--) {
        const int crew = together ? threads : 1;
        const uint64_t most = (uint64_t)largest * (uint64_t)threads, rounds = (count + most - 1) / most;
        const uint64_t share = rounds * (uint64_t)(threads / crew);
        const uint32_t images = (uint32_t)((count + share - 1) / share);
        for (uint32_t i = 0; i < s->n_steps; i++) {
            trial[i] = FORM_DIRECT;
            if (s->steps[i].run) continue;
            const conv *c = &s->steps[i].conv;
            double least = gan_i_conv_cost(c, FORM_DIRECT, k, images, crew, &s->machine);
            for (int f = FORM_FOLD; f < FORM_COUNT; f++) {
                if (form_points((form)f) > allowed.points || !form_is_within((form)f, allowed.error_budget)) continue;
                if (!gan_i_form_fits(c, (form)f)) continue;
                const double cost = gan_i_conv_cost(c, (form)f, k, images, crew, &s->machine);
                if (cost < least) {
                    least = cost;
                    trial[i] = (form)f;
                }
            }
        }
        const plan p = gan_i_plan(s, k, trial, count, threads, largest, largest * (uint32_t)threads);
        if (best.crew && p.cost >= best.cost) continue;
        best = p;
        for (uint32_t i = 0; i < s->n_steps; i++) forms[i] = trial[i];
    }
    return best;
}

needs gan_i_needs(const schedule *s, const gan_kernels *k, const form *forms, int crew, uint32_t chunk) {
    needs n = {0};
    uint64_t transformed = 0, own = s->widest; /* bilinear upsampling mixes two rows into one */
    for (uint32_t i = 0; i < s->n_steps; i++) {
        const conv *c = &s->steps[i].conv;
        uint64_t mine = 0;
        if (s->steps[i].run) continue;
        if (forms[i] == FORM_FOLD) {
            const uint64_t columns = round_up((uint64_t)c->kh * c->kw * c->out.c, (uint64_t)k->nr);
            mine = c->in.w * columns + (uint64_t)c->kh * (((uint64_t)c->in.w - 1) * c->out_stride + c->kw) * c->out.c;
        } else if (forms[i] != FORM_DIRECT) {
            tiling t;
            gan_i_tile(c, forms[i], k, chunk, crew, &t);
            const uint64_t all = t.row * t.ty * t.tx * t.most;
            transformed = all > transformed ? all : transformed;
            mine = t.own;
        }
        own = mine > own ? mine : own;
    }
    n.shared = round_up(s->values_per_image * chunk + transformed + 2ull * chunk + 16, 64); /* and the labels */
    n.own = round_up(own + 64, 64);
    return n;
}
