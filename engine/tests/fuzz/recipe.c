#include "recipe.h"

#include <stdlib.h>
#include <string.h>

#include "checksum.h"
#include "operations.h"

enum {
    MOST_LAYERS = 600,
    MOST_NUMBERS = 1 << 12,   /* in a value of one image */
    MOST_WEIGHTS = 1 << 17,   /* in a file */
    MOST_PRODUCTS = 5 << 18, /* multiply-adds for an image: a layer that is worth a transform has most of it */
    RECORDS = MOST_LAYERS * 512, /* bytes */
    DATA = 2 << 20,
    PORT = 192
};

typedef struct kitchen {
    const uint8_t *recipe;
    size_t left;
    gan_file file;
    gan_layer layers[MOST_LAYERS];
    uint32_t inputs[MOST_LAYERS][2];
    unsigned char *records, *data;
    size_t records_size, data_size;
    uint64_t products;
} kitchen;

static uint32_t next(kitchen *k) {
    if (!k->left) return 0;
    k->left--;
    return *k->recipe++;
}

static void put(unsigned char *p, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) p[i] = (unsigned char)(value >> 8 * i);
}

static gan_shape shape_of(const kitchen *k, uint32_t value) { return value_shape(&k->file, value); }

/* The last value of this shape before `value`, or `value` itself. */
static uint32_t alike(const kitchen *k, uint32_t value, int same_channels) {
    const gan_shape s = shape_of(k, value);
    for (uint32_t v = value; v-- > FIRST_LAYER;) {
        const gan_shape t = shape_of(k, v);
        if (t.h == s.h && t.w == s.w && t.d == s.d && (t.c == s.c || !same_channels)) return v;
    }
    return value;
}

/* The next layer of the recipe: its operation, inputs and arguments. */
static void choose(kitchen *k, uint32_t value, gan_layer *layer, uint32_t *inputs) {
    static const uint32_t KERNELS[] = {1, 2, 3, 3, 4, 4, 5, 7, 8, 16, 33, 64}, FACTORS[] = {1, 2, 2, 3, 4, 9, 64, 65};
    static const gan_op IMAGES[] = {
        OP_CONV_TRANSPOSE, OP_CONV_TRANSPOSE, OP_CONV_TRANSPOSE, OP_CONV,     OP_CONV, OP_CONV,
        OP_ACTIVATION,     OP_ACTIVATION,     OP_AFFINE,         OP_UPSAMPLE, OP_ADD,  OP_MULTIPLY,
        OP_CONCAT,         OP_CROP,           OP_SCALE,          OP_RESHAPE};
    static const gan_op VECTORS[] = {OP_LINEAR, OP_LINEAR, OP_LINEAR, OP_RESHAPE, OP_RESHAPE,   OP_ACTIVATION,
                                     OP_AFFINE, OP_SCALE,  OP_ADD,    OP_CONCAT,  OP_EMBEDDING, OP_ONE_HOT};
    static const gan_op TAKEN[] = {OP_INSTANCE_NORM,   OP_PAD,       OP_PRELU,   OP_PIXEL_SHUFFLE,
                                   OP_PIXEL_UNSHUFFLE, OP_BLUR_DOWN, OP_BLUR_UP, OP_CLAMP,
                                   OP_INSTANCE_NORM,   OP_PAD,       OP_CONV,    OP_CONV};
    static const gan_op VOLUMES[] = {OP_CONV_TRANSPOSE_3D,
                                     OP_CONV_TRANSPOSE_3D,
                                     OP_CONV_3D,
                                     OP_CONV_3D,
                                     OP_CONV_TRANSPOSE_3D,
                                     OP_UPSAMPLE_3D,
                                     OP_CONV_3D,
                                     OP_ACTIVATION,
                                     OP_AFFINE,
                                     OP_ADD,
                                     OP_CONCAT,
                                     OP_RESHAPE};
    static const gan_op SIGNALS[] = {OP_CONV_TRANSPOSE_1D, OP_CONV_1D, OP_UPSAMPLE_1D, OP_ACTIVATION};
    const gan_shape s = shape_of(k, value);
    const uint32_t pick = next(k), a = next(k), b = next(k);
    layer->op = !s.h ? VECTORS[pick % 12] : !k->file.nz && pick % 2 ? TAKEN[pick / 2 % 12] : IMAGES[pick / 2 % 16];
    if (s.h && k->file.nz) layer->op = IMAGES[pick % 16];
    if (!s.h && pick >= 224) layer->op = OP_RESHAPE_3D;
    if (s.d) layer->op = VOLUMES[pick % 12];
    else if (s.h == 1 && pick >= 128) layer->op = SIGNALS[pick % 4];
    layer->n_inputs = 1;
    inputs[0] = value;
    switch (layer->op) {
    case OP_LINEAR:
        layer->args[0] = s.c, layer->args[1] = 1 + a % 96;
        break;
    case OP_CONV:
    case OP_CONV_TRANSPOSE:
    case OP_CONV_3D:
    case OP_CONV_TRANSPOSE_3D:
    case OP_CONV_1D:
    case OP_CONV_TRANSPOSE_1D:
        layer->args[0] = s.c, layer->args[1] = 1 + a % 32;
        layer->args[2] = KERNELS[b % 12];
        layer->args[3] = 1 + (b / 12) % 3;
        layer->args[4] = (b / 36) % 2 ? layer->args[2] / 2 : b / 72;
        if (conv_is_transposed(layer->op)) layer->args[5] = a / 32 % layer->args[3];
        break;
    case OP_AFFINE:
        layer->args[0] = s.c;
        break;
    case OP_ACTIVATION:
        layer->args[0] = 1 + a % 4, layer->fargs[0] = (float)b / 256;
        break;
    case OP_UPSAMPLE:
        layer->args[0] = FACTORS[a % 8], layer->args[1] = b % 2;
        break;
    case OP_UPSAMPLE_3D:
    case OP_UPSAMPLE_1D:
        layer->args[0] = FACTORS[a % 8];
        break;
    case OP_ADD:
    case OP_MULTIPLY:
    case OP_CONCAT:
        inputs[1] = alike(k, value, layer->op != OP_CONCAT);
        layer->n_inputs = 2;
        break;
    case OP_CROP:
        layer->args[0] = a % s.h, layer->args[1] = b % s.w;
        layer->args[2] = 1 + (a / 16) % s.h, layer->args[3] = 1 + (b / 16) % s.w;
        break;
    case OP_SCALE:
        layer->fargs[0] = (float)a / 64, layer->fargs[1] = (float)b / 64 - 2;
        break;
    case OP_RESHAPE: { /* a square if that is possible */
        const uint64_t numbers = s.c * shape_pixels(s);
        const uint32_t side = 1 + a % 12;
        const int fits = numbers % (side * side) == 0;
        layer->args[1] = layer->args[2] = fits ? side : 1;
        layer->args[0] = (uint32_t)(numbers / (fits ? side * side : 1));
        if (b % 16 == 0) layer->args[0] = (uint32_t)numbers, layer->args[1] = layer->args[2] = 0;
        break;
    }
    case OP_RESHAPE_3D: { /* a cube if that is possible */
        const uint64_t numbers = s.c * shape_pixels(s);
        const uint32_t side = 1 + a % 4, fits = numbers % (side * side * side) == 0;
        layer->args[1] = layer->args[2] = layer->args[3] = fits ? side : 1;
        layer->args[0] = (uint32_t)(numbers / (fits ? side * side * side : 1));
        break;
    }
    case OP_INSTANCE_NORM:
        layer->args[0] = s.c, layer->args[1] = a % 2, layer->fargs[0] = b ? 1e-5f : 0;
        break;
    case OP_PAD:
        layer->args[0] = 1 + a % 5, layer->args[1] = b % 3;
        break;
    case OP_PRELU:
        layer->args[0] = a % 2 ? s.c : 1;
        break;
    case OP_PIXEL_SHUFFLE:
    case OP_PIXEL_UNSHUFFLE:
        layer->args[0] = 1 + a % 4;
        break;
    case OP_BLUR_DOWN:
    case OP_BLUR_UP:
        layer->args[0] = s.c;
        break;
    case OP_CLAMP:
        layer->fargs[0] = -(float)a / 64, layer->fargs[1] = (float)(1 + b) / 64;
        break;
    case OP_EMBEDDING:
    case OP_ONE_HOT:
        inputs[0] = VALUE_LABEL;
        layer->args[0] = k->file.classes, layer->args[1] = 1 + a;
        break;
    }
}

/* A tensor of these dimensions: its entry in the record, and small numbers in the data. */
static unsigned char *put_tensor(kitchen *k, unsigned char *entry, uint32_t role, gan_dtype dtype, int rank,
                                 const uint32_t *dims) {
    uint64_t count = 1;
    for (int i = 0; i < rank; i++) count *= dims[i], put(entry + 16 + 4 * i, dims[i], 4);
    k->data_size = (k->data_size + 63) / 64 * 64;
    put(entry, role, 4), put(entry + 4, dtype, 4), put(entry + 8, (uint64_t)rank, 4);
    put(entry + 40, k->data_size, 8);
    for (uint64_t i = 0; i < count; i++) {
        const uint32_t sign = (uint32_t)(i * 2654435761u) >> 31;
        if (dtype == DTYPE_F32) put(k->data + k->data_size + 4 * i, sign << 31 | 0x3D000000u | (i & 0xFFFF), 4);
        else put(k->data + k->data_size + 2 * i, sign << 15 | (dtype == DTYPE_F16 ? 0x2800u : 0x3D00u) | (i & 0x7F), 2);
    }
    k->data_size += count * (dtype == DTYPE_F32 ? 4 : 2);
    return entry + 48;
}

static unsigned char *put_attributes(unsigned char *p, const char *keys, int real, const gan_layer *layer) {
    for (int i = 0; *keys; i++) {
        const size_t length = strcspn(keys, " ");
        const double value = real ? (double)layer->fargs[i] : 0;
        uint64_t bits;
        memcpy(&bits, &value, sizeof bits);
        memcpy(p, keys, length);
        put(p + 16, (uint64_t)real, 4), put(p + 20, 1, 4);
        put(p + 24, real ? bits : layer->args[i], 8);
        p += 32;
        keys += length + (keys[length] == ' ');
    }
    return p;
}

/* The record of a layer whose shape is known, if its weights fit; 0 if they don't. */
static int put_record(kitchen *k, gan_layer *layer, gan_dtype dtype, int biased) {
    const gan_operation *op = gan_i_operation(layer->op);
    uint32_t dims[MAX_RANK];
    const int rank = op->weight(layer, dims), bias = op->bias == BIAS_NEEDED || (op->bias == BIAS_OPTIONAL && biased);
    uint64_t weights = rank > 0;
    for (int i = 0; i < rank; i++) weights *= dims[i];
    if (weights > MOST_WEIGHTS || k->data_size / 2 + weights > MOST_WEIGHTS) return 0;
    const gan_shape in = conv_is_transposed(layer->op) ? shape_of(k, layer->inputs[0]) : layer->out;
    const uint64_t products = rank > 1 ? weights / layer->out.c * (layer->out.c + 16) * shape_pixels(in) : 0;
    if (k->products + products > MOST_PRODUCTS) return 0;
    k->products += products;
    unsigned char *p = k->records + k->records_size, *at = p + 24;
    put(p + 4, layer->op, 4), put(p + 8, layer->n_inputs, 4), put(p + 12, (uint64_t)((rank > 0) + bias), 4);
    for (uint32_t i = 0; i < layer->n_inputs; i++) {
        const uint32_t value = layer->inputs[i]; /* without a label, the numbers of values have no gap for it */
        put(at + 4 * i, value < FIRST_LAYER || k->file.classes ? value : value - 1, 4);
    }
    at += 8;
    if (rank) at = put_tensor(k, at, 0, dtype, rank, dims);
    if (bias) at = put_tensor(k, at, 1, dtype, 1, &layer->out.c);
    unsigned char *attributes = at;
    at = put_attributes(at, op->integers, 0, layer);
    at = put_attributes(at, op->reals, 1, layer);
    put(p + 16, (uint64_t)(at - attributes) / 32, 4);
    put(p, (uint64_t)(at - p), 4);
    k->records_size += (size_t)(at - p);
    return 1;
}

static void put_port(unsigned char *p, int out, uint32_t kind, uint32_t rank, const uint32_t *dims, char name) {
    put(p, (uint64_t)out, 4), put(p + 4, kind, 4), put(p + 12, rank, 4);
    for (uint32_t i = 0; i < rank; i++) put(p + 16 + 12 * i + 4, dims[i], 4), put(p + 16 + 12 * i + 8, 1, 4);
    p[128] = (unsigned char)name;
}

static unsigned char *serve(const kitchen *k, uint32_t uniform, size_t *size) {
    enum { HEADER = 144, LATENT = 0, LABEL = 2, IMAGE = 5, VOLUME = 6 };
    const gan_file *file = &k->file;
    const uint32_t n_ports = file->classes ? 3 : 2;
    const gan_shape last = file->layers[file->n_layers - 1].out;
    const size_t records = HEADER + PORT * n_ports, manifest = records + k->records_size,
                 data = (manifest + 63) / 64 * 64, data_size = (k->data_size + 63) / 64 * 64;
    unsigned char *p = calloc(1, data + data_size), *port = p + HEADER;
    if (!p) return NULL;
    *size = data + data_size;
    memcpy(p, "\x89GAN\r\n\x1a\n", 8);
    put(p + 8, 3, 4), put(p + 12, HEADER, 4), put(p + 16, *size, 8), put(p + 24, manifest, 8), put(p + 40, data, 8);
    put(p + 48, data_size, 8), put(p + 56, file->n_layers, 4), put(p + 60, n_ports, 4);
    put(p + 72, k->records_size, 8);
    if (file->nz) {
        put_port(port, 0, LATENT, 1, &file->nz, 'z');
        put(port + 92, uniform ? 2 : 1, 4);
        if (uniform) put(port + 96, 0xBF800000u, 4), put(port + 100, 0x3F800000u, 4);
    } else {
        const uint32_t sides[] = {file->input.c, file->input.h, file->input.w};
        put_port(port, 0, IMAGE, 3, sides, 'x');
    }
    port += PORT;
    if (file->classes) {
        put_port(port, 0, LABEL, 0, NULL, 'l');
        put(port + 8, DTYPE_I64, 4), put(port + 104, file->classes, 4), put(port + 108, 1, 4);
        port += PORT;
    }
    const uint32_t dims[] = {last.c, last.h, last.w}, volume[] = {last.c, last.d, last.h, last.w};
    if (last.d) put_port(port, 1, VOLUME, 4, volume, 'v');
    else put_port(port, 1, IMAGE, 3, dims, 'i');
    put(port + 120, n_ports - 1 + file->n_layers - 1, 4);
    memcpy(p + records, k->records, k->records_size);
    memcpy(p + data, k->data, k->data_size);
    gan_checksum of_data = {0}, of_head = {0};
    gan_i_check_words(&of_data, p + data, data_size);
    put(p + 128, of_data.first, 8), put(p + 136, of_data.second, 8);
    gan_i_check_words(&of_head, p, data);
    put(p + 112, of_head.first, 8), put(p + 120, of_head.second, 8);
    return p;
}

/* Add a layer unless the engine's own rules refuse its shape or it grows too large; 1 if it is there. */
static int add(kitchen *k, gan_layer layer, const uint32_t *inputs, gan_dtype dtype, int biased) {
    gan_layer *to = &k->layers[k->file.n_layers];
    memcpy(k->inputs[k->file.n_layers], inputs, sizeof k->inputs[0]);
    layer.inputs = k->inputs[k->file.n_layers];
    *to = layer;
    if ((layer.op == OP_EMBEDDING || layer.op == OP_ONE_HOT) && !k->file.classes) return 0;
    if (!gan_i_operation(layer.op)->shape(&k->file, to)) return 0;
    if (to->out.c * shape_pixels(to->out) > MOST_NUMBERS || !put_record(k, to, dtype, biased)) return 0;
    k->file.n_layers++;
    return 1;
}

unsigned char *cook(const uint8_t *recipe, size_t size, size_t *out_size) {
    kitchen *k = calloc(1, sizeof *k);
    if (!k) return NULL;
    *k = (kitchen){.recipe = recipe, .left = size};
    k->records = calloc(1, RECORDS), k->data = calloc(1, DATA);
    k->file.layers = k->layers;
    const uint32_t first = next(k);
    k->file.nz = 1 + next(k);
    k->file.classes = first % 4 ? 0 : 1 + first / 4 % 7;
    k->file.input = (gan_shape){k->file.nz, 0, 0, 0};
    if (first % 16 == 7) { /* an image, of a fixed size */
        const uint32_t of = k->file.nz - 1;
        k->file.nz = 0;
        k->file.input = (gan_shape){1 + of % 4, 1 + of / 4 % 8 * 2, 1 + of / 32 * 3, 0};
    }
    unsigned char *out = NULL;
    uint32_t value = VALUE_Z;
    while (k->records && k->data && k->left && k->file.n_layers + 1 < MOST_LAYERS) {
        gan_layer layer = {0};
        uint32_t inputs[2] = {0};
        choose(k, value, &layer, inputs);
        const uint32_t how = next(k);
        if (add(k, layer, inputs, (gan_dtype)(how % 3), how / 4 % 2)) value = FIRST_LAYER + k->file.n_layers - 1;
    }
    if (k->file.n_layers) { /* what ends in a vector becomes an image */
        const gan_shape last = shape_of(k, value);
        const gan_layer layer = {.op = OP_RESHAPE, .n_inputs = 1, .args = {last.c, 1, 1}};
        const uint32_t inputs[2] = {value};
        if (last.h || add(k, layer, inputs, DTYPE_F32, 0))
            out = serve(k, first % 32 != 1, out_size); /* the normal table takes milliseconds */
    }
    free(k->records), free(k->data), free(k);
    return out;
}
