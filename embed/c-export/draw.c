/* Pictures of a seed with exported C: draw generator.weights SEED COUNT [LABEL] > pictures.raw, uint8 (count, height,
 * width, channels).  A generator with labels takes -DLABELS, and draws random ones where none is named. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#if defined(_WIN32)
#include <fcntl.h>
#include <io.h>
#endif

#include "generator.h"

static generator_weights weights;
static float workspace[GENERATOR_WORKSPACE];
static unsigned char picture[GENERATOR_HEIGHT * GENERATOR_WIDTH * GENERATOR_CHANNELS];

/* A whole number within 0 .. 2^64-1, or 0 for what is none. */
static int number(const char *text, uint64_t *value) {
    char *end;
    errno = 0;
    *value = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && !errno;
}

static int read_weights(const char *path) {
    FILE *file = fopen(path, "rb");
    const int whole = file && fread(&weights, sizeof weights, 1, file) == 1 && fgetc(file) == EOF;
    if (file) fclose(file);
    return whole && generator_check(&weights);
}

int main(int argc, char **argv) {
    uint64_t seed, count, label = 0;
    const int labelled = argc == 5;
#if defined(_WIN32)
    _setmode(_fileno(stdout), _O_BINARY); /* else each byte 10 goes out as two */
#endif
    if ((argc != 4 && !labelled) || !number(argv[2], &seed) || !number(argv[3], &count) || !count ||
        (labelled && !number(argv[4], &label))) {
        fprintf(stderr, "usage: draw generator.weights SEED COUNT [LABEL] > pictures.raw, "
                        "with SEED 0 to 2^64-1 and COUNT at least 1\n");
        return 2;
    }
#ifdef LABELS
    if (label >= GENERATOR_CLASSES) {
        fprintf(stderr, "draw: label %s: must be 0 to %d\n", argv[4], GENERATOR_CLASSES - 1);
        return 2;
    }
#else
    if (labelled) {
        fprintf(stderr, "draw: label %s: this generator has none\n", argv[4]);
        return 2;
    }
#endif
    if (!read_weights(argv[1])) {
        fprintf(stderr, "draw: %s can't be read, or isn't the weights of this generator\n", argv[1]);
        return 2;
    }
    for (uint64_t i = 0; i < count; i++) {
        float z[GENERATOR_LATENT];
        generator_latent(seed, i, z);
#ifdef LABELS
        generator_bytes(&weights, z, labelled ? (uint32_t)label : generator_label(seed, i), workspace, picture);
#else
        generator_bytes(&weights, z, workspace, picture);
#endif
        if (fwrite(picture, sizeof picture, 1, stdout) != 1 || (i + 1 == count && fflush(stdout))) {
            fprintf(stderr, "draw: the pictures can't be written\n");
            return 2;
        }
    }
    return 0;
}
