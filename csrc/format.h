/* A .gan file as a checked list of layers over memory that stays where it is (docs/FORMAT.md). */
#ifndef GAN_FORMAT_H
#define GAN_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#include "gan.h"

typedef enum gan_op {
    OP_LINEAR = 1,     /* args: in, out */
    OP_CONV_TRANSPOSE, /* args: in, out, kernel, stride, padding, output_padding */
    OP_CONV,           /* args: in, out, kernel, stride, padding */
    OP_AFFINE,         /* args: channels */
    OP_ACTIVATION,     /* args: gan_activation; fargs: slope */
    OP_UPSAMPLE,       /* args: factor, bilinear */
    OP_ADD,
    OP_MULTIPLY,
    OP_CONCAT,
    OP_RESHAPE, /* args: channels, height, width; height 0 for a vector */
    OP_CROP,    /* args: top, left, height, width */
    OP_SCALE,   /* fargs: factor, offset */
    OP_EMBEDDING, /* args: classes, dim */
    OP_ONE_HOT, /* args: classes */
    OP_COUNT
} gan_op;

typedef enum gan_activation { ACT_NONE, ACT_RELU, ACT_LEAKY_RELU, ACT_TANH, ACT_SIGMOID, ACT_COUNT } gan_activation;
typedef enum gan_dtype { DTYPE_F32 = 0, DTYPE_F16, DTYPE_BF16, DTYPE_COUNT } gan_dtype;

enum { MAX_LAYERS = 512, MAX_INPUTS = 8, MAX_ARGS = 8, VALUE_Z = 0, VALUE_LABEL = 1, FIRST_LAYER = 2 };

/* One value's shape for one picture.  A vector has h = w = 0 and its length in c; a label is all zeros. */
typedef struct shape {
    uint32_t c, h, w;
} shape;

/* An array in the file: `count` numbers of `dtype`, or count 0 where the layer has none. */
typedef struct tensor {
    const void *data;
    uint64_t count;
} tensor;

typedef struct layer {
    gan_op op;
    gan_dtype dtype;
    uint32_t n_inputs, inputs[MAX_INPUTS]; /* value indices: 0 z, 1 label, 2 + i layer i */
    uint32_t args[MAX_ARGS];
    float fargs[2];
    tensor weight, bias;
    shape out;
    char name[65];
} layer;

typedef struct file {
    uint32_t nz, prior, classes, n_layers;
    shape image;
    float low, high; /* the range of the last layer's values; bytes are made from it brought to [-1, 1] */
    uint32_t points; /* a side of the largest transform that keeps its rounding small; 0: any does */
    uint64_t weight_bytes;
    const char *manifest;
    size_t manifest_size;
    layer *layers; /* n_layers, allocated */
} file;

/* Check `size` bytes at `data` and describe them in `out`; free(out->layers) afterwards. */
gan_status gan_i_parse(const void *data, size_t size, file *out);

static inline uint64_t shape_pixels(shape s) { return s.h ? (uint64_t)s.h * s.w : 1; }
static inline shape value_shape(const file *f, uint32_t value) {
    if (value == VALUE_Z) return (shape){f->nz, 0, 0};
    if (value == VALUE_LABEL) return (shape){0, 0, 0};
    return f->layers[value - FIRST_LAYER].out;
}

/* Element i of a tensor as float. */
float gan_i_element(const tensor *t, gan_dtype dtype, uint64_t i);

#endif
