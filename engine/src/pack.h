/* The weights of a convolution in the orders that the ways to compute it want. */
#ifndef GAN_PACK_H
#define GAN_PACK_H

#include "schedule.h"

/* The ways to compute a convolution.  DIRECT takes every geometry; FOLD multiplies each input pixel with all
 * kernel elements of a few output channels and adds the products up; TOOM_n transforms tiles to n x n points. */
typedef enum method { METHOD_DIRECT, METHOD_FOLD, METHOD_TOOM3, METHOD_TOOM4, METHOD_TOOM5, METHOD_COUNT } method;

static inline int method_points(method f) { return f >= METHOD_TOOM3 ? (int)f - (int)METHOD_TOOM3 + 3 : 0; }

/* Kernel elements that meet one output phase, along one dimension, at most. */
static inline uint32_t conv_taps(const conv *c, uint32_t k) { return (k + c->out_stride - 1) / c->out_stride; }

/* Those of phase `phase` exactly: elements out_stride x t + phase < k. */
static inline uint32_t phase_taps(const conv *c, uint32_t k, uint32_t phase) {
    return phase < k ? (k - phase + c->out_stride - 1) / c->out_stride : 0;
}

/* The largest error of each method, over the standard deviation of its outputs, for inputs and weights that are drawn from
 * a standard normal distribution: docs/gan-file-format.md, "Error budget".  tests/checklayers.c holds every table of kernels to it. */
extern const float GAN_I_METHOD_ERRORS[METHOD_COUNT];
/* Whether a method is within a file's budget; 0: any is. */
static inline int method_is_within(method f, float budget) { return !(budget > 0) || f <= METHOD_FOLD || GAN_I_METHOD_ERRORS[f] <= budget; }
/* The budget of a file of version 2 that allows transforms of `points` points a side. */
float gan_i_error_of_points(uint32_t points);

int gan_i_method_fits(const conv *c, method f);
/* Floats that the packed weights take; at most MAX_GROWTH times those of the file's, with the outputs padded. */
uint64_t gan_i_method_floats(const conv *c, method f, const gan_kernels *k);

/* Pack a step's weights:
 *   DIRECT  [phase y][phase x][panel][tap y][tap x][in][nr]
 *   FOLD    [panel of (ky, kx, out) flattened][in][nr]
 *   TOOM_n  [phase y][phase x][panel][point y, point x][in][nr]
 * `dense` is scratch of gan_i_pack_scratch floats.  Rounded once, from double, where weights are combined. */
uint64_t gan_i_pack_scratch(const conv *c, method f, const gan_kernels *k);
void gan_i_pack(const step *st, method f, const gan_kernels *k, float *dense, float *to);

#endif
