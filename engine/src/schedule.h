/* A file's layers as the steps that are run: activations fused, reshapes turned into permuted weights,
 * nearest upsampling folded into the convolution behind it. */
#ifndef GAN_SCHEDULE_H
#define GAN_SCHEDULE_H

#include <stdbool.h>

#include "kernels/kernels.h"
#include "operations.h"

/* Packed weights are at most so many times as many as the layer has, counted with padded outputs: what a file of a given
 * size can ask for is bounded, and what a method needs more than that for never pays. */
enum { MAX_GROWTH = 16 };

/* Every convolution, transposed or not, and every linear layer, one dimension at a time:
 * input i meets output o = out_stride x j + phase - pad through kernel element k = out_stride x t + phase,
 * where i = in_stride x j - t (+ k - pad when in_stride > 1, where out_stride is 1 and o = j). */
typedef struct conv {
    shape in, out; /* h, w at least 1 */
    uint32_t kh, kw;
    int32_t pad;
    uint32_t out_stride, in_stride;
    int pixel_bias;     /* the bias differs by pixel: a linear layer that makes a picture */
    uint32_t upsampled; /* factor of the nearest upsampling folded in, 1 for none */
    int32_t layer_pad;  /* of the convolution before the upsampling was folded in */
    uint32_t layer_kernel; /* likewise its side */
} conv;

typedef struct step {
    const layer *layer; /* whose weights are the step's */
    uint32_t n_inputs;
    const uint32_t *inputs; /* values; see `alias` */
    void (*run)(const struct worker *w, const struct step *st, const struct rows *r); /* NULL for a product */
    uint32_t output; /* a value */
    activation act;
    conv conv;          /* of a product */
    uint32_t constants; /* of a product: the offset of its bias; of RUN_SCALED: of its factors, then summands; in floats */
} step;

typedef struct value {
    shape shape;
    uint32_t alias;     /* the value in whose memory this one lies: itself but for reshapes that move nothing */
    uint64_t per_image; /* floats for one picture: pixels x padded channels; 0 where never stored */
    uint64_t offset;    /* floats from the start of the values' memory, for one picture */
} value;

/* What plans depend on of the machine, asked for once. */
typedef struct machine {
    int fma_per_cycle;
    uint64_t cache;  /* bytes of the last level */
    uint64_t memory; /* bytes that this process may use, UINT64_MAX if that is unknown */
} machine;

typedef struct schedule {
    step *steps;
    uint32_t n_steps, n_values;
    value *values;
    float *constants;
    uint64_t n_constants, values_per_image, max_row_floats; /* `max_row_floats`: most floats in a row of pixels of any value */
    machine machine;
} schedule;

machine gan_i_machine(const gan_kernels *k);
gan_status gan_i_schedule(const file *f, const gan_kernels *k, schedule *out);
void gan_i_schedule_free(schedule *s);

static inline uint64_t round_up(uint64_t x, uint64_t to) { return (x + to - 1) / to * to; }
static inline uint32_t padded(uint32_t channels, const gan_kernels *k) {
    return (uint32_t)round_up(channels, (uint64_t)k->nr);
}
static inline int32_t floor_div(int32_t a, int32_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }
static inline int32_t ceil_div(int32_t a, int32_t b) { return -floor_div(-a, b); }

#endif
