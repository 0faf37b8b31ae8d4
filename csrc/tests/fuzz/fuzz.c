/* libFuzzer on opening, describing and drawing: whatever the bytes, a status or a picture.
 *   sh csrc/tests/fuzz/run.sh SECONDS
 * Each input is tried as it is, and again with its magic, sizes and checksums put right, so that what lies behind
 * them is reached.  max_memory bounds the work of an input that claims a huge picture. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "gan.h"

enum { HEADER = 128, RECORD = 192, MEMORY = 1 << 20, PICTURE = 1 << 16, SLOWEST = 5 };

static void put(unsigned char *p, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) p[i] = (unsigned char)(value >> 8 * i);
}

static uint64_t get(const unsigned char *p, int bytes) {
    uint64_t value = 0;
    for (int i = bytes; i--;) value = value << 8 | p[i];
    return value;
}

static void sums(const unsigned char *p, uint64_t size, unsigned char *to) {
    uint64_t a = 0, b = 0;
    for (uint64_t i = 0; i < size; i += 8) {
        const uint64_t word = get(p + i, size - i < 8 ? (int)(size - i) : 8);
        a += word;
        b += (i / 8 + 1) * word;
    }
    put(to, a, 8), put(to + 8, b, 8);
}

/* docs/FORMAT.md, "Header": everything that only says where the rest lies. */
static void repair(unsigned char *p, uint64_t size) {
    const uint64_t layers = get(p + 56, 4) % 8 + 1, head = HEADER + RECORD * layers;
    if (size < head + 64) return;
    memcpy(p, "\x89GAN\r\n\x1a\n", 8);
    put(p + 8, get(p + 8, 4) % 2 + 1, 4), put(p + 12, RECORD, 4), put(p + 16, size, 8), put(p + 24, head, 8);
    put(p + 56, layers, 4);
    uint64_t data = get(p + 40, 8);
    if (data % 64 || data < head || data > size) data = (head + 63) / 64 * 64;
    if (data > size) return;
    if (get(p + 32, 8) > data - head) put(p + 32, data - head, 8);
    put(p + 40, data, 8), put(p + 48, size - data, 8);
    sums(p + data, size - data, p + 112);
    memset(p + 96, 0, 16);
    sums(p, data, p + 96);
}

static void draw(gan_model *model, uint32_t threads, uint64_t count) {
    gan_info info;
    gan_context *context;
    const gan_options options = {.threads = threads, .batch = (uint32_t)count, .max_memory = MEMORY};
    uint64_t scratch = 0, weights = 0;
    gan_describe(model, &info);
    const uint64_t picture = (uint64_t)info.channels * info.height * info.width;
    if (picture > PICTURE || gan_context_size(model, &options, &scratch, &weights) != GAN_OK) return;
    if (scratch + weights > MEMORY) abort();
    if (gan_context_new(model, &options, &context) != GAN_OK) return;
    const gan_request request = {.seed = 7, .start = 1ull << 40, .count = count, .label = GAN_LABEL_RANDOM};
    uint8_t *bytes = malloc((size_t)(picture * count));
    float *floats = malloc((size_t)(picture * count * sizeof *floats));
    if (!bytes || !floats) abort();
    if (gan_generate_bytes(context, &request, bytes, (size_t)(picture * count)) != GAN_OK) abort();
    if (gan_generate_floats(context, &request, floats, (size_t)(picture * count)) != GAN_OK) abort();
    free(bytes);
    free(floats);
    gan_context_free(context);
}

static void try_bytes(const unsigned char *bytes, size_t size) {
    gan_model *model;
    if (gan_open_memory(bytes, size, &model) != GAN_OK) return;
    draw(model, 1, 1);
    draw(model, 1, 3);
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
    if (size >= HEADER) {
        repair(copy, size);
        try_bytes(copy, size);
    }
    free(copy);
    return 0;
}
