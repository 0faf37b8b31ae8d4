/* The shapes of operations on volumes and on signals. */
#include "operations.h"

static gan_shape input(const gan_file *file, const gan_layer *layer) { return value_shape(file, layer->inputs[0]); }
static int is_signal(gan_shape s) { return s.h == 1 && !s.d; }

static int side_fits(int64_t side) { return side >= 1 && side <= MAX_SIDE; }

/* Set the output's shape; 0 if a side is none or too large, or all of them together. */
static int gives(gan_layer *layer, int64_t c, int64_t d, int64_t h, int64_t w) {
    if (c < 1 || c > MAX_VALUE || !side_fits(d) || !side_fits(h) || !side_fits(w)) return 0;
    if (c * d > MAX_VALUE / h || c * d * h > MAX_VALUE / w) return 0;
    layer->out = (gan_shape){(uint32_t)c, (uint32_t)h, (uint32_t)w, (uint32_t)d};
    return 1;
}

static int gives_signal(gan_layer *layer, int64_t c, int64_t w) {
    if (!gives(layer, c, 1, 1, w)) return 0;
    layer->out.d = 0;
    return 1;
}

static int none(uint32_t dims[MAX_RANK]) {
    dims[0] = 0;
    return 0;
}

static int takes_kernel(gan_shape x, const gan_layer *layer) {
    const uint32_t *g = layer->args; /* in, out, kernel, stride, padding */
    return x.c == g[0] && g[2] && g[3] && g[2] <= MAX_KERNEL && g[3] <= MAX_STRIDE && g[4] <= MAX_SIDE;
}

/* A side of a transposed convolution's output, less than 1 if there is none. */
static int64_t transposed_side(const uint32_t *g, uint32_t side) {
    return ((int64_t)side - 1) * g[3] + (int64_t)g[2] - 2 * (int64_t)g[4] + g[5];
}

static int64_t conv_side(const uint32_t *g, uint32_t side) {
    const int64_t room = (int64_t)side + 2 * (int64_t)g[4] - g[2];
    return room < 0 ? 0 : room / g[3] + 1;
}

int gan_i_shape_CONV_TRANSPOSE_3D(const gan_file *file, gan_layer *layer) {
    const gan_shape x = input(file, layer);
    const uint32_t *g = layer->args;
    return x.d && takes_kernel(x, layer) && g[5] < g[3] &&
           gives(layer, g[1], transposed_side(g, x.d), transposed_side(g, x.h), transposed_side(g, x.w));
}

int gan_i_weight_CONV_TRANSPOSE_3D(const gan_layer *layer, uint32_t dims[MAX_RANK]) {
    dims[0] = layer->args[0], dims[1] = layer->args[1], dims[2] = dims[3] = dims[4] = layer->args[2];
    return 5;
}

int gan_i_shape_CONV_3D(const gan_file *file, gan_layer *layer) {
    const gan_shape x = input(file, layer);
    const uint32_t *g = layer->args;
    return x.d && takes_kernel(x, layer) && gives(layer, g[1], conv_side(g, x.d), conv_side(g, x.h), conv_side(g, x.w));
}

int gan_i_weight_CONV_3D(const gan_layer *layer, uint32_t dims[MAX_RANK]) {
    dims[0] = layer->args[1], dims[1] = layer->args[0], dims[2] = dims[3] = dims[4] = layer->args[2];
    return 5;
}

int gan_i_shape_UPSAMPLE_3D(const gan_file *file, gan_layer *layer) {
    const gan_shape x = input(file, layer);
    const int64_t factor = layer->args[0];
    return x.d && factor && factor <= MAX_FACTOR && gives(layer, x.c, x.d * factor, x.h * factor, x.w * factor);
}

int gan_i_weight_UPSAMPLE_3D(const gan_layer *layer, uint32_t dims[MAX_RANK]) { return (void)layer, none(dims); }

int gan_i_shape_RESHAPE_3D(const gan_file *file, gan_layer *layer) {
    const gan_shape x = input(file, layer);
    const uint32_t *g = layer->args; /* channels, depth, height, width */
    return gives(layer, g[0], g[1], g[2], g[3]) && x.c * shape_pixels(x) == g[0] * shape_pixels(layer->out);
}

int gan_i_weight_RESHAPE_3D(const gan_layer *layer, uint32_t dims[MAX_RANK]) { return (void)layer, none(dims); }

int gan_i_shape_CONV_TRANSPOSE_1D(const gan_file *file, gan_layer *layer) {
    const gan_shape x = input(file, layer);
    const uint32_t *g = layer->args;
    return is_signal(x) && takes_kernel(x, layer) && g[5] < g[3] && gives_signal(layer, g[1], transposed_side(g, x.w));
}

int gan_i_weight_CONV_TRANSPOSE_1D(const gan_layer *layer, uint32_t dims[MAX_RANK]) {
    dims[0] = layer->args[0], dims[1] = layer->args[1], dims[2] = layer->args[2];
    return 3;
}

int gan_i_shape_CONV_1D(const gan_file *file, gan_layer *layer) {
    const gan_shape x = input(file, layer);
    const uint32_t *g = layer->args;
    return is_signal(x) && takes_kernel(x, layer) && gives_signal(layer, g[1], conv_side(g, x.w));
}

int gan_i_weight_CONV_1D(const gan_layer *layer, uint32_t dims[MAX_RANK]) {
    dims[0] = layer->args[1], dims[1] = layer->args[0], dims[2] = layer->args[2];
    return 3;
}

int gan_i_shape_UPSAMPLE_1D(const gan_file *file, gan_layer *layer) {
    const gan_shape x = input(file, layer);
    const int64_t factor = layer->args[0];
    return is_signal(x) && factor && factor <= MAX_FACTOR && gives_signal(layer, x.c, x.w * factor);
}

int gan_i_weight_UPSAMPLE_1D(const gan_layer *layer, uint32_t dims[MAX_RANK]) { return (void)layer, none(dims); }
