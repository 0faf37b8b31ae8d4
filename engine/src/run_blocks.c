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
    float *patches, *line; /* [pixel][taps x channels, rounded up] of few channels, and a row; otherwise unused */
    int16_t *narrow, *narrow_line; /* the same in 16 bits */
    int16_t *packed; /* in 16 bits: patches, or all pixels of a kernel element, as gemm_packed_int16 takes them */
} pixel_block;

/* Numbers from one patch to the next: with those that are copied too much. */
static uint64_t patch_values(const gan_conv *conv) {
    return round_up(conv_elements(conv) * conv->in.c + KBLOCK, KBLOCK);
}

static uint64_t block_pixels(const gan_kernels *kernels) { return 8 * (uint64_t)kernels->mr; }

/* Numbers of a row that patches are copied from, with as many more. */
static uint64_t line_values(const gan_conv *conv, const gan_kernels *kernels) {
    return (block_pixels(kernels) * conv->in_stride + conv->kw) * conv->in.c + KBLOCK;
}

int gan_i_blocks_fit(const gan_conv *conv) {
    const uint32_t least = conv->in_stride > 1 || conv_is_gathered(conv) ? 8 : 16; /* else too much of it is edge */
    return conv->out_stride == 1 && !conv->pixel_bias && conv_elements(conv) <= 64 &&
           (conv->out.h >= least || conv->dims == 1) && conv->out.w >= least;
}

uint64_t gan_i_blocks_floats(const gan_conv *conv, const gan_kernels *kernels) {
    const uint64_t pointers = conv_elements(conv) * (sizeof(const float *) / sizeof(float));
    const uint64_t patches = conv_is_gathered(conv)     ? patch_values(conv)
                             : conv_elements(conv) == 1 ? round_up(conv->in.c, KBLOCK)
                                                        : 0;
    return block_pixels(kernels) * (pointers + (uint64_t)kernels->nr + patches) +
           (conv_is_gathered(conv) ? line_values(conv, kernels) : 0);
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

/* Copy `n` bytes, and up to 31 more, for which both places must have room. */
static inline void copy_some(void *to, const void *from, int64_t n) {
    enum { STEP = 32 };
    for (int64_t i = 0; i < n; i += STEP) memcpy((char *)to + i, (const char *)from + i, STEP);
}

/* `length` pixels of a row of the input to the block's line, without padding: x = left, left + sign, ..  Those beyond an
 * edge are zeros; `from`: the row, or NULL if it is. */
static void take_line(const gan_conv *conv, const float *from, int64_t in_c, int64_t left, int64_t sign, int64_t length,
                      float *line) {
    const int64_t c = conv->in.c, width = conv->in.w, size = sizeof *line;
    const int64_t before = sign > 0 ? -left : left - width + 1, after = sign > 0 ? width - left : left + 1;
    const int64_t first = !from || before > length ? length
                          : before > 0             ? before
                                                   : 0,
                  end = after > length ? length : after;
    memset(line, 0, sizeof *line * (size_t)(first * c));
    if (sign > 0 && in_c == c && first < end) {
        memcpy(line + first * c, from + (left + first) * c, sizeof *line * (size_t)((end - first) * c));
    } else {
        for (int64_t i = first; i < end; i++) copy_some(line + i * c, from + (left + sign * i) * in_c, size * c);
    }
    if (first < length && end < length) memset(line + end * c, 0, sizeof *line * (size_t)((length - end) * c));
}

/* Copy the pixels under the kernel into the patches of `run` outputs of a row, from number `at` of the block on.  Patches
 * of neighbors overlap, so a row of the input is first copied to `line`, in the order of the taps, and if `scale` isn't
 * NULL brought to 16 bits. */
static void gather_run(const gan_worker *worker, const gan_step *step, const pixel_block *block, int64_t at,
                       int64_t run, const float *scale) {
    const gan_conv *conv = &step->conv;
    const int64_t in_c = (int64_t)wide_of(worker, step->inputs[0]), stride = conv->in_stride, c = conv->in.c,
                  kernel_row = conv->kw * c, depth = shape_depth(conv->in),
                  size = scale ? (int64_t)sizeof(int16_t) : (int64_t)sizeof(float),
                  patch_size = size * (int64_t)patch_values(conv);
    const uint64_t pixels = shape_pixels(conv->out), pixel = (block->first + (uint64_t)at) % pixels;
    const float *image = value_at(worker, step->inputs[0], (uint32_t)((block->first + (uint64_t)at) / pixels));
    const int64_t row = (int64_t)(pixel / conv->out.w), x0 = (int64_t)(pixel % conv->out.w);
    const int64_t sign = stride > 1 ? 1 : -1, length = (run - 1) * stride + conv->kw; /* run_direct.c: taps go back */
    const int64_t left = sign > 0 ? x0 * stride - conv->pad : x0 + run - 1 + conv->pad;
    const char *line = (const char *)(scale ? (const void *)block->narrow_line : block->line);
    char *patch = (char *)(scale ? (void *)block->narrow : block->patches) + at * patch_size;
    for (int64_t slice = 0; slice < (int64_t)conv->kd * conv->kh; slice++, patch += size * kernel_row) {
        const int64_t z = row / conv->out.h * stride + sign * (slice / conv->kh - conv->pad_z),
                      y = row % conv->out.h * stride + sign * (slice % conv->kh - conv->pad_y);
        const int inside = z >= 0 && y >= 0 && z < depth && y < conv->in.h;
        take_line(conv, inside ? image + (z * conv->in.h + y) * conv->in.w * in_c : NULL, in_c, left, sign, length,
                  block->line);
        if (scale) worker->shared->kernels->to_int16(block->line, *scale, block->narrow_line, KBLOCK, length * c);
        for (int64_t i = 0; i < run; i++) /* what is copied too much is overwritten next, or padding */
            copy_some(patch + i * patch_size, line + size * (sign > 0 ? i * stride : run - 1 - i) * c,
                      size * kernel_row);
    }
}

/* Fill the block's patches, in 16 bits if `scale` isn't NULL. */
static void gather(const gan_worker *worker, const gan_step *step, const pixel_block *block, const float *scale) {
    const gan_conv *conv = &step->conv;
    for (int64_t n = 0, run; n < block->count; n += run) {
        const int64_t left = conv->out.w - (int64_t)((block->first + (uint64_t)n) % conv->out.w);
        run = left < block->count - n ? left : block->count - n;
        gather_run(worker, step, block, n, run, scale);
    }
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
                  blocks = (channels + KBLOCK - 1) / KBLOCK;
    const gan_packed_rows rows = {block->patches, NULL, block->count, channels};
    float *out = value_at(worker, step->output, 0) + (int64_t)block->first * out_c;
    const float *bias = worker->shared->program->constants + step->constants;
    place(worker, step, block);
    pack_rows(block, kernels, blocks);
    for (int64_t panel = 0; panel < out_c / nr; panel++, weights += channels * nr) {
        fetch_to_write(out + panel * nr, block->count, out_c, nr);
        const gan_panel of = {weights, NULL, NULL, panel_columns(conv->out.c, panel, kernels)};
        gan_i_multiply_packed(kernels, &rows, &of, block->sums, nr, 0);
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
    if (gathered) gather(worker, step, block, NULL);
    else place(worker, step, block);
    for (int64_t n = 0; gathered && n < block->count; n++)
        block->inputs[n] = block->patches + (uint64_t)n * patch_values(conv);
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

/* Calls `run` for each block of the chunk's pixels: whole register tiles if there are many. */
static void each_block(gan_worker *worker, const gan_step *step, pixel_block *block, const float *weights,
                       void (*run)(const gan_worker *, const gan_step *, const pixel_block *, const float *)) {
    for (gan_pixel_range r; gan_i_take_pixels(worker, &step->conv, block_pixels(worker->shared->kernels), &r);) {
        block->first = r.first, block->count = r.count;
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
    if (conv_is_gathered(&step->conv)) block.line = block.patches + block_pixels(kernels) * patch_values(&step->conv);
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
    const uint64_t pixels = block_pixels(kernels), line = round_up(line_values(conv, kernels), KBLOCK),
                   pointers = conv_elements(conv) * (sizeof(const float *) / sizeof(float));
    return pixels * (pointers + padded(conv->out.c, kernels) + narrow_values(conv) / 2) +
           (conv_is_gathered(conv) ? pixels * patch_values(conv) / 2 + line + line / 2 : 0);
}

/* Pack the block's inputs of a kernel element, or its patches, in 16 bits. */
static void pack_int16(const gan_conv *conv, const gan_kernels *kernels, const pixel_block *block, int64_t tap,
                       float scale) {
    const int64_t wide = (int64_t)narrow_values(conv), values = (int64_t)int16_inputs(conv, METHOD_DIRECT_INT16);
    int64_t tiles = (block->count + kernels->mr - 1) / kernels->mr;
    int16_t *to = block->packed;
    for (int64_t n = 0; n < block->count; tiles--) {
        const int m = next_part(block->count - n, tiles);
        for (int64_t i = 0; i < m; i++, n++) {
            if (!conv_is_gathered(conv)) {
                kernels->to_int16(block->inputs[tap * block->count + n], scale, to + i * KBLOCK, m * KBLOCK, wide);
                continue;
            }
            int16_t *patch = block->narrow + n * (int64_t)patch_values(conv);
            memset(patch + values, 0, sizeof *patch * (size_t)(wide - values));
            for (int64_t k = 0; k < wide; k += KBLOCK)
                memcpy(to + k * m + i * KBLOCK, patch + k, sizeof *patch * KBLOCK);
        }
        to += m * wide;
    }
}

/* Elements go around the panels, so that each is rounded to 16 bits once for all of them.  Patches count as one. */
static void run_block_int16(const gan_worker *worker, const gan_step *step, const pixel_block *block,
                            const float *packed) {
    const gan_conv *conv = &step->conv;
    const gan_kernels *kernels = worker->shared->kernels;
    const packed_units weights = packed_units_of(conv, METHOD_DIRECT_INT16, kernels, packed);
    const int64_t nr = kernels->nr, out_c = padded(conv->out.c, kernels),
                  taps = (int64_t)int16_sets(conv, METHOD_DIRECT_INT16), wide = (int64_t)narrow_values(conv);
    const gan_packed_rows rows = {NULL, block->packed, block->count, wide};
    float *out = value_at(worker, step->output, 0) + (int64_t)block->first * out_c;
    const float *bias = worker->shared->program->constants + step->constants;
    if (conv_is_gathered(conv)) gather(worker, step, block, weights.in_scales);
    else place(worker, step, block);
    for (int64_t tap = 0; tap < taps; tap++) {
        const int last = tap + 1 == taps;
        pack_int16(conv, kernels, block, tap, weights.in_scales[tap]);
        for (int64_t panel = 0; panel < out_c / nr; panel++) {
            const int64_t set = panel * taps + tap;
            const gan_panel of = {NULL, weights.int16 + set * wide * nr, weights.scales + set * nr,
                                  panel_columns(conv->out.c, panel, kernels)};
            float *sums = block->sums + panel * block->count * nr;
            if (last) fetch_to_write(out + panel * nr, block->count, out_c, nr);
            gan_i_multiply_packed(kernels, &rows, &of, sums, nr, tap > 0);
            if (last)
                kernels->bias_act(sums, nr, bias + panel * nr, out + panel * nr, out_c, block->count,
                                  activation_from(step->act, panel * nr));
        }
    }
}

void gan_i_run_blocks_int16(gan_worker *worker, const gan_step *step, const float *weights) {
    pixel_block block = block_in(worker, &step->conv);
    const gan_conv *conv = &step->conv;
    const gan_kernels *kernels = worker->shared->kernels;
    const uint64_t pixels = block_pixels(kernels);
    block.packed = (int16_t *)(void *)(block.sums + pixels * padded(conv->out.c, kernels));
    block.narrow = block.packed + pixels * narrow_values(conv);
    if (conv_is_gathered(conv)) {
        block.line = (float *)(void *)(block.narrow + pixels * patch_values(conv));
        block.narrow_line = (int16_t *)(void *)(block.line + round_up(line_values(conv, kernels), KBLOCK));
    }
    each_block(worker, step, &block, weights, run_block_int16);
}
