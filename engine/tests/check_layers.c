/* Every way to compute a convolution, a linear layer or an upsampled convolution against a plain restatement in
 * double of what docs/gan-file-format.md says, and how long each takes. */
#include "check.h"
#include "run.h"

typedef struct geometry {
    gan_op op;
    uint32_t in, out, kernel, stride, padding, output_padding, h, w, images;
    uint32_t factor; /* of a nearest upsampling before it, or 1 */
    uint32_t d; /* of a volume, 0 for an image or a signal */
} geometry;

/* A file of one or two layers, in memory that the caller owns. */
typedef struct test_network {
    gan_file file;
    gan_layer layers[3];
    float *weight, *bias, *slopes, *input, *want;
    activation act;
    double ranges[RANGE_COUNT][WINOGRAD * WINOGRAD];
    uint64_t outputs;
} test_network;

/* One dimension of a layer: its kernel, its sides and those of what an upsampling before it reads. */
typedef struct dimension {
    int64_t kernel, stride, padding, in, out, factor;
} dimension;

static dimension dimension_of(const geometry *g, int there, uint32_t in, uint32_t out) {
    if (!there) return (dimension){1, 1, 0, 1, 1, 1};
    return (dimension){g->kernel, g->stride, g->padding, (int64_t)in * g->factor, out, g->factor};
}

/* The input `i` and the output `o` that kernel element k joins at step `at` of a dimension; 0 if one isn't there. */
static int joins(const dimension *d, int transposed, int64_t at, int64_t k, int64_t *i, int64_t *o) {
    const int64_t far = at * d->stride + k - d->padding;
    *i = transposed ? at : far, *o = transposed ? far : at;
    return *i >= 0 && *o >= 0 && *i < d->in && *o < d->out;
}

static int64_t steps_of(const dimension *d, int transposed) { return transposed ? d->in : d->out; }

/* The sums of one image's channel from one of its inputs', through one kernel element: a plain loop over three
 * dimensions. */
static void restate_element(const dimension d[3], int transposed, const int64_t k[3], double weight, const float *from,
                            double *sum) {
    const int64_t height = d[1].in / d[1].factor, width = d[2].in / d[2].factor;
    int64_t iz, iy, ix, oz, oy, ox;
    for (int64_t z = 0; z < steps_of(&d[0], transposed); z++) {
        if (!joins(&d[0], transposed, z, k[0], &iz, &oz)) continue;
        for (int64_t y = 0; y < steps_of(&d[1], transposed); y++) {
            if (!joins(&d[1], transposed, y, k[1], &iy, &oy)) continue;
            const float *line = from + (iz / d[0].factor * height + iy / d[1].factor) * width;
            for (int64_t x = 0; x < steps_of(&d[2], transposed); x++)
                if (joins(&d[2], transposed, x, k[2], &ix, &ox))
                    sum[(oz * d[1].out + oy) * d[2].out + ox] += weight * (double)line[ix / d[2].factor];
        }
    }
}

static void restate(const geometry *g, const gan_layer *layer, test_network *network) {
    const int dims = conv_dims(layer->op), transposed = conv_is_transposed(layer->op);
    const dimension d[3] = {dimension_of(g, dims > 2, g->d, layer->out.d),
                            dimension_of(g, dims > 1, g->h, layer->out.h), dimension_of(g, 1, g->w, layer->out.w)};
    const int64_t elements = d[0].kernel * d[1].kernel * d[2].kernel;
    const uint64_t pixels = shape_pixels(layer->out), in_pixels = (uint64_t)(g->d ? g->d : 1) * g->h * g->w;
    double *sum = calloc(network->outputs, sizeof *sum);
    if (!sum) exit(2);
    for (uint32_t b = 0; b < g->images; b++)
        for (uint32_t o = 0; o < g->out; o++)
            for (uint32_t i = 0; i < g->in; i++)
                for (int64_t e = 0; e < elements; e++) {
                    const uint64_t at = transposed ? (uint64_t)i * g->out + o : (uint64_t)o * g->in + i;
                    const int64_t k[3] = {e / d[2].kernel / d[1].kernel, e / d[2].kernel % d[1].kernel,
                                          e % d[2].kernel};
                    restate_element(d, transposed, k, network->weight[at * (uint64_t)elements + (uint64_t)e],
                                    network->input + ((uint64_t)b * g->in + i) * in_pixels,
                                    sum + ((uint64_t)b * g->out + o) * pixels);
                }
    for (uint64_t i = 0; i < network->outputs; i++) {
        const double x = sum[i] + network->bias[i / pixels % g->out];
        network->want[i] = (float)(x > 0 ? x : x * (double)network->slopes[i / pixels % g->out]);
    }
    free(sum);
}

static uint32_t out_side(const geometry *g, uint32_t side) {
    const int64_t grow = (int64_t)g->kernel - 2 * (int64_t)g->padding, in = (int64_t)side * g->factor;
    return (uint32_t)(conv_is_transposed(g->op) ? (in - 1) * g->stride + grow + g->output_padding
                                                : (in - grow) / g->stride + 1);
}

/* z is the input image, flattened; reshape, [upsampling], the layer, leaky ReLU or slopes per channel. */
static void build(const geometry *g, test_network *network, activation_kind kind, int restated) {
    static const uint32_t reads[] = {VALUE_Z, FIRST_LAYER, FIRST_LAYER + 1}; /* each layer the one before */
    const int dims = conv_dims(g->op);
    const gan_shape in = {g->in, g->h, g->w, g->d}, out = {g->out, dims > 1 ? out_side(g, g->h) : 1, out_side(g, g->w),
                                                           dims > 2 ? out_side(g, g->d) : 0};
    const uint32_t in_pixels = (uint32_t)shape_pixels(in);
    *network = (test_network){0};
    gan_layer *layer = network->layers;
    (*layer++) = (gan_layer){
        .op = dims > 2 ? OP_RESHAPE_3D : OP_RESHAPE, .n_inputs = 1, .inputs = &reads[0], .out = in};
    if (g->factor > 1)
        (*layer++) = (gan_layer){
            .op = dims > 2   ? OP_UPSAMPLE_3D
                  : dims > 1 ? OP_UPSAMPLE
                             : OP_UPSAMPLE_1D,
            .n_inputs = 1,
            .inputs = &reads[1],
            .args = {g->factor},
            .out = {g->in, dims > 1 ? g->h * g->factor : 1, g->w * g->factor, dims > 2 ? g->d * g->factor : 0}};
    uint64_t weights = (uint64_t)g->in * g->out;
    for (int i = 0; i < dims; i++) weights *= g->kernel;
    network->weight = floats(weights), network->bias = floats(g->out);
    fill(network->weight, weights, 11), fill(network->bias, g->out, 12);
    *layer = (gan_layer){.op = g->op,
                         .n_inputs = 1,
                         .inputs = &reads[layer - network->layers],
                         .args = {g->in, g->out, g->kernel, g->stride, g->padding, g->output_padding},
                         .out = out,
                         .weight = {network->weight, weights, DTYPE_F32},
                         .bias = {network->bias, g->out, DTYPE_F32}};
    network->file = (gan_file){.nz = g->in * in_pixels,
                               .input = {g->in * in_pixels, 0, 0, 0},
                               .n_layers = (uint32_t)(layer - network->layers) + 1,
                               .layers = network->layers,
                               .image = layer->out};
    network->outputs = (uint64_t)g->images * g->out * shape_pixels(out);
    network->input = floats((uint64_t)g->images * network->file.nz), network->want = floats(network->outputs);
    fill(network->input, (uint64_t)g->images * network->file.nz, 13);
    network->slopes = floats(round_up(g->out, MAX_NR));
    fill(network->slopes, g->out, 14);
    for (uint32_t o = 0; kind == ACT_LEAKY_RELU && o < g->out; o++) network->slopes[o] = 0.2f;
    network->act = (activation){kind, 0.2f, network->slopes};
    if (restated) restate(g, layer, network);
}

static void clear(test_network *network) {
    release(network->weight), release(network->bias), release(network->slopes), release(network->input);
    release(network->want);
}

/* Pixel (y, x) of what the last layer reads, its channels in a row of a multiple of 16. */
static void take_pixel(const test_network *network, const gan_shape in, uint64_t image, int64_t y, int64_t x,
                       float *to) {
    const int inside = y >= 0 && x >= 0 && y < in.h && x < in.w;
    const uint64_t h = network->layers[0].out.h, w = network->layers[0].out.w;
    const uint64_t at = inside ? (uint64_t)y * h / in.h * w + (uint64_t)x * w / in.w : 0; /* of what is upsampled */
    for (uint64_t c = 0; c < in.c && inside; c++) to[c] = network->input[(image * in.c + c) * h * w + at];
    for (uint64_t c = inside ? in.c : 0; c < round_up(in.c, KBLOCK); c++) to[c] = 0;
}

/* The first row of tile n, each row of tiles once for the even rows of pixels and once for the odd ones if `stride` is
 * 2. */
static int64_t tile_start(int64_t n, int64_t stride, int64_t step) { return n / stride * stride * step + n % stride; }

/* The ranges of the last layer's inputs for a method with products of 16-bit numbers. */
static void measure_ranges(test_network *network, const gan_conv *conv, uint32_t images, gan_method method) {
    const int points = conv_points(conv, method), winograd = method_is_winograd(method);
    const int64_t stride = conv->in_stride;
    if (!points || method == METHOD_WINOGRAD_SMALL_INT16 || method == METHOD_TOOM4_INT16) {
        double *largest = network->ranges[RANGE_DIRECT];
        for (uint64_t i = 0; i < images * network->file.nz; i++)
            if (fabs((double)network->input[i]) > *largest) *largest = fabs((double)network->input[i]);
        network->layers[network->file.n_layers - 1].ranges[RANGE_DIRECT] = (gan_ranges){(const unsigned char *)largest,
                                                                                        1};
        network->file.int16 = 1;
        return;
    }
    const int side = winograd ? points : points + 1 - (int)conv_taps(conv, conv->kh),
              step = winograd ? WINOGRAD_TILE : side,
              padding = stride == 2 ? conv->pad
                        : winograd  ? 2 - conv->pad
                                    : 0;
    const range_kind kind = winograd ? RANGE_WINOGRAD : points == 3 ? RANGE_TOOM3 : RANGE_TOOM5;
    gan_ranges *to = &network->layers[network->file.n_layers - 1].ranges[kind];
    double *most = network->ranges[kind] + !winograd;
    const uint64_t wide = round_up(conv->in.c, KBLOCK);
    if (conv->dims != 2 || side < 2 || side > WINOGRAD || to->count) return;
    memset(network->ranges[kind], 0, sizeof network->ranges[kind]);
    network->ranges[kind][0] = side;
    if (winograd) most[0] = 0;
    float *tile = floats((uint64_t)(side * side) * wide), *v = floats((uint64_t)(points * points) * wide);
    const float *pixels[WINOGRAD * WINOGRAD];
    for (int i = 0; i < side * side; i++) pixels[i] = tile + (uint64_t)i * wide;
    for (uint32_t image = 0; image < images; image++)
        for (int64_t row = 0, y; y = tile_start(row, stride, step), y < (int64_t)conv->in.h + 2 * padding; row++)
            for (int64_t column = 0, x; x = tile_start(column, stride, step), x < (int64_t)conv->in.w + 2 * padding;
                 column++) {
                for (int i = 0; i < side * side; i++)
                    take_pixel(network, conv->in, image, y - padding + stride * (i / side),
                               x - padding + stride * (i % side), tile + (uint64_t)i * wide);
                const ptrdiff_t blocks = (ptrdiff_t)(wide / KBLOCK);
                if (winograd) gan_i_generic.winograd_in(points, pixels, blocks, v, (ptrdiff_t)wide, KBLOCK);
                else gan_i_generic.toom_in(points, side, pixels, blocks, v, KBLOCK);
                for (int64_t i = 0; i < points * points * (int64_t)wide; i++) {
                    const int64_t p = winograd ? i / (int64_t)wide : i / KBLOCK % (points * points);
                    most[p] = fabs((double)v[i]) > most[p] ? fabs((double)v[i]) : most[p];
                }
            }
    release(tile), release(v);
    *to = (gan_ranges){(const unsigned char *)network->ranges[kind], (uint32_t)(points * points + !winograd)};
    network->file.int16 = 1;
}

/* Runs one method with one thread; then seconds of the fastest of `rounds` more, or -1 if the method doesn't fit. */
static double run(const gan_kernels *kernels, test_network *network, uint32_t images, gan_method method, int rounds,
                  float *out, gan_conv *of) {
    gan_program program;
    if (gan_i_program(&network->file, kernels, &program) != GAN_OK) exit(2);
    if (method_is_int16(method)) {
        measure_ranges(network, &program.steps[program.n_steps - 1].conv, images, method);
        gan_i_program_free(&program);
        if (gan_i_program(&network->file, kernels, &program) != GAN_OK) exit(2);
    }
    gan_method methods[3] = {0};
    const float *packed[3] = {0};
    uint32_t at = program.n_steps - 1;
    gan_step *step = &program.steps[at];
    step->act = network->act;
    *of = step->conv;
    double best = -1;
    if (gan_i_method_fits(&step->conv, method)) {
        const gan_conv *conv = &step->conv;
        methods[at] = method;
        float *dense = floats(gan_i_pack_scratch(conv, method, kernels)),
              *to = floats(gan_i_method_floats(conv, method, kernels));
        gan_i_pack(step, method, kernels, dense, to);
        packed[at] = to;
        const scratch_needs need = gan_i_needs(&program, kernels, methods, 1, images);
        float *memory = floats(need.group_scratch + need.thread_scratch), *zeros = floats(network->file.nz + MAX_NR);
        const gan_request request = {.count = images, .latent_scale = 1, .latents = network->input};
        const gan_output output = {
            .data = out, .data_size = sizeof *out * network->outputs, .format = GAN_FLOAT_PLANAR};
        gan_pixels pixels;
        char message[GAN_MESSAGE_SIZE];
        if (gan_i_pixels_out(&output, network->file.image, &pixels, message) != GAN_OK) exit(2);
        pixels.factor = 1;
        const gan_shared shared = {.program = &program,
                                   .kernels = kernels,
                                   .methods = methods,
                                   .packed = packed,
                                   .zeros = zeros,
                                   .request = &request,
                                   .nz = network->file.nz,
                                   .out = pixels};
        gan_group alone;
        gan_i_group_init(&alone, NULL, 1);
        gan_worker worker = {.shared = &shared,
                             .cursor = {.group = &alone},
                             .values = memory,
                             .thread_scratch = memory + need.group_scratch,
                             .images = images};
        worker.transformed = memory + program.values_per_image * images;
        gan_i_run_chunk(&worker);
        best = 0;
        for (int r = 0; r < rounds; r++) { /* the layer alone, its input in place */
            const double start = cpu_seconds();
            if (method == METHOD_DIRECT) gan_i_run_direct(&worker, step, to);
            else if (method == METHOD_STRASSEN) gan_i_run_strassen(&worker, step, to);
            else if (method_is_fold(method)) gan_i_run_fold(&worker, step, method, to, 1);
            else if (method == METHOD_DIRECT_INT16) gan_i_run_direct_int16(&worker, step, to);
            else if (method_is_winograd(method)) gan_i_run_winograd(&worker, step, method, to);
            else gan_i_run_toom(&worker, step, method, to);
            const double took = cpu_seconds() - start;
            best = !r || took < best ? took : best;
        }
        release(dense), release(to), release(memory), release(zeros);
    }
    gan_i_program_free(&program);
    return best;
}

/* Every method has its name: in 16 bits, that of the same method in floats and /16. */
static int check_names(const gan_kernels *kernels) {
    int failed = 0;
    for (int m = 0; m < METHOD_COUNT; m++) {
        const char *name = GAN_I_METHOD_NAMES[m], *plain = GAN_I_METHOD_NAMES[method_in_floats((gan_method)m)];
        char want[32];
        snprintf(want, sizeof want, "%s%s", plain, method_is_int16((gan_method)m) ? "/16" : "");
        failed += expect(name && !strcmp(name, want), kernels->name, want, m);
    }
    return failed;
}

/* Every method that applies to a layer, against the restatement. */
static int check_layer(const gan_kernels *kernels, const geometry *g, int number) {
    int failed = 0;
    test_network network;
    build(g, &network, number % 2 ? ACT_PRELU : ACT_LEAKY_RELU, 1);
    float *got = floats(network.outputs);
    for (int f = 0; f < METHOD_COUNT; f++) {
        gan_conv conv;
        memset(got, 0xFF, sizeof *got * network.outputs);
        if (run(kernels, &network, g->images, (gan_method)f, 0, got, &conv) < 0) continue;
        const double error = largest_difference(got, network.want, network.outputs);
        const double elements = (double)network.layers[network.file.n_layers - 1].weight.count / g->out;
        const double rounding = method_is_int16((gan_method)f) ? 3e-3 : f >= METHOD_TOOM5 ? 12e-6 : 3e-6;
        const double allowed = rounding * sqrt(elements);
        char what[160];
        snprintf(what, sizeof what, "layer %d (op %d, %u->%u, k%u s%u p%u, %ux%ux%u x%u) by %s", number, (int)g->op,
                 g->in, g->out, g->kernel, g->stride, g->padding, g->d, g->h, g->w, g->factor, GAN_I_METHOD_NAMES[f]);
        failed += expect(error <= allowed, kernels->name, what, error);
    }
    release(got);
    clear(&network);
    return failed;
}

int check_layers(const gan_kernels *kernels) {
    const geometry all[] = {
        {OP_CONV_TRANSPOSE, 13, 37, 4, 2, 1, 0, 4, 4, 3, 1, 0},
        {OP_CONV_TRANSPOSE, 5, 3, 4, 2, 1, 0, 7, 5, 2, 1, 0},
        {OP_CONV_TRANSPOSE, 20, 50, 4, 1, 0, 0, 1, 1, 17, 1, 0},
        {OP_CONV_TRANSPOSE, 17, 1, 4, 2, 1, 0, 9, 3, 1, 1, 0},
        {OP_CONV_TRANSPOSE, 3, 18, 3, 2, 1, 1, 5, 6, 2, 1, 0},
        {OP_CONV_TRANSPOSE, 3, 18, 3, 2, 0, 0, 5, 6, 2, 1, 0},
        {OP_CONV_TRANSPOSE, 33, 16, 5, 2, 2, 1, 6, 6, 2, 1, 0},
        {OP_CONV_TRANSPOSE, 16, 7, 5, 3, 1, 2, 4, 5, 2, 1, 0},
        {OP_CONV_TRANSPOSE, 8, 4, 1, 1, 2, 0, 7, 8, 2, 1, 0},
        {OP_CONV_TRANSPOSE, 8, 4, 2, 3, 0, 0, 3, 3, 2, 1, 0},
        {OP_CONV_TRANSPOSE, 6, 9, 8, 1, 0, 0, 4, 4, 2, 1, 0},
        {OP_CONV_TRANSPOSE, 6, 2, 4, 1, 1, 0, 4, 4, 2, 1, 0},
        {OP_CONV, 19, 35, 3, 1, 1, 0, 8, 7, 2, 1, 0},
        {OP_CONV, 4, 3, 3, 1, 1, 0, 13, 6, 1, 1, 0},
        {OP_CONV, 16, 16, 3, 1, 0, 0, 5, 5, 3, 1, 0},
        {OP_CONV, 16, 5, 3, 2, 1, 0, 9, 8, 2, 1, 0},
        {OP_CONV, 7, 6, 1, 1, 0, 0, 3, 9, 2, 1, 0},
        {OP_CONV, 7, 6, 1, 1, 3, 0, 3, 4, 2, 1, 0},
        {OP_CONV, 150, 70, 1, 1, 0, 0, 5, 7, 2, 1, 0},
        {OP_CONV, 96, 128, 1, 1, 0, 0, 5, 7, 3, 1, 0},
        {OP_CONV, 288, 64, 1, 1, 0, 0, 15, 17, 2, 1, 0},
        {OP_CONV, 32, 64, 1, 1, 0, 0, 1, 1, 1, 1, 0},
        {OP_CONV, 19, 35, 4, 2, 1, 0, 17, 19, 2, 1, 0},
        {OP_CONV, 33, 35, 3, 2, 0, 0, 18, 13, 2, 1, 0},
        {OP_CONV, 33, 16, 3, 1, 1, 0, 17, 18, 1, 1, 0},
        {OP_CONV, 7, 6, 5, 1, 2, 0, 6, 6, 2, 1, 0},
        {OP_CONV, 7, 6, 4, 3, 0, 0, 9, 11, 2, 1, 0},
        {OP_CONV, 9, 20, 3, 1, 1, 0, 4, 5, 2, 2, 0},
        {OP_CONV, 9, 3, 3, 1, 1, 0, 6, 5, 2, 3, 0},
        {OP_CONV, 9, 3, 5, 1, 2, 0, 6, 5, 2, 2, 0},
        {OP_CONV, 9, 20, 1, 1, 0, 0, 4, 5, 2, 2, 0},
        {OP_CONV_TRANSPOSE, 300, 20, 4, 2, 1, 0, 9, 9, 9, 1, 0},
        {OP_CONV, 40, 20, 3, 1, 1, 0, 70, 3, 1, 1, 0},
        {OP_CONV, 4, 20, 3, 1, 1, 0, 3, 290, 1, 1, 0},
        {OP_CONV_TRANSPOSE_3D, 13, 37, 4, 2, 1, 0, 4, 4, 3, 1, 4},
        {OP_CONV_TRANSPOSE_3D, 20, 50, 4, 1, 0, 0, 1, 1, 17, 1, 1},
        {OP_CONV_TRANSPOSE_3D, 17, 1, 4, 2, 1, 0, 9, 3, 2, 1, 4},
        {OP_CONV_TRANSPOSE_3D, 130, 35, 4, 2, 1, 0, 9, 10, 2, 1, 3},
        {OP_CONV_TRANSPOSE_3D, 33, 16, 5, 2, 2, 1, 6, 4, 2, 1, 3},
        {OP_CONV_TRANSPOSE_3D, 7, 3, 3, 2, 1, 1, 5, 4, 2, 1, 3},
        {OP_CONV_3D, 19, 35, 3, 1, 1, 0, 8, 7, 2, 1, 5},
        {OP_CONV_3D, 4, 3, 3, 1, 1, 0, 13, 9, 1, 1, 2},
        {OP_CONV_3D, 16, 5, 3, 2, 1, 0, 9, 8, 2, 1, 5},
        {OP_CONV_3D, 9, 20, 3, 1, 1, 0, 4, 5, 2, 2, 3},
        {OP_CONV_TRANSPOSE_1D, 13, 37, 4, 2, 1, 0, 1, 9, 3, 1, 0},
        {OP_CONV_TRANSPOSE_1D, 17, 1, 25, 4, 11, 1, 1, 16, 2, 1, 0},
        {OP_CONV_TRANSPOSE_1D, 20, 50, 4, 1, 0, 0, 1, 1, 17, 1, 0},
        {OP_CONV_1D, 19, 35, 3, 1, 1, 0, 1, 40, 2, 1, 0},
        {OP_CONV_1D, 5, 2, 5, 3, 2, 0, 1, 40, 2, 1, 0},
        {OP_CONV_1D, 9, 20, 3, 1, 1, 0, 1, 11, 2, 2, 0},
    };
    int failed = check_names(kernels);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) failed += check_layer(kernels, &all[i], (int)i);
    return failed;
}

static uint32_t below(uint64_t *state, uint32_t n) {
    *state = *state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(*state >> 33) % n;
}

/* A layer that has an output: about half of them transposed. */
static geometry random_geometry(uint64_t *state) {
    geometry g;
    int64_t least;
    static const gan_op ops[] = {OP_CONV,    OP_CONV_TRANSPOSE,    OP_CONV,    OP_CONV_TRANSPOSE,
                                 OP_CONV_3D, OP_CONV_TRANSPOSE_3D, OP_CONV_1D, OP_CONV_TRANSPOSE_1D};
    do {
        const gan_op op = ops[below(state, 8)];
        const int transposed = conv_is_transposed(op), dims = conv_dims(op);
        const uint32_t kernel = 1 + below(state, 6), stride = 1 + below(state, 3);
        g = (geometry){.op = op,
                       .in = 1 + below(state, 40),
                       .out = 1 + below(state, 40),
                       .kernel = kernel,
                       .stride = stride,
                       .padding = below(state, kernel + 1),
                       .output_padding = transposed ? below(state, stride) : 0,
                       .h = 1 + below(state, 12),
                       .w = 1 + below(state, 12),
                       .images = 1 + below(state, 4),
                       .factor = transposed ? 1 : 1 + below(state, 3)};
        if (dims == 1) g.h = 1;
        if (dims == 3) g.d = 1 + below(state, 5), g.h = 1 + g.h % 6;
        const uint32_t flat = dims > 1 && g.h < g.w ? g.h : g.w;
        const int64_t side = (int64_t)(dims > 2 && g.d < flat ? g.d : flat) * g.factor;
        least = transposed ? (side - 1) * stride + kernel - 2 * (int64_t)g.padding + g.output_padding
                           : side + 2 * (int64_t)g.padding - kernel + 1;
    } while (least < 1);
    return g;
}

int check_random_layers(const gan_kernels *kernels) {
    uint64_t state = check_seed + 17;
    int failed = 0;
    for (int i = 0; i < 90; i++) {
        const geometry g = random_geometry(&state);
        failed += check_layer(kernels, &g, i);
    }
    return failed;
}

/* Twelve uniform numbers: as good as normal here. */
static void fill_normal(float *x, uint64_t n, uint64_t seed) {
    for (uint64_t i = 0; i < n; i++) {
        float sum = 0;
        for (int j = 0; j < 12; j++) sum += next_number(&seed);
        x[i] = sum / 2;
    }
}

/* The largest error of each method over the spread of what it gives, which docs/gan-file-format.md's error budget is
 * about. */
int check_errors(const gan_kernels *kernels) {
    const geometry all[] = {
        {OP_CONV_TRANSPOSE, 512, 32, 4, 2, 1, 0, 4, 4, 4, 1, 0},
        {OP_CONV_TRANSPOSE, 64, 32, 4, 2, 1, 0, 8, 8, 4, 1, 0},
        {OP_CONV, 256, 32, 3, 1, 1, 0, 8, 8, 4, 1, 0},
        {OP_CONV_TRANSPOSE, 128, 3, 4, 2, 1, 0, 16, 16, 4, 1, 0},
        {OP_CONV_TRANSPOSE, 128, 32, 5, 2, 2, 1, 8, 8, 4, 1, 0},
        {OP_CONV_TRANSPOSE, 16, 32, 4, 2, 1, 0, 16, 16, 4, 1, 0},
        {OP_CONV, 256, 64, 1, 1, 0, 0, 16, 16, 2, 1, 0},
        {OP_CONV, 64, 32, 4, 2, 1, 0, 32, 32, 1, 1, 0},
        {OP_CONV, 96, 32, 3, 2, 1, 0, 32, 32, 1, 1, 0},
        {OP_CONV_TRANSPOSE_3D, 96, 16, 4, 2, 1, 0, 8, 8, 1, 1, 4},
        {OP_CONV_3D, 96, 16, 3, 1, 1, 0, 8, 8, 1, 1, 6},
    };
    double worst[METHOD_COUNT] = {0};
    int failed = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const geometry *g = &all[i];
        test_network network;
        build(g, &network, ACT_LEAKY_RELU, 0);
        fill_normal(network.weight, network.layers[network.file.n_layers - 1].weight.count, 21);
        fill_normal(network.input, (uint64_t)g->images * network.file.nz, 22);
        memset(network.bias, 0, sizeof *network.bias * g->out);
        restate(g, &network.layers[network.file.n_layers - 1], &network);
        double squares = 0;
        for (uint64_t j = 0; j < network.outputs; j++) { /* the slope of what lies below zero taken away */
            const double x = network.want[j] < 0 ? network.want[j] / 0.2 : network.want[j];
            squares += x * x;
        }
        float *got = floats(network.outputs);
        for (int f = 0; f < METHOD_COUNT; f++) {
            gan_conv conv;
            if (run(kernels, &network, g->images, (gan_method)f, 0, got, &conv) < 0) continue;
            const double error = largest_difference(got, network.want, network.outputs) /
                                 sqrt(squares / (double)network.outputs);
            worst[f] = error > worst[f] ? error : worst[f];
        }
        release(got);
        clear(&network);
    }
    for (int f = 0; f < METHOD_COUNT; f++) {
        if (check_prints_errors) printf("  %-6s %.1e\n", GAN_I_METHOD_NAMES[f], worst[f]);
        failed += expect(worst[f] <= (double)GAN_I_METHOD_ERRORS[f], kernels->name, GAN_I_METHOD_NAMES[f], worst[f]);
    }
    return failed;
}

/* What the cost model chooses for a machine like AVX2's (tiles of 6 x 16, as generic's): a change of its constants
 * shows here, and is to be measured by `check_kernels --bench` and tools/explain.c before it is written down. */
int check_choices(const gan_kernels *kernels) {
    static const struct {
        geometry layer;
        gan_method of_one, of_few, of_many; /* for 1, 4 and 32 images */
        uint64_t
            weights; /* bytes of all weights; 32 MiB don't stay in a last-level cache of 32 MiB from call to call */
    } all[] = {
        {{OP_CONV_TRANSPOSE, 100, 512, 4, 1, 0, 0, 1, 1, 0, 1, 0}, METHOD_DIRECT, METHOD_DIRECT, METHOD_DIRECT, 0},
        {{OP_CONV_TRANSPOSE, 512, 256, 4, 2, 1, 0, 4, 4, 0, 1, 0}, METHOD_DIRECT, METHOD_TOOM3, METHOD_TOOM5, 0},
        {{OP_CONV_TRANSPOSE, 256, 128, 4, 2, 1, 0, 8, 8, 0, 1, 0}, METHOD_TOOM3, METHOD_TOOM5, METHOD_TOOM5, 0},
        {{OP_CONV_TRANSPOSE, 128, 64, 4, 2, 1, 0, 16, 16, 0, 1, 0}, METHOD_TOOM5, METHOD_TOOM5, METHOD_TOOM5, 0},
        {{OP_CONV_TRANSPOSE, 128, 1, 4, 2, 1, 0, 16, 16, 0, 1, 0}, METHOD_FOLD, METHOD_FOLD, METHOD_FOLD, 0},
        {{OP_CONV_TRANSPOSE, 64, 3, 4, 2, 1, 0, 32, 32, 0, 1, 0}, METHOD_FOLD, METHOD_FOLD, METHOD_FOLD, 0},
        {{OP_CONV, 128, 128, 3, 1, 1, 0, 16, 16, 0, 1, 0}, METHOD_WINOGRAD, METHOD_WINOGRAD, METHOD_WINOGRAD, 0},
        {{OP_CONV, 256, 256, 3, 1, 1, 0, 8, 8, 0, 1, 0}, METHOD_WINOGRAD, METHOD_WINOGRAD, METHOD_WINOGRAD, 0},
        {{OP_CONV, 256, 256, 3, 1, 1, 0, 8, 8, 0, 1, 0}, METHOD_TOOM5, METHOD_WINOGRAD, METHOD_WINOGRAD, 32 << 20},
        {{OP_CONV, 64, 3, 3, 1, 1, 0, 32, 32, 0, 1, 0}, METHOD_FOLD, METHOD_FOLD, METHOD_FOLD, 0},
        {{OP_CONV_TRANSPOSE_3D, 256, 128, 4, 2, 1, 0, 8, 8, 0, 1, 8}, METHOD_TOOM5, METHOD_TOOM5, METHOD_TOOM5, 0},
        {{OP_CONV_TRANSPOSE_3D, 64, 1, 4, 2, 1, 0, 32, 32, 0, 1, 32}, METHOD_FOLD, METHOD_FOLD, METHOD_FOLD, 0},
        {{OP_CONV_3D, 64, 64, 3, 1, 1, 0, 16, 16, 0, 1, 16}, METHOD_WINOGRAD, METHOD_WINOGRAD, METHOD_WINOGRAD, 0},
    };
    int failed = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all && kernels == &gan_i_generic; i++) {
        const uint32_t batches[] = {1, 4, 32};
        const gan_method wanted[] = {all[i].of_one, all[i].of_few, all[i].of_many};
        const gan_machine machine = {
            .fma_per_cycle = 16, .cache = 32 << 20, .memory = UINT64_MAX, .weights = all[i].weights};
        test_network network;
        gan_program program;
        build(&all[i].layer, &network, ACT_LEAKY_RELU, 0);
        if (gan_i_program(&network.file, kernels, &program) != GAN_OK) exit(2);
        const gan_conv *conv = &program.steps[program.n_steps - 1].conv;
        for (int b = 0; b < 3; b++) {
            gan_method best = METHOD_DIRECT;
            double least = INFINITY;
            for (int m = 0; m < METHOD_COUNT; m++) {
                if (!gan_i_method_fits(conv, (gan_method)m)) continue;
                const double cost = gan_i_conv_cost(conv, (gan_method)m, kernels, batches[b], 1, &machine);
                if (cost < least) least = cost, best = (gan_method)m;
            }
            if (check_prints_errors) printf("  layer %zu, %u images: %s\n", i, batches[b], GAN_I_METHOD_NAMES[best]);
            failed += expect(best == wanted[b], kernels->name, GAN_I_METHOD_NAMES[wanted[b]], (double)best);
        }
        gan_i_program_free(&program);
        clear(&network);
    }
    return failed;
}

void bench_layers(const gan_kernels *kernels, double peak) {
    const geometry all[] = {
        {OP_CONV_TRANSPOSE, 100, 512, 4, 1, 0, 0, 1, 1, 0, 1, 0},
        {OP_CONV_TRANSPOSE, 512, 256, 4, 2, 1, 0, 4, 4, 0, 1, 0},
        {OP_CONV_TRANSPOSE, 256, 128, 4, 2, 1, 0, 8, 8, 0, 1, 0},
        {OP_CONV_TRANSPOSE, 128, 64, 4, 2, 1, 0, 16, 16, 0, 1, 0},
        {OP_CONV_TRANSPOSE, 128, 1, 4, 2, 1, 0, 16, 16, 0, 1, 0},
        {OP_CONV_TRANSPOSE, 64, 3, 4, 2, 1, 0, 32, 32, 0, 1, 0},
        {OP_CONV, 128, 128, 3, 1, 1, 0, 16, 16, 0, 1, 0},
        {OP_CONV, 128, 128, 3, 1, 1, 0, 8, 8, 0, 2, 0},
        {OP_CONV, 64, 3, 3, 1, 1, 0, 32, 32, 0, 1, 0},
        {OP_CONV, 64, 64, 3, 1, 1, 0, 64, 64, 0, 1, 0},
        {OP_CONV, 256, 256, 3, 1, 1, 0, 64, 64, 0, 1, 0},
        {OP_CONV, 512, 512, 3, 1, 1, 0, 8, 8, 0, 1, 0},
    };
    const uint32_t batches[] = {1, 4, 32};
    const gan_machine here = gan_i_machine(kernels, 0);
    const double gigahertz = peak / (2 * here.fma_per_cycle);
    printf("  layer, images, method: microseconds per image, multiply-adds done as a share of the peak, "
           "cost model\n");
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        for (int b = 0; b < 3; b++) {
            geometry g = all[i];
            g.images = batches[b];
            test_network network;
            build(&g, &network, ACT_LEAKY_RELU, 0);
            float *got = floats(network.outputs);
            for (int f = 0; f < METHOD_COUNT; f++) {
                gan_conv conv;
                const double took = run(kernels, &network, g.images, (gan_method)f, b == 2 ? 6 : 12, got, &conv);
                if (took < 0) continue;
                const gan_method like = method_in_floats((gan_method)f);
                const double done = 2e-9 * (double)gan_i_method_floats(&conv, like, kernels) /
                                    (conv.out_stride * conv.out_stride);
                gan_tiling tiling = {.ty = conv.in.h, .tx = conv.in.w};
                double places = (double)conv.in.h * conv.in.w * conv.out_stride * conv.out_stride;
                if (method_is_winograd((gan_method)f)) {
                    winograd_tiling winograd;
                    gan_i_tile_winograd(&conv, (gan_method)f, kernels, g.images, 1, &winograd);
                    places = (double)winograd.ty * winograd.tx;
                } else if (method_points((gan_method)f)) {
                    gan_i_tile(&conv, (gan_method)f, kernels, g.images, 1, &tiling);
                    places = (double)tiling.ty * tiling.tx * conv.out_stride * conv.out_stride;
                } else if (!method_points((gan_method)f)) {
                    places = (double)conv.in.h * conv.in.w * conv.out_stride * conv.out_stride;
                }
                printf("  %3u->%3u k%u s%u %2ux%-2u x%-2u n %2u %-11s %8.1f us %4.0f %% %8.1f\n", g.in, g.out, g.kernel,
                       g.stride, g.h, g.w, g.factor, g.images, GAN_I_METHOD_NAMES[f], 1e6 * took / g.images,
                       100 * done * places * g.images / took / peak,
                       1e-3 * gan_i_conv_cost(&conv, (gan_method)f, kernels, g.images, 1, &here) / g.images /
                           gigahertz);
            }
            release(got);
            clear(&network);
        }
    }
}
