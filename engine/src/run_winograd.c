/* A 3 x 3 convolution by Winograd's F(4 x 4, 3 x 3): tiles of 4 x 4 outputs, each from 6 x 6 inputs.  A thread transforms
 * a block of tiles, multiplies it at each point and transforms back, so that nothing but the output leaves its caches.
 * Transformed inputs lie as [point][register tile][block of 16 channels][tile][16]. */
#include "run.h"

enum { POINTS = WINOGRAD * WINOGRAD };

/* The tiles first .. first+count-1 of a chunk. */
typedef struct tile_block {
    uint64_t first;
    int64_t count;
} tile_block;

/* A tile's image and its first output pixel. */
typedef struct tile_place {
    uint32_t image;
    int32_t y, x;
} tile_place;

static tile_place place_of(const winograd_tiling *tiling, uint64_t tile) {
    const uint64_t per_image = (uint64_t)tiling->ty * tiling->tx, rest = tile % per_image;
    return (tile_place){(uint32_t)(tile / per_image), (int32_t)(rest / tiling->tx) * WINOGRAD_TILE,
                        (int32_t)(rest % tiling->tx) * WINOGRAD_TILE};
}

static void transform(const gan_worker *worker, const gan_step *step, const winograd_tiling *tiling, tile_block block,
                      float *v) {
    const gan_conv *conv = &step->conv;
    const gan_kernels *kernels = worker->shared->kernels;
    const int64_t in_c = padded(conv->in.c, kernels), blocks = (conv->in.c + KBLOCK - 1) / KBLOCK, mr = kernels->mr;
    const int32_t padding = 2 - conv->pad;
    for (int64_t n = 0; n < block.count; n++) {
        const tile_place at = place_of(tiling, block.first + (uint64_t)n);
        const float *image = value_at(worker, step->inputs[0], at.image);
        const float *pixels[POINTS];
        for (int32_t i = 0; i < POINTS; i++) {
            const int32_t y = at.y - padding + i / WINOGRAD, x = at.x - padding + i % WINOGRAD;
            const int inside = y >= 0 && x >= 0 && y < (int32_t)conv->in.h && x < (int32_t)conv->in.w;
            pixels[i] = inside ? image + ((int64_t)y * conv->in.w + x) * in_c : worker->shared->zeros;
        }
        const int64_t head = n / mr * mr, rows = block.count - head < mr ? block.count - head : mr;
        kernels->winograd_in(pixels, blocks, v + (head * blocks + (n - head)) * KBLOCK, block.count * blocks * KBLOCK,
                             rows * KBLOCK);
    }
}

/* products[panel][tile][point][nr] of some panels. */
static void multiply(const gan_worker *worker, const gan_conv *conv, tile_block block, const float *v,
                     const float *weights, int64_t panels, float *products) {
    const gan_kernels *kernels = worker->shared->kernels;
    const int64_t nr = kernels->nr, mr = kernels->mr, channels = conv->in.c, blocks = (channels + KBLOCK - 1) / KBLOCK,
                  panel_floats = POINTS * channels * nr;
    const int few = block.count <= 3 * mr, quarters = !few ? 1 : block.count > mr ? 2 : 4;
    for (int64_t p = 0; p < POINTS; p++) {
        const float *inputs = v + p * block.count * blocks * KBLOCK;
        for (int64_t u = 0; u < panels; u++) {
            const float *panel = weights + u * panel_floats + p * channels * nr;
            for (int64_t k0 = 0; k0 < channels; k0 += SLICE) {
                const int64_t depth = channels - k0 < SLICE ? channels - k0 : SLICE;
                const float *slice = panel + k0 * nr, *next = slice + depth * nr;
                if (k0 + depth == channels && u + 1 < panels) next = panel + panel_floats;
                else if (k0 + depth == channels) next = weights + (p + 1 < POINTS ? p + 1 : 0) * channels * nr;
                const int64_t share = depth / KBLOCK * quarters * 4 * nr;
                float *to = products + (u * block.count * POINTS + p) * nr;
                for (int64_t n = 0, part = 0; n < block.count; n += mr, part++) {
                    const int64_t rows = block.count - n < mr ? block.count - n : mr;
                    const float *from = inputs + n * blocks * KBLOCK + k0 * rows;
                    kernels->gemm_packed((int)rows, depth, from, rows * KBLOCK, slice, to + n * POINTS * nr,
                                         POINTS * nr, k0 > 0, part * share < depth * nr ? next + part * share : slice,
                                         quarters, from + depth * rows);
                }
            }
        }
    }
}

/* The outputs of one panel. */
static void restore(const gan_worker *worker, const gan_step *step, const winograd_tiling *tiling, tile_block block,
                    uint32_t panel, const float *products, const float *slopes) {
    const gan_conv *conv = &step->conv;
    const gan_kernels *kernels = worker->shared->kernels;
    const int64_t out_c = padded(conv->out.c, kernels), nr = kernels->nr;
    const float *bias = worker->shared->program->constants + step->constants + panel * nr;
    const int curved = step->act.kind == ACT_TANH || step->act.kind == ACT_SIGMOID;
    for (int64_t n = 0; n < block.count; n++) {
        const tile_place at = place_of(tiling, block.first + (uint64_t)n);
        const int32_t rows = (int32_t)conv->out.h - at.y < WINOGRAD_TILE ? (int32_t)conv->out.h - at.y : WINOGRAD_TILE,
                      columns = (int32_t)conv->out.w - at.x < WINOGRAD_TILE ? (int32_t)conv->out.w - at.x
                                                                            : WINOGRAD_TILE;
        float *to = value_at(worker, step->output, at.image) + ((int64_t)at.y * conv->out.w + at.x) * out_c +
                    panel * nr;
        kernels->winograd_out(products + n * POINTS * nr, bias, slopes, to, conv->out.w * out_c, out_c, rows, columns);
        for (int32_t i = 0; curved && i < rows; i++)
            kernels->bias_act(to + i * conv->out.w * out_c, out_c, worker->shared->zeros, to + i * conv->out.w * out_c,
                              out_c, columns, step->act);
    }
}

void gan_i_run_winograd(gan_worker *worker, const gan_step *step, const float *weights) {
    const gan_conv *conv = &step->conv;
    const gan_kernels *kernels = worker->shared->kernels;
    const uint32_t nr = (uint32_t)kernels->nr, panels = padded(conv->out.c, kernels) / nr;
    winograd_tiling tiling;
    gan_i_tile_winograd(conv, kernels, worker->images, worker->cursor.group->size, &tiling);
    const uint64_t tiles = (uint64_t)tiling.ty * tiling.tx * worker->images;
    float *v = worker->thread_scratch, *products = v + tiling.inputs, slopes[MAX_NR];
    for (uint32_t n = 0; n < nr; n++)
        slopes[n] = step->act.kind == ACT_RELU ? 0 : step->act.kind == ACT_LEAKY_RELU ? step->act.slope : 1;
    for (uint64_t n; gan_i_group_take(&worker->cursor, tiling.blocks, &n);) {
        const uint64_t first = n * tiling.block;
        const tile_block block = {first, (int64_t)(tiles - first < tiling.block ? tiles - first : tiling.block)};
        transform(worker, step, &tiling, block, v);
        for (uint32_t u = 0; u < panels; u += tiling.panel_group) {
            const uint32_t some = panels - u < tiling.panel_group ? panels - u : tiling.panel_group;
            multiply(worker, conv, block, v, weights + (uint64_t)u * POINTS * conv->in.c * nr, some, products);
            for (uint32_t i = 0; i < some; i++)
                restore(worker, step, &tiling, block, u + i,
                        products + (uint64_t)i * (uint64_t)block.count * POINTS * nr, slopes);
        }
    }
    gan_i_group_barrier(&worker->cursor);
}
