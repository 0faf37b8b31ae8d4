/* Pictures of a seed with the C engine: draw g.gan SEED COUNT > pictures.raw, uint8 (count, height, width, channels). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#if defined(_WIN32)
#include <fcntl.h>
#include <io.h>
#endif

#include "gan.h"

/* A whole number within 0 .. 2^64-1, or 0 for what is none. */
static int number(const char *text, uint64_t *value) {
    char *end;
    errno = 0;
    *value = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && !errno;
}

static gan_status draw(gan_model *model, gan_context *context, uint64_t seed, uint64_t count) {
    gan_info info = {.size = sizeof info};
    gan_describe(model, &info);
    const size_t picture = (size_t)info.channels * (info.depth ? info.depth : 1) * info.height * info.width;
    uint8_t *pixels = malloc(picture);
    gan_status status = pixels ? GAN_OK : GAN_ERROR_MEMORY;
    for (uint64_t i = 0; i < count && status == GAN_OK; i++) {
        const gan_request request = {.seed = seed, .start = i, .count = 1};
        const gan_output output = {.data = pixels, .data_size = picture};
        status = gan_generate(context, &request, &output);
        if (status != GAN_OK) break;
        if (fwrite(pixels, 1, picture, stdout) != picture || (i + 1 == count && fflush(stdout))) {
            fprintf(stderr, "draw: the pictures can't be written\n");
            exit(2);
        }
    }
    free(pixels);
    return status;
}

int main(int argc, char **argv) {
    uint64_t seed, count;
#if defined(_WIN32)
    _setmode(_fileno(stdout), _O_BINARY); /* else each byte 10 goes out as two */
#endif
    if (argc != 4 || !number(argv[2], &seed) || !number(argv[3], &count) || !count) {
        fprintf(stderr, "usage: draw FILE.gan SEED COUNT > pictures.raw, with SEED 0 to 2^64-1 and COUNT at least 1\n");
        return 2;
    }
    char message[GAN_MESSAGE_SIZE];
    const gan_open_options options = {.message = message, .message_size = sizeof message};
    gan_model *model = NULL;
    gan_context *context = NULL;
    gan_status status = gan_open(argv[1], &options, &model);
    if (status != GAN_OK) {
        fprintf(stderr, "draw: %s: %s\n", argv[1], message);
        return 2;
    }
    status = gan_context_new(model, NULL, &context);
    if (status == GAN_OK) status = draw(model, context, seed, count);
    if (status != GAN_OK) fprintf(stderr, "draw: %s: %s\n", argv[1], gan_status_string(status));
    gan_context_free(context);
    gan_close(model);
    return status == GAN_OK ? 0 : 2;
}
