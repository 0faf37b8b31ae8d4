/* What the readers of the format's versions share. */
#ifndef GAN_FORMAT_PARTS_H
#define GAN_FORMAT_PARTS_H

#include <string.h>

#include "arguments.h"
#include "checksum.h"
#include "operations.h"

static const unsigned char GAN_MAGIC[8] = {0x89, 'G', 'A', 'N', '\r', '\n', 0x1a, '\n'};
enum { ALIGNMENT = 64 }; /* of a tensor */

/* The weights of a file, and how much of them the tensors so far have taken: each begins behind the one before. */
typedef struct weight_region {
    const unsigned char *data;
    uint64_t size, taken;
} weight_region;

static inline float f32_at(const unsigned char *p) {
    const uint32_t bits = u32_at(p);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline double f64_at(const unsigned char *p) {
    const uint64_t bits = u64_at(p);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline int inside(uint64_t offset, uint64_t size, uint64_t whole) {
    return offset <= whole && size <= whole - offset;
}

/* The tensor at `offset`, of `count` numbers; GAN_ERROR_CORRUPT if it isn't behind the others and inside. */
gan_status gan_i_take_tensor(weight_region *region, gan_dtype dtype, uint64_t offset, uint64_t count, gan_tensor *out);
/* Write what is wrong before returning `status`.  A layer's number, name and operation precede it. */
#define REFUSE(file, status, ...) (gan_i_message((file)->message, GAN_MESSAGE_SIZE, __VA_ARGS__), (status))
gan_status gan_i_refuse_layer(gan_file *file, uint32_t index, gan_status status);
/* Layer `index`, whose operation, inputs, arguments and tensors are set, against operations.def; its shape into it. */
gan_status gan_i_check_layer(gan_file *file, uint32_t index);

gan_status gan_i_parse_old(const unsigned char *p, size_t size, gan_file *file);
gan_status gan_i_parse_3(const unsigned char *p, size_t size, gan_file *file);

#endif
