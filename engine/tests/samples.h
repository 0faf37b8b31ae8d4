/* What the tests of whole models share: the files of tests/known/ and the images that they must give. */
#ifndef GAN_SAMPLES_H
#define GAN_SAMPLES_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gan.h"

enum { KNOWN_IMAGES = 14, KNOWN_IMAGE = 16 * 16 * 3, KNOWN_BYTES = KNOWN_IMAGES * KNOWN_IMAGE, KNOWN_SEED = 7 };

static inline int check(int ok, const char *what) {
    if (!ok) printf("FAILED %s\n", what);
    return !ok;
}

/* A file's bytes, which the caller frees; the test ends where there are none. */
static inline unsigned char *load(const char *path, size_t *size) {
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END)) exit(2);
    *size = (size_t)ftell(f);
    rewind(f);
    unsigned char *bytes = malloc(*size);
    if (!bytes || fread(bytes, 1, *size, f) != *size) exit(2);
    fclose(f);
    return bytes;
}

/* gan-file-format.md's promise: at most 1 byte in 10,000 off, by 1.  (One image has fewer: then one byte.) */
static inline int alike(const uint8_t *a, const uint8_t *b, size_t n) {
    size_t off = 0;
    for (size_t i = 0; i < n; i++) {
        if (a[i] != b[i]) off++;
        if (a[i] - b[i] > 1 || b[i] - a[i] > 1) return 0;
    }
    return off <= n / 10000 + 1;
}

static inline gan_request known_request(uint64_t start, uint64_t count) {
    return (gan_request){.seed = KNOWN_SEED, .start = start, .count = count};
}

/* Open a file by the kernels that the environment variable GAN_CPU names. */
static inline gan_status open_sample(const char *path, gan_model **model) {
    const char *kernels = getenv("GAN_CPU");
    const gan_open_options options = {.kernels = kernels && *kernels ? kernels : NULL};
    return gan_open(path, &options, model);
}

/* Packed images as bytes; `size` counts them. */
static inline gan_status generate_bytes(gan_context *context, const gan_request *request, uint8_t *out, size_t size) {
    const gan_output output = {.data = out, .data_size = size};
    return gan_generate(context, request, &output);
}

/* Planes of floats, `size` of them. */
static inline gan_status generate_floats(gan_context *context, const gan_request *request, float *out, size_t size) {
    const gan_output output = {.data = out, .data_size = size * sizeof *out, .format = GAN_FLOAT_PLANAR};
    return gan_generate(context, request, &output);
}

#endif
