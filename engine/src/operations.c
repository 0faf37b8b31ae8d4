/* The table of operations, and their shapes. */
#include "operations.h"

static int is_image(gan_shape s) { return s.h > 0 && !s.d; }
static gan_shape input(const gan_file *file, const gan_layer *layer, uint32_t i) {
    return value_shape(file, layer->inputs[i]);
}

/* Set the output's shape; 0 if it is none or too large.  A vector has h = w = 0. */
static int gives(gan_layer *layer, int64_t c, int64_t h, int64_t w) {
    const int vector = !h && !w;
    if (c < 1 || c > MAX_VALUE || (!vector && (h < 1 || w < 1 || h > MAX_SIDE || w > MAX_SIDE))) return 0;
    if (!vector && c * h > MAX_VALUE / w) return 0;
    layer->out = (gan_shape){(uint32_t)c, (uint32_t)h, (uint32_t)w, 0};
    return 1;
}

/* The shape of an input, which is no larger than a value may be, or of fewer channels. */
static int gives_shape(gan_layer *layer, gan_shape s) {
    layer->out = s;
    return 1;
}

static int none(uint32_t dims[MAX_RANK]) {
    dims[0] = 0;
    return 0;
}

int gan_i_shape_LINEAR(const gan_file *file, gan_layer *layer) {
    const gan_shape x = input(file, layer, 0);
    return !is_image(x) && x.c == layer->args[0] && gives(layer, layer->args[1], 0, 0);
}

int gan_i_weight_LINEAR(const gan_layer *layer, uint32_t dims[MAX_RANK]) {
    dims[0] = layer->args[1], dims[1] = layer->args[0];
    return 2;
}

static int takes_kernel(gan_shape x, const gan_layer *layer) {
    const uint32_t *g = layer->args; /* in, out, kernel, stride, padding */
    return is_image(x) && x.c == g[0] && g[2] && g[3] && g[2] <= MAX_KERNEL && g[3] <= MAX_STRIDE && g[4] <= MAX_SIDE;
}

int gan_i_shape_CONV_TRANSPOSE(const gan_file *file, gan_layer *layer) {
    const gan_shape x = input(file, layer, 0);
    const uint32_t *g = layer->args;
    if (!takes_kernel(x, layer) || g[5] >= g[3]) return 0;
    const int64_t grow = (int64_t)g[2] - 2 * (int64_t)g[4] + g[5];
    const int64_t h = ((int64_t)x.h - 1) * g[3] + grow, w = ((int64_t)x.w - 1) * g[3] + grow;
    return h > 0 && w > 0 && gives(layer, g[1], h, w); /* two zeros would pass for a vector */
}

int gan_i_weight_CONV_TRANSPOSE(const gan_layer *layer, uint32_t dims[MAX_RANK]) {
    dims[0] = layer->args[0], dims[1] = layer->args[1], dims[2] = dims[3] = layer->args[2];
    return 4;
}

int gan_i_shape_CONV(const gan_file *file, gan_layer *layer) {
    const gan_shape x = input(file, layer, 0);
    const uint32_t *g = layer->args;
    if (!takes_kernel(x, layer)) return 0;
    const int64_t h = (int64_t)x.h + 2 * (int64_t)g[4] - g[2], w = (int64_t)x.w + 2 * (int64_t)g[4] - g[2];
    return h >= 0 && w >= 0 && gives(layer, g[1], h / g[3] + 1, w / g[3] + 1);
}

int gan_i_weight_CONV(const gan_layer *layer, uint32_t dims[MAX_RANK]) {
    dims[0] = layer->args[1], dims[1] = layer->args[0], dims[2] = dims[3] = layer->args[2];
    return 4;
}

int gan_i_shape_AFFINE(const gan_file *file, gan_layer *layer) {
    return input(file, layer, 0).c == layer->args[0] && gives_shape(layer, input(file, layer, 0));
}

int gan_i_weight_AFFINE(const gan_layer *layer, uint32_t dims[MAX_RANK]) {
    dims[0] = layer->args[0];
    return 1;
}

int gan_i_shape_ACTIVATION(const gan_file *file, gan_layer *layer) {
    return layer->args[0] > ACT_NONE && layer->args[0] < ACT_COUNT && gives_shape(layer, input(file, layer, 0));
}

int gan_i_weight_ACTIVATION(const gan_layer *layer, uint32_t dims[MAX_RANK]) { return (void)layer, none(dims); }

int gan_i_shape_UPSAMPLE(const gan_file *file, gan_layer *layer) {
    const gan_shape x = input(file, layer, 0);
    const int64_t factor = layer->args[0];
    return is_image(x) && factor && factor <= MAX_FACTOR && layer->args[1] <= 1 &&
           gives(layer, x.c, x.h * factor, x.w * factor);
}

int gan_i_weight_UPSAMPLE(const gan_layer *layer, uint32_t dims[MAX_RANK]) { return (void)layer, none(dims); }

int gan_i_shape_ADD(const gan_file *file, gan_layer *layer) {
    return shape_same(input(file, layer, 0), input(file, layer, 1)) && gives_shape(layer, input(file, layer, 0));
}

int gan_i_weight_ADD(const gan_layer *layer, uint32_t dims[MAX_RANK]) { return (void)layer, none(dims); }

int gan_i_shape_MULTIPLY(const gan_file *file, gan_layer *layer) { return gan_i_shape_ADD(file, layer); }

int gan_i_weight_MULTIPLY(const gan_layer *layer, uint32_t dims[MAX_RANK]) { return (void)layer, none(dims); }

int gan_i_shape_CONCAT(const gan_file *file, gan_layer *layer) {
    const gan_shape x = input(file, layer, 0);
    int64_t c = 0;
    for (uint32_t i = 0; i < layer->n_inputs; i++) {
        const gan_shape y = input(file, layer, i);
        if (y.h != x.h || y.w != x.w || y.d != x.d) return 0;
        c += y.c;
    }
    if (c > (int64_t)(MAX_VALUE / shape_pixels(x))) return 0;
    return gives_shape(layer, (gan_shape){(uint32_t)c, x.h, x.w, x.d});
}

int gan_i_weight_CONCAT(const gan_layer *layer, uint32_t dims[MAX_RANK]) { return (void)layer, none(dims); }

int gan_i_shape_RESHAPE(const gan_file *file, gan_layer *layer) {
    const gan_shape x = input(file, layer, 0);
    const uint32_t *g = layer->args;
    return !g[1] == !g[2] && gives(layer, g[0], g[1], g[2]) && x.c * shape_pixels(x) == g[0] * shape_pixels(layer->out);
}

int gan_i_weight_RESHAPE(const gan_layer *layer, uint32_t dims[MAX_RANK]) { return (void)layer, none(dims); }

int gan_i_shape_CROP(const gan_file *file, gan_layer *layer) {
    const gan_shape x = input(file, layer, 0);
    const uint32_t *g = layer->args; /* top, left, height, width */
    return is_image(x) && (uint64_t)g[0] + g[2] <= x.h && (uint64_t)g[1] + g[3] <= x.w && g[2] && g[3] &&
           gives(layer, x.c, g[2], g[3]);
}

int gan_i_weight_CROP(const gan_layer *layer, uint32_t dims[MAX_RANK]) { return (void)layer, none(dims); }

int gan_i_shape_SCALE(const gan_file *file, gan_layer *layer) { return gives_shape(layer, input(file, layer, 0)); }

int gan_i_weight_SCALE(const gan_layer *layer, uint32_t dims[MAX_RANK]) { return (void)layer, none(dims); }

int gan_i_shape_EMBEDDING(const gan_file *file, gan_layer *layer) {
    return layer->args[0] == file->classes && gives(layer, layer->args[1], 0, 0);
}

int gan_i_weight_EMBEDDING(const gan_layer *layer, uint32_t dims[MAX_RANK]) {
    dims[0] = layer->args[0], dims[1] = layer->args[1];
    return 2;
}

int gan_i_shape_ONE_HOT(const gan_file *file, gan_layer *layer) {
    return layer->args[0] == file->classes && gives(layer, layer->args[0], 0, 0);
}

int gan_i_weight_ONE_HOT(const gan_layer *layer, uint32_t dims[MAX_RANK]) { return (void)layer, none(dims); }

int gan_i_shape_INSTANCE_NORM(const gan_file *file, gan_layer *layer) {
    const gan_shape x = input(file, layer, 0); /* one value has no variance */
    return is_image(x) && shape_pixels(x) > 1 && x.c == layer->args[0] && layer->args[1] <= 1 && layer->fargs[0] >= 0 &&
           gives_shape(layer, x);
}

int gan_i_weight_INSTANCE_NORM(const gan_layer *layer, uint32_t dims[MAX_RANK]) {
    dims[0] = layer->args[0];
    return layer->args[1] ? 1 : none(dims);
}

int gan_i_shape_PAD(const gan_file *file, gan_layer *layer) {
    const gan_shape x = input(file, layer, 0);
    const int64_t size = layer->args[0];
    if (!is_image(x) || !size || size > MAX_SIDE || layer->args[1] >= PAD_COUNT) return 0;
    if (layer->args[1] == PAD_REFLECT && (size >= x.h || size >= x.w)) return 0;
    return gives(layer, x.c, x.h + 2 * size, x.w + 2 * size);
}

int gan_i_weight_PAD(const gan_layer *layer, uint32_t dims[MAX_RANK]) { return (void)layer, none(dims); }

int gan_i_shape_PRELU(const gan_file *file, gan_layer *layer) {
    const gan_shape x = input(file, layer, 0);
    return x.h && (layer->args[0] == 1 || layer->args[0] == x.c) && gives_shape(layer, x);
}

int gan_i_weight_PRELU(const gan_layer *layer, uint32_t dims[MAX_RANK]) {
    dims[0] = layer->args[0];
    return 1;
}

int gan_i_shape_PIXEL_SHUFFLE(const gan_file *file, gan_layer *layer) {
    const gan_shape x = input(file, layer, 0);
    const int64_t factor = layer->args[0], square = factor * factor;
    return is_image(x) && factor && factor <= MAX_FACTOR && x.c % square == 0 &&
           gives(layer, x.c / square, x.h * factor, x.w * factor);
}

int gan_i_weight_PIXEL_SHUFFLE(const gan_layer *layer, uint32_t dims[MAX_RANK]) { return (void)layer, none(dims); }

int gan_i_shape_PIXEL_UNSHUFFLE(const gan_file *file, gan_layer *layer) {
    const gan_shape x = input(file, layer, 0);
    const uint32_t factor = layer->args[0];
    return is_image(x) && factor && factor <= MAX_FACTOR && x.h % factor == 0 && x.w % factor == 0 &&
           gives(layer, (int64_t)x.c * factor * factor, x.h / factor, x.w / factor);
}

int gan_i_weight_PIXEL_UNSHUFFLE(const gan_layer *layer, uint32_t dims[MAX_RANK]) { return (void)layer, none(dims); }

int gan_i_shape_BLUR_DOWN(const gan_file *file, gan_layer *layer) {
    const gan_shape x = input(file, layer, 0);
    return is_image(x) && x.c == layer->args[0] && x.h > 1 && x.w > 1 &&
           gives(layer, x.c, ((int64_t)x.h + 1) / 2, ((int64_t)x.w + 1) / 2);
}

int gan_i_weight_BLUR_DOWN(const gan_layer *layer, uint32_t dims[MAX_RANK]) {
    dims[0] = layer->args[0], dims[1] = 1, dims[2] = dims[3] = 3;
    return 4;
}

int gan_i_shape_BLUR_UP(const gan_file *file, gan_layer *layer) {
    const gan_shape x = input(file, layer, 0);
    return is_image(x) && x.c == layer->args[0] && gives(layer, x.c, 2 * (int64_t)x.h, 2 * (int64_t)x.w);
}

int gan_i_weight_BLUR_UP(const gan_layer *layer, uint32_t dims[MAX_RANK]) {
    dims[0] = layer->args[0], dims[1] = 1, dims[2] = dims[3] = 4;
    return 4;
}

int gan_i_shape_CLAMP(const gan_file *file, gan_layer *layer) {
    return layer->fargs[0] < layer->fargs[1] && gives_shape(layer, input(file, layer, 0));
}

int gan_i_weight_CLAMP(const gan_layer *layer, uint32_t dims[MAX_RANK]) { return (void)layer, none(dims); }

/* Of a value and its mask. */
int gan_i_shape_DROPOUT(const gan_file *file, gan_layer *layer) {
    const gan_shape x = input(file, layer, 0);
    return layer->fargs[0] >= 0 && layer->fargs[0] < 1 && shape_same(x, input(file, layer, 1)) && gives_shape(layer, x);
}

int gan_i_weight_DROPOUT(const gan_layer *layer, uint32_t dims[MAX_RANK]) { return (void)layer, none(dims); }

/* gan_i_run_NAME is there for all but products. */
#define RUN_OF_PRODUCT(NAME) NULL
#define RUN_OF_SCALED(NAME) gan_i_run_##NAME
#define RUN_OF_NORMED(NAME) gan_i_run_##NAME
#define RUN_OF_ROWS(NAME) gan_i_run_##NAME
#define RUN_OF_LABELLED(NAME) gan_i_run_##NAME

/* A mask's sides that are shares of the image's follow it. */
static int shape_given(const gan_file *file, gan_layer *layer) {
    const uint32_t *over = layer->args + 2; /* of the height and the width */
    if (over[0] && file->input.h % over[0] == 0) layer->out.h = file->input.h / over[0];
    else if (over[0]) return 0;
    if (over[1] && file->input.w % over[1] == 0) layer->out.w = file->input.w / over[1];
    else if (over[1]) return 0;
    return layer->out.c > 0 && shape_pixels(layer->out) <= MAX_VALUE / layer->out.c;
}

static int weight_given(const gan_layer *layer, uint32_t dims[MAX_RANK]) { return (void)layer, none(dims); }

static const gan_operation OPERATIONS[] = {
    [OP_GIVEN] = {.name = "GIVEN",
                  .rule = RUN_ROWS,
                  .integers = "",
                  .reals = "",
                  .shape = shape_given,
                  .weight = weight_given,
                  .run = gan_i_run_given},
#define OPERATION(number, NAME, fewest, most, bias_rule, how, integer_keys, real_keys) \
    [number] = {.name = #NAME, \
                .fewest_inputs = fewest, \
                .most_inputs = most, \
                .bias = BIAS_##bias_rule, \
                .rule = RUN_##how, \
                .integers = integer_keys, \
                .reals = real_keys, \
                .shape = gan_i_shape_##NAME, \
                .weight = gan_i_weight_##NAME, \
                .run = RUN_OF_##how(NAME)},
#include "operations.def"
#undef OPERATION
};

const gan_operation *gan_i_operation(uint32_t number) {
    const int known = number < sizeof OPERATIONS / sizeof *OPERATIONS && OPERATIONS[number].name;
    return known ? &OPERATIONS[number] : NULL;
}
