/* The weights of a convolution, in the order that each method reads them. */
#ifndef GAN_PACK_H
#define GAN_PACK_H

#include "program.h"

/* The methods to compute a convolution. DIRECT applies to every geometry; FOLD, for few output channels, multiplies
 * each input pixel with all kernel elements and adds up the products; STRASSEN, for 1 x 1 kernels, multiplies sums of
 * halves of the pixels and channels; TOOM_n transforms tiles to n x n points, and
 * WINOGRAD those of 3 x 3 kernels to 6 x 6, each with the pixels around it; with stride 2, those of 3 x 3 and 4 x 4
 * kernels, to 5 x 5, or for images of few tiles (SMALL) to 3 x 3.  Those with INT16 multiply 16-bit numbers. */
typedef enum gan_method {
    METHOD_DIRECT,
    METHOD_FOLD,
    METHOD_STRASSEN,
    METHOD_TOOM3,
    METHOD_TOOM4,
    METHOD_TOOM5,
    METHOD_WINOGRAD,
    METHOD_WINOGRAD_SMALL,
    METHOD_TOOM3_INT16,
    METHOD_TOOM5_INT16,
    METHOD_WINOGRAD_INT16,
    METHOD_DIRECT_INT16,
    METHOD_FOLD_INT16,
    METHOD_WINOGRAD_SMALL_INT16,
    METHOD_TOOM4_INT16, /* for 3 taps only: each value at a point is then one input, or a sum or difference of two */
    METHOD_COUNT
} gan_method;

/* What gan_step_info calls them; those with 16-bit numbers end with /16, which that leaves out. */
extern const char *const GAN_I_METHOD_NAMES[METHOD_COUNT];

static inline int method_is_int16(gan_method method) { return method >= METHOD_TOOM3_INT16; }
/* The same method with products of floats. */
static inline gan_method method_in_floats(gan_method method) {
    return method == METHOD_TOOM3_INT16            ? METHOD_TOOM3
           : method == METHOD_TOOM4_INT16          ? METHOD_TOOM4
           : method == METHOD_TOOM5_INT16          ? METHOD_TOOM5
           : method == METHOD_WINOGRAD_INT16       ? METHOD_WINOGRAD
           : method == METHOD_DIRECT_INT16         ? METHOD_DIRECT
           : method == METHOD_FOLD_INT16           ? METHOD_FOLD
           : method == METHOD_WINOGRAD_SMALL_INT16 ? METHOD_WINOGRAD_SMALL
                                                   : method;
}
static inline int method_points(gan_method method) {
    const gan_method like = method_in_floats(method);
    if (like == METHOD_WINOGRAD_SMALL) return WINOGRAD_SMALL;
    return like >= METHOD_TOOM3 ? (int)like - (int)METHOD_TOOM3 + 3 : 0;
}
static inline int method_is_fold(gan_method method) { return method_in_floats(method) == METHOD_FOLD; }
static inline int method_is_winograd(gan_method method) {
    const gan_method like = method_in_floats(method);
    return like == METHOD_WINOGRAD || like == METHOD_WINOGRAD_SMALL;
}
/* Points per side of a convolution's tiles; 0 without a transform. */
static inline int conv_points(const gan_conv *conv, gan_method method) {
    const int points = method_points(method);
    return points == WINOGRAD && conv->in_stride == 2 ? (int)WINOGRAD_HALVED : points;
}
/* Whether a method reads the values that are concatenated instead of a concatenation. */
static inline int conv_reads_pieces(const gan_conv *conv, gan_method method) {
    return method_is_fold(method) || method_is_winograd(method) || (method_points(method) && conv->dims == 2);
}
/* Slices of inputs that Winograd adds up: those of the kernel's depth; or with stride 2 four, the pixels of even and odd
 * rows and columns, which different elements of the kernel multiply. */
static inline uint32_t winograd_slices(const gan_conv *conv) { return conv->in_stride == 2 ? 4 : conv->kd; }

/* Channels that a method multiplies: all, to a multiple of 16 if they are 16-bit numbers. */
static inline uint64_t method_channels(uint32_t channels, gan_method method) {
    return method_is_int16(method) ? round_up(channels, KBLOCK) : channels;
}

/* The largest number of kernel elements, along one dimension, that contribute to one output phase. */
static inline uint32_t conv_taps(const gan_conv *conv, uint32_t k) {
    return (k + conv->out_stride - 1) / conv->out_stride;
}

/* The exact number for phase `phase`: elements out_stride x t + phase < k. */
static inline uint32_t phase_taps(const gan_conv *conv, uint32_t k, uint32_t phase) {
    return phase < k ? (k - phase + conv->out_stride - 1) / conv->out_stride : 0;
}

/* The largest error of each method, over the standard deviation of its outputs, for inputs and weights that come from
 * a standard normal distribution: docs/gan-file-format.md, "Error budget".  tests/check_layers.c holds every table of
 * kernels to it. */
extern const float GAN_I_METHOD_ERRORS[METHOD_COUNT];
/* Whether each output is the sum of its own products alone. */
static inline int method_is_plain(gan_method method) { return method == METHOD_DIRECT || method == METHOD_FOLD; }
/* Whether a method is within a file's budget; 0: any is. */
static inline int method_is_within(gan_method method, float budget) {
    return !(budget > 0) || method_is_plain(method) || GAN_I_METHOD_ERRORS[method] <= budget;
}
/* The budget of a file of version 2 that allows transforms of `points` points per side. */
float gan_i_error_of_points(uint32_t points);

/* The kernel's elements. */
static inline uint64_t conv_elements(const gan_conv *conv) { return (uint64_t)conv->kd * conv->kh * conv->kw; }

/* The columns of fold's products: every element of the kernel for every output channel. */
static inline uint64_t fold_columns(const gan_conv *conv) { return conv_elements(conv) * conv->out.c; }

/* One level of Strassen's algorithm: the product of inputs and weights, each cut into quarters, is seven products of
 * sums of quarters instead of eight.  Quarters are counted by halves: of inputs [pixels][channels in], of weights
 * [channels in][channels out], of outputs [pixels][channels out]. */
enum { STRASSEN_PRODUCTS = 7, STRASSEN_PARTS = 4 };
typedef struct strassen_product {
    signed char inputs[STRASSEN_PARTS], weights[STRASSEN_PARTS]; /* how often a quarter is in the sum */
    signed char to; /* the quarter of the outputs that it is written to, or -1 */
    signed char is_added; /* whether it is added to that one */
    signed char others[STRASSEN_PARTS]; /* how often it is then added to the other quarters */
    signed char last; /* the quarter that is then complete, or -1 */
} strassen_product;
extern const strassen_product GAN_I_STRASSEN[STRASSEN_PRODUCTS];

/* Whether the direct method copies the pixels under the kernel side by side first, since they have few channels. */
static inline int conv_is_gathered(const gan_conv *conv) { return conv->in.c < KBLOCK; }

/* The sets of 16-bit weights of a phase's panel: one for each point, or of the direct method each tap of the phase that
 * has most; one if a product takes all taps. */
static inline uint64_t int16_sets(const gan_conv *conv, gan_method method) {
    if (method_is_fold(method) || (method == METHOD_DIRECT_INT16 && conv_is_gathered(conv))) return 1;
    const uint64_t points = (uint64_t)conv_points(conv, method);
    return points ? points * points : conv->kd * conv_taps(conv, conv->kh) * (uint64_t)conv_taps(conv, conv->kw);
}

/* The inputs that a set multiplies, of each slice. */
static inline uint64_t int16_inputs(const gan_conv *conv, gan_method method) {
    return conv->in.c * (method == METHOD_DIRECT_INT16 && conv_is_gathered(conv) ? conv_elements(conv) : 1);
}

/* Taps of the phases before `phase`: elements of the kernel. */
static inline uint32_t taps_before(const gan_conv *conv, uint32_t k, uint32_t phase) {
    uint32_t taps = 0;
    for (uint32_t p = 0; p < phase; p++) taps += phase_taps(conv, k, p);
    return taps;
}

/* The weights of a 3 x 3 kernel at Winograd's points. */
void gan_i_winograd_weights(const float kernel[9], float values[WINOGRAD * WINOGRAD]);
int gan_i_method_fits(const gan_conv *conv, gan_method method);
/* Floats that the packed weights take; at most MAX_GROWTH times those of the file's, with the outputs padded. */
uint64_t gan_i_method_floats(const gan_conv *conv, gan_method method, const gan_kernels *kernels);

/* Where the parts of a method's packed weights in 16 bits lie, in floats. */
typedef struct int16_parts {
    uint64_t scales; /* of the products, [phase][panel][set][nr]; those of the inputs, by set, are at 0 */
    uint64_t weights; /* int16_t */
} int16_parts;
int16_parts gan_i_int16_parts(const gan_conv *conv, gan_method method, const gan_kernels *kernels);
/* The methods with products of 16-bit numbers that a step's ranges allow, as gan_conv.int16 has them. */
uint32_t gan_i_int16_methods(const gan_step *step);
/* What inputs of set p are multiplied with to be 16-bit numbers. */
float gan_i_int16_scale(const gan_step *step, gan_method method, int p);
/* `points` sets of weights, panel[point][slice][in][nr], as 16-bit numbers to[point][slice][in padded / 2][nr][2] and
 * what whole sums of their products with inputs are multiplied with, scale[point][nr]. */
void gan_i_to_int16(const float *panel, int points, uint64_t slices, uint64_t in, uint64_t nr, const float *in_scale,
                    float *scale, int16_t *to);

uint64_t gan_i_pack_scratch(const gan_conv *conv, gan_method method, const gan_kernels *kernels);
/* Pack a step's weights:
 *   DIRECT  [phase z][phase y][phase x][panel][tap z][tap y][tap x][in][nr]
 *   FOLD    [panel of (kz, ky, kx, out) flattened][in][nr]
 *   STRASSEN  [product][panel of half the outputs][half of the inputs][nr]
 *   TOOM_n, WINOGRAD  [phase z][phase y][phase x][panel][point y, point x][tap z, or slice][in][nr]
 * and for those with INT16, [in / 2][nr][2] of each, behind floats (int16_parts); a set is a point, a tap or,
 * if one product takes all taps (int16_sets), the whole kernel.
 * `dense` is scratch of gan_i_pack_scratch floats.  Rounded once, from double, where weights are combined. */
void gan_i_pack(const gan_step *step, gan_method method, const gan_kernels *kernels, float *dense, float *to);

#endif
