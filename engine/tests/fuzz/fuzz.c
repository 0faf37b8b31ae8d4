/* libFuzzer on opening, describing and drawing: whatever the bytes, a status or a picture.
 *   sh engine/tests/fuzz/run.sh SECONDS
 * Each input is tried as it is, and again with its magic, sizes and checksums put right, so that what lies behind
 * them is reached.  max_memory bounds the work of an input that claims a huge picture. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "checksum.h"
#include "gan.h"

enum { MEMORY = 4 << 20, PICTURE = 1 << 16, WORK = 1 << 27, SLOWEST = 5 };

static void put(unsigned char *p, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) p[i] = (unsigned char)(value >> 8 * i);
}

static void seal(unsigned char *p, uint64_t data, uint64_t size, int head_at,
                 void (*sum)(checksum *, const unsigned char *, uint64_t)) {
    checksum of_data = {0}, of_head = {0};
    sum(&of_data, p + data, size - data);
    put(p + head_at + 16, of_data.first, 8), put(p + head_at + 24, of_data.second, 8);
    memset(p + head_at, 0, 16);
    sum(&of_head, p, data);
    put(p + head_at, of_head.first, 8), put(p + head_at + 8, of_head.second, 8);
}

/* docs/gan-file-format.md, "Header" of versions 1 and 2: everything that only says where the rest lies.  As many layers as the
 * input has room for, at most what it says. */
static void repair_old(unsigned char *p, uint64_t size) {
    enum { HEADER = 128, RECORD = 192 };
    if (size < HEADER + RECORD + 64) return;
    const uint64_t room = (size - HEADER - 64) / RECORD, said = u32_at(p + 56) % 512 + 1, layers = said < room ? said : room;
    const uint64_t head = HEADER + RECORD * layers;
    put(p + 12, RECORD, 4), put(p + 16, size, 8), put(p + 24, head, 8);
    put(p + 56, layers, 4);
    uint64_t data = u64_at(p + 40);
    if (data % 64 || data < head || data > size) data = (head + 63) / 64 * 64;
    if (data > size) return;
    if (u64_at(p + 32) > data - head) put(p + 32, data - head, 8);
    put(p + 40, data, 8), put(p + 48, size - data, 8);
    seal(p, data, size, 96, gan_i_sum_words);
}

/* Likewise version 3: the records go on while their sizes fit, and the manifest is what is left before the data. */
static void repair_3(unsigned char *p, uint64_t size) {
    enum { HEADER = 144, PORT = 192, RECORD = 24 };
    const uint64_t ports = u32_at(p + 60) % 4 + 1;
    if (size < HEADER + PORT * ports + RECORD) return;
    uint64_t data = u64_at(p + 40), at = HEADER + PORT * ports, layers = 0, said = u32_at(p + 56) % 16384 + 1;
    if (data % 64 || data < at + RECORD || data > size) data = size / 64 * 64;
    const uint64_t records = at;
    while (layers < said && at + RECORD <= data && u32_at(p + at) >= RECORD && u32_at(p + at) % 8 == 0 &&
           u32_at(p + at) <= data - at)
        at += u32_at(p + at), layers++;
    if (!layers) return;
    const uint64_t manifest = data - at < 64 && u64_at(p + 32) > data - at ? data - at : data - at < 64 ? u64_at(p + 32) : data - at;
    memset(p + at + manifest, 0, data - at - manifest);
    put(p + 12, HEADER, 4), put(p + 16, size, 8), put(p + 24, at, 8), put(p + 32, manifest, 8), put(p + 40, data, 8);
    put(p + 48, size - data, 8), put(p + 56, layers, 4), put(p + 60, ports, 4), put(p + 64, 0, 8), put(p + 72, at - records, 8);
    put(p + 88, 0, 8), put(p + 96, 0, 8), put(p + 104, 0, 8);
    for (uint64_t i = 0; i < ports; i++) { /* the image is the last layer's */
        unsigned char *port = p + HEADER + PORT * i;
        put(port + 124, 0, 4);
        if (u32_at(port)) put(port + 120, ports - 1 + layers - 1, 4);
    }
    seal(p, data, size, 112, gan_i_check_words);
}

static void repair(unsigned char *p, uint64_t size) {
    memcpy(p, "\x89GAN\r\n\x1a\n", 8);
    put(p + 8, u32_at(p + 8) % 3 + 1, 4);
    if (u32_at(p + 8) < 3) repair_old(p, size);
    else repair_3(p, size);
}

/* By seed, by label, by arrays of latents and labels: what the count's lowest bits say. */
static void draw(gan_model *model, uint32_t threads, uint64_t count) {
    gan_info info;
    gan_context *context;
    const gan_options options = {.threads = threads, .batch = (uint32_t)count, .max_memory = MEMORY};
    uint64_t scratch = 0, weights = 0;
    gan_describe(model, &info);
    const uint64_t picture = (uint64_t)info.channels * info.height * info.width;
    if (picture > PICTURE || gan_context_size(model, &options, &scratch, &weights) != GAN_OK) return;
    if (scratch + weights > MEMORY) abort();
    /* at least as many multiply-adds as weights and pixels can give: plain kernels under sanitizers do 10^8 a second */
    if (info.weights / 2 * (scratch / 64) > WORK) return;
    if (gan_context_new(model, &options, &context) != GAN_OK) return;
    uint8_t *bytes = malloc((size_t)(picture * count));
    float *floats = malloc((size_t)(picture * count * sizeof *floats));
    float *latents = malloc((size_t)(info.latent_size * count * sizeof *latents));
    int64_t *labels = malloc((size_t)count * sizeof *labels);
    if (!bytes || !floats || !latents || !labels) abort();
    gan_request request = {.seed = 7, .start = 1ull << 40, .count = count, .label = GAN_LABEL_RANDOM};
    if (gan_generate_bytes(context, &request, bytes, (size_t)(picture * count)) != GAN_OK) abort();
    request.label = GAN_LABEL_ALL;
    if (gan_generate_floats(context, &request, floats, (size_t)(picture * count)) != GAN_OK) abort();
    if (gan_latents(model, 7, 9, count, latents) != GAN_OK) abort();
    request.latents = latents;
    if (info.classes) {
        if (gan_labels(model, 7, 9, count, labels) != GAN_OK) abort();
        request.labels = labels;
    }
    if (gan_generate_floats(context, &request, floats, (size_t)(picture * count)) != GAN_OK) abort();
    if (info.classes) {
        labels[count - 1] = info.classes;
        if (gan_generate_bytes(context, &request, bytes, (size_t)(picture * count)) != GAN_ERROR_LABEL) abort();
    }
    free(bytes), free(floats), free(latents), free(labels);
    gan_context_free(context);
}

/* By the best kernels, or by generic.c's for every other size of input. */
static void try_bytes(const unsigned char *bytes, size_t size) {
    gan_model *model;
    setenv("GAN_CPU", size / 8 % 2 ? "generic" : "", 1);
    if (gan_open_memory(bytes, size, &model) != GAN_OK) return;
    draw(model, 1, 1);
    draw(model, 1, 3);
    draw(model, 2, 5);
    gan_close(model);
}

static void too_slow(int number) {
    (void)number;
    abort();
}

/* SLOWEST seconds of the processor's time: a clock on the wall, as libFuzzer's own, also runs while others work. */
static void watch(void) {
    const struct itimerval limit = {.it_value = {.tv_sec = SLOWEST}};
    signal(SIGPROF, too_slow);
    setitimer(ITIMER_PROF, &limit, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    unsigned char *copy = malloc(size ? size : 1);
    if (!copy) return 0;
    watch();
    if (size) memcpy(copy, data, size);
    try_bytes(copy, size);
    if (size >= 144) {
        repair(copy, size);
        try_bytes(copy, size);
    }
    free(copy);
    return 0;
}
