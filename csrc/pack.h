/* The weights of a convolution in the orders that the ways to compute it want. */
#ifndef GAN_PACK_H
#define GAN_PACK_H

#include "schedule.h"

/* The ways to compute a convolution.  DIRECT takes every geometry; FOLD multiplies each input pixel with all
 * kernel elements of a few output channels and adds the products up; TOOM_n transforms tiles to n x n points. */
typedef enum form { FORM_DIRECT, FORM_FOLD, FORM_TOOM3, FORM_TOOM4, FORM_TOOM5, FORM_COUNT } form;

static inline int form_points(form f) { return f >= FORM_TOOM3 ? (int)f - (int)FORM_TOOM3 + 3 : 0; }

/* Kernel elements that meet one output phase, along one dimension, at most. */
static inline uint32_t conv_taps(const conv *c, uint32_t k) { return (k + c->out_stride - 1) / c->out_stride; }

/* Those of phase `phase` exactly: elements out_stride x t + phase < k. */
static inline uint32_t phase_taps(const conv *c, uint32_t k, uint32_t phase) {
    return phase < k ? (k - phase + c->out_stride - 1) / c->out_stride : 0;
}

/* The largest error of each form, over the standard deviation of its outputs, for inputs and weights that are drawn from
 * a standard normal distribution: docs/FORMAT.md, "Error budget".  tests/checklayers.c holds every table of kernels to it. */
extern const float GAN_I_FORM_ERRORS[FORM_COUNT];
/* Whether a form is within a file's budget; 0: any is. */
static inline int form_is_within(form f, float budget) { return !(budget > 0) || f <= FORM_FOLD || GAN_I_FORM_ERRORS[f] <= budget; }
/* The budget of a file of version 2 that allows transforms of `points` points a side. */
float gan_i_error_of_points(uint32_t points);

int gan_i_form_fits(const conv *c, form f);
/* Floats that the packed weights take; at most MAX_GROWTH times those of the file's, with the outputs padded. */
uint64_t gan_i_form_floats(const conv *c, form f, const gan_kernels *k);

/* Pack a step's weights:
 *   DIRECT  [phase y][phase x][panel][tap y][tap x][in][nr]
 *   FOLD    [panel of (ky, kx, out) flattened][in][nr]
 *   TOOM_n  [phase y][phase x][panel][point y, point x][in][nr]
 * `dense` is scratch of gan_i_pack_scratch floats.  Rounded once, from double, where weights are combined. */
uint64_t gan_i_pack_scratch(const conv *c, form f, const gan_kernels *k);
void gan_i_pack(const step *st, form f, const gan_kernels *k, float *dense, float *to);

#endif
