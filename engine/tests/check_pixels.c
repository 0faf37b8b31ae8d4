/* Every format of gan.h, going in and coming out, with strides; latents and labels as a program gets them. */
#include <math.h>

#include "samples.h"

enum { SIDE = 12, PIXELS = SIDE * SIDE, CHANNELS = 3, IMAGES = 2, PAD = 8 };

static gan_context *context_of(const char *file, gan_model **model) {
    gan_context *context = NULL;
    const gan_context_options options = {.threads = 1, .batch = 2};
    if (open_sample(file, model) != GAN_OK || gan_context_new(*model, &options, &context) != GAN_OK) exit(2);
    return context;
}

/* Bytes of a pixel in a format of bytes, of a model with this number of channels. */
static int unit_of(uint32_t format, int channels) {
    return format == GAN_BYTES ? channels : format == GAN_GRAY8 ? 1 : format == GAN_RGB8 ? 3 : 4;
}

/* What byte `i` of a pixel is in a format, by the pixel's own channels. */
static int byte_of(const uint8_t *pixel, int channels, uint32_t format, int i) {
    if (i == 3) return 255;
    if (format == GAN_BGRA8 && channels == 3) i = 2 - i;
    return pixel[channels == 3 ? i : 0];
}

/* Two images of a file in every format of bytes, with room after rows and images, from above and from below. */
static int check_bytes_out(const char *file, int channels, const char *what) {
    enum { LARGEST = IMAGES * 17 * (16 * 4 + PAD) };
    static uint8_t plain[IMAGES * 16 * 16 * CHANNELS], got[LARGEST];
    gan_model *model;
    gan_context *context = context_of(file, &model);
    const gan_request two = known_request(3, IMAGES);
    int failed = check(generate_bytes(context, &two, plain, sizeof plain) == GAN_OK, what);
    for (uint32_t format = GAN_BYTES; format <= GAN_BGRA8; format++) {
        const int unit = unit_of(format, channels), row = 16 * unit + PAD, image = 17 * row;
        for (int below = 0; below < 2; below++) {
            const gan_output output = {.data = got,
                                       .data_size = (size_t)(2 * image - row),
                                       .format = format,
                                       .row_stride = below ? -row : row,
                                       .image_stride = image};
            memset(got, 7, sizeof got);
            const gan_status status = gan_generate(context, &two, &output);
            if (format == GAN_GRAY8 && channels == 3) {
                failed += check(status == GAN_ERROR_ARGUMENT, "gray of three channels");
                continue;
            }
            failed += check(status == GAN_OK, what);
            int wrong = 0;
            for (int i = 0; i < 2 * image; i++) {
                const int n = i / image, line = i % image / row, x = i % row / unit;
                const int y = below ? 15 - line : line, inside = line < 16 && i % row < 16 * unit;
                const uint8_t *pixel = plain + ((n * 16 + y) * 16 + x) * channels;
                wrong += got[i] != (inside ? byte_of(pixel, channels, format, i % row % unit) : 7);
            }
            if (wrong) printf("format %u of %d channels, below %d: ", (unsigned)format, channels, below);
            failed += check(!wrong, "its bytes");
        }
    }
    gan_context_free(context);
    gan_close(model);
    return failed;
}

/* Put the pictures into `to`, in a format, with PAD bytes after each row and a row of them after each image; returns
 * how the bytes lie. */
static gan_images lay(const uint8_t *pictures, uint32_t format, int below, unsigned char *to) {
    const int planar = format == GAN_FLOAT_PLANAR, floats = format >= GAN_FLOAT_PLANAR;
    const int unit = planar ? 4 : floats ? 4 * CHANNELS : unit_of(format, CHANNELS);
    const int row = SIDE * unit + PAD, plane = SIDE * row, image = (planar ? CHANNELS : 1) * plane + row;
    for (int n = 0; n < IMAGES * PIXELS; n++) {
        const uint8_t *pixel = pictures + n * CHANNELS;
        const int y = n % PIXELS / SIDE, line = below ? SIDE - 1 - y : y;
        unsigned char *at = to + n / PIXELS * image + line * row + n % SIDE * unit;
        for (int c = 0; c < CHANNELS && floats; c++) {
            const float value = (float)pixel[c] / 127.5f - 1; /* of the model's range, -1 .. 1 */
            memcpy(planar ? at + c * plane : at + 4 * c, &value, sizeof value);
        }
        for (int c = 0; c < unit && !floats; c++)
            at[c] = c == 3 ? (uint8_t)n : (uint8_t)byte_of(pixel, CHANNELS, format, c); /* any alpha */
    }
    return (gan_images){.count = IMAGES,
                        .data = to,
                        .data_size = (size_t)(IMAGES * image - row),
                        .format = format,
                        .row_stride = below ? -row : row,
                        .image_stride = image,
                        .height = SIDE,
                        .width = SIDE};
}

static int check_pictures_in(void) {
    static float room[IMAGES * (CHANNELS * SIDE + 1) * (SIDE * 4 * CHANNELS + PAD) / 4];
    static uint8_t given[IMAGES * PIXELS * CHANNELS], want[sizeof given], got[sizeof given];
    gan_model *model;
    gan_context *context = context_of(KNOWN "/images-3.gan", &model);
    gan_images images = {.count = IMAGES, .data = given, .data_size = sizeof given, .height = SIDE, .width = SIDE};
    gan_output output = {.data = want, .data_size = sizeof want};
    for (uint32_t i = 0; i < sizeof given; i++) given[i] = (uint8_t)(i * 2654435761u >> 7);
    int failed = check(gan_apply(context, &images, &output) == GAN_OK, "pictures as bytes");
    output.data = got;
    for (uint32_t format = GAN_BYTES; format <= GAN_FLOAT_INTERLEAVED; format++) {
        for (int below = 0; below < 2 && format != GAN_GRAY8; below++) {
            images = lay(given, format, below, (unsigned char *)room);
            memset(got, 0, sizeof got);
            failed += check(gan_apply(context, &images, &output) == GAN_OK && alike(got, want, sizeof got),
                            "pictures in another format");
        }
    }
    images.format = GAN_GRAY8;
    failed += check(gan_apply(context, &images, &output) == GAN_ERROR_ARGUMENT, "gray for a model of three channels");
    images.format = GAN_RGB8, images.data_size = sizeof given - 1, images.row_stride = images.image_stride = 0;
    failed += check(gan_apply(context, &images, &output) == GAN_ERROR_ARGUMENT, "fewer bytes than the pictures have");
    gan_context_free(context);
    gan_close(model);
    return failed;
}

enum { LARGE = 32, STEPS = 10 };

/* The points of each layer's transform when a large image is computed within `most` bytes. */
static void take_points(gan_model *model, uint64_t most, uint32_t points[STEPS]) {
    static uint8_t given[LARGE * LARGE * CHANNELS], out[LARGE * LARGE * CHANNELS];
    const gan_images images = {.count = 1, .data = given, .data_size = sizeof given, .height = LARGE, .width = LARGE};
    const gan_output output = {.data = out, .data_size = sizeof out};
    gan_context *context;
    const gan_context_options options = {.threads = 1, .max_memory = most};
    gan_step_info step = {.size = sizeof step};
    if (gan_context_new(model, &options, &context) != GAN_OK || gan_apply(context, &images, &output) != GAN_OK) exit(2);
    for (uint32_t i = 0; i < STEPS; i++) {
        if (gan_describe_step(context, i, &step) != GAN_OK) exit(2);
        points[i] = step.points;
    }
    gan_context_free(context);
}

/* With a byte less than it would take, one layer gets a smaller transform or none, not all layers. */
static int check_less_memory(void) {
    gan_model *model;
    const gan_open_options plain = {.kernels = "generic"}; /* choices depend on the kernels */
    const gan_context_options options = {.threads = 1};
    uint64_t scratch = 0, weights = 0;
    if (gan_open(KNOWN "/images-3.gan", &plain, &model) != GAN_OK ||
        gan_apply_size(model, &options, LARGE, LARGE, &scratch, &weights) != GAN_OK)
        exit(2);
    uint32_t before[STEPS], after[STEPS];
    int kept = 0, smaller = 0;
    take_points(model, scratch + weights, before);
    take_points(model, scratch + weights - 1, after);
    gan_close(model);
    for (int i = 0; i < STEPS; i++) kept += before[i] && after[i] == before[i], smaller += after[i] < before[i];
    return check(kept && smaller, "a byte less of memory");
}

/* What gan_apply_size tells is what gan_apply takes: so much is enough, and a byte less isn't. */
static int check_size(void) {
    static uint8_t given[PIXELS * CHANNELS], out[PIXELS * CHANNELS];
    gan_model *model;
    gan_context *context = context_of(KNOWN "/images-3.gan", &model);
    uint64_t scratch = 0, weights = 0;
    uint32_t height = 0, width = 0;
    gan_context_options options = {.threads = 1};
    const gan_images images = {.count = 1, .data = given, .data_size = sizeof given, .height = SIDE, .width = SIDE};
    const gan_output output = {.data = out, .data_size = sizeof out};
    int failed = check(gan_output_size(model, SIDE, SIDE, &height, &width) == GAN_OK && height == SIDE && width == SIDE,
                       "the size that comes out");
    failed += check(gan_output_size(model, SIDE + 1, SIDE, &height, &width) == GAN_ERROR_ARGUMENT, "no multiple");
    gan_context_free(context);
    failed += check(gan_apply_size(model, &options, SIDE, SIDE, &scratch, &weights) == GAN_OK && scratch && weights,
                    "what a size needs");
    failed += check(gan_apply_size(model, &options, SIDE, 3, &scratch, &weights) == GAN_ERROR_ARGUMENT, "a wrong size");
    if (gan_apply_size(model, &options, SIDE, SIDE, &scratch, &weights) != GAN_OK) return failed + 1;
    options.max_memory = scratch + weights;
    failed += check(gan_context_new(model, &options, &context) == GAN_OK &&
                        gan_apply(context, &images, &output) == GAN_OK,
                    "just enough memory");
    gan_context_info info = {.size = sizeof info};
    gan_describe_context(context, &info);
    failed += check(info.scratch == scratch && info.weights == weights, "what a size took");
    gan_context_free(context);
    const uint64_t largest = options.max_memory;
    for (options.max_memory = largest / 2; options.max_memory; options.max_memory /= 2) {
        const gan_status status = gan_apply_size(model, &options, SIDE, SIDE, &scratch, &weights);
        if (status == GAN_OK) {
            failed += check(scratch + weights <= options.max_memory, "less memory, another plan");
            continue;
        }
        failed += check(status == GAN_ERROR_MEMORY, "too little memory");
        if (gan_context_new(model, &options, &context) != GAN_OK) break;
        failed += check(gan_apply(context, &images, &output) == GAN_ERROR_MEMORY, "too little memory for a picture");
        gan_context_free(context);
    }
    gan_close(model);
    return failed;
}

/* Latents times a number, by hand and by the library. */
static int check_scale(void) {
    static float plain[3 * 64], scaled[3 * 64];
    static uint8_t by_hand[3 * KNOWN_IMAGE], got[sizeof by_hand], whole[sizeof by_hand];
    gan_model *model;
    gan_context *context = context_of(KNOWN "/chain-3.gan", &model);
    gan_info info = {.size = sizeof info};
    gan_describe(model, &info);
    const size_t n = (size_t)3 * info.latent_size;
    gan_request request = known_request(2, 3);
    int failed = check(gan_latents(model, &request, plain, n) == GAN_OK, "latents");
    failed += check(generate_bytes(context, &request, whole, sizeof whole) == GAN_OK, "their images");
    request.latent_scale = 0.5f;
    failed += check(gan_latents(model, &request, scaled, n) == GAN_OK, "scaled latents");
    failed += check(generate_bytes(context, &request, got, sizeof got) == GAN_OK, "their images");
    int wrong = 0;
    for (size_t i = 0; i < n; i++) wrong += scaled[i] != plain[i] * 0.5f;
    failed += check(!wrong, "each number of them");
    const gan_request given = {.count = 3, .latents = scaled, .latents_size = n};
    failed += check(generate_bytes(context, &given, by_hand, sizeof by_hand) == GAN_OK, "images of given latents");
    failed += check(!memcmp(by_hand, got, sizeof got) && memcmp(whole, got, sizeof got), "the scale of a request");
    request.latents = plain, request.latents_size = n;
    failed += check(generate_bytes(context, &request, got, sizeof got) == GAN_OK && !memcmp(by_hand, got, sizeof got),
                    "the scale of given latents");
    request.latent_scale = NAN;
    failed += check(generate_bytes(context, &request, got, sizeof got) == GAN_ERROR_ARGUMENT, "no number as a scale");
    gan_context_free(context);
    gan_close(model);
    return failed;
}

/* A walk on the great circle for a normal prior, on a straight line for a uniform one. */
static int check_walk(const char *file, int arc, const char *what) {
    static float ends[2 * 64], middle[64];
    gan_model *model;
    gan_context *context = context_of(file, &model);
    gan_info info = {.size = sizeof info};
    gan_describe(model, &info);
    const size_t nz = info.latent_size;
    const gan_request two = known_request(0, 2);
    int failed = check(gan_latents(model, &two, ends, 2 * nz) == GAN_OK, what);
    const float *a = ends, *b = ends + nz;
    double dot = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < nz; i++) dot += a[i] * b[i], aa += a[i] * a[i], bb += b[i] * b[i];
    const double angle = acos(dot / sqrt(aa * bb)), at = 0.3;
    const double of_a = arc ? sin((1 - at) * angle) / sin(angle) : 1 - at,
                 of_b = arc ? sin(at * angle) / sin(angle) : at;
    failed += check(gan_interpolate(model, a, b, at, middle, nz) == GAN_OK, what);
    double off = 0;
    for (size_t i = 0; i < nz; i++) off = fmax(off, fabs(middle[i] - (of_a * a[i] + of_b * b[i])));
    failed += check(off < 1e-6, "the latents between two");
    failed += check(gan_interpolate(model, a, b, at, ends, nz) == GAN_OK && !memcmp(ends, middle, nz * sizeof *ends),
                    "the latents between two, written over the first");
    failed += check(gan_interpolate(model, a, b, at, middle, nz - 1) == GAN_ERROR_ARGUMENT, "part of a latent");
    gan_context_free(context);
    gan_close(model);
    return failed;
}

static int check_labels(void) {
    enum { COUNT = 40, IMAGE = 16 * 16 };
    static int64_t labels[COUNT], all[COUNT];
    static uint8_t random[COUNT * IMAGE], given[sizeof random];
    gan_model *model, *without;
    gan_context *context = context_of(KNOWN "/labels-3.gan", &model);
    gan_request request = known_request(0, COUNT);
    int failed = check(gan_labels(model, &request, labels, COUNT) == GAN_OK, "labels");
    failed += check(gan_labels(model, &request, labels, COUNT - 1) == GAN_ERROR_ARGUMENT, "no room for labels");
    failed += check(generate_bytes(context, &request, random, sizeof random) == GAN_OK, "images of random labels");
    request.labels = labels, request.labels_size = COUNT;
    failed += check(generate_bytes(context, &request, given, sizeof given) == GAN_OK &&
                        !memcmp(random, given, sizeof given),
                    "images of these labels");
    request = (gan_request){.count = COUNT, .labeling = GAN_LABELS_ALL};
    failed += check(gan_labels(model, &request, all, COUNT) == GAN_OK, "all labels in turn");
    unsigned seen = 0;
    int wrong = 0;
    for (int i = 0; i < COUNT; i++) seen |= 1u << labels[i], wrong += all[i] != i % 5;
    failed += check(seen == 31 && !wrong, "every label of five");
    request.labeling = GAN_LABELS_ONE, request.label = 5;
    failed += check(gan_labels(model, &request, all, COUNT) == GAN_ERROR_LABEL, "a sixth label of five");
    gan_context_free(context);
    gan_close(model);
    gan_context_free(context_of(KNOWN "/chain.gan", &without));
    failed += check(gan_labels(without, &request, all, COUNT) == GAN_ERROR_LABEL, "labels without classes");
    gan_close(without);
    return failed;
}

static int check_statuses(void) {
    int same = 0;
    for (gan_status a = GAN_OK; a <= GAN_CANCELED + 1; a++)
        for (gan_status b = GAN_OK; b < a; b++) same += !strcmp(gan_status_string(a), gan_status_string(b));
    return check(!same && gan_status_string(-1)[0], "a line of its own for each status");
}

int main(void) {
    const int failed = check_bytes_out(KNOWN "/chain-3.gan", 3, "images of three channels") +
                       check_bytes_out(KNOWN "/labels-3.gan", 1, "images of one channel") + check_pictures_in() +
                       check_size() + check_less_memory() + check_scale() +
                       check_walk(KNOWN "/chain-3.gan", 1, "a normal prior") +
                       check_walk(KNOWN "/labels-3.gan", 0, "a uniform prior") + check_labels() + check_statuses();
    printf("%d failures\n", failed);
    return failed != 0;
}
