/* The table of operations, and their shapes. */
#include "operations.h"

static int is_image(shape s) { return s.h > 0; }
static int same(shape a, shape b) { return a.c == b.c && a.h == b.h && a.w == b.w; }
static shape input(const file *f, const layer *la, uint32_t i) { return value_shape(f, la->inputs[i]); }

/* Set the output's shape; 0 if it is none or too large.  A vector has h = w = 0. */
static int gives(layer *la, int64_t c, int64_t h, int64_t w) {
    const int vector = !h && !w;
    if (c < 1 || c > MAX_VALUE || (!vector && (h < 1 || w < 1 || h > MAX_SIDE || w > MAX_SIDE))) return 0;
    if (!vector && c * h > MAX_VALUE / w) return 0;
    la->out = (shape){(uint32_t)c, (uint32_t)h, (uint32_t)w};
    return 1;
}

static int gives_shape(layer *la, shape s) { return gives(la, s.c, s.h, s.w); }

static int none(uint32_t dims[MAX_RANK]) {
    dims[0] = 0;
    return 0;
}

int gan_i_shape_LINEAR(const file *f, layer *la) {
    const shape x = input(f, la, 0);
    return !is_image(x) && x.c == la->args[0] && gives(la, la->args[1], 0, 0);
}

int gan_i_weight_LINEAR(const layer *la, uint32_t dims[MAX_RANK]) {
    dims[0] = la->args[1], dims[1] = la->args[0];
    return 2;
}

static int takes_kernel(shape x, const layer *la) {
    const uint32_t *g = la->args; /* in, out, kernel, stride, padding */
    return is_image(x) && x.c == g[0] && g[2] && g[3] && g[2] <= MAX_KERNEL && g[3] <= MAX_STRIDE && g[4] <= MAX_SIDE;
}

int gan_i_shape_CONV_TRANSPOSE(const file *f, layer *la) {
    const shape x = input(f, la, 0);
    const uint32_t *g = la->args;
    if (!takes_kernel(x, la) || g[5] >= g[3]) return 0;
    const int64_t grow = (int64_t)g[2] - 2 * (int64_t)g[4] + g[5];
    const int64_t h = ((int64_t)x.h - 1) * g[3] + grow, w = ((int64_t)x.w - 1) * g[3] + grow;
    return h > 0 && w > 0 && gives(la, g[1], h, w); /* two zeros would pass for a vector */
}

int gan_i_weight_CONV_TRANSPOSE(const layer *la, uint32_t dims[MAX_RANK]) {
    dims[0] = la->args[0], dims[1] = la->args[1], dims[2] = dims[3] = la->args[2];
    return 4;
}

int gan_i_shape_CONV(const file *f, layer *la) {
    const shape x = input(f, la, 0);
    const uint32_t *g = la->args;
    if (!takes_kernel(x, la)) return 0;
    const int64_t h = (int64_t)x.h + 2 * (int64_t)g[4] - g[2], w = (int64_t)x.w + 2 * (int64_t)g[4] - g[2];
    return h >= 0 && w >= 0 && gives(la, g[1], h / g[3] + 1, w / g[3] + 1);
}

int gan_i_weight_CONV(const layer *la, uint32_t dims[MAX_RANK]) {
    dims[0] = la->args[1], dims[1] = la->args[0], dims[2] = dims[3] = la->args[2];
    return 4;
}

int gan_i_shape_AFFINE(const file *f, layer *la) {
    return input(f, la, 0).c == la->args[0] && gives_shape(la, input(f, la, 0));
}

int gan_i_weight_AFFINE(const layer *la, uint32_t dims[MAX_RANK]) {
    dims[0] = la->args[0];
    return 1;
}

int gan_i_shape_ACTIVATION(const file *f, layer *la) {
    return la->args[0] > ACT_NONE && la->args[0] < ACT_COUNT && gives_shape(la, input(f, la, 0));
}

int gan_i_weight_ACTIVATION(const layer *la, uint32_t dims[MAX_RANK]) { return (void)la, none(dims); }

int gan_i_shape_UPSAMPLE(const file *f, layer *la) {
    const shape x = input(f, la, 0);
    const int64_t factor = la->args[0];
    return is_image(x) && factor && factor <= MAX_FACTOR && la->args[1] <= 1 && gives(la, x.c, x.h * factor, x.w * factor);
}

int gan_i_weight_UPSAMPLE(const layer *la, uint32_t dims[MAX_RANK]) { return (void)la, none(dims); }

int gan_i_shape_ADD(const file *f, layer *la) {
    return same(input(f, la, 0), input(f, la, 1)) && gives_shape(la, input(f, la, 0));
}

int gan_i_weight_ADD(const layer *la, uint32_t dims[MAX_RANK]) { return (void)la, none(dims); }

int gan_i_shape_MULTIPLY(const file *f, layer *la) { return gan_i_shape_ADD(f, la); }

int gan_i_weight_MULTIPLY(const layer *la, uint32_t dims[MAX_RANK]) { return (void)la, none(dims); }

int gan_i_shape_CONCAT(const file *f, layer *la) {
    const shape x = input(f, la, 0);
    int64_t c = 0;
    for (uint32_t i = 0; i < la->n_inputs; i++) {
        const shape y = input(f, la, i);
        if (y.h != x.h || y.w != x.w) return 0;
        c += y.c;
    }
    return gives(la, c, x.h, x.w);
}

int gan_i_weight_CONCAT(const layer *la, uint32_t dims[MAX_RANK]) { return (void)la, none(dims); }

int gan_i_shape_RESHAPE(const file *f, layer *la) {
    const shape x = input(f, la, 0), out = {la->args[0], la->args[1], la->args[2]};
    return !out.h == !out.w && gives_shape(la, out) && x.c * shape_pixels(x) == out.c * shape_pixels(out);
}

int gan_i_weight_RESHAPE(const layer *la, uint32_t dims[MAX_RANK]) { return (void)la, none(dims); }

int gan_i_shape_CROP(const file *f, layer *la) {
    const shape x = input(f, la, 0);
    const uint32_t *g = la->args; /* top, left, height, width */
    return is_image(x) && (uint64_t)g[0] + g[2] <= x.h && (uint64_t)g[1] + g[3] <= x.w && g[2] && g[3] &&
           gives(la, x.c, g[2], g[3]);
}

int gan_i_weight_CROP(const layer *la, uint32_t dims[MAX_RANK]) { return (void)la, none(dims); }

int gan_i_shape_SCALE(const file *f, layer *la) { return gives_shape(la, input(f, la, 0)); }

int gan_i_weight_SCALE(const layer *la, uint32_t dims[MAX_RANK]) { return (void)la, none(dims); }

int gan_i_shape_EMBEDDING(const file *f, layer *la) { return la->args[0] == f->classes && gives(la, la->args[1], 0, 0); }

int gan_i_weight_EMBEDDING(const layer *la, uint32_t dims[MAX_RANK]) {
    dims[0] = la->args[0], dims[1] = la->args[1];
    return 2;
}

int gan_i_shape_ONE_HOT(const file *f, layer *la) { return la->args[0] == f->classes && gives(la, la->args[0], 0, 0); }

int gan_i_weight_ONE_HOT(const layer *la, uint32_t dims[MAX_RANK]) { return (void)la, none(dims); }

/* gan_i_run_NAME is there for all but products. */
#define RUN_OF_PRODUCT(NAME) NULL
#define RUN_OF_SCALED(NAME) gan_i_run_##NAME
#define RUN_OF_ROWS(NAME) gan_i_run_##NAME
#define RUN_OF_LABELLED(NAME) gan_i_run_##NAME

static const operation OPERATIONS[] = {
#define OPERATION(number, NAME, fewest, most, bias_rule, how, integer_keys, real_keys) \
    [number] = {.name = #NAME, .fewest_inputs = fewest, .most_inputs = most, .bias = BIAS_##bias_rule, .rule = RUN_##how, \
                .integers = integer_keys, .reals = real_keys, .shape = gan_i_shape_##NAME, \
                .weight = gan_i_weight_##NAME, .run = RUN_OF_##how(NAME)},
#include "operations.def"
#undef OPERATION
};

const operation *gan_i_operation(uint32_t number) {
    const int known = number < sizeof OPERATIONS / sizeof *OPERATIONS && OPERATIONS[number].name;
    return known ? &OPERATIONS[number] : NULL;
}
