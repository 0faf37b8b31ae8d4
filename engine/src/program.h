/* The steps that compute a file's layers: activations are fused, reshapes become permuted weights, and nearest
 * upsampling is folded into the convolution that follows it. */
#ifndef GAN_PROGRAM_H
#define GAN_PROGRAM_H

#include <stdbool.h>

#include "kernels/kernels.h"
#include "operations.h"

/* A method's packed weights may be at most this many times the layer's weights, counted with padded outputs. This
 * bounds the memory that a file of a given size can ask for; methods that need more are never faster. */
enum {
    MAX_GROWTH = 16,
    MAX_WINOGRAD = 4096, /* channels in of a layer by Winograd, whose scratch grows with them */
    MAX_GROUP = 128, /* channels of a group that Winograd computes */
    GROUP_CHANNELS = 96, /* groups of this many channels, at least one group, are transformed together */
    GROUP_TILES = 16, /* the most tiles that are transformed together */
    MAX_SLICE = 1 << 14 /* pixels in a slice of a volume that a thread takes whole */
};

/* Every convolution, transposed or not, and every linear layer, one dimension at a time (depth, height, width; along
 * one that the layer doesn't have, the kernel is 1 and the padding 0, and only phase 0 and j = 0 have outputs):
 * input i meets output o = out_stride x j + phase - pad through kernel element k = out_stride x t + phase,
 * where i = in_stride x j - t (+ k - pad when in_stride > 1, where out_stride is 1 and o = j). */
typedef struct gan_conv {
    gan_shape in, out; /* h, w at least 1 */
    uint32_t kd, kh, kw;
    int32_t pad_z, pad_y, pad; /* `pad`: along the width, and along all that the layer has */
    uint32_t out_stride, in_stride;
    int pixel_bias; /* the bias differs by pixel: a linear layer whose output is an image */
    uint32_t upsampled; /* factor of the nearest upsampling folded in, 1 for none */
    int32_t layer_pad; /* of the convolution before the upsampling was folded in */
    uint32_t layer_kernel; /* likewise its side */
    int dims; /* of the kernel: 3, 2 or 1 */
    uint32_t int16; /* 1 << method for those with products of 16-bit numbers that the layer has ranges for */
} gan_conv;

/* What becomes of an image between a convolution of StyleGAN's and the next one, in one pass (program_style.c):
 * filtered, times a vector, plus a plane of noise, plus a vector, activated, clamped.  Each is NULL or 0 if it isn't
 * there. */
typedef struct gan_style {
    const gan_layer *filter, *plane, *bias; /* the plane's layer: stored noise, the strength of some that goes in, or a
                                               dropout's mask */
    uint32_t scale, shift, noise; /* which inputs of the step are the vectors, and the noise */
    int separable; /* the filter: one column times one row, the same for all channels */
    int grouped; /* whether the filter is a convolution in groups of several channels */
    int transformed; /* whether that is computed by Winograd */
    float low, high;
} gan_style;

typedef struct gan_step {
    const gan_layer *layer; /* whose weights are the step's */
    uint32_t n_inputs;
    const uint32_t *inputs; /* values; see `alias` */
    uint32_t own_inputs[3]; /* what `inputs` points to if the step joins layers */
    gan_style style;
    void (*run)(const struct gan_worker *worker, const struct gan_step *step,
                const struct gan_rows *r); /* NULL for a product */
    uint32_t output; /* a value */
    activation act;
    const gan_layer *prelu; /* the layer with the activation's slopes, if these differ by channel; otherwise NULL */
    gan_conv conv; /* of a product */
    float factor; /* of a sum: what its first input is multiplied by */
    const gan_layer *enlarged; /* of a sum: the UPSAMPLE layer that makes its first input as it is added, or NULL */
    /* If a product is the only reader of a concatenation: the values that are concatenated.  Most methods read them
     * instead of the concatenation (conv_reads_pieces).  Otherwise 0 and NULL. */
    uint32_t n_pieces;
    const uint32_t *pieces;
    uint32_t reader; /* of such a concatenation: the index of the product's step; otherwise 0 */
    uint32_t constants; /* offset in floats: a product's bias, then slopes; RUN_SCALED's factors, then summands */
} gan_step;

typedef struct gan_value {
    gan_shape shape;
    uint32_t alias; /* the value whose memory holds this one: itself, except for reshapes that move nothing */
    uint32_t wide; /* floats from one pixel to the next: its padded channels, unless program_layout.c says otherwise */
    uint64_t per_image; /* floats for one image: pixels x `wide`; 0 if it is never stored */
    uint64_t offset; /* floats from the start of the values' memory, for one image */
} gan_value;

/* The properties of the machine that plans depend on, queried once. */
typedef struct gan_machine {
    int fma_per_cycle;
    uint64_t cache; /* bytes of the last level */
    uint64_t memory; /* bytes that this process may use, UINT64_MAX if that is unknown */
    uint64_t weights; /* bytes of all weights in the file, which take turns in the cache */
} gan_machine;

typedef struct gan_program {
    gan_step *steps;
    uint32_t n_steps, n_values;
    gan_value *values;
    float *constants;
    uint64_t n_constants, values_per_image;
    uint64_t inner_per_image; /* values_per_image without the last value, if that is a volume, otherwise with it */
    uint64_t max_row_floats; /* `max_row_floats`: most floats in a row of pixels of any value */
    gan_machine machine;
} gan_program;

/* Where the constants of a step with a gan_style lie behind `step->constants`: the filter's first, then factors and
 * summands per channel, [channel padded], and the plane, [pixel]. */
typedef struct gan_styled {
    uint64_t scale, shift, plane, end;
} gan_styled;

gan_styled gan_i_styled_constants(const gan_program *program, const gan_kernels *kernels, const gan_step *step);
/* Floats of a row of pixels that a step computes in a thread's scratch memory. */
uint64_t gan_i_row_floats(const gan_program *program, const gan_step *step, const gan_kernels *kernels);

/* Floats that a thread needs for a convolution in groups (run_groups.c). */
uint64_t gan_i_groups_floats(const gan_program *program, const gan_step *step, const gan_kernels *kernels);
/* Whether Winograd's weights of two groups lie side by side in one panel. */
int gan_i_groups_pair(const gan_layer *filter, const gan_kernels *kernels);
uint64_t gan_i_attend_floats(const gan_program *program, const gan_kernels *kernels, const gan_step *step);

gan_machine gan_i_machine(const gan_kernels *kernels, uint64_t weights);
gan_status gan_i_program(const gan_file *file, const gan_kernels *kernels, gan_program *out);
void gan_i_program_free(gan_program *program);

static inline uint64_t round_up(uint64_t x, uint64_t to) { return (x + to - 1) / to * to; }
static inline uint32_t padded(uint32_t channels, const gan_kernels *kernels) {
    return (uint32_t)round_up(channels, (uint64_t)kernels->nr);
}
static inline int32_t floor_div(int32_t a, int32_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }
static inline int32_t ceil_div(int32_t a, int32_t b) { return -floor_div(-a, b); }

#endif
