/* Contexts: they choose how to compute, and hold the memory for it.  generate.c generates images with them. */
#include "context.h"

#include <stdlib.h>
#include <string.h>

#include "arguments.h"

const gan_program *gan_i_context_program(const gan_context *context) {
    return context->model->file.nz ? &context->model->program : &context->sized.program;
}

static gan_method *methods_of(const gan_model *model) {
    return calloc(2 * (size_t)model->program.n_steps, sizeof(gan_method));
}

/* Of a program of the model's, which is the model's own or of its images' size. */
static gan_status size_of(gan_model *model, const gan_program *program, const gan_context_options *options,
                          uint64_t *scratch, uint64_t *weights) {
    gan_setup setup = {.methods = methods_of(model)};
    gan_status status = setup.methods ? gan_i_model_enter(model) : GAN_ERROR_MEMORY;
    if (status == GAN_OK) {
        status = gan_i_lay_out(model, program, options, &setup);
        gan_i_model_leave(model);
    }
    if (status == GAN_OK) {
        *scratch = setup.floats * sizeof(float);
        *weights = setup.weights;
    }
    free(setup.methods);
    return status;
}

gan_status gan_context_size(gan_model *model, const gan_context_options *given, uint64_t *scratch, uint64_t *weights) {
    gan_context_options options;
    if (!model || !scratch || !weights) return GAN_ERROR_ARGUMENT;
    const gan_status status = gan_i_take(&options, sizeof options, given);
    return status == GAN_OK ? size_of(model, &model->program, &options, scratch, weights) : status;
}

gan_status gan_apply_size(gan_model *model, const gan_context_options *given, uint32_t height, uint32_t width,
                          uint64_t *scratch, uint64_t *weights) {
    gan_context_options options;
    gan_sized sized;
    if (!model || !scratch || !weights || model->file.nz) return GAN_ERROR_ARGUMENT;
    gan_status status = gan_i_take(&options, sizeof options, given);
    if (status == GAN_OK) status = gan_i_sized(model, height, width, &sized);
    if (status != GAN_OK) return status;
    status = size_of(model, &sized.program, &options, scratch, weights);
    gan_i_sized_free(&sized);
    return status;
}

/* Hold the model's lock. */
static gan_status acquire_weights(gan_context *context, const gan_program *program) {
    gan_status status = GAN_OK;
    for (; context->n_packed < program->n_steps && status == GAN_OK; context->n_packed += status == GAN_OK)
        if (!program->steps[context->n_packed].run)
            status = gan_i_acquire_weights(context->model, program, context->n_packed,
                                           context->setup.methods[context->n_packed],
                                           &context->packed[context->n_packed]);
    return status;
}

/* Hold the model's lock. */
static void release_packed(gan_context *context) {
    for (uint32_t i = 0; i < context->n_packed; i++)
        if (!context->model->program.steps[i].run) gan_i_release_weights(context->model, i, context->setup.methods[i]);
    context->n_packed = 0;
}

static void release_weights(gan_context *context) {
    if (!context->n_packed || gan_i_model_enter(context->model) != GAN_OK)
        return; /* otherwise they stay until gan_close */
    release_packed(context);
    gan_i_model_leave(context->model);
}

/* Methods and weights of a context whose old ones, for another size, are kept until the new ones are there: many are
 * the same.  If there is no memory for both, the old ones go first.  Hold the model's lock. */
static gan_status replace_weights(gan_context *context, const gan_program *program) {
    gan_model *model = context->model;
    gan_context next = {.model = model, .setup.methods = methods_of(model)};
    next.packed = calloc(model->program.n_steps, sizeof *next.packed);
    gan_status status = next.setup.methods && next.packed ? GAN_OK : GAN_ERROR_MEMORY;
    if (status == GAN_OK && gan_i_lay_out(model, program, &context->options, &next.setup) != GAN_OK) {
        release_packed(context);
        status = gan_i_lay_out(model, program, &context->options, &next.setup);
    }
    if (status == GAN_OK) status = acquire_weights(&next, program);
    if (status != GAN_OK) {
        release_packed(&next);
        free(next.setup.methods);
        free(next.packed);
        return status;
    }
    release_packed(context);
    free(context->setup.methods);
    free(context->packed);
    context->setup = next.setup;
    context->packed = next.packed;
    context->n_packed = next.n_packed;
    return GAN_OK;
}

gan_status gan_i_context_resize(gan_context *context, uint32_t height, uint32_t width) {
    gan_model *model = context->model;
    if (context->sized.height == height && context->sized.width == width) return GAN_OK;
    gan_sized sized;
    gan_status status = gan_i_sized(model, height, width, &sized);
    if (status != GAN_OK) return status;
    const uint64_t before = context->setup.floats;
    status = gan_i_model_enter(model);
    if (status == GAN_OK) {
        status = replace_weights(context, &sized.program);
        gan_i_model_leave(model);
    }
    if (status == GAN_OK && (!context->scratch || context->setup.floats != before)) {
        gan_i_free(context->scratch);
        context->scratch = gan_i_allocate(context->setup.floats);
        if (!context->scratch) status = GAN_ERROR_MEMORY;
    }
    gan_i_sized_free(&context->sized);
    if (status == GAN_OK) context->sized = sized;
    else gan_i_sized_free(&sized);
    return status;
}

static gan_status build(gan_context *context) {
    gan_model *model = context->model;
    context->setup.methods = methods_of(model);
    context->packed = calloc(model->program.n_steps, sizeof *context->packed);
    gan_status status = context->setup.methods && context->packed ? gan_i_model_enter(model) : GAN_ERROR_MEMORY;
    if (status != GAN_OK) return status;
    gan_context_options *options = &context->options;
    status = gan_i_lay_out(model, &model->program, options, &context->setup);
    if (status == GAN_OK && model->file.nz) status = acquire_weights(context, &model->program);
    gan_i_model_leave(model);
    if (status != GAN_OK) return status;
    options->threads = (uint32_t)context->setup.threads; /* those of the pool, at every size */
    const uint64_t batch = round_up(options->batch && model->file.nz ? options->batch : 1, options->threads);
    options->batch = batch > UINT32_MAX ? UINT32_MAX : (uint32_t)batch;
    if (model->file.nz) context->scratch = gan_i_allocate(context->setup.floats);
    context->groups = gan_i_allocate_bytes(sizeof *context->groups * (size_t)context->setup.threads);
    if ((!context->scratch && model->file.nz) || !context->groups) return GAN_ERROR_MEMORY;
    return gan_i_pool_new(context->setup.threads, options->parallel, options->user, &context->pool);
}

/* What a context's memory comes to, beside what it may. */
static void explain_memory(const gan_context *context, gan_context_options *options) {
    const gan_model *model = context->model;
    const uint64_t bound = options->max_memory ? options->max_memory : model->program.machine.memory / 2;
    if (context->setup.weights)
        gan_i_message(options->message, options->message_size,
                      "%u bytes are needed at least, of which %u for transformed weights: at most %u are allowed",
                      context->setup.weights + context->setup.floats * sizeof(float), context->setup.weights, bound);
}

gan_status gan_context_new(gan_model *model, const gan_context_options *given, gan_context **out) {
    gan_context_options options;
    if (!model || !out) return GAN_ERROR_ARGUMENT;
    *out = NULL;
    gan_status status = gan_i_take(&options, sizeof options, given);
    if (status != GAN_OK) return status;
    if (options.message && options.message_size) *options.message = 0;
    gan_context *context = calloc(1, sizeof *context);
    if (!context) return gan_i_explain(options.message, options.message_size, GAN_ERROR_MEMORY);
    context->model = model;
    context->options = options;
    atomic_fetch_add(&model->contexts, 1);
    status = build(context);
    if (status == GAN_OK) *out = context;
    if (status == GAN_ERROR_ARGUMENT && options.arithmetic > GAN_ARITHMETIC_FLOAT32)
        gan_i_message(options.message, options.message_size, "arithmetic %u: 0 (fast) or 1 (float32)",
                      (uint64_t)options.arithmetic);
    else if (status == GAN_ERROR_ARGUMENT)
        gan_i_message(options.message, options.message_size, "threads %u: at most 1024", (uint64_t)options.threads);
    if (status == GAN_ERROR_MEMORY && !context->n_packed) explain_memory(context, &options);
    if (status != GAN_OK) gan_context_free(context);
    return gan_i_explain(options.message, options.message_size, status);
}

void gan_context_free(gan_context *context) {
    if (!context) return;
    CALLER_ERROR(atomic_load(&context->busy));
    gan_i_pool_free(context->pool);
    gan_i_free(context->groups);
    gan_i_free(context->scratch);
    release_weights(context);
    gan_i_sized_free(&context->sized);
    free(context->packed);
    free(context->setup.methods);
    atomic_fetch_sub(&context->model->contexts, 1);
    free(context);
}

void gan_describe_context(const gan_context *context, gan_context_info *info) {
    if (!context || !info) return;
    const gan_context_info known = {.scratch = context->setup.floats * sizeof(float),
                                    .weights = context->setup.weights,
                                    .threads = context->options.threads,
                                    .batch = context->options.batch,
                                    .steps = context->model->program.n_steps};
    gan_i_hand(info, &known, sizeof known);
}

gan_status gan_describe_step(const gan_context *context, uint32_t index, gan_step_info *info) {
    if (!context || !info) return GAN_ERROR_ARGUMENT;
    const gan_program *program = gan_i_context_program(context);
    if (index >= program->n_steps) return GAN_ERROR_ARGUMENT;
    const gan_kernels *kernels = context->model->kernels;
    const gan_step *step = &program->steps[index];
    const gan_method method = context->setup.methods[index];
    const gan_value *value = &program->values[step->output];
    gan_step_info known = {.output = shape_pixels(value->shape) * padded(value->shape.c, kernels) * sizeof(float),
                           .cycles = gan_i_step_cost(program, kernels, index, method, 1, 1),
                           .channels = value->shape.c,
                           .height = value->shape.h,
                           .width = value->shape.w,
                           .depth = value->shape.d,
                           .operation = gan_i_operation(step->layer->op)->name,
                           .method = step->run ? "rows" : GAN_I_METHOD_NAMES[method_in_floats(method)],
                           .arithmetic = !step->run && method_is_int16(method) ? "int16" : "float32"};
    if (!step->run) {
        known.weights = gan_i_method_floats(&step->conv, method, kernels) * sizeof(float);
        known.points = (uint32_t)conv_points(&step->conv, method);
    }
    gan_i_layer_name(step->layer, known.layer, sizeof known.layer);
    gan_i_hand(info, &known, sizeof known);
    return GAN_OK;
}

const char *gan_context_message(const gan_context *context) { return context ? context->message : ""; }
