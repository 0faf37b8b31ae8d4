/* explain FILE [BATCH [THREADS]]: how the engine generates a batch of a file's images, and what the cost model expects
 * of each way to compute each layer, next to what one thread measures.
 *
 * Lines of the table: the layer's operation, the method (* for the one that was chosen), the KiB of its weights,
 * millions of cycles per chunk, estimated and measured, and the layer's name in the file.  Cycles are processor time at
 * the clock rate that a chain of additions runs at; the fastest of several runs counts.  docs/engine.md, "The cost
 * model". */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "latents.h"
#include "model.h"
#include "run.h"

enum { ROUNDS = 7 };

static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Cycles per second: each addition waits for the one before, which takes one cycle. */
static double clock_rate(void) {
    enum { ADDITIONS = 1 << 22 };
    double best = 1;
    for (int round = 0; round < 10; round++) {
        uint64_t x = 1;
        const double start = cpu_seconds();
        for (int i = 0; i < ADDITIONS / 16; i++) {
#pragma GCC unroll 16
            for (int j = 0; j < 16; j++) {
                x += 3;
                __asm__ volatile("" : "+r"(x)); /* or the compiler would add once */
            }
        }
        const double took = cpu_seconds() - start;
        best = round && took > best ? best : took;
    }
    return ADDITIONS / best;
}

static void need(gan_status status, const char *what) {
    if (status == GAN_OK) return;
    fprintf(stderr, "explain: %s: %s\n", what, gan_status_string(status));
    exit(2);
}

/* Seconds of the fastest of some runs of a step, whose inputs are in place. */
static double measure(gan_worker *worker, uint32_t index) {
    double best = 0;
    for (int round = 0; round < ROUNDS; round++) {
        const double start = cpu_seconds();
        gan_i_run_step(worker, index);
        const double took = cpu_seconds() - start;
        best = round && took > best ? best : took;
    }
    return best;
}

/* One line of the table; `kib` is "-" for a step without weights of its own. */
static void print_line(const gan_step *step, uint32_t index, char chosen, const char *method, const char *kib,
                       double cost, double measured) {
    char name[64];
    gan_i_layer_name(step->layer, name, sizeof name);
    printf("%4u %-14s %c %-11s %9s %10.3f %10.3f  %s\n", index, gan_i_operation(step->layer->op)->name, chosen, method,
           kib, 1e-6 * cost, 1e-6 * measured, name);
}

/* Every method of a step, the chosen one last, so that its output is what the next step reads. */
static void explain_step(gan_model *model, gan_worker *worker, uint32_t index, gan_method chosen, gan_method *methods,
                         const float **packed, double rate) {
    const gan_program *program = worker->shared->program;
    const gan_step *step = &program->steps[index];
    if (step->run) {
        const double cost = gan_i_step_cost(program, model->kernels, index, chosen, worker->images, 1);
        print_line(step, index, '*', "rows", "-", cost, rate * measure(worker, index));
        return;
    }
    for (int m = 0; m <= METHOD_COUNT; m++) {
        const gan_method method = m < METHOD_COUNT ? (gan_method)m : chosen;
        if ((m < METHOD_COUNT && method == chosen) || !gan_i_method_fits(&step->conv, method)) continue;
        methods[index] = method;
        need(gan_i_acquire_weights(model, program, index, method, &packed[index]), "weights");
        const double cost = gan_i_step_cost(program, model->kernels, index, method, worker->images, 1);
        const double floats = (double)gan_i_method_floats(&step->conv, method, model->kernels);
        char kib[32];
        snprintf(kib, sizeof kib, "%.0f", floats * sizeof(float) / 1024);
        print_line(step, index, method == chosen ? '*' : '-', GAN_I_METHOD_NAMES[method], kib, cost,
                   rate * measure(worker, index));
    }
}

int main(int n, char **words) {
    const int batch = n > 2 ? atoi(words[2]) : 1, threads = n > 3 ? atoi(words[3]) : 0,
              height = n > 4 ? atoi(words[4]) : 0, width = n > 5 ? atoi(words[5]) : height;
    if (n < 2 || n > 6 || batch < 1 || threads < 0 || height < 0 || width < 0) {
        fprintf(stderr, "explain FILE [BATCH [THREADS [HEIGHT [WIDTH]]]]: the size is that of an image that goes in\n");
        return 2;
    }
    gan_model *model;
    gan_context *context;
    const gan_method *chosen;
    const gan_context_options options = {.batch = (uint32_t)batch, .threads = (uint32_t)threads};
    need(gan_open(words[1], NULL, &model), words[1]);
    need(gan_context_new(model, &options, &context), words[1]);
    if (!model->file.nz && !height) {
        fprintf(stderr, "explain: %s takes images: add their height, and the width if it differs\n", words[1]);
        return 2;
    }
    if (!model->file.nz) need(gan_i_context_resize(context, (uint32_t)height, (uint32_t)width), "the size");
    const gan_program *program = gan_i_context_program(context);
    const gan_plan plan = gan_i_context_plan(context, options.batch, &chosen);
    const double rate = clock_rate();
    gan_context_info about = {.size = sizeof about};
    gan_describe_context(context, &about);
    printf("%.1f MiB of scratch and %.1f of transformed weights\n", (double)about.scratch / (1 << 20),
           (double)about.weights / (1 << 20));
    printf("%s: %u images by %u threads, in chunks of %u images by %d of them; %s kernels at %.2f GHz\n", words[1],
           options.batch, about.threads, plan.chunk, plan.members, model->kernels->name, 1e-9 * rate);

    gan_method *methods = calloc(program->n_steps, sizeof *methods);
    const float **packed = calloc(program->n_steps, sizeof *packed);
    uint64_t transformed = 0, of_thread = 0;
    for (uint32_t i = 0; methods && i < program->n_steps; i++) { /* scratch for any method */
        for (int m = 0; m < METHOD_COUNT && !program->steps[i].run; m++) {
            if (!gan_i_method_fits(&program->steps[i].conv, (gan_method)m)) continue;
            methods[i] = (gan_method)m;
            const scratch_needs needs = gan_i_needs(program, model->kernels, methods, 1, plan.chunk);
            transformed = needs.group_scratch > transformed ? needs.group_scratch : transformed;
            of_thread = needs.thread_scratch > of_thread ? needs.thread_scratch : of_thread;
        }
    }
    float *scratch = gan_i_allocate(transformed + of_thread);
    const gan_shape in = program->values[VALUE_Z].shape, image = program->values[program->n_values - 1].shape;
    float *out = gan_i_allocate(image.c * shape_pixels(image) * plan.chunk);
    float *given = gan_i_allocate(in.c * shape_pixels(in) * plan.chunk + 16);
    int64_t *labels = calloc(plan.chunk, sizeof *labels);
    need(methods && packed && scratch && out && given && labels ? GAN_OK : GAN_ERROR_MEMORY, words[1]);
    atomic_int bad_label = 0;
    gan_group alone;
    gan_i_group_init(&alone, NULL, 1);
    for (uint64_t i = 0; i < in.c * shape_pixels(in) * plan.chunk; i++)
        given[i] = (float)(i * 2654435761u % 1024) / 1024;
    const gan_images images = {.data = given,
                               .data_size = (size_t)(in.c * shape_pixels(in) * plan.chunk) * sizeof *given,
                               .format = GAN_FLOAT_PLANAR};
    const gan_output output = {.data = out,
                               .data_size = (size_t)(image.c * shape_pixels(image) * plan.chunk) * sizeof *out,
                               .format = GAN_FLOAT_PLANAR};
    const gan_request request = {.count = plan.chunk, .latent_scale = 1};
    gan_pixels to, from;
    need(gan_i_pixels_out(&output, image, &to, NULL), "the output");
    if (in.h) need(gan_i_pixels_in(&images, in, &from, NULL), "the images");
    const gan_shared shared = {.program = program,
                               .kernels = model->kernels,
                               .methods = methods,
                               .packed = packed,
                               .table = model->table,
                               .zeros = model->zeros,
                               .request = &request,
                               .in = in.h ? &from : NULL,
                               .out = to,
                               .nz = model->file.nz,
                               .classes = model->file.classes,
                               .bad_label = &bad_label};
    gan_worker worker = {.shared = &shared,
                         .cursor = {.group = &alone},
                         .values = scratch,
                         .transformed = scratch + program->values_per_image * plan.chunk,
                         .thread_scratch = scratch + transformed,
                         .labels = labels,
                         .images = plan.chunk};
    gan_i_begin_chunk(&worker);
    printf("step operation        method            KiB      model   measured  layer\n");
    for (uint32_t i = 0; i < program->n_steps; i++) explain_step(model, &worker, i, chosen[i], methods, packed, rate);
    gan_i_free(scratch), gan_i_free(out), gan_i_free(given);
    free(labels), free(packed), free(methods);
    gan_context_free(context);
    gan_close(model);
    return 0;
}
