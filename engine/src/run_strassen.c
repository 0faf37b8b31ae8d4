/* 1 x 1 convolutions of many channels by one level of Strassen's algorithm (pack.h): a thread takes a block of pixels,
 * whose halves are its first and last ones.  For each product, it adds up quarters of the inputs, multiplies them, and
 * adds the product to quarters of the outputs; the weights' sums are made when they are packed. */
#include <string.h>

#include "run.h"

enum {
    TILES = 4, /* register tiles in half a block */
    ALIGNED = sizeof(const float *)
};

typedef struct strassen_block {
    uint64_t first;
    int64_t count, half; /* pixels in it, and in its first half; the other has as many or one less */
    const float **inputs; /* [pixel], zeros for one that is missing */
    float *line; /* half of a pixel's channels */
    float *packed; /* half of the pixels and channels, as gemm_packed takes them */
    float *product; /* [pixel of a half][nr] */
    float *outputs; /* [quarter][panel of half the outputs][pixel of a half][nr] */
} strassen_block;

static uint64_t half_pixels(const gan_kernels *kernels) { return TILES * (uint64_t)kernels->mr; }

uint64_t gan_i_strassen_floats(const gan_conv *conv, const gan_kernels *kernels) {
    const uint64_t half = half_pixels(kernels), pointers = 2 * half * sizeof(const float *) / sizeof(float),
                   in = conv->in.c / 2;
    return pointers + 2 + in + half * (in + (uint64_t)kernels->nr + 2ull * conv->out.c);
}

static strassen_block block_in(const gan_worker *worker, const gan_conv *conv) {
    const gan_kernels *kernels = worker->shared->kernels;
    const uint64_t half = half_pixels(kernels), in = conv->in.c / 2;
    const uintptr_t scratch = (uintptr_t)worker->thread_scratch;
    strassen_block block = {.inputs = (const float **)((scratch + ALIGNED - 1) / ALIGNED * ALIGNED)};
    block.line = (float *)(void *)(block.inputs + 2 * half);
    block.packed = block.line + in;
    block.product = block.packed + half * in;
    block.outputs = block.product + half * (uint64_t)kernels->nr;
    return block;
}

static void place(const gan_worker *worker, const gan_step *step, const strassen_block *block) {
    const uint64_t in_c = wide_of(worker, step->inputs[0]), pixels = shape_pixels(step->conv.out);
    for (int64_t n = 0; n < 2 * block->half; n++) {
        const uint64_t at = block->first + (uint64_t)n;
        block->inputs[n] = n < block->count
                               ? value_at(worker, step->inputs[0], (uint32_t)(at / pixels)) + at % pixels * in_c
                               : worker->shared->zeros;
    }
}

/* Pack the sum of one or two quarters of the inputs. */
static void pack_sum(const gan_kernels *kernels, const strassen_block *block, const signed char *factors,
                     int64_t channels) {
    int parts[STRASSEN_PARTS], n = 0;
    for (int part = 0; part < STRASSEN_PARTS; part++)
        if (factors[part]) parts[n++] = part;
    if (n == 2 && factors[parts[0]] < 0) { /* the last one is added as it is */
        const int first = parts[0];
        parts[0] = parts[1], parts[1] = first;
    }
    float *to = block->packed;
    int64_t tiles = (block->half + kernels->mr - 1) / kernels->mr;
    for (int64_t at = 0; at < block->half; tiles--) {
        const int m = next_part(block->half - at, tiles);
        for (int i = 0; i < m; i++, at++) {
            const float *sum = block->inputs[parts[0] / 2 * block->half + at] + parts[0] % 2 * channels;
            if (n == 2) {
                const float *other = block->inputs[parts[1] / 2 * block->half + at] + parts[1] % 2 * channels;
                kernels->add(other, factors[parts[1]], sum, block->line, channels);
                sum = block->line;
            }
            for (int64_t k = 0; k < channels; k += KBLOCK)
                memcpy(to + k * m + i * KBLOCK, sum + k, sizeof *to * KBLOCK);
        }
        to += m * channels;
    }
}

static void run_block(const gan_worker *worker, const gan_step *step, const strassen_block *block,
                      const float *weights) {
    const gan_conv *conv = &step->conv;
    const gan_kernels *kernels = worker->shared->kernels;
    const int64_t nr = kernels->nr, in = conv->in.c / 2, out_c = conv->out.c, panels = out_c / nr / 2,
                  each = block->half * nr, quarter = panels * each;
    const gan_packed_rows rows = {block->packed, NULL, block->half, in};
    float *out = value_at(worker, step->output, 0) + (int64_t)block->first * out_c;
    const float *bias = worker->shared->program->constants + step->constants;
    place(worker, step, block);
    for (int p = 0; p < STRASSEN_PRODUCTS; p++) {
        const strassen_product *of = &GAN_I_STRASSEN[p];
        const int completes = of->last >= 0, last = completes ? of->last : 0;
        const int64_t pixel = last / 2 * block->half, pixels = last < 2 ? block->half : block->count - block->half;
        pack_sum(kernels, block, of->inputs, in);
        for (int64_t panel = 0; panel < panels; panel++, weights += in * nr) {
            float *to = of->to < 0 ? block->product : block->outputs + of->to * quarter + panel * each;
            const int64_t channel = (last % 2 * panels + panel) * nr;
            float *finished = out + pixel * out_c + channel;
            if (completes) fetch_to_write(finished, pixels, out_c, nr);
            gan_i_multiply_packed(kernels, &rows, &(gan_panel){weights, NULL, NULL, (int)nr}, to, nr, of->is_added);
            for (int part = 0; part < STRASSEN_PARTS; part++) {
                float *sums = block->outputs + part * quarter + panel * each;
                if (of->others[part] && p) kernels->add(to, of->others[part], sums, sums, each);
                else if (of->others[part]) memcpy(sums, to, sizeof *to * (size_t)each);
            }
            if (completes)
                kernels->bias_act(block->outputs + last * quarter + panel * each, nr, bias + channel, finished, out_c,
                                  pixels, activation_from(step->act, channel));
        }
    }
}

void gan_i_run_strassen(gan_worker *worker, const gan_step *step, const float *weights) {
    strassen_block block = block_in(worker, &step->conv);
    for (gan_pixel_range r; gan_i_take_pixels(worker, &step->conv, 2 * half_pixels(worker->shared->kernels), &r);) {
        block.first = r.first, block.count = r.count, block.half = (r.count + 1) / 2;
        run_block(worker, step, &block, weights);
    }
    gan_i_group_barrier(&worker->cursor);
}
