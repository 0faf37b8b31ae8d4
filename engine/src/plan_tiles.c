/* How transformed convolutions are cut into tiles that are multiplied together: docs/engine.md says what each constant
 * means and what raising it does. */
#include "plan.h"

enum {
    /* For each row of the register tile, so that tiles are about as full and as many on every processor. */
    /* Bytes of transformed inputs per thread: all panels read them again, from the last-level cache.  Raising it makes
     * longer passes, which read the weights less often and evict more. */
    V_BYTES = 320000,
    /* Tiles, in whole register tiles, that share a read of a point's weights; in 16 bits, of which more fit in a cache,
     * register tiles.  Raising them reads weights less often; inputs and products must stay in the second-level cache. */
    BLOCK_ROWS = 64,
    INT16_BLOCK = 11,
    /* Bytes of products of a group of panels: half a second-level cache at 14 rows.  Raising it makes larger groups,
     * which read a point's inputs less often. */
    PRODUCT_BYTES = 43700,
    MOST_PANELS = 4, /* of a group */
    /* Bytes of a block's transformed inputs for Winograd, and register tiles in it.  Raising them reads weights less
     * often; inputs and products must leave most of the second-level cache to weights and images. */
    WINOGRAD_BYTES = 150000,
    WINOGRAD_LEAST = 2,
    WINOGRAD_MOST = 16,
    WINOGRAD_APART = 48 /* floats at most between the inputs of two points, run_winograd.c */
};

/* The most tiles that are multiplied together. */
static uint32_t block_rows(const gan_kernels *kernels, int int16) {
    const uint32_t mr = (uint32_t)kernels->mr;
    return int16 ? INT16_BLOCK * mr : BLOCK_ROWS / mr * mr;
}

/* The rest of gan_i_tile for a volume: all slices of a pass's images are transformed, and `block` slices of outputs are
 * multiplied together, each with those of the inputs that the kernel's slices reach. */
static void tile_slices(const gan_conv *conv, const gan_kernels *kernels, uint32_t chunk, gan_tiling *tiling) {
    const uint32_t most = block_rows(kernels, 0), tiles = tiling->ty * tiling->tx;
    const uint32_t together = most / tiles ? most / tiles : 1; /* images whose slices side by side fill a block */
    tiling->max_pass_images = tiling->max_pass_images < together ? tiling->max_pass_images : together;
    const uint32_t passes = (chunk + tiling->max_pass_images - 1) / tiling->max_pass_images;
    tiling->pass_images = (chunk + passes - 1) / passes;
    const uint32_t slice = tiles * tiling->pass_images, fit = most / slice ? most / slice : 1;
    const uint32_t slices = (shape_depth(conv->out) + conv->out_stride - 1) / conv->out_stride,
                   blocks = (slices + fit - 1) / fit;
    tiling->block = (slices + blocks - 1) / blocks;
    const uint64_t tile = (uint64_t)(tiling->side * tiling->side * kernels->nr) * sizeof(float);
    const uint64_t products = (uint64_t)PRODUCT_BYTES * (uint64_t)kernels->mr,
                   largest = tile * (tiles * tiling->max_pass_images > most ? tiles * tiling->max_pass_images : most),
                   fitting = products / (tile * slice * tiling->block);
    tiling->thread_scratch = (largest > products ? largest : products) / sizeof(float) +
                             MOST_PANELS * (uint64_t)tiling->side * tiling->width * (uint64_t)kernels->nr;
    tiling->panel_group = fitting < 1 ? 1 : fitting < MOST_PANELS ? (uint32_t)fitting : MOST_PANELS;
}

void gan_i_tile(const gan_conv *conv, gan_method method, const gan_kernels *kernels, uint32_t chunk, int members,
                gan_tiling *tiling) {
    const uint32_t taps = conv_taps(conv, conv->kh);
    tiling->side = method_points(method);
    tiling->tile_side = tiling->side + 1 - (int)taps;
    const uint32_t tile = (uint32_t)tiling->tile_side;
    tiling->ty = (conv->in.h + tile - 1) / tile;
    tiling->tx = (conv->in.w + tile - 1) / tile;
    tiling->width = tiling->tx * tile + taps - 1;
    tiling->int16 = method_is_int16(method);
    tiling->channels = method_channels(conv->in.c, method);
    tiling->tile_values = round_up(conv->in.c, KBLOCK) * (uint64_t)(tiling->side * tiling->side);
    const uint64_t image = tiling->tile_values * tiling->ty * tiling->tx * shape_depth(conv->in) *
                           (tiling->int16 ? sizeof(int16_t) : sizeof(float));
    const uint64_t fit = (uint64_t)V_BYTES * (uint64_t)kernels->mr * (uint64_t)members / image;
    tiling->max_pass_images = fit < 1 ? 1 : fit < chunk ? (uint32_t)fit : chunk;
    if (conv->dims > 2) {
        tile_slices(conv, kernels, chunk, tiling);
        return;
    }
    /* equal passes rather than a short last one */
    const uint32_t passes = (chunk + tiling->max_pass_images - 1) / tiling->max_pass_images;
    tiling->pass_images = (chunk + passes - 1) / passes;
    const uint32_t rows = tiling->pass_images * tiling->ty, most = block_rows(kernels, tiling->int16) / tiling->tx,
                   block = most ? most : 1;
    const uint32_t blocks = (rows + block - 1) / block;
    tiling->block = (rows + blocks - 1) / blocks;
    const uint64_t row_bytes = (uint64_t)tiling->tx * (uint64_t)(tiling->side * tiling->side * kernels->nr) *
                               sizeof(float);
    const uint64_t products = (uint64_t)PRODUCT_BYTES * (uint64_t)kernels->mr,
                   fitting = products / (tiling->block * row_bytes);
    const uint64_t single = block * row_bytes;
    tiling->thread_scratch = (single > products ? single : products) / sizeof(float) +
                             MOST_PANELS * (uint64_t)tiling->side * tiling->width * (uint64_t)kernels->nr;
    const uint32_t panels = padded(conv->out.c, kernels) / (uint32_t)kernels->nr * conv->out_stride * conv->out_stride;
    tiling->panel_group = fitting < 1 ? 1 : fitting < MOST_PANELS ? (uint32_t)fitting : MOST_PANELS;
    while (tiling->panel_group > 1 && panels / tiling->panel_group < 4 * (uint32_t)members)
        tiling->panel_group--; /* work for every member */
}

/* The number of blocks: fewer, so that every member has equally many, if a block then has `limit` tiles at most. */
static uint64_t whole_rounds(uint64_t blocks, uint64_t tiles, uint64_t members, uint64_t limit) {
    const uint64_t fewer = blocks - blocks % members;
    return fewer && blocks < 4 * members && (tiles + fewer - 1) / fewer <= limit ? fewer : blocks;
}

/* In how many parts blocks are multiplied so that all members have equally many.  Each part transforms its block's inputs
 * again. */
static uint32_t parts_of_blocks(uint32_t blocks, uint32_t panels, uint32_t members) {
    uint32_t parts = 1;
    while (blocks < 4 * members && blocks * parts % members && parts < panels) parts++;
    return parts;
}

void gan_i_tile_winograd(const gan_conv *conv, gan_method method, const gan_kernels *kernels, uint32_t chunk,
                         int members, winograd_tiling *out) {
    out->int16 = method_is_int16(method);
    out->side = conv_points(conv, method);
    out->tile = winograd_tile(out->side);
    out->slices = winograd_slices(conv);
    /* floats of a transformed tile */
    const uint64_t mr = (uint64_t)kernels->mr, points = (uint64_t)(out->side * out->side),
                   tile = points * round_up(conv->in.c, KBLOCK) * out->slices / (out->int16 ? 2 : 1);
    const uint64_t fit = WINOGRAD_BYTES / sizeof(float) / tile / mr;
    const uint64_t full = fit < WINOGRAD_LEAST ? WINOGRAD_LEAST : fit > WINOGRAD_MOST ? WINOGRAD_MOST : fit;
    const uint64_t most = full * mr, limit = most + mr / 2;
    out->ty = (conv->out.h + (uint32_t)out->tile - 1) / (uint32_t)out->tile;
    out->tx = (conv->out.w + (uint32_t)out->tile - 1) / (uint32_t)out->tile;
    const uint64_t tiles = (uint64_t)out->ty * out->tx * shape_depth(conv->out) * chunk;
    /* work for every member, in equal blocks rather than a short last one */
    const uint64_t share = members > 1 ? (tiles + 2 * (uint64_t)members - 1) / (2 * (uint64_t)members) : tiles;
    const uint64_t wanted = share < 2 * mr ? 2 * mr : share, block = wanted < most ? wanted : most;
    const uint64_t blocks = whole_rounds((tiles + block - 1) / block, tiles, (uint64_t)members, limit);
    out->block = (uint32_t)((tiles + blocks - 1) / blocks);
    out->blocks = (uint32_t)((tiles + out->block - 1) / out->block);
    out->parts = parts_of_blocks(out->blocks, padded(conv->out.c, kernels) / (uint32_t)kernels->nr, (uint32_t)members);
    out->inputs = tile * limit + points * WINOGRAD_APART;
    out->thread_scratch = out->inputs + limit * points * (uint64_t)kernels->nr;
}
