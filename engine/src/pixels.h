/* Images as a program has them in memory: formats and strides. */
#ifndef GAN_PIXELS_H
#define GAN_PIXELS_H

#include "kernels/kernels.h"

typedef struct gan_pixels {
    unsigned char *data; /* of images that go in, only read */
    gan_shape shape;
    uint32_t format;
    int from_below; /* the last row lies first */
    uint64_t row, plane, image; /* bytes from one to the next */
    uint64_t capacity;          /* images that the buffer holds */
    float factor, offset; /* bytes out are of x * factor + offset, in [-1, 1]; floats in are bytes * factor + offset */
} gan_pixels;

/* Describe a buffer of images of a shape; GAN_ERROR_ARGUMENT and a message if there is no such buffer. */
gan_status gan_i_pixels_out(const gan_output *output, gan_shape shape, gan_pixels *out, char *message);
gan_status gan_i_pixels_in(const gan_images *images, gan_shape shape, gan_pixels *out, char *message);

/* Row y of image `number`: `row` has `wide` floats per pixel, of which shape.c count, and is overwritten. */
void gan_i_put_row(const gan_pixels *to, const gan_kernels *kernels, uint64_t number, uint64_t y, float *row,
                   uint64_t wide);
void gan_i_take_row(const gan_pixels *from, uint64_t number, uint64_t y, float *row, uint64_t wide);

#endif
