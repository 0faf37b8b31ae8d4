#include "pixels.h"

#include <string.h>

#include "arguments.h"

enum { FORMATS = GAN_FLOAT_INTERLEAVED + 1, BLOCK = 64 /* pixels that are converted together */ };

typedef struct description {
    const void *data;
    size_t data_size;
    ptrdiff_t row_stride, image_stride;
    uint32_t format;
} description;

static int is_float(uint32_t format) { return format >= GAN_FLOAT_PLANAR; }

/* Bytes of a pixel, in one plane if there are several. */
static uint64_t unit_of(uint32_t format, uint32_t channels) {
    static const unsigned char UNITS[FORMATS] = {0, 1, 3, 4, 4, 4, 0};
    return UNITS[format] ? UNITS[format] : channels * (uint64_t)(format == GAN_BYTES ? 1 : 4);
}

/* A row of at most 2^30 bytes, and 2^28 rows of all planes: only strides can be too large. */
static const char *describe(const description *d, gan_shape shape, int in, gan_pixels *out) {
    static const unsigned char CHANNELS[2][FORMATS] = {
                                                       /* bit c: of c channels */
        {0, 1 << 1, 1 << 1 | 1 << 3, 1 << 1 | 1 << 3 | 1 << 4, 1 << 1 | 1 << 3 | 1 << 4, 0, 0},
        {0, 1 << 1, 1 << 3, 1 << 3 | 1 << 4, 1 << 3 | 1 << 4, 0, 0}};
    if (!d->data) return "no data";
    if (d->format >= FORMATS) return "no such format";
    const unsigned fitting = CHANNELS[in][d->format];
    if (shape.d && fitting) return "a picture's format for a volume: bytes and floats fit";
    if (shape.d && d->row_stride < 0) return "rows from below of a volume";
    shape = (gan_shape){shape.c, shape_rows(shape), shape.w, 0}; /* its slices lie below one another */
    if (fitting && (shape.c > 4 || !(fitting >> shape.c & 1))) return "a format for another number of channels";
    const uint64_t planes = d->format == GAN_FLOAT_PLANAR ? shape.c : 1, rows = planes * shape.h;
    const uint64_t least = unit_of(d->format, shape.c) * shape.w;
    *out = (gan_pixels){.shape = shape, .format = d->format, .from_below = d->row_stride < 0};
    out->row = d->row_stride < 0 ? (uint64_t)0 - (uint64_t)d->row_stride : (uint64_t)d->row_stride;
    if (!out->row) out->row = least;
    if (out->row < least || d->image_stride < 0) return "rows or images that overlap";
    if (out->row > (uint64_t)PTRDIFF_MAX / rows) return "a stride that is too large";
    out->plane = out->row * shape.h;
    out->image = d->image_stride ? (uint64_t)d->image_stride : out->row * rows;
    if (out->image < out->row * rows) return "rows or images that overlap";
    if (is_float(d->format) && ((uintptr_t)d->data % 4 || out->row % 4 || out->image % 4))
        return "floats at an address or strides that aren't multiples of 4";
    const uint64_t extent = out->row * (rows - 1) + least;
    out->capacity = d->data_size < extent ? 0 : (d->data_size - extent) / out->image + 1;
    return NULL;
}

static gan_status say(const char *wrong, const char *which, char *message) {
    if (wrong) gan_i_message(message, GAN_MESSAGE_SIZE, "%s: %s", which, wrong);
    return wrong ? GAN_ERROR_ARGUMENT : GAN_OK;
}

gan_status gan_i_pixels_out(const gan_output *output, gan_shape shape, gan_pixels *out, char *message) {
    const description d = {output->data, output->data_size, output->row_stride, output->image_stride, output->format};
    const gan_status status = say(describe(&d, shape, 0, out), "the output", message);
    out->data = output->data;
    return status;
}

gan_status gan_i_pixels_in(const gan_images *images, gan_shape shape, gan_pixels *out, char *message) {
    const description d = {images->data, images->data_size, images->row_stride, images->image_stride, images->format};
    const gan_status status = say(describe(&d, shape, 1, out), "the images", message);
    out->data = (unsigned char *)(uintptr_t)images->data;
    return status;
}

static unsigned char *row_at(const gan_pixels *p, uint64_t number, uint64_t y) {
    return p->data + number * p->image + (p->from_below ? p->shape.h - 1 - y : y) * p->row;
}

static float *float_at(unsigned char *at) { return (float *)(void *)at; }

/* `n` values as bytes. */
static void put_bytes(const gan_pixels *to, const gan_kernels *kernels, float *x, unsigned char *out, uint64_t n) {
    if (to->factor != 1 || to->offset != 0)
        for (uint64_t i = 0; i < n; i++) x[i] = x[i] * to->factor + to->offset;
    kernels->to_bytes(x, out, (ptrdiff_t)n);
}

/* Pixels of c bytes, 1, 3 or 4, in a format with its own order or number of them. */
static void arrange(uint32_t format, const unsigned char *from, uint64_t c, unsigned char *to, uint64_t pixels) {
    const uint64_t unit = unit_of(format, (uint32_t)c), green = c > 1, blue = c > 1 ? 2 : 0;
    const uint64_t red_at = format == GAN_BGRA8 ? 2 : 0;
    for (uint64_t i = 0; i < pixels; i++, from += c, to += unit) {
        to[red_at] = from[0];
        if (unit == 1) continue;
        to[1] = from[green];
        to[2 - red_at] = from[blue];
        if (unit == 4) to[3] = c == 4 ? from[3] : 255;
    }
}

/* Three planes from or to pixels of `wide` floats: one pass over the pixels, which would else be read or written for each
 * plane. */
static void planes_to_pixels(const float *red, const float *green, const float *blue, float *row, uint64_t wide,
                             uint64_t w) {
    for (uint64_t x = 0; x < w; x++, row += wide) row[0] = red[x], row[1] = green[x], row[2] = blue[x];
}

static void pixels_to_planes(const float *row, uint64_t wide, float *red, float *green, float *blue, uint64_t w) {
    for (uint64_t x = 0; x < w; x++, row += wide) red[x] = row[0], green[x] = row[1], blue[x] = row[2];
}

void gan_i_put_row(const gan_pixels *to, const gan_kernels *kernels, uint64_t number, uint64_t y, float *row,
                   uint64_t wide) {
    const uint64_t c = to->shape.c, w = to->shape.w;
    unsigned char *at = row_at(to, number, y);
    if (to->format == GAN_FLOAT_PLANAR && c == 3) {
        pixels_to_planes(row, wide, float_at(at), float_at(at + to->plane), float_at(at + 2 * to->plane), w);
    } else if (to->format == GAN_FLOAT_PLANAR) {
        for (uint64_t i = 0; i < c; i++, at += to->plane)
            for (uint64_t x = 0; x < w; x++) float_at(at)[x] = row[x * wide + i];
    } else if (to->format == GAN_FLOAT_INTERLEAVED) {
        for (uint64_t x = 0; x < w; x++) memcpy(float_at(at) + x * c, row + x * wide, sizeof *row * c);
    } else if (to->format == GAN_BYTES || to->format == GAN_GRAY8 || (to->format == GAN_RGB8 && c == 3)) {
        if (wide == c) put_bytes(to, kernels, row, at, w * c);
        else
            for (uint64_t x = 0; x < w; x++) put_bytes(to, kernels, row + x * wide, at + x * c, c);
    } else {
        unsigned char bytes[4 * BLOCK];
        for (uint64_t x = 0; x < w; x += BLOCK) {
            const uint64_t n = w - x < BLOCK ? w - x : BLOCK;
            if (wide == c) put_bytes(to, kernels, row + x * c, bytes, n * c);
            else
                for (uint64_t i = 0; i < n; i++) put_bytes(to, kernels, row + (x + i) * wide, bytes + i * c, c);
            arrange(to->format, bytes, c, at + x * unit_of(to->format, (uint32_t)c), n);
        }
    }
}

void gan_i_take_row(const gan_pixels *from, uint64_t number, uint64_t y, float *row, uint64_t wide) {
    const uint64_t c = from->shape.c, w = from->shape.w, unit = unit_of(from->format, from->shape.c);
    unsigned char *at = row_at(from, number, y);
    if (wide > c) memset(row, 0, sizeof *row * w * wide);
    if (from->format == GAN_FLOAT_PLANAR && c == 3) {
        planes_to_pixels(float_at(at), float_at(at + from->plane), float_at(at + 2 * from->plane), row, wide, w);
    } else if (from->format == GAN_FLOAT_PLANAR) {
        for (uint64_t i = 0; i < c; i++, at += from->plane)
            for (uint64_t x = 0; x < w; x++) row[x * wide + i] = float_at(at)[x];
    } else if (from->format == GAN_FLOAT_INTERLEAVED) {
        for (uint64_t x = 0; x < w; x++) memcpy(row + x * wide, float_at(at) + x * c, sizeof *row * c);
    } else {
        const uint64_t turn = from->format == GAN_BGRA8; /* red and blue change places */
        for (uint64_t x = 0; x < w; x++, row += wide, at += unit)
            for (uint64_t i = 0; i < c; i++)
                row[i] = (float)at[turn && i < 3 ? 2 - i : i] * from->factor + from->offset;
    }
}
