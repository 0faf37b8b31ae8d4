/* The shapes of the operations of style-based generators. */
#include "operations.h"

static int is_image(gan_shape s) { return s.h > 0 && !s.d; }
static int is_vector(gan_shape s) { return !s.h; }
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

static int gives_shape(gan_layer *layer, gan_shape s) { return gives(layer, s.c, s.h, s.w); }

static int none(uint32_t dims[MAX_RANK]) {
    dims[0] = 0;
    return 0;
}

int gan_i_shape_PIXEL_NORM(const gan_file *file, gan_layer *layer) {
    return layer->fargs[0] >= 0 && !input(file, layer, 0).d && gives_shape(layer, input(file, layer, 0));
}

int gan_i_weight_PIXEL_NORM(const gan_layer *layer, uint32_t dims[MAX_RANK]) { return (void)layer, none(dims); }

int gan_i_shape_DEMODULATE(const gan_file *file, gan_layer *layer) {
    const gan_shape x = input(file, layer, 0);
    return is_vector(x) && x.c == layer->args[0] && layer->fargs[0] >= 0 && gives(layer, layer->args[1], 0, 0);
}

int gan_i_weight_DEMODULATE(const gan_layer *layer, uint32_t dims[MAX_RANK]) {
    dims[0] = layer->args[1], dims[1] = layer->args[0];
    return 2;
}

int gan_i_shape_MODULATED_CONSTANT(const gan_file *file, gan_layer *layer) {
    const gan_shape x = input(file, layer, 0);
    const uint32_t *g = layer->args; /* channels, height, width */
    return is_vector(x) && x.c == g[0] && g[1] && g[2] && gives(layer, g[0], g[1], g[2]);
}

int gan_i_weight_MODULATED_CONSTANT(const gan_layer *layer, uint32_t dims[MAX_RANK]) {
    for (int i = 0; i < 3; i++) dims[i] = layer->args[i];
    return 3;
}

/* An image, and a vector of a value per channel. */
int gan_i_shape_SCALE_CHANNELS(const gan_file *file, gan_layer *layer) {
    const gan_shape x = input(file, layer, 0), by = input(file, layer, 1);
    return is_image(x) && is_vector(by) && by.c == x.c && gives_shape(layer, x);
}

int gan_i_weight_SCALE_CHANNELS(const gan_layer *layer, uint32_t dims[MAX_RANK]) { return (void)layer, none(dims); }

int gan_i_shape_SHIFT_CHANNELS(const gan_file *file, gan_layer *layer) {
    return gan_i_shape_SCALE_CHANNELS(file, layer);
}

int gan_i_weight_SHIFT_CHANNELS(const gan_layer *layer, uint32_t dims[MAX_RANK]) { return (void)layer, none(dims); }

int gan_i_shape_CHANNEL_BIAS(const gan_file *file, gan_layer *layer) {
    const gan_shape x = input(file, layer, 0);
    return is_image(x) && x.c == layer->args[0] && gives_shape(layer, x);
}

int gan_i_weight_CHANNEL_BIAS(const gan_layer *layer, uint32_t dims[MAX_RANK]) { return (void)layer, none(dims); }

int gan_i_shape_ADD_PLANE(const gan_file *file, gan_layer *layer) {
    const gan_shape x = input(file, layer, 0);
    return is_image(x) && x.h == layer->args[0] && x.w == layer->args[1] && gives_shape(layer, x);
}

int gan_i_weight_ADD_PLANE(const gan_layer *layer, uint32_t dims[MAX_RANK]) {
    dims[0] = 1, dims[1] = layer->args[0], dims[2] = layer->args[1];
    return 3;
}

/* A plane of noise lies as an image of one column: a pixel per row, a channel per number. */
int gan_i_shape_ADD_NOISE(const gan_file *file, gan_layer *layer) {
    const gan_shape x = input(file, layer, 0), noise = input(file, layer, 1);
    return is_image(x) && noise.c == x.w && noise.h == x.h && noise.w == 1 && !noise.d && gives_shape(layer, x);
}

int gan_i_weight_ADD_NOISE(const gan_layer *layer, uint32_t dims[MAX_RANK]) {
    (void)layer;
    dims[0] = 1;
    return 1;
}

int gan_i_shape_TRUNCATE(const gan_file *file, gan_layer *layer) {
    const gan_shape x = input(file, layer, 0), psi = input(file, layer, 1);
    return is_vector(x) && x.c == layer->args[0] && is_vector(psi) && psi.c == 1 && gives_shape(layer, x);
}

int gan_i_weight_TRUNCATE(const gan_layer *layer, uint32_t dims[MAX_RANK]) {
    dims[0] = layer->args[0];
    return 1;
}

/* Rows of numbers lie as an image of one line: a pixel per row, a channel per number. */
int gan_i_shape_ROW(const gan_file *file, gan_layer *layer) {
    const gan_shape x = input(file, layer, 0);
    return x.h == 1 && !x.d && layer->args[0] < x.w && gives(layer, x.c, 0, 0);
}

int gan_i_weight_ROW(const gan_layer *layer, uint32_t dims[MAX_RANK]) { return (void)layer, none(dims); }

/* Vectors of one length as such rows. */
int gan_i_shape_ROWS(const gan_file *file, gan_layer *layer) {
    const gan_shape x = input(file, layer, 0);
    for (uint32_t i = 0; i < layer->n_inputs; i++)
        if (!is_vector(input(file, layer, i)) || input(file, layer, i).c != x.c) return 0;
    return gives(layer, x.c, 1, layer->n_inputs);
}

int gan_i_weight_ROWS(const gan_layer *layer, uint32_t dims[MAX_RANK]) { return (void)layer, none(dims); }

int gan_i_shape_CHANNELS(const gan_file *file, gan_layer *layer) {
    const gan_shape x = input(file, layer, 0);
    const uint64_t start = layer->args[0], count = layer->args[1];
    return count && !x.d && start + count <= x.c && gives(layer, (int64_t)count, x.h, x.w);
}

int gan_i_weight_CHANNELS(const gan_layer *layer, uint32_t dims[MAX_RANK]) { return (void)layer, none(dims); }

/* A filter per channel: in, out and groups are the channels. */
static int takes_filters(gan_shape x, const gan_layer *layer) {
    const uint32_t *g = layer->args; /* in, out, kernel, groups */
    return is_image(x) && x.c == g[0] && g[1] == g[0] && g[3] == g[0] && g[2] && g[2] <= MAX_FILTER;
}

int gan_i_shape_GROUPED_CONV(const gan_file *file, gan_layer *layer) {
    const gan_shape x = input(file, layer, 0);
    const uint32_t *g = layer->args; /* in, out, kernel, groups, padding */
    if (!is_image(x) || x.c != g[0] || !g[2] || g[2] > MAX_FILTER || !g[3] || g[0] % g[3] || g[1] % g[3] ||
        g[4] > MAX_SIDE)
        return 0;
    const int64_t grow = 2 * (int64_t)g[4] - g[2] + 1, h = x.h + grow, w = x.w + grow;
    return h > 0 && w > 0 && gives(layer, g[1], h, w); /* two zeros would pass for a vector */
}

int gan_i_weight_GROUPED_CONV(const gan_layer *layer, uint32_t dims[MAX_RANK]) {
    dims[0] = layer->args[1], dims[1] = layer->args[0] / layer->args[3], dims[2] = dims[3] = layer->args[2];
    return 4;
}

int gan_i_shape_GROUPED_CONV_TRANSPOSE(const gan_file *file, gan_layer *layer) {
    const gan_shape x = input(file, layer, 0);
    const uint32_t *g = layer->args; /* in, out, kernel, groups, stride, padding */
    if (!takes_filters(x, layer) || !g[4] || g[4] > MAX_STRIDE || g[5] > MAX_SIDE) return 0;
    const int64_t grow = (int64_t)g[2] - 2 * (int64_t)g[5];
    const int64_t h = ((int64_t)x.h - 1) * g[4] + grow, w = ((int64_t)x.w - 1) * g[4] + grow;
    return h > 0 && w > 0 && gives(layer, x.c, h, w);
}

int gan_i_weight_GROUPED_CONV_TRANSPOSE(const gan_layer *layer, uint32_t dims[MAX_RANK]) {
    dims[0] = layer->args[0], dims[1] = 1, dims[2] = dims[3] = layer->args[2];
    return 4;
}

static int pools(gan_layer *layer, gan_shape x) {
    const uint32_t size = layer->args[0];
    return is_image(x) && size && size <= MAX_POOL && gives(layer, x.c, x.h / size, x.w / size);
}

int gan_i_shape_AVG_POOL(const gan_file *file, gan_layer *layer) {
    const gan_shape x = input(file, layer, 0);
    const uint32_t size = layer->args[0];
    return size && x.h % size == 0 && x.w % size == 0 && pools(layer, x);
}

int gan_i_weight_AVG_POOL(const gan_layer *layer, uint32_t dims[MAX_RANK]) { return (void)layer, none(dims); }

/* Windows that the image doesn't fill are left out. */
int gan_i_shape_MAX_POOL(const gan_file *file, gan_layer *layer) {
    const gan_shape x = input(file, layer, 0);
    const uint32_t size = layer->args[0];
    return x.h >= size && x.w >= size && pools(layer, x);
}

int gan_i_weight_MAX_POOL(const gan_layer *layer, uint32_t dims[MAX_RANK]) { return (void)layer, none(dims); }

/* Queries (D, H, W), keys (D, h, w), values (C, h, w): C, H, W. */
int gan_i_shape_ATTEND(const gan_file *file, gan_layer *layer) {
    const gan_shape q = input(file, layer, 0), k = input(file, layer, 1), v = input(file, layer, 2);
    return is_image(q) && is_image(k) && !v.d && q.c == k.c && k.h == v.h && k.w == v.w &&
           shape_pixels(k) <= MAX_KEYS && gives(layer, v.c, q.h, q.w);
}

int gan_i_weight_ATTEND(const gan_layer *layer, uint32_t dims[MAX_RANK]) { return (void)layer, none(dims); }
