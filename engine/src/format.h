/* A .gan file as a checked list of layers over memory that stays where it is (docs/gan-file-format.md). */
#ifndef GAN_FORMAT_H
#define GAN_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#include "gan.h"

typedef enum gan_op {
    OP_GIVEN, /* a scalar or noise that goes in, read like a layer's result; in no file */
#define OPERATION(number, NAME, ...) OP_##NAME = number,
#include "operations.def"
#undef OPERATION
} gan_op;

typedef enum activation_kind {
    ACT_NONE,
    ACT_RELU,
    ACT_LEAKY_RELU,
    ACT_TANH,
    ACT_SIGMOID,
    ACT_COUNT,            /* in a file */
    ACT_PRELU = ACT_COUNT /* in a file a layer of its own, which is fused with the product before it */
} activation_kind;
/* Noise is a plane of one channel, which lies as an image of one column: a pixel per row, a channel per number.  A mask
 * has the shape of the value that a dropout drops by it, and is never stored: the dropout draws it. */
typedef enum given_kind { GIVEN_SCALAR, GIVEN_NOISE, GIVEN_MASK } given_kind;
typedef enum pad_mode { PAD_ZEROS, PAD_REFLECT, PAD_REPLICATE, PAD_COUNT } pad_mode;
typedef enum gan_dtype {
    DTYPE_F32 = 0,
    DTYPE_F16,
    DTYPE_BF16,
    DTYPE_I64,
    DTYPE_U8,
    DTYPE_I8,
    DTYPE_I16,
    DTYPE_COUNT
} gan_dtype;

enum {
    MAX_LAYERS = 16384,
    MAX_INPUTS = 64,
    MAX_ARGS = 8,
    MAX_RANK = 6,
    MAX_SIDE = 65536, /* of an image, and numbers in a latent */
    MAX_ARG = 1 << 20,
    MAX_VALUE = 1 << 28, /* numbers in one value of one image */
    MAX_KERNEL = 64,
    MAX_STRIDE = 64,
    MAX_FACTOR = 64, /* of an upsampling */
    MAX_FILTER = 16, /* side of a filter per channel */
    MAX_POOL = 16, /* side of a pooling's window */
    MAX_KEYS = 1 << 14, /* positions that attention weighs for each of an image's */
    VALUE_Z = 0, /* the input: a latent, or the image that goes in */
    VALUE_LABEL = 1,
    FIRST_LAYER = 2
};

/* One value's shape for one image.  A vector has h = w = 0 and its length in c; a label is all zeros.  A volume has
 * its depth in d, which is 0 for everything else; a signal is an image of height 1. */
typedef struct gan_shape {
    uint32_t c, h, w, d;
} gan_shape;

/* An array in the file: `count` numbers, 0 if the layer has none. */
typedef struct gan_tensor {
    const void *data;
    uint64_t count;
    gan_dtype dtype; /* one of the floats */
} gan_tensor;

/* What a product's inputs were at most, at the points of a transform or as they are, for 16-bit arithmetic:
 * docs/gan-file-format.md, "Ranges". */
typedef enum range_kind { RANGE_TOOM3, RANGE_TOOM5, RANGE_WINOGRAD, RANGE_DIRECT, RANGE_COUNT } range_kind;
typedef struct gan_ranges {
    const unsigned char *data; /* `count` float64s, 0 if the file has none */
    uint32_t count;
} gan_ranges;

typedef struct gan_layer {
    gan_op op;
    uint32_t n_inputs;
    const uint32_t *inputs; /* values: 0 the latent, 1 the label, 2 + i the output of layer i */
    uint32_t args[MAX_ARGS]; /* in the order of operations.def's integer attributes; of OP_GIVEN: its given_kind, the
                                stream of its noise, and of a mask what the image's height and width are divided by, 0
                                for a side that doesn't depend on them */
    float fargs[2]; /* likewise its real ones */
    gan_tensor weight, bias;
    gan_shape out;
    gan_ranges ranges[RANGE_COUNT];
    uint64_t offset; /* of OP_GIVEN: in an image's scalars or noise */
    const char *name; /* in the file, `name_size` bytes without a NUL; NULL if it names none */
    uint32_t name_size;
} gan_layer;

/* A side of the images that go in: a multiple of `multiple` from `least` to `most`. */
typedef struct gan_side {
    uint32_t least, multiple, most;
} gan_side;

/* A side of the image that comes out: `times`, or a side of the input (1 height, 2 width) x times / over. */
typedef struct gan_dim {
    uint32_t of, times, over;
} gan_dim;

typedef struct gan_file {
    uint32_t kind; /* of what comes out: GAN_KIND_... */
    uint32_t nz, prior, classes, n_layers; /* nz is 0 if images go in */
    uint32_t n_given, scalars; /* the first n_given layers are OP_GIVEN; how many of them are scalars */
    uint64_t noise; /* numbers in the noise and masks of one image */
    gan_shape input; /* the latent, {nz, 0, 0}; rows of numbers, {length, 1, rows}; or an image: of the least size, or
                        that of gan_i_file_at */
    gan_side height, width; /* of the images that go in */
    int square; /* these are one size */
    float in_low, in_high; /* their range */
    gan_dim out_height, out_width;
    gan_shape image; /* or the volume, or the signal */
    float low, high; /* the range of the last layer's values; bytes are made from it brought to [-1, 1] */
    int int16; /* whether products of 16-bit numbers are allowed, if a layer has ranges for them */
    float error_budget; /* the largest error of a convolution's algorithm; 0: any (pack.h, METHOD_ERRORS) */
    uint64_t weight_bytes;
    const char *manifest;
    size_t manifest_size;
    gan_layer *layers; /* n_layers, allocated */
    uint32_t *inputs; /* what the layers' inputs point into, allocated */
    char message[GAN_MESSAGE_SIZE]; /* why it is refused, if more is known than the status */
} gan_file;

/* Check `size` bytes at `data` and describe them in `out`; gan_i_file_free(out) afterwards. */
gan_status gan_i_parse(const void *data, size_t size, gan_file *out);
void gan_i_file_free(gan_file *file);
/* A layer's name as a string, cut to `size`, whatever it has besides ASCII's letters and signs as '?'. */
void gan_i_layer_name(const gan_layer *layer, char *to, size_t size);
/* The same file for images of another size: the shapes of its layers.  GAN_ERROR_ARGUMENT for a size that it doesn't
 * take, GAN_ERROR_UNSUPPORTED for one that its layers don't.  Free it before `file`, whose inputs it uses. */
gan_status gan_i_file_at(const gan_file *file, uint32_t height, uint32_t width, gan_file *out);
int gan_i_takes_size(const gan_file *file, uint32_t height, uint32_t width);
/* The image that comes out for one of this height and width, as the file states it: 0 x 0 if a side is no number. */
gan_shape gan_i_image_at(const gan_file *file, uint32_t height, uint32_t width);

/* Rows of pixels: the height, times the depth of a volume; 1 of a vector. */
static inline uint32_t shape_depth(gan_shape s) { return s.d ? s.d : 1; }
static inline uint32_t shape_rows(gan_shape s) { return s.h ? s.h * shape_depth(s) : 1; }
static inline uint64_t shape_pixels(gan_shape s) { return s.h ? (uint64_t)shape_rows(s) * s.w : 1; }
static inline int shape_same(gan_shape a, gan_shape b) { return a.c == b.c && a.h == b.h && a.w == b.w && a.d == b.d; }
static inline gan_shape value_shape(const gan_file *file, uint32_t value) {
    if (value == VALUE_Z) return file->input;
    if (value == VALUE_LABEL) return (gan_shape){0, 0, 0, 0};
    return file->layers[value - FIRST_LAYER].out;
}

static inline int is_mask(const gan_layer *layer) { return layer->op == OP_GIVEN && layer->args[0] == GIVEN_MASK; }

/* Element i of a tensor as float. */
float gan_i_element(const gan_tensor *tensor, uint64_t i);

#endif
