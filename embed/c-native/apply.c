/* A picture through a generator of pictures: apply g.gan in.ppm > out.ppm.  A binary PPM is a header and RGB bytes;
 * `magick photo.jpg in.ppm` or Pillow writes one. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(_WIN32)
#include <fcntl.h>
#include <io.h>
#endif

#include "gan.h"

enum { MOST_SIDE = 1 << 14 };

typedef struct picture {
    uint32_t height, width;
    uint8_t *pixels; /* height x width x 3, or NULL */
} picture;

/* What ends the program: one line. */
static void fail(const char *what, const char *why) {
    fprintf(stderr, "apply: %s: %s\n", what, why);
    exit(2);
}

static uint8_t *room_for(uint32_t height, uint32_t width) {
    uint8_t *pixels = malloc((size_t)height * width * 3);
    if (!pixels) fail("the picture", gan_status_string(GAN_ERROR_MEMORY));
    return pixels;
}

/* The next number of a PPM's header; # begins a comment. */
static uint32_t header_number(FILE *file, const char *path) {
    int c = fgetc(file);
    uint32_t value = 0;
    for (int comment = 0; c != EOF && (comment || c == '#' || isspace(c)); c = fgetc(file))
        comment = c != '\n' && (comment || c == '#');
    for (; isdigit(c) && value <= MOST_SIDE; c = fgetc(file)) value = value * 10 + (uint32_t)(c - '0');
    if (value < 1 || value > MOST_SIDE) fail(path, "a size of 1 to 16384 is needed");
    return value; /* and the one blank after it is read */
}

static picture read_ppm(const char *path) {
    picture p;
    FILE *file = fopen(path, "rb");
    if (!file) fail(path, "can't be read");
    if (fgetc(file) != 'P' || fgetc(file) != '6') fail(path, "a binary PPM (P6) is needed");
    p.width = header_number(file, path);
    p.height = header_number(file, path);
    if (header_number(file, path) != 255) fail(path, "values of 0 to 255 are needed");
    const size_t size = (size_t)p.height * p.width * 3;
    p.pixels = room_for(p.height, p.width);
    if (fread(p.pixels, 1, size, file) != size) fail(path, "cut short");
    fclose(file);
    return p;
}

/* The size that the model takes for a side of `side` pixels: it grows to a multiple, and to the least. */
static uint32_t size_for(uint32_t side, uint32_t least, uint32_t multiple) {
    const uint32_t grown = side < least ? least : side;
    return (grown + multiple - 1) / multiple * multiple;
}

/* Pixel i of a side of n, mirrored at its end. */
static uint32_t mirrored(uint32_t i, uint32_t n) {
    const uint32_t period = n > 1 ? 2 * (n - 1) : 1, j = i % period;
    return j < n ? j : period - j;
}

static picture padded(picture p, uint32_t height, uint32_t width) {
    const picture to = {height, width, room_for(height, width)};
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++)
            memcpy(to.pixels + ((size_t)y * width + x) * 3,
                   p.pixels + ((size_t)mirrored(y, p.height) * p.width + mirrored(x, p.width)) * 3, 3);
    return to;
}

/* The part of a picture that isn't padding, as a PPM. */
static void write_ppm(picture p, uint32_t rows, uint32_t columns) {
    int written = printf("P6\n%u %u\n255\n", (unsigned)columns, (unsigned)rows) > 0;
    for (uint32_t y = 0; y < rows && written; y++)
        written = fwrite(p.pixels + (size_t)y * p.width * 3, 3, columns, stdout) == columns;
    if (fflush(stdout) || !written) {
        fprintf(stderr, "apply: the pictures can't be written\n");
        exit(2);
    }
}

int main(int argc, char **argv) {
#if defined(_WIN32)
    _setmode(_fileno(stdout), _O_BINARY);
#endif
    if (argc != 3) {
        fprintf(stderr, "usage: apply FILE.gan in.ppm > out.ppm\n");
        return 2;
    }
    char message[GAN_MESSAGE_SIZE];
    const gan_open_options options = {.message = message, .message_size = sizeof message};
    gan_model *model = NULL;
    gan_context *context = NULL;
    if (gan_open(argv[1], &options, &model) != GAN_OK) fail(argv[1], message);
    gan_input input = {.size = sizeof input};
    gan_describe_input(model, &input);
    if (!input.channels) fail(argv[1], "the model takes no pictures");

    const picture given = read_ppm(argv[2]);
    const picture whole = padded(given, size_for(given.height, input.least_height, input.multiple_height),
                                 size_for(given.width, input.least_width, input.multiple_width));
    picture made = {0, 0, NULL};
    if (gan_output_size(model, whole.height, whole.width, &made.height, &made.width) != GAN_OK)
        fail(argv[2], "the model takes no picture of this size");
    made.pixels = room_for(made.height, made.width);
    const gan_images images = {.count = 1,
                               .data = whole.pixels,
                               .data_size = (size_t)whole.height * whole.width * 3,
                               .height = whole.height,
                               .width = whole.width,
                               .format = GAN_RGB8};
    const gan_output output = {
        .data = made.pixels, .data_size = (size_t)made.height * made.width * 3, .format = GAN_RGB8};
    gan_status status = gan_context_new(model, NULL, &context);
    if (status != GAN_OK) fail(argv[1], gan_status_string(status));
    status = gan_apply(context, &images, &output);
    if (status != GAN_OK) fail(argv[1], gan_context_message(context));
    write_ppm(made, (uint32_t)((uint64_t)given.height * made.height / whole.height),
              (uint32_t)((uint64_t)given.width * made.width / whole.width));
    free(given.pixels), free(whole.pixels), free(made.pixels);
    gan_context_free(context);
    gan_close(model);
    return 0;
}
