/* A small cost model: cycles of each way to compute a convolution, of which the cheapest is taken.
 *
 * Its constants are estimates for Zen 4, not fits; what matters is their ratios, and choices change only near a tie:
 * docs/engine.md says what each means and what raising it does; tools/explain.c prints what was chosen. */
#include "plan.h"

#include <string.h>

/* Bytes per cycle that one thread streams from the last-level cache, and from memory; and that all threads together
 * stream from memory.  They price reading the weights.  Raising them makes large transforms, whose weights are 25/16 to 4
 * times as many, pay at smaller batches. */
static const double CACHE_RATE = 10.0, MEMORY_RATE = 6.0, SHARED_MEMORY_RATE = 8.0;
/* Cycles of a dependent multiply-add: the least that a step of a register tile takes, however few rows it has.  Raising
 * it makes small batches prefer ways that fill tiles. */
static const double LATENCY = 4.0;
/* The share of the last-level cache in which a layer's weights stay until they are read again: until the next call if all
 * of the model's take at most half the cache, otherwise only within a layer.  Raising it makes batch 1 take larger
 * transforms, which is wrong once the layers' weights evict each other. */
static const double KEPT = 0.3;
/* Cycles of a barrier, with what is lost to unequal shares.  Raising it makes threads generate images of their own
 * earlier, instead of sharing one. */
static const double BARRIER = 3000.0;
static const double CHUNK_BARRIERS = 4; /* those that a chunk has beside one per layer */
/* The share of the peak that full register tiles reach.  It scales all products alike; raising it weighs transforms,
 * adds and streaming more. */
static const double EFFICIENCY = 0.92;
/* Operations per output float of a direct convolution beside its products (bias, sums read and written, activation),
 * and per transformed value of Toom-Cook, in and out.  Raising one drives layers from that way to the others. */
static const double DIRECT_EXTRA = 3.0, TOOM_IN = 4.0, TOOM_OUT = 8.0;
/* The same of Winograd, whose transforms in read their neighbors' pixels too and those out give fewer values. */
static const double WINOGRAD_IN = 6.0, WINOGRAD_OUT = 5.0;
/* The same per product that is added to those of another slice: few channels are multiplied slice by slice. */
static const double WINOGRAD_SUM = 2.0;
/* Operations per input and per output of Strassen's algorithm, for its sums of quarters. */
static const double STRASSEN_IN = 6.0, STRASSEN_OUT = 10.0;
/* Operations per input that is rounded to 16 bits without a transform; the direct method rounds for each kernel element. */
static const double INT16_IN = 5.0;
/* Cycles per input pixel of the fold: per column of products, and for the pixel itself. */
static const double FOLD_COLUMN = 0.5, FOLD_PIXEL = 8.0;
/* Parts that a step is cut into for each thread, so that late members cost little.  Raising it reads weights more
 * often. */
static const double PARTS = 4;
/* Floats per cycle of the steps that are no products. */
static const double ROWS_RATE = 4;

/* Cycles of m rows times one panel for one k: full tiles cost their multiply-adds, small ones their latency. */
static double rows_cost(double rows, const gan_kernels *kernels, const gan_machine *machine) {
    const uint64_t mr = (uint64_t)kernels->mr;
    const double row = (double)kernels->nr / machine->fma_per_cycle, tiles = (double)(((uint64_t)rows + mr - 1) / mr);
    const double full = rows / tiles * row / EFFICIENCY;
    return tiles * (full > LATENCY ? full : LATENCY);
}

/* Along one dimension: how many kernel elements reach an output that exists, and how many pixels all of them reach. */
typedef struct reached {
    uint64_t elements, pixels;
} reached;

static reached reach_of(const gan_conv *conv, uint32_t kernel, int32_t pad, uint32_t in, uint32_t out) {
    if (conv->in_stride > 1) return (reached){kernel, (uint64_t)kernel * out};
    const int32_t stride = (int32_t)conv->out_stride;
    reached r = {0};
    for (int32_t e = 0; e < (int32_t)kernel; e++) {
        const int32_t first = ceil_div(pad - e, stride), last = floor_div((int32_t)out - 1 + pad - e, stride);
        const int32_t from = first > 0 ? first : 0, to = last < (int32_t)in - 1 ? last : (int32_t)in - 1;
        if (to < from) continue;
        r.elements++;
        r.pixels += (uint64_t)(to - from + 1);
    }
    return r;
}

/* Products of a tile of an image by Toom-Cook, for all phases: at infinity, phases with fewer taps than others have none
 * (run_toom.c). */
static double products_of(const gan_conv *conv, int side) {
    const uint32_t stride = conv->out_stride, taps = conv_taps(conv, conv->kh);
    uint32_t along = 0;
    for (uint32_t phase = 0; phase < stride; phase++)
        along += (uint32_t)side - (phase_taps(conv, conv->kh, phase) < taps);
    return (double)along * along;
}

double gan_i_conv_cost(const gan_conv *conv, gan_method method, const gan_kernels *kernels, uint32_t images,
                       int members, const gan_machine *machine) {
    /* half panels have kernels of their own, but not for 16-bit products without a transform */
    const uint64_t unit = method_is_int16(method) && !method_points(method) ? (uint64_t)kernels->nr : KBLOCK;
    const double in = conv->in.c, panels = (double)round_up(conv->out.c, unit) / kernels->nr,
                 vectors = (double)machine->fma_per_cycle / 2;
    const double bytes = 4.0 * (double)gan_i_method_floats(conv, method, kernels),
                 phases_z = conv->dims > 2 ? conv->out_stride : 1,
                 phases = (double)conv->out_stride * conv->out_stride * phases_z, depth = shape_depth(conv->out);
    const reached z = reach_of(conv, conv->kd, conv->pad_z, shape_depth(conv->in), shape_depth(conv->out));
    double work = 0, other = 0, reads = 1, parts = panels * phases;
    if (method_in_floats(method) == METHOD_DIRECT) {
        const reached y = reach_of(conv, conv->kh, conv->pad_y, conv->in.h, conv->out.h),
                      x = reach_of(conv, conv->kw, conv->pad, conv->in.w, conv->out.w);
        /* of the kernel, that reach anything */
        const double elements = (double)(z.elements * y.elements * x.elements);
        const double pixels = (double)z.pixels * (double)(y.pixels * x.pixels);
        if (elements > 0) work = elements * rows_cost(pixels / elements * images, kernels, machine) * in * panels;
        other = DIRECT_EXTRA * images * (double)shape_pixels(conv->out) * panels * kernels->nr / vectors;
        const double rounded = gan_i_blocks_fit_int16(conv) ? pixels : (double)shape_pixels(conv->in);
        if (method == METHOD_DIRECT_INT16) other += INT16_IN * images * rounded * in / vectors / 2;
        parts *= PARTS;
    } else if (method == METHOD_STRASSEN) {
        const double pixels = (double)shape_pixels(conv->out) * images;
        work = rows_cost(pixels / 2, kernels, machine) * in / 2 * panels / 2 * STRASSEN_PRODUCTS;
        other = pixels * (STRASSEN_IN * in + STRASSEN_OUT * panels * kernels->nr) / vectors / 2;
        parts *= PARTS;
    } else if (method_is_fold(method)) {
        const double columns = (double)round_up(fold_columns(conv), unit);
        work = rows_cost(conv->in.w, kernels, machine) * shape_rows(conv->in) * images * in * columns / kernels->nr;
        other = images * (double)shape_pixels(conv->in) * (columns * FOLD_COLUMN + FOLD_PIXEL);
        if (method == METHOD_FOLD_INT16) other += INT16_IN * images * (double)shape_pixels(conv->in) * in / vectors / 2;
        parts = images * PARTS;
        reads = images;
    } else if (method_is_winograd(method)) {
        winograd_tiling tiling;
        gan_i_tile_winograd(conv, method, kernels, images, members, &tiling);
        const double points = tiling.side * tiling.side, tiles = (double)tiling.ty * tiling.tx * depth * images,
                     block = tiling.block < tiles ? tiling.block : tiles;
        const double sums = conv->in.c % KBLOCK ? tiling.slices - 1 : 0;
        work = rows_cost(block, kernels, machine) * tiles / block * in * tiling.slices * panels * points;
        other = tiles * points *
                (WINOGRAD_IN * (double)round_up(conv->in.c, KBLOCK) * tiling.slices * tiling.parts +
                 (WINOGRAD_OUT + WINOGRAD_SUM * sums) * panels * kernels->nr) /
                vectors / 2;
        const uint32_t items = tiling.blocks * tiling.parts, each = (items + (uint32_t)members - 1) / (uint32_t)members;
        reads = tiling.blocks;
        parts = (double)items / each;
    } else {
        gan_tiling tiling;
        gan_i_tile(conv, method, kernels, images, members, &tiling);
        const double points = (double)tiling.side * tiling.side, tiles = (double)tiling.ty * tiling.tx;
        const int volume = conv->dims > 2;
        const double row_tiles = volume ? tiles * tiling.pass_images : tiling.tx; /* of a row or slice of a block */
        /* in all; slices of outputs are multiplied once for each slice of the kernel that reaches one of the inputs */
        const double block = tiling.block * row_tiles, rows = tiles * images * (volume ? (double)z.pixels : 1);
        const double places = volume ? phases / phases_z * points : products_of(conv, tiling.side);
        work = rows_cost(rows < block ? rows : block, kernels, machine) * (rows < block ? 1 : rows / block) * in *
               panels * places;
        other = images * tiles * points *
                (TOOM_IN * in * shape_depth(conv->in) + TOOM_OUT * panels * kernels->nr * phases / phases_z * depth) /
                vectors / 2;
        reads = (images + tiling.pass_images - 1) / tiling.pass_images;
    }
    if (method_is_int16(method)) work /= kernels->int16_rate;
    const double kept = KEPT * (double)machine->cache, near = bytes < kept ? bytes : kept,
                 again = machine->weights <= machine->cache / 2 ? reads : reads - 1; /* reads of what was kept */
    const double share = parts < members ? parts : members,
                 memory = MEMORY_RATE * share < SHARED_MEMORY_RATE ? MEMORY_RATE : SHARED_MEMORY_RATE / share;
    const double streams = method_is_fold(method) ? 0
                                                  : again * near / CACHE_RATE + (reads * bytes - again * near) / memory;
    return ((work > streams ? work : streams) + other) / share + (members > 1 ? BARRIER : 0);
}

double gan_i_step_cost(const gan_program *program, const gan_kernels *kernels, uint32_t index, gan_method method,
                       uint32_t images, int members) {
    const gan_step *step = &program->steps[index];
    if (!step->run) return gan_i_conv_cost(&step->conv, method, kernels, images, members, &program->machine);
    return (double)program->values[step->output].per_image * images / members / ROWS_RATE;
}

static double program_cost(const gan_program *program, const gan_kernels *kernels, const gan_method *methods,
                           uint32_t images, int members) {
    double cost = members > 1 ? CHUNK_BARRIERS * BARRIER : 0;
    for (uint32_t i = 0; i < program->n_steps; i++)
        cost += gan_i_step_cost(program, kernels, i, methods[i], images, members);
    return cost;
}

/* Images in a chunk, if `groups` groups of threads generate `count` images in as few equal rounds as chunks of at most
 * `max_chunk` images allow. */
static uint32_t chunk_for(uint64_t count, int groups, uint32_t max_chunk, uint64_t *rounds) {
    const uint64_t round = max_chunk * (uint64_t)groups;
    *rounds = (count + round - 1) / round;
    const uint64_t chunks = *rounds * (uint64_t)groups;
    return (uint32_t)((count + chunks - 1) / chunks);
}

/* The plan for one way to divide the threads: into groups of `members`. */
static gan_plan plan_for(const gan_program *program, const gan_kernels *kernels, const gan_method *methods,
                         uint64_t count, int threads, int members, uint32_t max_chunk) {
    uint64_t rounds;
    gan_plan plan = {members, chunk_for(count, threads / members, max_chunk, &rounds), 0};
    plan.cost = program_cost(program, kernels, methods, plan.chunk, members) * (double)rounds;
    return plan;
}

gan_plan gan_i_plan(const gan_program *program, const gan_kernels *kernels, const gan_method *methods, uint64_t count,
                    int threads, max_chunks most) {
    const gan_plan shared = plan_for(program, kernels, methods, count, threads, threads, most.of_group);
    if (threads == 1 || count < (uint64_t)threads) return shared; /* some threads would stand idle */
    const gan_plan separate = plan_for(program, kernels, methods, count, threads, 1, most.of_thread);
    return shared.cost < separate.cost ? shared : separate;
}

static double priced_cost(const gan_program *program, const gan_conv *conv, gan_method method,
                          const gan_kernels *kernels, uint32_t images, int members, double price) {
    return gan_i_conv_cost(conv, method, kernels, images, members, &program->machine) +
           price * sizeof(float) * (double)gan_i_method_floats(conv, method, kernels);
}

/* The fastest allowed method of each step for a chunk of `images` images by a group of `members` threads. */
static void choose_methods(const gan_program *program, const gan_kernels *kernels, uint32_t images, int members,
                           method_limits allowed, gan_method *methods) {
    for (uint32_t i = 0; i < program->n_steps; i++) {
        methods[i] = METHOD_DIRECT;
        if (program->steps[i].run) continue;
        const gan_conv *conv = &program->steps[i].conv;
        double least = priced_cost(program, conv, METHOD_DIRECT, kernels, images, members, allowed.price);
        for (int m = METHOD_FOLD; m < METHOD_COUNT; m++) {
            const gan_method method = (gan_method)m;
            if ((method_is_int16(method) && !allowed.int16) || !method_is_within(method, allowed.error_budget) ||
                !gan_i_method_fits(conv, method))
                continue;
            const double cost = priced_cost(program, conv, method, kernels, images, members, allowed.price);
            if (cost < least) {
                least = cost;
                methods[i] = method;
            }
        }
    }
}

/* Methods are a context's, since its weights are packed for them; how the threads divide into groups is a count's.  So
 * both choices of methods are judged by the better of the two ways, which gan_i_plan will find again. */
gan_plan gan_i_plan_methods(const gan_program *program, const gan_kernels *kernels, uint64_t count, int threads,
                            uint32_t max_chunk, method_limits allowed, gan_method *methods, gan_method *trial) {
    const max_chunks most = {max_chunk, max_chunk * (uint32_t)threads};
    uint64_t rounds;
    choose_methods(program, kernels, chunk_for(count, 1, most.of_group, &rounds), threads, allowed, methods);
    const gan_plan first = gan_i_plan(program, kernels, methods, count, threads, most);
    if (threads == 1) return first;
    choose_methods(program, kernels, chunk_for(count, threads, most.of_thread, &rounds), 1, allowed, trial);
    const gan_plan second = gan_i_plan(program, kernels, trial, count, threads, most);
    if (first.cost <= second.cost) return first;
    memcpy(methods, trial, sizeof *methods * program->n_steps);
    return second;
}

uint64_t gan_i_moments_floats(const gan_program *program, const gan_step *step, const gan_kernels *kernels) {
    const gan_shape s = program->values[step->inputs[0]].shape;
    return step->layer->op == OP_INSTANCE_NORM ? 2 * (s.h + 1ull) * padded(s.c, kernels) : 0;
}

uint64_t gan_i_values_floats(const gan_program *program, const gan_method *methods) {
    const uint32_t last = program->n_steps - 1;
    const int folded = !program->steps[last].run && methods[last] == METHOD_FOLD;
    return folded ? program->inner_per_image : program->values_per_image;
}

scratch_needs gan_i_needs(const gan_program *program, const gan_kernels *kernels, const gan_method *methods,
                          int members, uint32_t chunk) {
    scratch_needs n = {0};
    uint64_t transformed = 0, most = program->max_row_floats; /* bilinear upsampling mixes two rows into one */
    for (uint32_t i = 0; i < program->n_steps; i++) {
        const gan_conv *conv = &program->steps[i].conv;
        uint64_t floats = 0;
        if (program->steps[i].run) {
            const uint64_t moments = gan_i_moments_floats(program, &program->steps[i], kernels) * chunk;
            transformed = moments > transformed ? moments : transformed;
            continue;
        }
        if (methods[i] == METHOD_DIRECT) {
            floats = gan_i_blocks_fit(conv) ? gan_i_blocks_floats(conv, kernels) : 0;
        } else if (methods[i] == METHOD_STRASSEN) {
            floats = gan_i_strassen_floats(conv, kernels);
        } else if (methods[i] == METHOD_DIRECT_INT16) {
            const uint64_t all = gan_i_narrow_floats(conv) * chunk;
            if (gan_i_blocks_fit_int16(conv)) floats = gan_i_blocks_floats_int16(conv, kernels);
            else transformed = all > transformed ? all : transformed;
        } else if (method_is_fold(methods[i])) {
            floats = gan_i_fold_floats(conv, methods[i], kernels);
        } else if (method_is_winograd(methods[i])) {
            winograd_tiling tiling;
            gan_i_tile_winograd(conv, methods[i], kernels, chunk, members, &tiling);
            floats = tiling.thread_scratch;
        } else {
            gan_tiling tiling;
            gan_i_tile(conv, methods[i], kernels, chunk, members, &tiling);
            const uint64_t all = tiling.tile_values * tiling.ty * tiling.tx * shape_depth(conv->in) *
                                 tiling.max_pass_images / (tiling.int16 ? 2 : 1);
            transformed = all > transformed ? all : transformed;
            floats = tiling.thread_scratch;
        }
        most = floats > most ? floats : most;
    }
    n.group_scratch = round_up(gan_i_values_floats(program, methods) * chunk + transformed + 2ull * chunk + 16,
                               64); /* and the labels */
    n.thread_scratch = round_up(most + 64, 64);
    return n;
}
