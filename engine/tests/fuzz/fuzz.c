/* libFuzzer on opening, describing and generating: whatever the bytes, a status or an image.
 *   sh engine/tests/fuzz/run.sh SECONDS
 * Each input is tried as it is; with its magic, sizes and checksums corrected, so that what lies behind them is
 * reached; and as a recipe for a sound file (recipe.h), so that layers, shapes and methods of all kinds are run. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "checksum.h"
#include "model.h"
#include "recipe.h"

enum { MEMORY = 16 << 20, IMAGE = 1 << 16, WORK = 1 << 22, SLOWEST = 5 };

/* How many models were opened and generated from that are large in some way: coverage shows which lines were run, but
 * not by what.  Printed at the end. */
static struct {
    unsigned long opened, generated, layers, kernels, labels, generic, transforms;
    uint32_t most_layers, largest_kernel;
} reached;

static void print_reached(void) {
    fprintf(
        stderr,
        "opened %lu, generated from %lu: %lu of 100 layers or more (at most %u), %lu with kernels of 16 or more (at "
        "most %u), %lu by arrays of labels, %lu by generic kernels, %lu by transforms\n",
        reached.opened, reached.generated, reached.layers, reached.most_layers, reached.kernels, reached.largest_kernel,
        reached.labels, reached.generic, reached.transforms);
}

static void note(const gan_model *model) {
    uint32_t kernel = 0;
    int transforms = 0;
    for (uint32_t i = 0; i < model->program.n_steps; i++) {
        const gan_conv *conv = &model->program.steps[i].conv;
        kernel = conv->layer_kernel > kernel ? conv->layer_kernel : kernel;
        for (int method = METHOD_TOOM3; method < METHOD_COUNT; method++)
            transforms |= model->packed[i * METHOD_COUNT + (uint32_t)method].users > 0;
    }
    reached.generated++;
    reached.layers += model->file.n_layers >= 100;
    reached.kernels += kernel >= 16;
    reached.labels += model->file.classes > 0;
    reached.generic += model->kernels == &gan_i_generic;
    reached.transforms += transforms;
    reached.most_layers = model->file.n_layers > reached.most_layers ? model->file.n_layers : reached.most_layers;
    reached.largest_kernel = kernel > reached.largest_kernel ? kernel : reached.largest_kernel;
}

static void put(unsigned char *p, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) p[i] = (unsigned char)(value >> 8 * i);
}

static void seal(unsigned char *p, uint64_t data, uint64_t size, int head_at,
                 void (*sum)(gan_checksum *, const unsigned char *, uint64_t)) {
    gan_checksum of_data = {0}, of_head = {0};
    sum(&of_data, p + data, size - data);
    put(p + head_at + 16, of_data.first, 8), put(p + head_at + 24, of_data.second, 8);
    memset(p + head_at, 0, 16);
    sum(&of_head, p, data);
    put(p + head_at, of_head.first, 8), put(p + head_at + 8, of_head.second, 8);
}

/* Makes the header of versions 1 and 2 consistent: its sizes and offsets (docs/gan-file-format.md, "Header").  It keeps
 * the stated number of layers, or as many as the input has room for. */
static void repair_old(unsigned char *p, uint64_t size) {
    enum { HEADER = 128, RECORD = 192 };
    if (size < HEADER + RECORD + 64) return;
    const uint64_t room = (size - HEADER - 64) / RECORD, stated = u32_at(p + 56) % 512 + 1,
                   layers = stated < room ? stated : room;
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
    enum { HEADER = 144, PORT = 192, SIZE = 32, RECORD = 24 };
    const uint64_t ports = u32_at(p + 60) % 4 + 1, sizes = u32_at(p + 64) % 3;
    if (size < HEADER + PORT * ports + SIZE * sizes + RECORD) return;
    uint64_t data = u64_at(p + 40), at = HEADER + PORT * ports + SIZE * sizes, layers = 0,
             stated = u32_at(p + 56) % 16384 + 1;
    if (data % 64 || data < at + RECORD || data > size) data = size / 64 * 64;
    const uint64_t records = at;
    while (layers < stated && at + RECORD <= data && u32_at(p + at) >= RECORD && u32_at(p + at) % 8 == 0 &&
           u32_at(p + at) <= data - at)
        at += u32_at(p + at), layers++;
    if (!layers) return;
    const uint64_t manifest = data - at < 64 && u64_at(p + 32) > data - at ? data - at
                              : data - at < 64                             ? u64_at(p + 32)
                                                                           : data - at;
    memset(p + at + manifest, 0, data - at - manifest);
    put(p + 12, HEADER, 4), put(p + 16, size, 8), put(p + 24, at, 8), put(p + 32, manifest, 8), put(p + 40, data, 8);
    put(p + 48, size - data, 8), put(p + 56, layers, 4), put(p + 60, ports, 4), put(p + 64, sizes, 8),
        put(p + 72, at - records, 8);
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

/* Multiply-adds for one image, of which plain kernels under sanitizers do 10^8 per second. */
static uint64_t products(const gan_model *model) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < model->program.n_steps; i++) {
        const gan_conv *conv = &model->program.steps[i].conv;
        if (model->program.steps[i].run) continue;
        const uint64_t in = shape_pixels(conv->in), out = shape_pixels(conv->out);
        const uint64_t pixels = conv->in_stride > 1 || in > out ? in : out;
        const uint64_t channels = (uint64_t)conv->in.c * padded(conv->out.c, model->kernels);
        const uint64_t taps = conv_elements(conv) / conv->out_stride + 1;
        if (channels * taps > WORK || pixels > WORK) return UINT64_MAX >> 8;
        sum += channels * taps * pixels;
    }
    return sum;
}

/* Images of the least size and of the one after it, of bytes and of floats. */
static void apply(gan_model *model, uint32_t threads, uint64_t count) {
    gan_input input = {0};
    gan_context *context;
    const gan_context_options options = {.threads = threads, .max_memory = MEMORY};
    gan_describe_input(model, &input);
    if (gan_context_new(model, &options, &context) != GAN_OK) return;
    for (uint32_t step = 0; step < 2; step++) {
        uint64_t scratch, weights;
        uint32_t h, w;
        gan_images images = {.count = count,
                             .height = input.least_height + step * input.multiple_height,
                             .width = input.least_width + step * input.multiple_width};
        if (gan_output_size(model, images.height, images.width, &h, &w) != GAN_OK) continue;
        const uint64_t in = (uint64_t)images.height * images.width * input.channels,
                       out = (uint64_t)h * w * model->file.image.c;
        const gan_status fits = gan_apply_size(model, &options, images.height, images.width, &scratch, &weights);
        if (in > IMAGE || out > IMAGE || products(model) * count * (1 + 8 * step) > WORK) continue;
        uint8_t *bytes = calloc((size_t)(out > in ? out : in), (size_t)count);
        float *floats = calloc((size_t)(out > in ? out : in) * sizeof *floats, (size_t)count);
        if (!bytes || !floats) abort();
        const gan_output as_floats = {
            .data = floats, .data_size = (size_t)(out * count) * sizeof *floats, .format = GAN_FLOAT_PLANAR};
        const gan_output as_bytes = {.data = bytes, .data_size = (size_t)(out * count)};
        images.data = bytes, images.data_size = (size_t)(in * count);
        if (gan_apply(context, &images, &as_floats) != fits) abort();
        images.data = floats, images.data_size = (size_t)(in * count) * sizeof *floats;
        images.format = GAN_FLOAT_INTERLEAVED;
        if (gan_apply(context, &images, &as_bytes) != fits) abort();
        free(bytes), free(floats);
    }
    if (threads > 1) note(model);
    gan_context_free(context);
}

/* By seed, by label, by arrays of latents and labels: what the count's lowest bits say. */
static void generate(gan_model *model, uint32_t threads, uint64_t count) {
    gan_info info = {0};
    gan_context *context;
    const gan_context_options options = {.threads = threads, .batch = (uint32_t)count, .max_memory = MEMORY};
    uint64_t scratch = 0, weights = 0;
    gan_describe(model, &info);
    if (!info.latent_size) {
        apply(model, threads, count);
        return;
    }
    const uint64_t image = (uint64_t)info.channels * (info.depth ? info.depth : 1) * info.height * info.width;
    if (image > IMAGE || products(model) * count > WORK) return;
    if (gan_context_size(model, &options, &scratch, &weights) != GAN_OK) return;
    if (scratch + weights > MEMORY) abort();
    if (gan_context_new(model, &options, &context) != GAN_OK) return;
    uint8_t *bytes = malloc((size_t)(image * count));
    float *floats = malloc((size_t)(image * count * sizeof *floats));
    float *latents = calloc((size_t)(info.latent_size * count), sizeof *latents);
    int64_t *labels = malloc((size_t)count * sizeof *labels);
    if (!bytes || !floats || !latents || !labels) abort();
    gan_request request = {.seed = 7, .start = 1ull << 40, .count = count};
    const gan_output as_bytes = {.data = bytes, .data_size = (size_t)(image * count)};
    const gan_output as_floats = {
        .data = floats, .data_size = (size_t)(image * count) * sizeof *floats, .format = GAN_FLOAT_PLANAR};
    const int given = info.prior == GAN_PRIOR_NONE;
    if (given) {
        if (gan_generate(context, &request, &as_bytes) != GAN_ERROR_ARGUMENT) abort();
        request.latents = latents, request.latents_size = info.latent_size * count;
    }
    if (gan_generate(context, &request, &as_bytes) != GAN_OK) abort();
    request.labeling = GAN_LABELS_ALL;
    if (gan_generate(context, &request, &as_floats) != GAN_OK) abort();
    if (!given && gan_latents(model, &request, latents, info.latent_size * count) != GAN_OK) abort();
    if (gan_interpolate(model, latents, latents, 0.25, latents, info.latent_size * count) != GAN_OK) abort();
    request.latents = latents, request.latents_size = info.latent_size * count;
    if (info.classes) {
        if (gan_labels(model, &request, labels, count) != GAN_OK) abort();
        request.labels = labels, request.labels_size = count;
    }
    if (gan_generate(context, &request, &as_floats) != GAN_OK) abort();
    if (info.classes) {
        labels[count - 1] = info.classes;
        if (gan_generate(context, &request, &as_bytes) != GAN_ERROR_LABEL) abort();
    }
    if (threads > 1) note(model);
    free(bytes), free(floats), free(latents), free(labels);
    gan_context_free(context);
}

/* By the best kernels, or by generic.c's for every other 64 bytes of size. */
static gan_status try_bytes(const unsigned char *bytes, size_t size) {
    gan_model *model;
    char message[GAN_MESSAGE_SIZE];
    const gan_open_options options = {
        .kernels = size / 64 % 2 ? "generic" : NULL, .message = message, .message_size = sizeof message};
    const gan_status status = gan_open_memory(bytes, size, &options, &model);
    if ((status == GAN_OK) != !strlen(message)) abort();
    if (status != GAN_OK) return status;
    reached.opened++;
    generate(model, 1, 1);
    generate(model, 2, 3);
    gan_close(model);
    return GAN_OK;
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

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    return atexit(print_reached);
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
    size_t cooked_size;
    unsigned char *cooked = cook(data, size, &cooked_size);
    const gan_status status = cooked ? try_bytes(cooked, cooked_size) : GAN_OK;
    if (status != GAN_OK && status != GAN_ERROR_UNSUPPORTED && status != GAN_ERROR_MEMORY) abort(); /* it is sound */
    free(cooked);
    return 0;
}
