/* The direct method for large images and stride 1 of the output: a block of pixels at a time, whose sums stay in the
 * first-level cache for all kernel elements.  Elements beyond an edge read zeros.  With few input channels, the pixels
 * under the kernel are copied side by side first, and one product takes them all.  Weights lie as run_direct.c has
 * them. */
#include <string.h>

#include "run.h"

enum { ALIGNED = sizeof(const float *) };

/* Pixels first .. first+count-1 of the chunk's outputs, counted through its images. */
typedef struct pixel_block {
    uint64_t first;
    int64_t count;
    const float **inputs; /* [tap][pixel] */
    float *sums; /* [pixel][nr]; in 16 bits [panel][pixel][nr] */
    int16_t *narrow; /* [pixel][channels, rounded up] of one kernel element, or patches, in 16 bits */
    float *patches, *line; /* [pixel][taps x channels, rounded up] of few channels, and a row; otherwise unused */
} pixel_block;

static uint64_t patch_floats(const gan_conv *conv) {
    return round_up(conv_elements(conv) * conv->in.c + KBLOCK, KBLOCK); /* each pixel is copied whole */
}

static uint64_t block_pixels(const gan_kernels *kernels) { return 8 * (uint64_t)kernels->mr; }

static uint64_t line_floats(const gan_conv *conv, const gan_kernels *kernels) {
    return (block_pixels(kernels) * conv->in_stride + conv->kw) * conv->in.c + KBLOCK;
}

int gan_i_blocks_fit(const gan_conv *conv) {
    const uint32_t least = conv->in_stride > 1 || conv_is_gathered(conv) ? 8 : 16; /* else too much of it is edge */
    return conv->out_stride == 1 && !conv->pixel_bias && conv_elements(conv) <= 64 &&
           (conv->out.h >= least || conv->dims == 1) && conv->out.w >= least;
}

uint64_t gan_i_blocks_floats(const gan_conv *conv, const gan_kernels *kernels) {
    const uint64_t pointers = conv_elements(conv) * (sizeof(const float *) / sizeof(float));
    const uint64_t patches = conv_is_gathered(conv)     ? patch_floats(conv)
                             : conv_elements(conv) == 1 ? round_up(conv->in.c, KBLOCK)
                                                        : 0;
    return block_pixels(kernels) * (pointers + (uint64_t)kernels->nr + patches) +
           (conv_is_gathered(conv) ? line_floats(conv, kernels) : 0);
}

/* Where each kernel element of each pixel reads. */
static void place(const gan_worker *worker, const gan_step *step, const pixel_block *block) {
    const gan_conv *conv = &step->conv;
    const int64_t in_c = (int64_t)wide_of(worker, step->inputs[0]), stride = conv->in_stride,
                  depth = shape_depth(conv->in);
    const uint64_t pixels = shape_pixels(conv->out);
    const int32_t sign = stride > 1 ? 1 : -1; /* run_direct.c: taps go on from the first one, or back */
    for (int64_t n = 0; n < block->count; n++) {
        const uint64_t at = block->first + (uint64_t)n, rest = at % pixels;
        const float *image = value_at(worker, step->inputs[0], (uint32_t)(at / pixels));
        const int64_t row = (int64_t)(rest / conv->out.w), z0 = row / conv->out.h, y0 = row % conv->out.h,
                      x0 = (int64_t)(rest % conv->out.w);
        const int64_t z = z0 * stride - sign * conv->pad_z, y = y0 * stride - sign * conv->pad_y,
                      x = x0 * stride - sign * conv->pad;
        const float **to = block->inputs + n;
        for (int32_t kz = 0; kz < (int32_t)conv->kd; kz++)
            for (int32_t ky = 0; ky < (int32_t)conv->kh; ky++)
                for (int32_t kx = 0; kx < (int32_t)conv->kw; kx++, to += block->count) {
                    const int64_t from_z = z + sign * kz, from_y = y + sign * ky, from_x = x + sign * kx;
                    const int inside = from_z >= 0 && from_y >= 0 && from_x >= 0 && from_z < depth &&
                                       from_y < conv->in.h && from_x < conv->in.w;
                    *to = inside ? image + ((from_z * conv->in.h + from_y) * conv->in.w + from_x) * in_c
                                 : worker->shared->zeros;
                }
    }
}

/* Copy `n` floats, and up to 7 more, for which both places must have room. */
static inline void copy_some(float *to, const float *from, int64_t n) {
    enum { STEP = 8 };
    for (int64_t i = 0; i < n; i += STEP) memcpy(to + i, from + i, STEP * sizeof *to);
}

/* Copy the pixels under the kernel into the patches of `run` outputs of a row, from number `at` of the block on.  Patches
 * of neighbors overlap, so a row of the input is first copied to `line`, without padding and in the order of the taps. */
static void gather_run(const gan_worker *worker, const gan_step *step, const pixel_block *block, int64_t at,
                       int64_t run) {
    const gan_conv *conv = &step->conv;
    const int64_t in_c = (int64_t)wide_of(worker, step->inputs[0]), stride = conv->in_stride, c = conv->in.c,
                  kernel_row = conv->kw * c, depth = shape_depth(conv->in);
    const uint64_t pixels = shape_pixels(conv->out), pixel = (block->first + (uint64_t)at) % pixels;
    const float *image = value_at(worker, step->inputs[0], (uint32_t)((block->first + (uint64_t)at) / pixels));
    const int64_t row = (int64_t)(pixel / conv->out.w), x0 = (int64_t)(pixel % conv->out.w);
    const int64_t sign = stride > 1 ? 1 : -1, length = (run - 1) * stride + conv->kw; /* run_direct.c: taps go back */
    const int64_t left = sign > 0 ? x0 * stride - conv->pad : x0 + run - 1 + conv->pad;
    float *patch = block->patches + (uint64_t)at * patch_floats(conv);
    for (int64_t slice = 0; slice < (int64_t)conv->kd * conv->kh; slice++, patch += kernel_row) {
        const int64_t z = row / conv->out.h * stride + sign * (slice / conv->kh - conv->pad_z),
                      y = row % conv->out.h * stride + sign * (slice % conv->kh - conv->pad_y);
        const int inside = z >= 0 && y >= 0 && z < depth && y < conv->in.h;
        const float *from = image + (inside ? (z * conv->in.h + y) * conv->in.w * in_c : 0);
        for (int64_t i = 0; i < length; i++) {
            const int64_t x = left + sign * i;
            copy_some(block->line + i * c, inside && x >= 0 && x < conv->in.w ? from + x * in_c : worker->shared->zeros,
                      c);
        }
        for (int64_t i = 0; i < run; i++) /* the floats copied too many are overwritten next, or are padding */
            copy_some(patch + (uint64_t)i * patch_floats(conv), block->line + (sign > 0 ? i * stride : run - 1 - i) * c,
                      kernel_row);
    }
}

static void gather(const gan_worker *worker, const gan_step *step, const pixel_block *block) {
    const gan_conv *conv = &step->conv;
    for (int64_t n = 0, run; n < block->count; n += run) {
        const int64_t left = conv->out.w - (int64_t)((block->first + (uint64_t)n) % conv->out.w);
        run = left < block->count - n ? left : block->count - n;
        gather_run(worker, step, block, n, run);
    }
    for (int64_t n = 0; n < block->count; n++) block->inputs[n] = block->patches + (uint64_t)n * patch_floats(conv);
}

/* sums += the rows from..+depth x weights, register tiles of pixels at a time. */
static void multiply(const gan_kernels *kernels, const pixel_block *block, int columns, const float *const *rows,
                     int64_t offset, int64_t depth, const float *weights, int accumulate) {
    const int64_t nr = kernels->nr;
    int64_t tiles = (block->count + kernels->mr - 1) / kernels->mr, share = 0;
    const int quarters = prefetch_quarters(tiles);
    for (int64_t n = 0; n < block->count; tiles--) {
        const float *a[MAX_MR];
        float *to[MAX_MR];
        const int m = next_part(block->count - n, tiles);
        for (int i = 0; i < m; i++, n++) a[i] = rows[n] + offset, to[i] = block->sums + n * nr;
        kernels->gemm(m, columns, depth, a, KBLOCK, weights, to, accumulate,
                      weights + (share < depth * nr ? depth * nr + share : 0), quarters);
        share += depth / KBLOCK * 4 * nr * quarters;
    }
}

/* The rows of a 1 x 1 kernel as gemm_packed takes them: [register tile][block of 16 channels][pixel][16]. */
static void pack_rows(const pixel_block *block, const gan_kernels *kernels, int64_t blocks) {
    float *to = block->patches;
    int64_t tiles = (block->count + kernels->mr - 1) / kernels->mr;
    for (int64_t n = 0; n < block->count; tiles--) {
        const int m = next_part(block->count - n, tiles);
        for (int i = 0; i < m; i++, n++)
            for (int64_t k = 0; k < blocks; k++)
                memcpy(to + (k * m + i) * KBLOCK, block->inputs[n] + k * KBLOCK, sizeof(float) * KBLOCK);
        to += m * blocks * KBLOCK;
    }
}

static void run_packed(const gan_worker *worker, const gan_step *step, const pixel_block *block, const float *weights) {
    const gan_conv *conv = &step->conv;
    const gan_kernels *kernels = worker->shared->kernels;
    const int64_t nr = kernels->nr, out_c = padded(conv->out.c, kernels), channels = conv->in.c,
                  blocks = (channels + KBLOCK - 1) / KBLOCK, parts = (block->count + kernels->mr - 1) / kernels->mr;
    const int quarters = prefetch_quarters(parts);
    float *out = value_at(worker, step->output, 0) + (int64_t)block->first * out_c;
    const float *bias = worker->shared->program->constants + step->constants;
    place(worker, step, block);
    pack_rows(block, kernels, blocks);
    for (int64_t panel = 0; panel < out_c / nr; panel++) {
        const int columns = panel_columns(conv->out.c, panel, kernels);
        fetch_to_write(out + panel * nr, block->count, out_c, nr);
        for (int64_t k0 = 0; k0 < channels; k0 += SLICE) {
            const int64_t depth = channels - k0 < SLICE ? channels - k0 : SLICE,
                          share = depth / KBLOCK * 4 * nr * quarters;
            int64_t tiles = parts;
            for (int64_t n = 0, part = 0; n < block->count; tiles--, part++) {
                const int m = next_part(block->count - n, tiles);
                const float *from = block->patches + n * blocks * KBLOCK + k0 * m;
                const int64_t after = k0 + depth < channels ? k0 + depth : 0; /* first channel of the next slice */
                const float *then = n + m < block->count ? from + (blocks * KBLOCK - k0) * m +
                                                               k0 * next_part(block->count - n - m, tiles - 1)
                                                         : block->patches + after * next_part(block->count, parts);
                kernels->gemm_packed(m, columns, depth, from, m * KBLOCK, weights, block->sums + n * nr, nr, k0 > 0,
                                     part * share < depth * nr ? weights + depth * nr + part * share : weights,
                                     quarters, then);
                n += m;
            }
            weights += depth * nr;
        }
        kernels->bias_act(block->sums, nr, bias + panel * nr, out + panel * nr, out_c, block->count,
                          activation_from(step->act, panel * nr));
    }
}

static void run_block(const gan_worker *worker, const gan_step *step, const pixel_block *block, const float *weights) {
    const gan_conv *conv = &step->conv;
    const gan_kernels *kernels = worker->shared->kernels;
    const int64_t nr = kernels->nr, out_c = padded(conv->out.c, kernels), taps = (int64_t)conv_elements(conv);
    const int gathered = conv_is_gathered(conv);
    const int64_t channels = gathered ? taps * conv->in.c : conv->in.c, parts = gathered ? 1 : taps;
    float *out = value_at(worker, step->output, 0) + (int64_t)block->first * out_c;
    const float *bias = worker->shared->program->constants + step->constants;
    if (gathered) gather(worker, step, block);
    else place(worker, step, block);
    for (int64_t panel = 0; panel < out_c / nr; panel++) {
        const int columns = panel_columns(conv->out.c, panel, kernels);
        fetch_to_write(out + panel * nr, block->count, out_c, nr);
        for (int64_t part = 0; part < parts; part++)
            for (int64_t k0 = 0; k0 < channels; k0 += SLICE) {
                const int64_t depth = channels - k0 < SLICE ? channels - k0 : SLICE;
                multiply(kernels, block, columns, block->inputs + part * block->count, k0, depth, weights, part || k0);
                weights += depth * nr;
            }
        kernels->bias_act(block->sums, nr, bias + panel * nr, out + panel * nr, out_c, block->count,
                          activation_from(step->act, panel * nr));
    }
}

/* Calls `run` for each block of the chunk's pixels: work for every member, in blocks of whole register tiles if it is
 * much. */
static void each_block(gan_worker *worker, const gan_step *step, pixel_block *block, const float *weights,
                       void (*run)(const gan_worker *, const gan_step *, const pixel_block *, const float *)) {
    const uint64_t pixels = shape_pixels(step->conv.out) * worker->images, most = block_pixels(worker->shared->kernels),
                   members = (uint64_t)worker->cursor.group->size;
    const uint64_t share = (pixels + 2 * members - 1) / (2 * members), each = share < most ? share : most;
    const uint64_t blocks = (pixels + each - 1) / each;
    for (uint64_t n; gan_i_group_take(&worker->cursor, blocks, &n);) {
        block->first = n * each;
        block->count = (int64_t)(pixels - block->first < each ? pixels - block->first : each);
        run(worker, step, block, weights);
    }
    gan_i_group_barrier(&worker->cursor);
}

static pixel_block block_in(const gan_worker *worker, const gan_conv *conv) {
    const uintptr_t scratch = (uintptr_t)worker->thread_scratch;
    pixel_block block = {.inputs = (const float **)((scratch + ALIGNED - 1) / ALIGNED * ALIGNED)};
    block.sums = (float *)(void *)(block.inputs + block_pixels(worker->shared->kernels) * conv_elements(conv));
    return block;
}

void gan_i_run_blocks(gan_worker *worker, const gan_step *step, const float *weights) {
    const gan_kernels *kernels = worker->shared->kernels;
    pixel_block block = block_in(worker, &step->conv);
    block.patches = block.sums + block_pixels(kernels) * (uint64_t)kernels->nr;
    if (conv_is_gathered(&step->conv)) block.line = block.patches + block_pixels(kernels) * patch_floats(&step->conv);
    each_block(worker, step, &block, weights,
               conv_elements(&step->conv) == 1 && !conv_is_gathered(&step->conv) ? run_packed : run_block);
}

int gan_i_blocks_fit_int16(const gan_conv *conv) {
    if (conv->dims != 2 || conv->out_stride != 1 || conv->pixel_bias) return 0;
    return conv_elements(conv) == 1 && !conv_is_gathered(conv) ? shape_pixels(conv->out) >= MAX_MR
                                                               : gan_i_blocks_fit(conv);
}

/* What a product in 16 bits takes of a pixel: the channels of one kernel element or a patch, rounded up. */
static uint64_t narrow_values(const gan_conv *conv) {
    return round_up(int16_inputs(conv, METHOD_DIRECT_INT16), KBLOCK);
}

uint64_t gan_i_blocks_floats_int16(const gan_conv *conv, const gan_kernels *kernels) {
    const uint64_t pointers = conv_elements(conv) * (sizeof(const float *) / sizeof(float));
    return block_pixels(kernels) * (pointers + padded(conv->out.c, kernels) + narrow_values(conv) / 2) +
           (conv_is_gathered(conv) ? block_pixels(kernels) * patch_floats(conv) + line_floats(conv, kernels) : 0);
}

/* Elements go around the panels, so that each is rounded to 16 bits once for all of them.  Patches count as one. */
static void run_block_int16(const gan_worker *worker, const gan_step *step, const pixel_block *block,
                            const float *packed) {
    const gan_conv *conv = &step->conv;
    const gan_kernels *kernels = worker->shared->kernels;
    const packed_units weights = packed_units_of(conv, METHOD_DIRECT_INT16, kernels, packed);
    const int64_t nr = kernels->nr, out_c = padded(conv->out.c, kernels),
                  taps = (int64_t)int16_sets(conv, METHOD_DIRECT_INT16), wide = (int64_t)narrow_values(conv);
    float *out = value_at(worker, step->output, 0) + (int64_t)block->first * out_c;
    const float *bias = worker->shared->program->constants + step->constants;
    if (conv_is_gathered(conv)) gather(worker, step, block);
    else place(worker, step, block);
    for (int64_t tap = 0; tap < taps; tap++) {
        for (int64_t n = 0; n < block->count; n++)
            kernels->to_int16(block->inputs[tap * block->count + n], weights.in_scales[tap], block->narrow + n * wide,
                              wide);
        for (int64_t panel = 0; panel < out_c / nr; panel++) {
            const int64_t set = panel * taps + tap;
            const int columns = panel_columns(conv->out.c, panel, kernels), last = tap + 1 == taps;
            float *sums = block->sums + panel * block->count * nr;
            if (last) fetch_to_write(out + panel * nr, block->count, out_c, nr);
            for (int64_t k0 = 0; k0 < wide; k0 += INT16_SLICE) {
                const int64_t depth = wide - k0 < INT16_SLICE ? wide - k0 : INT16_SLICE;
                const int16_t *slice = weights.int16 + (set * wide + k0) * nr;
                int64_t tiles = (block->count + kernels->mr - 1) / kernels->mr, share = 0;
                const int quarters = prefetch_quarters(tiles);
                for (int64_t n = 0; n < block->count; tiles--) {
                    const int16_t *rows[MAX_MR];
                    float *to[MAX_MR];
                    const int m = next_part(block->count - n, tiles);
                    for (int i = 0; i < m; i++, n++) rows[i] = block->narrow + n * wide + k0, to[i] = sums + n * nr;
                    kernels->gemm_int16(m, columns, depth, rows, KBLOCK, slice, weights.scales + set * nr, to,
                                        tap || k0, slice + (share < depth * nr ? depth * nr + share : 0), quarters);
                    share += depth / KBLOCK * 4 * nr * quarters;
                }
            }
            if (last)
                kernels->bias_act(sums, nr, bias + panel * nr, out + panel * nr, out_c, block->count,
                                  activation_from(step->act, panel * nr));
        }
    }
}

void gan_i_run_blocks_int16(gan_worker *worker, const gan_step *step, const float *weights) {
    pixel_block block = block_in(worker, &step->conv);
    const gan_conv *conv = &step->conv;
    const uint64_t pixels = block_pixels(worker->shared->kernels);
    block.narrow = (int16_t *)(void *)(block.sums + pixels * padded(conv->out.c, worker->shared->kernels));
    if (conv_is_gathered(conv)) {
        block.patches = (float *)(void *)(block.narrow + pixels * narrow_values(conv));
        block.line = block.patches + pixels * patch_floats(conv);
    }
    each_block(worker, step, &block, weights, run_block_int16);
}
