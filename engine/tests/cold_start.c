/* cold_start FILE [BATCH [THREADS]]: the cost of one batch to a program that does nothing else.  It prints the
 * milliseconds from main to the images, and in MiB the file's weights, the engine's own estimate of what it allocates
 * besides them, and the peak memory of the process. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "gan.h"

static double milliseconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

/* Not getrusage's: that counts what the process was before it became this program, too. */
static double peak_mib(void) {
    char line[256];
    long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %ld", &kib) == 1) break;
    if (f) fclose(f);
    return (double)kib / 1024;
}

static void need(gan_status status, const char *what) {
    if (status == GAN_OK) return;
    fprintf(stderr, "cold_start: %s: %s\n", what, gan_status_string(status));
    exit(2);
}

int main(int n, char **words) {
    const double began = milliseconds();
    const int batch = n > 2 ? atoi(words[2]) : 1, threads = n > 3 ? atoi(words[3]) : 0;
    if (n < 2 || n > 4 || batch < 1 || threads < 0) {
        fprintf(stderr, "cold_start FILE [BATCH [THREADS]]\n");
        return 2;
    }
    const gan_context_options options = {.batch = (uint32_t)batch, .threads = (uint32_t)threads};
    const gan_request request = {.count = options.batch};
    gan_model *model;
    gan_context *context;
    gan_info info = {0};
    uint64_t scratch, transformed;
    need(gan_open(words[1], NULL, &model), words[1]);
    gan_describe(model, &info);
    need(gan_context_size(model, &options, &scratch, &transformed), "its size");
    need(gan_context_new(model, &options, &context), "its memory");
    const size_t size = (size_t)info.channels * (info.depth ? info.depth : 1) * info.height * info.width *
                        options.batch;
    uint8_t *images = malloc(size);
    const gan_output output = {.data = images, .data_size = size};
    need(images ? gan_generate(context, &request, &output) : GAN_ERROR_MEMORY, "generating");
    const double took = milliseconds() - began;
    const double mib = 1 << 20;
    printf("milliseconds %.1f\nweights %.1f\ntransformed %.1f\nscratch %.1f\npeak %.1f\n", took,
           (double)info.weights / mib, (double)transformed / mib, (double)scratch / mib, peak_mib());
    free(images);
    gan_context_free(context);
    gan_close(model);
    return 0;
}
