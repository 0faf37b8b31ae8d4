/* Every way to compute a convolution, a linear layer or an upsampled convolution against a plain restatement in
 * double of what docs/gan-file-format.md says, and how long each takes. */
#include "check.h"
#include "run.h"

typedef struct geometry {
    gan_op op;
    uint32_t in, out, kernel, stride, padding, output_padding, h, w, images;
    uint32_t factor; /* of a nearest upsampling before it, or 1 */
} geometry;

/* A file of one or two layers, in memory that the caller owns. */
typedef struct test_network {
    gan_file file;
    gan_layer layers[3];
    float *weight, *bias, *input, *want;
    uint64_t outputs;
} test_network;

static void restate(const geometry *g, const gan_layer *layer, test_network *network) {
    const uint32_t h = g->h * g->factor, w = g->w * g->factor, oh = layer->out.h, ow = layer->out.w;
    const float *weight = network->weight;
    double *sum = calloc(network->outputs, sizeof *sum);
    if (!sum) exit(2);
    for (uint32_t b = 0; b < g->images; b++)
        for (uint32_t o = 0; o < g->out; o++)
            for (uint32_t i = 0; i < g->in; i++)
                for (uint32_t ky = 0; ky < g->kernel; ky++)
                    for (uint32_t kx = 0; kx < g->kernel; kx++) {
                        const int transposed = layer->op == OP_CONV_TRANSPOSE;
                        const uint64_t at = transposed ? (uint64_t)i * g->out + o : (uint64_t)o * g->in + i;
                        const double value = weight[(at * g->kernel + ky) * g->kernel + kx];
                        const int64_t steps_y = transposed ? h : oh, steps_x = transposed ? w : ow;
                        for (int64_t y = 0; y < steps_y; y++)
                            for (int64_t x = 0; x < steps_x; x++) {
                                const int64_t far_y = y * g->stride + ky - g->padding,
                                              far_x = x * g->stride + kx - g->padding;
                                const int64_t iy = transposed ? y : far_y, ix = transposed ? x : far_x;
                                const int64_t oy = transposed ? far_y : y, ox = transposed ? far_x : x;
                                if (iy < 0 || ix < 0 || oy < 0 || ox < 0 || iy >= h || ix >= w || oy >= oh || ox >= ow)
                                    continue;
                                const uint64_t pixel = ((uint64_t)iy / g->factor) * g->w + (uint64_t)ix / g->factor;
                                sum[(((uint64_t)b * g->out + o) * oh + (uint64_t)oy) * ow + (uint64_t)ox] +=
                                    value * network->input[((uint64_t)b * g->in + i) * g->h * g->w + pixel];
                            }
                    }
    for (uint64_t i = 0; i < network->outputs; i++) {
        const double x = sum[i] + network->bias[i / ((uint64_t)oh * ow) % g->out];
        network->want[i] = (float)(x > 0 ? x : 0.2 * x);
    }
    free(sum);
}

/* z is the input image, flattened; reshape, [upsampling], the layer, leaky ReLU. */
static void build(const geometry *g, test_network *network, int restated) {
    static const uint32_t reads[] = {VALUE_Z, FIRST_LAYER, FIRST_LAYER + 1}; /* each layer the one before */
    uint32_t h = g->h * g->factor, w = g->w * g->factor;
    *network = (test_network){0};
    gan_layer *layer = network->layers;
    (*layer++) = (gan_layer){
        .op = OP_RESHAPE, .n_inputs = 1, .inputs = &reads[0], .args = {g->in, g->h, g->w}, .out = {g->in, g->h, g->w}};
    if (g->factor > 1)
        (*layer++) = (gan_layer){
            .op = OP_UPSAMPLE, .n_inputs = 1, .inputs = &reads[1], .args = {g->factor}, .out = {g->in, h, w}};
    const uint64_t weights = (uint64_t)g->in * g->out * g->kernel * g->kernel;
    network->weight = floats(weights), network->bias = floats(g->out);
    fill(network->weight, weights, 11), fill(network->bias, g->out, 12);
    const int64_t grow = (int64_t)g->kernel - 2 * (int64_t)g->padding;
    const int transposed = g->op == OP_CONV_TRANSPOSE;
    const uint32_t oh = transposed ? (uint32_t)((h - 1) * g->stride + grow + g->output_padding)
                                   : (uint32_t)((h - grow) / g->stride + 1);
    const uint32_t ow = transposed ? (uint32_t)((w - 1) * g->stride + grow + g->output_padding)
                                   : (uint32_t)((w - grow) / g->stride + 1);
    *layer = (gan_layer){.op = g->op,
                         .n_inputs = 1,
                         .inputs = &reads[layer - network->layers],
                         .args = {g->in, g->out, g->kernel, g->stride, g->padding, g->output_padding},
                         .out = {g->out, oh, ow},
                         .weight = {network->weight, weights, DTYPE_F32},
                         .bias = {network->bias, g->out, DTYPE_F32}};
    network->file = (gan_file){.nz = g->in * g->h * g->w,
                               .input = {g->in * g->h * g->w, 0, 0},
                               .n_layers = (uint32_t)(layer - network->layers) + 1,
                               .layers = network->layers,
                               .image = layer->out};
    network->outputs = (uint64_t)g->images * g->out * oh * ow;
    network->input = floats((uint64_t)g->images * network->file.nz), network->want = floats(network->outputs);
    fill(network->input, (uint64_t)g->images * network->file.nz, 13);
    if (restated) restate(g, layer, network);
}

static void clear(test_network *network) {
    release(network->weight), release(network->bias), release(network->input), release(network->want);
}

/* Runs one method with one thread; then seconds of the fastest of `rounds` more, or -1 if the method doesn't fit. */
static double run(const gan_kernels *kernels, test_network *network, uint32_t images, gan_method method, int rounds,
                  float *out, gan_conv *of) {
    gan_program program;
    if (gan_i_program(&network->file, kernels, &program) != GAN_OK) exit(2);
    gan_method methods[3] = {0};
    const float *packed[3] = {0};
    uint32_t at = program.n_steps - 1;
    gan_step *step = &program.steps[at];
    step->act = (activation){ACT_LEAKY_RELU, 0.2f};
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
            else if (method == METHOD_FOLD) gan_i_run_fold(&worker, step, to, 1);
            else if (method == METHOD_WINOGRAD) gan_i_run_winograd(&worker, step, to);
            else gan_i_run_toom(&worker, step, method, to);
            const double took = cpu_seconds() - start;
            best = !r || took < best ? took : best;
        }
        release(dense), release(to), release(memory), release(zeros);
    }
    gan_i_program_free(&program);
    return best;
}

static const char *const METHODS[METHOD_COUNT] = {"direct", "fold", "toom3", "toom4", "toom5", "winograd"};

/* Every method that applies to a layer, against the restatement. */
static int check_layer(const gan_kernels *kernels, const geometry *g, int number) {
    int failed = 0;
    test_network network;
    build(g, &network, 1);
    float *got = floats(network.outputs);
    for (int f = 0; f < METHOD_COUNT; f++) {
        gan_conv conv;
        memset(got, 0xFF, sizeof *got * network.outputs);
        if (run(kernels, &network, g->images, (gan_method)f, 0, got, &conv) < 0) continue;
        const double error = largest_difference(got, network.want, network.outputs);
        const double allowed = 3e-6 * sqrt((double)g->in * g->kernel * g->kernel) * (f >= METHOD_TOOM5 ? 4 : 1);
        char what[160];
        snprintf(what, sizeof what, "layer %d (op %d, %u->%u, k%u s%u p%u, %ux%u x%u) by %s", number, (int)g->op, g->in,
                 g->out, g->kernel, g->stride, g->padding, g->h, g->w, g->factor, METHODS[f]);
        failed += expect(error <= allowed, kernels->name, what, error);
    }
    release(got);
    clear(&network);
    return failed;
}

int check_layers(const gan_kernels *kernels) {
    const geometry all[] = {
        {OP_CONV_TRANSPOSE, 13, 37, 4, 2, 1, 0, 4, 4, 3, 1},
        {OP_CONV_TRANSPOSE, 5, 3, 4, 2, 1, 0, 7, 5, 2, 1},
        {OP_CONV_TRANSPOSE, 20, 50, 4, 1, 0, 0, 1, 1, 17, 1},
        {OP_CONV_TRANSPOSE, 17, 1, 4, 2, 1, 0, 9, 3, 1, 1},
        {OP_CONV_TRANSPOSE, 3, 18, 3, 2, 1, 1, 5, 6, 2, 1},
        {OP_CONV_TRANSPOSE, 3, 18, 3, 2, 0, 0, 5, 6, 2, 1},
        {OP_CONV_TRANSPOSE, 33, 16, 5, 2, 2, 1, 6, 6, 2, 1},
        {OP_CONV_TRANSPOSE, 16, 7, 5, 3, 1, 2, 4, 5, 2, 1},
        {OP_CONV_TRANSPOSE, 8, 4, 1, 1, 2, 0, 7, 8, 2, 1},
        {OP_CONV_TRANSPOSE, 8, 4, 2, 3, 0, 0, 3, 3, 2, 1},
        {OP_CONV_TRANSPOSE, 6, 9, 8, 1, 0, 0, 4, 4, 2, 1},
        {OP_CONV_TRANSPOSE, 6, 2, 4, 1, 1, 0, 4, 4, 2, 1},
        {OP_CONV, 19, 35, 3, 1, 1, 0, 8, 7, 2, 1},
        {OP_CONV, 4, 3, 3, 1, 1, 0, 13, 6, 1, 1},
        {OP_CONV, 16, 16, 3, 1, 0, 0, 5, 5, 3, 1},
        {OP_CONV, 16, 5, 3, 2, 1, 0, 9, 8, 2, 1},
        {OP_CONV, 7, 6, 1, 1, 0, 0, 3, 9, 2, 1},
        {OP_CONV, 7, 6, 1, 1, 3, 0, 3, 4, 2, 1},
        {OP_CONV, 7, 6, 5, 1, 2, 0, 6, 6, 2, 1},
        {OP_CONV, 7, 6, 4, 3, 0, 0, 9, 11, 2, 1},
        {OP_CONV, 9, 20, 3, 1, 1, 0, 4, 5, 2, 2},
        {OP_CONV, 9, 3, 3, 1, 1, 0, 6, 5, 2, 3},
        {OP_CONV, 9, 3, 5, 1, 2, 0, 6, 5, 2, 2},
        {OP_CONV, 9, 20, 1, 1, 0, 0, 4, 5, 2, 2},
        {OP_CONV_TRANSPOSE, 300, 20, 4, 2, 1, 0, 9, 9, 9, 1},
        {OP_CONV, 40, 20, 3, 1, 1, 0, 70, 3, 1, 1},
        {OP_CONV, 4, 20, 3, 1, 1, 0, 3, 290, 1, 1},
    };
    int failed = 0;
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
    do {
        const gan_op op = below(state, 2) ? OP_CONV : OP_CONV_TRANSPOSE;
        const uint32_t kernel = 1 + below(state, 6), stride = 1 + below(state, 3);
        g = (geometry){.op = op,
                       .in = 1 + below(state, 40),
                       .out = 1 + below(state, 40),
                       .kernel = kernel,
                       .stride = stride,
                       .padding = below(state, kernel + 1),
                       .output_padding = op == OP_CONV ? 0 : below(state, stride),
                       .h = 1 + below(state, 12),
                       .w = 1 + below(state, 12),
                       .images = 1 + below(state, 4),
                       .factor = op == OP_CONV ? 1 + below(state, 3) : 1};
        const int64_t side = (g.h < g.w ? g.h : g.w) * g.factor;
        least = op == OP_CONV ? side + 2 * (int64_t)g.padding - kernel + 1
                              : (side - 1) * stride + kernel - 2 * (int64_t)g.padding + g.output_padding;
    } while (least < 1);
    return g;
}

int check_random_layers(const gan_kernels *kernels) {
    uint64_t state = check_seed + 17;
    int failed = 0;
    for (int i = 0; i < 60; i++) {
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
        {OP_CONV_TRANSPOSE, 512, 32, 4, 2, 1, 0, 4, 4, 4, 1}, {OP_CONV_TRANSPOSE, 64, 32, 4, 2, 1, 0, 8, 8, 4, 1},
        {OP_CONV, 256, 32, 3, 1, 1, 0, 8, 8, 4, 1},           {OP_CONV_TRANSPOSE, 128, 3, 4, 2, 1, 0, 16, 16, 4, 1},
        {OP_CONV_TRANSPOSE, 128, 32, 5, 2, 2, 1, 8, 8, 4, 1}, {OP_CONV_TRANSPOSE, 16, 32, 4, 2, 1, 0, 16, 16, 4, 1},
    };
    double worst[METHOD_COUNT] = {0};
    int failed = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const geometry *g = &all[i];
        test_network network;
        build(g, &network, 0);
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
        if (check_prints_errors) printf("  %-6s %.1e\n", METHODS[f], worst[f]);
        failed += expect(worst[f] <= (double)GAN_I_METHOD_ERRORS[f], kernels->name, METHODS[f], worst[f]);
    }
    return failed;
}

/* What the cost model chooses for a machine like AVX2's (tiles of 6 x 16, as generic's): a change of its constants
 * shows here, and is to be measured by `check_kernels --bench` and tools/explain.c before it is written down. */
int check_choices(const gan_kernels *kernels) {
    static const struct {
        geometry layer;
        gan_method of_one, of_few, of_many; /* for 1, 4 and 32 images */
    } all[] = {
        {{OP_CONV_TRANSPOSE, 100, 512, 4, 1, 0, 0, 1, 1, 0, 1}, METHOD_DIRECT, METHOD_DIRECT, METHOD_DIRECT},
        {{OP_CONV_TRANSPOSE, 512, 256, 4, 2, 1, 0, 4, 4, 0, 1}, METHOD_DIRECT, METHOD_TOOM3, METHOD_TOOM5},
        {{OP_CONV_TRANSPOSE, 256, 128, 4, 2, 1, 0, 8, 8, 0, 1}, METHOD_TOOM3, METHOD_TOOM5, METHOD_TOOM5},
        {{OP_CONV_TRANSPOSE, 128, 64, 4, 2, 1, 0, 16, 16, 0, 1}, METHOD_TOOM5, METHOD_TOOM5, METHOD_TOOM5},
        {{OP_CONV_TRANSPOSE, 128, 1, 4, 2, 1, 0, 16, 16, 0, 1}, METHOD_FOLD, METHOD_FOLD, METHOD_FOLD},
        {{OP_CONV_TRANSPOSE, 64, 3, 4, 2, 1, 0, 32, 32, 0, 1}, METHOD_FOLD, METHOD_FOLD, METHOD_FOLD},
        {{OP_CONV, 128, 128, 3, 1, 1, 0, 16, 16, 0, 1}, METHOD_WINOGRAD, METHOD_WINOGRAD, METHOD_WINOGRAD},
        {{OP_CONV, 64, 3, 3, 1, 1, 0, 32, 32, 0, 1}, METHOD_FOLD, METHOD_FOLD, METHOD_FOLD},
    };
    const gan_machine machine = {.fma_per_cycle = 16, .cache = 32 << 20, .memory = UINT64_MAX};
    int failed = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all && kernels == &gan_i_generic; i++) {
        const uint32_t batches[] = {1, 4, 32};
        const gan_method wanted[] = {all[i].of_one, all[i].of_few, all[i].of_many};
        test_network network;
        gan_program program;
        build(&all[i].layer, &network, 0);
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
            if (check_prints_errors) printf("  layer %zu, %u images: %s\n", i, batches[b], METHODS[best]);
            failed += expect(best == wanted[b], kernels->name, METHODS[wanted[b]], (double)best);
        }
        gan_i_program_free(&program);
        clear(&network);
    }
    return failed;
}

void bench_layers(const gan_kernels *kernels, double peak) {
    const geometry all[] = {
        {OP_CONV_TRANSPOSE, 100, 512, 4, 1, 0, 0, 1, 1, 0, 1},
        {OP_CONV_TRANSPOSE, 512, 256, 4, 2, 1, 0, 4, 4, 0, 1},
        {OP_CONV_TRANSPOSE, 256, 128, 4, 2, 1, 0, 8, 8, 0, 1},
        {OP_CONV_TRANSPOSE, 128, 64, 4, 2, 1, 0, 16, 16, 0, 1},
        {OP_CONV_TRANSPOSE, 128, 1, 4, 2, 1, 0, 16, 16, 0, 1},
        {OP_CONV_TRANSPOSE, 64, 3, 4, 2, 1, 0, 32, 32, 0, 1},
        {OP_CONV, 128, 128, 3, 1, 1, 0, 16, 16, 0, 1},
        {OP_CONV, 128, 128, 3, 1, 1, 0, 8, 8, 0, 2},
        {OP_CONV, 64, 3, 3, 1, 1, 0, 32, 32, 0, 1},
        {OP_CONV, 64, 64, 3, 1, 1, 0, 64, 64, 0, 1},
        {OP_CONV, 256, 256, 3, 1, 1, 0, 64, 64, 0, 1},
        {OP_CONV, 512, 512, 3, 1, 1, 0, 8, 8, 0, 1},
    };
    const uint32_t batches[] = {1, 4, 32};
    const gan_machine here = gan_i_machine(kernels);
    const double gigahertz = peak / (2 * here.fma_per_cycle);
    printf("  layer, images, method: microseconds per image, multiply-adds done as a share of the peak, "
           "cost model\n");
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        for (int b = 0; b < 3; b++) {
            geometry g = all[i];
            g.images = batches[b];
            test_network network;
            build(&g, &network, 0);
            float *got = floats(network.outputs);
            for (int f = 0; f < METHOD_COUNT; f++) {
                gan_conv conv;
                const double took = run(kernels, &network, g.images, (gan_method)f, b == 2 ? 6 : 12, got, &conv);
                if (took < 0) continue;
                const double done = 2e-9 * (double)gan_i_method_floats(&conv, (gan_method)f, kernels) /
                                    (conv.out_stride * conv.out_stride);
                gan_tiling tiling = {.ty = conv.in.h, .tx = conv.in.w};
                double places = (double)conv.in.h * conv.in.w * conv.out_stride * conv.out_stride;
                if (f == METHOD_WINOGRAD) {
                    winograd_tiling winograd;
                    gan_i_tile_winograd(&conv, kernels, g.images, 1, &winograd);
                    places = (double)winograd.ty * winograd.tx;
                } else if (method_points((gan_method)f)) {
                    gan_i_tile(&conv, (gan_method)f, kernels, g.images, 1, &tiling);
                    places = (double)tiling.ty * tiling.tx * conv.out_stride * conv.out_stride;
                } else if (f == METHOD_FOLD || f == METHOD_DIRECT) {
                    places = (double)conv.in.h * conv.in.w * conv.out_stride * conv.out_stride;
                }
                printf("  %3u->%3u k%u s%u %2ux%-2u x%-2u n %2u %-6s %8.1f us %4.0f %% %8.1f\n", g.in, g.out, g.kernel,
                       g.stride, g.h, g.w, g.factor, g.images, METHODS[f], 1e6 * took / g.images,
                       100 * done * places * g.images / took / peak,
                       1e-3 * gan_i_conv_cost(&conv, (gan_method)f, kernels, g.images, 1, &here) / g.images /
                           gigahertz);
            }
            release(got);
            clear(&network);
        }
    }
}
