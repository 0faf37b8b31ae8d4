/* A .gan file as a checked list of layers over memory that stays where it is (docs/gan-file-format.md). */
#ifndef GAN_FORMAT_H
#define GAN_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#include "gan.h"

typedef enum gan_op {
#define OPERATION(number, NAME, ...) OP_##NAME = number,
#include "operations.def"
#undef OPERATION
} gan_op;

typedef enum activation_kind { ACT_NONE, ACT_RELU, ACT_LEAKY_RELU, ACT_TANH, ACT_SIGMOID, ACT_COUNT } activation_kind;
typedef enum gan_dtype { DTYPE_F32 = 0, DTYPE_F16, DTYPE_BF16, DTYPE_I64, DTYPE_U8, DTYPE_I8, DTYPE_COUNT } gan_dtype;

enum {
    MAX_LAYERS = 16384,
    MAX_INPUTS = 64,
    MAX_ARGS = 8,
    MAX_RANK = 6,
    MAX_SIDE = 65536,      /* of an image, and numbers in a latent */
    MAX_ARG = 1 << 20,
    MAX_VALUE = 1 << 28,   /* numbers in one value of one image */
    MAX_KERNEL = 64,
    MAX_STRIDE = 64,
    MAX_FACTOR = 64,       /* of an upsampling */
    VALUE_Z = 0,
    VALUE_LABEL = 1,
    FIRST_LAYER = 2
};

/* One value's shape for one image.  A vector has h = w = 0 and its length in c; a label is all zeros. */
typedef struct shape {
    uint32_t c, h, w;
} shape;

/* An array in the file: `count` numbers, 0 if the layer has none. */
typedef struct tensor {
    const void *data;
    uint64_t count;
    gan_dtype dtype; /* one of the floats */
} tensor;

typedef struct layer {
    gan_op op;
    uint32_t n_inputs;
    const uint32_t *inputs;  /* values: 0 the latent, 1 the label, 2 + i the output of layer i */
    uint32_t args[MAX_ARGS]; /* in the order of operations.def's integer attributes */
    float fargs[2];          /* likewise its real ones */
    tensor weight, bias;
    shape out;
} layer;

typedef struct file {
    uint32_t nz, prior, classes, n_layers;
    shape image;
    float low, high; /* the range of the last layer's values; bytes are made from it brought to [-1, 1] */
    float error_budget; /* the largest error of a convolution's algorithm; 0: any (pack.h, METHOD_ERRORS) */
    uint64_t weight_bytes;
    const char *manifest;
    size_t manifest_size;
    layer *layers;    /* n_layers, allocated */
    uint32_t *inputs; /* what the layers' inputs point into, allocated */
} file;

/* Check `size` bytes at `data` and describe them in `out`; gan_i_file_free(out) afterwards. */
gan_status gan_i_parse(const void *data, size_t size, file *out);
void gan_i_file_free(file *f);

static inline uint64_t shape_pixels(shape s) { return s.h ? (uint64_t)s.h * s.w : 1; }
static inline shape value_shape(const file *f, uint32_t value) {
    if (value == VALUE_Z) return (shape){f->nz, 0, 0};
    if (value == VALUE_LABEL) return (shape){0, 0, 0};
    return f->layers[value - FIRST_LAYER].out;
}

/* Element i of a tensor as float. */
float gan_i_element(const tensor *t, uint64_t i);

#endif
