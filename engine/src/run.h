/* Generate one chunk of images: all members of a group compute each step, with a barrier between phases. */
#ifndef GAN_RUN_H
#define GAN_RUN_H

#include "arguments.h"
#include "pixels.h"
#include "plan.h"
#include "pool.h"

/* What every chunk of a call shares; read only. */
typedef struct gan_shared {
    const gan_program *program;
    const gan_kernels *kernels;
    const gan_method *methods;           /* by step */
    const float *const *packed;  /* by step: the weights in that method */
    const float *table;          /* the prior's LATENT_TABLE values */
    const float *zeros;          /* as many as any value has channels */
    const gan_request *request; /* of latents, or NULL */
    const gan_pixels *in;       /* the images that go in, or NULL */
    gan_pixels out;
    uint64_t base; /* the request's image that is the first of this round, and of `out` */
    uint32_t nz, classes, scalars;
    uint64_t noise; /* numbers of it for an image */
    atomic_int *bad_label; /* set if a label of the caller's is not one of the model's classes */
} gan_shared;

/* A member's view of its group's chunk. */
typedef struct gan_worker {
    const gan_shared *shared;
    gan_cursor cursor;
    float *values, *transformed, *thread_scratch; /* the first two are the group's */
    int64_t *labels;
    uint64_t first; /* of the chunk, counted from the round's first image */
    uint32_t images;
} gan_worker;

/* Rows y0 .. y1-1 of an image. */
typedef struct gan_rows {
    uint32_t image, y0, y1;
} gan_rows;

/* Called by every member of the group: write the chunk's latents and labels, then run each step. */
void gan_i_run_chunk(gan_worker *worker);
void gan_i_begin_chunk(gan_worker *worker);
/* The last step also writes the output. */
void gan_i_run_step(gan_worker *worker, uint32_t index);

/* The next share of the rows of a value, whole groups of `each` rows; 0 when there is none left.  Then a barrier. */
int gan_i_take_rows(gan_worker *worker, uint32_t v, uint32_t each, gan_rows *r);
/* Pixels of a chunk's outputs, counted through its images. */
typedef struct gan_pixel_range {
    uint64_t first;
    int64_t count;
} gan_pixel_range;
/* The next block of a convolution's pixels, `most` or, so that every member has work, fewer; 0 when there is none left. */
int gan_i_take_pixels(gan_worker *worker, const gan_conv *conv, uint64_t most, gan_pixel_range *r);
/* Rows of a convolution in groups; by Winograd whole tiles.  `bias`, of each channel: NULL, unless the step's bias and
 * activation are to be applied too. */
void gan_i_run_groups(const gan_worker *worker, const gan_step *step, const gan_rows *r, const float *bias);
/* Whether it can apply them. */
int gan_i_groups_finish(const gan_step *step);

/* Some rows of a step whose inputs have its output's shape, as `count` runs of `n` floats for a kernel: one run for
 * all, or one per pixel if the values are padded differently. */
typedef struct gan_pixel_runs {
    const float *from[2];
    uint64_t from_step[2];
    float *to;
    uint64_t to_step, count;
    ptrdiff_t n;
} gan_pixel_runs;

gan_pixel_runs gan_i_pixel_runs(const gan_worker *worker, const gan_step *step, const gan_rows *r);

/* The parts, one a file. */
void gan_i_run_moments(gan_worker *worker, const gan_step *step);
void gan_i_run_direct(gan_worker *worker, const gan_step *step, const float *weights);
void gan_i_run_direct_int16(gan_worker *worker, const gan_step *step, const float *packed);
void gan_i_run_toom(gan_worker *worker, const gan_step *step, gan_method method, const float *weights);
/* The same of a volume; gan_i_run_toom calls it. */
void gan_i_run_toom_volume(gan_worker *worker, const gan_step *step, gan_method method, const float *weights);
/* Rows of inputs as gemm_packed takes them, in floats or in 16 bits: [register tile][block of 16 channels][row][16], in
 * tiles that differ by one row at most, the longer ones first (next_part). */
typedef struct gan_packed_rows {
    const float *floats;
    const int16_t *int16; /* NULL: floats */
    int64_t count, channels;
} gan_packed_rows;
/* A panel of weights, [channel][nr], or in 16 bits [channel / 2][nr][2] with the scale of each output; later columns than
 * `columns` may be anything. */
typedef struct gan_panel {
    const float *floats;
    const int16_t *int16;
    const float *scale;
    int columns;
} gan_panel;
/* sums[row x step + column] (+)= the rows times the panel. */
void gan_i_multiply_packed(const gan_kernels *kernels, const gan_packed_rows *rows, const gan_panel *panel, float *sums,
                           int64_t step, int accumulate);

/* For the steps of the direct method that gan_i_blocks_fit, or in 16 bits gan_i_blocks_fit_int16; the functions above
 * call them. */
void gan_i_run_blocks(gan_worker *worker, const gan_step *step, const float *weights);
void gan_i_run_blocks_int16(gan_worker *worker, const gan_step *step, const float *weights);
void gan_i_run_winograd(gan_worker *worker, const gan_step *step, gan_method method, const float *weights);
void gan_i_run_strassen(gan_worker *worker, const gan_step *step, const float *weights);
void gan_i_run_fold(gan_worker *worker, const gan_step *step, gan_method method, const float *packed, int last);

/* Where value `v` of the chunk's image `image` lies, [pixel][channels padded]. */
static inline float *value_at(const gan_worker *worker, uint32_t v, uint32_t image) {
    const gan_value *to = &worker->shared->program->values[worker->shared->program->values[v].alias];
    return worker->values + to->offset * worker->images + to->per_image * image;
}

/* Floats from one pixel of a value to the next. */
static inline uint64_t wide_of(const gan_worker *worker, uint32_t v) { return worker->shared->program->values[v].wide; }

/* The values that a product reads side by side: its input, or what is concatenated to it (gan_step.pieces). */
static inline uint32_t step_pieces(const gan_step *step) { return step->n_pieces ? step->n_pieces : 1; }
static inline uint32_t step_piece(const gan_step *step, uint32_t m) {
    return step->n_pieces ? step->pieces[m] : step->inputs[0];
}

/* The row (or column) that stands at `i` of an image of `n`, beyond its edges by padding; -1 for zeros. */
static inline int64_t source_of(int64_t i, int64_t n, pad_mode mode) {
    if (i >= 0 && i < n) return i;
    if (mode == PAD_ZEROS) return -1;
    if (mode == PAD_REPLICATE) return i < 0 ? 0 : n - 1;
    return i < 0 ? -i : 2 * (n - 1) - i;
}

/* The packed weights of a transformed method, as they are multiplied: floats, or 16-bit numbers with the scales of
 * inputs and products. */
typedef struct packed_units {
    const float *floats, *in_scales, *scales;
    const int16_t *int16;
} packed_units;

static inline packed_units packed_units_of(const gan_conv *conv, gan_method method, const gan_kernels *kernels,
                                           const float *packed) {
    const int16_parts parts = gan_i_int16_parts(conv, method, kernels);
    const int narrow = method_is_int16(method);
    return (packed_units){packed, packed, packed + (narrow ? parts.scales : 0),
                          (const int16_t *)(const void *)(packed + (narrow ? parts.weights : 0))};
}

/* The channels in panel `panel` of `channels`. */
static inline int panel_columns(uint32_t channels, int64_t panel, const gan_kernels *kernels) {
    const int64_t left = channels - panel * kernels->nr;
    return left < kernels->nr ? (int)left : kernels->nr;
}

/* Some pixels of an image. */
typedef struct rectangle {
    int32_t y0, y1, x0, x1; /* half open */
} rectangle;

/* Weights are multiplied in slices: 128 x 16 floats stay in the first-level cache beside the inputs, and sums that
 * start from zero four times in 512 channels keep half the rounding error of one long sum, for 2 % of the time. */
enum {
    SLICE = 128,
    LINE = 16 /* floats of a cache line */
};

/* Functions that only prefetch must be inlined, with their callers: GCC considers them to have no effect and removes
 * calls of them. */
#define EXPANDED static inline __attribute__((always_inline))

/* Prefetch `rows` rows of `floats` floats each, `row` floats apart, into the second-level cache.  The processor itself
 * prefetches consecutive addresses, but not short pieces of many rows. */
EXPANDED void fetch_to_read(const float *from, int64_t rows, int64_t row, int64_t floats) {
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < floats; j += LINE) __builtin_prefetch(from + i * row + j, 0, 2);
}

EXPANDED void fetch_to_write(const float *to, int64_t rows, int64_t row, int64_t floats) {
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < floats; j += LINE) __builtin_prefetch(to + i * row + j, 1, 2);
}

/* How the tiles that a transform multiplies together are cut into register tiles: they differ by one tile at most, the
 * longer ones first.  A short tile would request its share of the next weights faster than memory delivers them.  `longer`: the
 * tiles in the longer ones.  Toom-Cook's inputs of a register tile are [block of 16 channels][point][tile][16]. */
typedef struct register_tiles {
    int64_t shorter, longer;
} register_tiles;

static inline register_tiles cut_tiles(int64_t tiles, const gan_kernels *kernels) {
    const int64_t parts = (tiles + kernels->mr - 1) / kernels->mr, shorter = tiles / parts;
    return (register_tiles){shorter, tiles % parts * (shorter + 1)};
}

/* The tiles in the register tile that tile `at` is in. */
static inline int64_t tiles_with(register_tiles cut, int64_t at) { return cut.shorter + (at < cut.longer); }

/* The first tile of that register tile. */
static inline int64_t first_with(register_tiles cut, int64_t at) {
    return at - (at < cut.longer ? at : at - cut.longer) % tiles_with(cut, at);
}

/* Split `left` rows into `tiles` parts that differ by one at most: the next part. */
static inline int next_part(int64_t left, int64_t tiles) { return (int)((left + tiles - 1) / tiles); }

/* gemm's argument if `tiles` register tiles prefetch the next weights together: the quarters of them that each takes. */
static inline int prefetch_quarters(int64_t tiles) { return tiles < 2 ? 4 : tiles < 4 ? 2 : 1; }

#endif
