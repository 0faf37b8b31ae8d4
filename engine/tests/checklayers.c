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
typedef struct network {
    file f;
    layer layers[3];
    float *weight, *bias, *input, *want;
    uint64_t outputs;
} network;

static void restate(const geometry *g, const layer *la, network *n) {
    const uint32_t h = g->h * g->factor, w = g->w * g->factor, oh = la->out.h, ow = la->out.w;
    const float *weight = n->weight;
    double *sum = calloc(n->outputs, sizeof *sum);
    if (!sum) exit(2);
    for (uint32_t b = 0; b < g->images; b++)
        for (uint32_t o = 0; o < g->out; o++)
            for (uint32_t i = 0; i < g->in; i++)
                for (uint32_t ky = 0; ky < g->kernel; ky++)
                    for (uint32_t kx = 0; kx < g->kernel; kx++) {
                        const int transposed = la->op == OP_CONV_TRANSPOSE;
                        const uint64_t at = transposed ? (uint64_t)i * g->out + o : (uint64_t)o * g->in + i;
                        const double value = weight[(at * g->kernel + ky) * g->kernel + kx];
                        const int64_t steps_y = transposed ? h : oh, steps_x = transposed ? w : ow;
                        for (int64_t y = 0; y < steps_y; y++)
                            for (int64_t x = 0; x < steps_x; x++) {
                                const int64_t far_y = y * g->stride + ky - g->padding, far_x = x * g->stride + kx - g->padding;
                                const int64_t iy = transposed ? y : far_y, ix = transposed ? x : far_x;
                                const int64_t oy = transposed ? far_y : y, ox = transposed ? far_x : x;
                                if (iy < 0 || ix < 0 || oy < 0 || ox < 0 || iy >= h || ix >= w || oy >= oh || ox >= ow) continue;
                                const uint64_t pixel = ((uint64_t)iy / g->factor) * g->w + (uint64_t)ix / g->factor;
                                sum[(((uint64_t)b * g->out + o) * oh + (uint64_t)oy) * ow + (uint64_t)ox] +=
                                    value * n->input[((uint64_t)b * g->in + i) * g->h * g->w + pixel];
                            }
                    }
    for (uint64_t i = 0; i < n->outputs; i++) {
        const double x = sum[i] + n->bias[i / ((uint64_t)oh * ow) % g->out];
        n->want[i] = (float)(x > 0 ? x : 0.2 * x);
    }
    free(sum);
}

/* z is the input picture, flattened; reshape, [upsampling], the layer, leaky ReLU. */
static void build(const geometry *g, network *n, int restated) {
    static const uint32_t reads[] = {VALUE_Z, FIRST_LAYER, FIRST_LAYER + 1}; /* each layer the one before */
    uint32_t h = g->h * g->factor, w = g->w * g->factor;
    *n = (network){0};
    layer *la = n->layers;
    (*la++) = (layer){.op = OP_RESHAPE, .n_inputs = 1, .inputs = &reads[0], .args = {g->in, g->h, g->w}, .out = {g->in, g->h, g->w}};
    if (g->factor > 1) (*la++) = (layer){.op = OP_UPSAMPLE, .n_inputs = 1, .inputs = &reads[1], .args = {g->factor}, .out = {g->in, h, w}};
    const uint64_t weights = (uint64_t)g->in * g->out * g->kernel * g->kernel;
    n->weight = floats(weights), n->bias = floats(g->out);
    fill(n->weight, weights, 11), fill(n->bias, g->out, 12);
    const int64_t grow = (int64_t)g->kernel - 2 * (int64_t)g->padding;
    const int transposed = g->op == OP_CONV_TRANSPOSE;
    const uint32_t oh = transposed ? (uint32_t)((h - 1) * g->stride + grow + g->output_padding) : (uint32_t)((h - grow) / g->stride + 1);
    const uint32_t ow = transposed ? (uint32_t)((w - 1) * g->stride + grow + g->output_padding) : (uint32_t)((w - grow) / g->stride + 1);
    *la = (layer){.op = g->op, .n_inputs = 1, .inputs = &reads[la - n->layers],
                  .args = {g->in, g->out, g->kernel, g->stride, g->padding, g->output_padding}, .out = {g->out, oh, ow},
                  .weight = {n->weight, weights, DTYPE_F32}, .bias = {n->bias, g->out, DTYPE_F32}};
    n->f = (file){.nz = g->in * g->h * g->w, .n_layers = (uint32_t)(la - n->layers) + 1, .layers = n->layers, .image = la->out};
    n->outputs = (uint64_t)g->images * g->out * oh * ow;
    n->input = floats((uint64_t)g->images * n->f.nz), n->want = floats(n->outputs);
    fill(n->input, (uint64_t)g->images * n->f.nz, 13);
    if (restated) restate(g, la, n);
}

static void clear(network *n) { release(n->weight), release(n->bias), release(n->input), release(n->want); }

/* Runs one method with one thread; then seconds of the fastest of `rounds` more, or -1 where the method doesn't fit. */
static double run(const gan_kernels *k, network *n, uint32_t images, method f, int rounds, float *out, conv *of) {
    schedule s;
    if (gan_i_schedule(&n->f, k, &s) != GAN_OK) exit(2);
    method methods[3] = {0};
    const float *packed[3] = {0};
    uint32_t at = s.n_steps - 1;
    step *st = &s.steps[at];
    st->act = (activation){ACT_LEAKY_RELU, 0.2f};
    *of = st->conv;
    double best = -1;
    if (gan_i_method_fits(&st->conv, f)) {
        const conv *c = &st->conv;
        methods[at] = f;
        float *dense = floats(gan_i_pack_scratch(c, f, k)), *to = floats(gan_i_method_floats(c, f, k));
        gan_i_pack(st, f, k, dense, to);
        packed[at] = to;
        const needs need = gan_i_needs(&s, k, methods, 1, images);
        float *memory = floats(need.shared + need.thread_scratch), *zeros = floats(n->f.nz + MAX_NR);
        const gan_request q = {.count = images, .latents = n->input};
        const job j = {.s = &s, .k = k, .methods = methods, .packed = packed, .zeros = zeros, .request = &q, .nz = n->f.nz, .factor = 1,
                       .floats = out};
        crew alone;
        gan_i_crew_init(&alone, NULL, 1);
        worker w = {.j = &j, .cursor = {.crew = &alone}, .values = memory, .thread_scratch = memory + need.shared, .images = images};
        w.transformed = memory + s.values_per_image * images;
        gan_i_run_chunk(&w);
        best = 0;
        for (int r = 0; r < rounds; r++) { /* the layer alone, its input in place */
            const double start = cpu_seconds();
            if (f == METHOD_DIRECT) gan_i_run_direct(&w, st, to);
            else if (f == METHOD_FOLD) gan_i_run_fold(&w, st, to, 1);
            else gan_i_run_toom(&w, st, f, to);
            const double took = cpu_seconds() - start;
            best = !r || took < best ? took : best;
        }
        release(dense), release(to), release(memory), release(zeros);
    }
    gan_i_schedule_free(&s);
    return best;
}

static const char *const METHODS[METHOD_COUNT] = {"direct", "fold", "toom3", "toom4", "toom5"};

int check_layers(const gan_kernels *k) {
    const geometry all[] = {
        {OP_CONV_TRANSPOSE, 13, 37, 4, 2, 1, 0, 4, 4, 3, 1},  {OP_CONV_TRANSPOSE, 5, 3, 4, 2, 1, 0, 7, 5, 2, 1},
        {OP_CONV_TRANSPOSE, 20, 50, 4, 1, 0, 0, 1, 1, 17, 1}, {OP_CONV_TRANSPOSE, 17, 1, 4, 2, 1, 0, 9, 3, 1, 1},
        {OP_CONV_TRANSPOSE, 3, 18, 3, 2, 1, 1, 5, 6, 2, 1},   {OP_CONV_TRANSPOSE, 3, 18, 3, 2, 0, 0, 5, 6, 2, 1},
        {OP_CONV_TRANSPOSE, 33, 16, 5, 2, 2, 1, 6, 6, 2, 1},  {OP_CONV_TRANSPOSE, 16, 7, 5, 3, 1, 2, 4, 5, 2, 1},
        {OP_CONV_TRANSPOSE, 8, 4, 1, 1, 2, 0, 7, 8, 2, 1},    {OP_CONV_TRANSPOSE, 8, 4, 2, 3, 0, 0, 3, 3, 2, 1},
        {OP_CONV_TRANSPOSE, 6, 9, 8, 1, 0, 0, 4, 4, 2, 1},    {OP_CONV_TRANSPOSE, 6, 2, 4, 1, 1, 0, 4, 4, 2, 1},
        {OP_CONV, 19, 35, 3, 1, 1, 0, 8, 7, 2, 1},            {OP_CONV, 4, 3, 3, 1, 1, 0, 13, 6, 1, 1},
        {OP_CONV, 16, 16, 3, 1, 0, 0, 5, 5, 3, 1},            {OP_CONV, 16, 5, 3, 2, 1, 0, 9, 8, 2, 1},
        {OP_CONV, 7, 6, 1, 1, 0, 0, 3, 9, 2, 1},              {OP_CONV, 7, 6, 1, 1, 3, 0, 3, 4, 2, 1},
        {OP_CONV, 7, 6, 5, 1, 2, 0, 6, 6, 2, 1},              {OP_CONV, 7, 6, 4, 3, 0, 0, 9, 11, 2, 1},
        {OP_CONV, 9, 20, 3, 1, 1, 0, 4, 5, 2, 2},             {OP_CONV, 9, 3, 3, 1, 1, 0, 6, 5, 2, 3},
        {OP_CONV, 9, 3, 5, 1, 2, 0, 6, 5, 2, 2},              {OP_CONV, 9, 20, 1, 1, 0, 0, 4, 5, 2, 2},
        {OP_CONV_TRANSPOSE, 300, 20, 4, 2, 1, 0, 9, 9, 9, 1}, {OP_CONV, 40, 20, 3, 1, 1, 0, 70, 3, 1, 1},
        {OP_CONV, 4, 20, 3, 1, 1, 0, 3, 290, 1, 1},
    };
    int failed = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const geometry *g = &all[i];
        network n;
        build(g, &n, 1);
        float *got = floats(n.outputs);
        for (int f = 0; f < METHOD_COUNT; f++) {
            conv c;
            memset(got, 0xFF, sizeof *got * n.outputs);
            if (run(k, &n, g->images, (method)f, 0, got, &c) < 0) continue;
            const double error = largest_difference(got, n.want, n.outputs);
            char what[80];
            snprintf(what, sizeof what, "layer %zu by %s", i, METHODS[f]);
            failed += expect(error <= 3e-6 * sqrt((double)g->in * g->kernel * g->kernel) * (f == METHOD_TOOM5 ? 4 : 1), k->name, what, error);
        }
        release(got);
        clear(&n);
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

/* The largest error of each method over the spread of what it gives, which docs/gan-file-format.md's error budget is about. */
int check_errors(const gan_kernels *k, int print) {
    const geometry all[] = {
        {OP_CONV_TRANSPOSE, 512, 32, 4, 2, 1, 0, 4, 4, 4, 1}, {OP_CONV_TRANSPOSE, 64, 32, 4, 2, 1, 0, 8, 8, 4, 1},
        {OP_CONV, 256, 32, 3, 1, 1, 0, 8, 8, 4, 1},           {OP_CONV_TRANSPOSE, 128, 3, 4, 2, 1, 0, 16, 16, 4, 1},
        {OP_CONV_TRANSPOSE, 128, 32, 5, 2, 2, 1, 8, 8, 4, 1}, {OP_CONV_TRANSPOSE, 16, 32, 4, 2, 1, 0, 16, 16, 4, 1},
    };
    double worst[METHOD_COUNT] = {0};
    int failed = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const geometry *g = &all[i];
        network n;
        build(g, &n, 0);
        fill_normal(n.weight, n.layers[n.f.n_layers - 1].weight.count, 21);
        fill_normal(n.input, (uint64_t)g->images * n.f.nz, 22);
        memset(n.bias, 0, sizeof *n.bias * g->out);
        restate(g, &n.layers[n.f.n_layers - 1], &n);
        double squares = 0;
        for (uint64_t j = 0; j < n.outputs; j++) { /* the slope of what lies below zero taken away */
            const double x = n.want[j] < 0 ? n.want[j] / 0.2 : n.want[j];
            squares += x * x;
        }
        float *got = floats(n.outputs);
        for (int f = 0; f < METHOD_COUNT; f++) {
            conv c;
            if (run(k, &n, g->images, (method)f, 0, got, &c) < 0) continue;
            const double error = largest_difference(got, n.want, n.outputs) / sqrt(squares / (double)n.outputs);
            worst[f] = error > worst[f] ? error : worst[f];
        }
        release(got);
        clear(&n);
    }
    for (int f = 0; f < METHOD_COUNT; f++) {
        if (print) printf("  %-6s %.1e\n", METHODS[f], worst[f]);
        failed += expect(worst[f] <= (double)GAN_I_METHOD_ERRORS[f], k->name, METHODS[f], worst[f]);
    }
    return failed;
}

void bench_layers(const gan_kernels *k, double peak) {
    const geometry all[] = {
        {OP_CONV_TRANSPOSE, 100, 512, 4, 1, 0, 0, 1, 1, 0, 1}, {OP_CONV_TRANSPOSE, 512, 256, 4, 2, 1, 0, 4, 4, 0, 1},
        {OP_CONV_TRANSPOSE, 256, 128, 4, 2, 1, 0, 8, 8, 0, 1}, {OP_CONV_TRANSPOSE, 128, 64, 4, 2, 1, 0, 16, 16, 0, 1},
        {OP_CONV_TRANSPOSE, 128, 1, 4, 2, 1, 0, 16, 16, 0, 1}, {OP_CONV_TRANSPOSE, 64, 3, 4, 2, 1, 0, 32, 32, 0, 1},
        {OP_CONV, 128, 128, 3, 1, 1, 0, 16, 16, 0, 1},         {OP_CONV, 128, 128, 3, 1, 1, 0, 8, 8, 0, 2},
        {OP_CONV, 64, 3, 3, 1, 1, 0, 32, 32, 0, 1},
    };
    const uint32_t batches[] = {1, 4, 32};
    const machine here = gan_i_machine(k);
    printf("  layer, pictures, form: microseconds a picture, multiply-adds done as a share of the peak, "
           "cost model\n");
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        for (int b = 0; b < 3; b++) {
            geometry g = all[i];
            g.images = batches[b];
            network n;
            build(&g, &n, 0);
            float *got = floats(n.outputs);
            for (int f = 0; f < METHOD_COUNT; f++) {
                conv c;
                const double took = run(k, &n, g.images, (method)f, b == 2 ? 6 : 12, got, &c);
                if (took < 0) continue;
                const double done = 2e-9 * (double)gan_i_method_floats(&c, (method)f, k) / (c.out_stride * c.out_stride);
                tiling t = {.ty = c.in.h, .tx = c.in.w};
                double places = (double)c.in.h * c.in.w * c.out_stride * c.out_stride;
                if (method_points((method)f)) {
                    gan_i_tile(&c, (method)f, k, g.images, 1, &t);
                    places = (double)t.ty * t.tx * c.out_stride * c.out_stride;
                } else if (f == METHOD_FOLD || f == METHOD_DIRECT) {
                    places = (double)c.in.h * c.in.w * c.out_stride * c.out_stride;
                }
                printf("  %3u->%3u k%u s%u %2ux%-2u x%-2u n %2u %-6s %8.1f us %4.0f %% %8.1f\n", g.in, g.out, g.kernel, g.stride, g.h, g.w,
                       g.factor, g.images, METHODS[f], 1e6 * took / g.images, 100 * done * places * g.images / took / peak,
                       1e-3 * gan_i_conv_cost(&c, (method)f, k, g.images, 1, &here) / g.images / 3.2);
            }
            release(got);
            clear(&n);
        }
    }
}
