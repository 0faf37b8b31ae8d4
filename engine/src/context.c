/* Contexts: they choose how to compute, hold the memory for it, and generate images. */
#include <stdlib.h>

#include "model.h"
#include "run.h"
#include "setup.h"
#include "sized.h"

/* A plan, and the number of images that it is for (0: none yet). */
typedef struct cached_plan {
    uint64_t count;
    gan_plan plan;
} cached_plan;

enum { PLANS = 4 }; /* programs generate batches of one size and a remainder, so a few plans suffice */

struct gan_context {
    gan_model *model;
    gan_options options;
    gan_sized sized; /* of a model that takes images */
    gan_setup setup;
    const float **packed;
    uint32_t n_packed; /* steps whose weights are acquired */
    float *scratch;
    gan_pool *pool;
    gan_group *groups;
    cached_plan planned[PLANS];
    uint32_t next_planned;
    atomic_int busy; /* a call is generating */
};

typedef struct gan_call {
    gan_context *context;
    gan_shared shared;
    gan_plan plan;
    atomic_int bad_label;
    _Alignas(64) atomic_ullong next; /* the next chunk, if each thread generates its own */
} gan_call;

const gan_program *gan_i_context_program(const gan_context *context) {
    return context->model->file.nz ? &context->model->program : &context->sized.program;
}

static gan_method *methods_of(const gan_model *model) {
    return calloc(2 * (size_t)model->program.n_steps, sizeof(gan_method));
}

/* Of a program of the model's, which is the model's own or of its images' size. */
static gan_status size_of(gan_model *model, const gan_program *program, const gan_options *options, uint64_t *scratch,
                          uint64_t *weights) {
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

gan_status gan_context_size(gan_model *model, const gan_options *options, uint64_t *scratch, uint64_t *weights) {
    if (!model || !scratch || !weights) return GAN_ERROR_ARGUMENT;
    return size_of(model, &model->program, options, scratch, weights);
}

gan_status gan_apply_size(gan_model *model, const gan_options *options, uint32_t height, uint32_t width,
                          uint64_t *scratch, uint64_t *weights) {
    if (!model || !scratch || !weights || model->file.nz) return GAN_ERROR_ARGUMENT;
    gan_sized sized;
    gan_status status = gan_i_sized(model, height, width, &sized);
    if (status != GAN_OK) return status;
    status = size_of(model, &sized.program, options, scratch, weights);
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

static gan_status build(gan_context *context, const gan_options *options) {
    gan_model *model = context->model;
    context->setup.methods = methods_of(model);
    context->packed = calloc(model->program.n_steps, sizeof *context->packed);
    gan_status status = context->setup.methods && context->packed ? gan_i_model_enter(model) : GAN_ERROR_MEMORY;
    if (status != GAN_OK) return status;
    status = gan_i_lay_out(model, &model->program, options, &context->setup);
    if (status == GAN_OK && model->file.nz) status = acquire_weights(context, &model->program);
    gan_i_model_leave(model);
    if (status != GAN_OK) return status;
    if (options) context->options = *options;
    context->options.threads = (uint32_t)context->setup.threads; /* those of the pool, at every size */
    if (model->file.nz) context->scratch = gan_i_allocate(context->setup.floats);
    context->groups = gan_i_allocate_bytes(sizeof *context->groups * (size_t)context->setup.threads);
    if ((!context->scratch && model->file.nz) || !context->groups) return GAN_ERROR_MEMORY;
    return gan_i_pool_new(context->setup.threads, &context->pool);
}

gan_status gan_context_new(gan_model *model, const gan_options *options, gan_context **out) {
    if (!model || !out) return GAN_ERROR_ARGUMENT;
    *out = NULL;
    gan_context *context = calloc(1, sizeof *context);
    if (!context) return GAN_ERROR_MEMORY;
    context->model = model;
    atomic_fetch_add(&model->contexts, 1);
    const gan_status status = build(context, options);
    if (status == GAN_OK) *out = context;
    else gan_context_free(context);
    return status;
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

uint32_t gan_context_threads(const gan_context *context) { return context ? (uint32_t)context->setup.threads : 0; }

static void work(void *arg, int member) {
    gan_call *call = arg;
    gan_context *context = call->context;
    const int grouped = call->plan.members > 1;
    const uint64_t count = call->shared.request->count, chunk = call->plan.chunk,
                   group_scratch = context->setup.group_scratch[call->plan.members == context->setup.threads];
    gan_worker worker = {.shared = &call->shared, .cursor = {.group = &context->groups[grouped ? 0 : member]}};
    worker.values = context->scratch + (grouped ? 0 : group_scratch * (uint64_t)member);
    worker.thread_scratch = context->scratch + context->setup.floats -
                            context->setup.thread_scratch * (uint64_t)(member + 1);
    for (uint64_t n = 0;; n++) {
        if (!grouped) n = atomic_fetch_add_explicit(&call->next, 1, memory_order_relaxed);
        if (n > (count - 1) / chunk || atomic_load_explicit(&call->bad_label, memory_order_relaxed)) return;
        worker.first = n * chunk;
        worker.images = (uint32_t)(count - worker.first < chunk ? count - worker.first : chunk);
        worker.labels = (int64_t *)(void *)worker.values; /* the first 2 floats per image of the group's scratch */
        gan_worker chunked = worker;
        chunked.values = worker.values + round_up(2ull * worker.images, 16);
        chunked.transformed = chunked.values + gan_i_context_program(context)->values_per_image * worker.images;
        gan_i_run_chunk(&chunked);
        worker.cursor = chunked.cursor;
    }
}

/* Check a request, and that `out_size` elements hold its images of `image` elements each. Labels are checked when they
 * are read. */
static gan_status check(const gan_context *context, const gan_request *request, const void *out, size_t out_size,
                        uint64_t image) {
    if (!context || !request || !context->model->file.nz) return GAN_ERROR_ARGUMENT;
    const uint32_t classes = context->model->file.classes;
    if (!request->count) return GAN_OK;
    if (!out || request->start > UINT64_MAX - (request->count - 1) || request->count > out_size / image)
        return GAN_ERROR_ARGUMENT;
    if (!classes) return request->labels ? GAN_ERROR_LABEL : GAN_OK;
    return request->labels || (request->label >= GAN_LABEL_ALL && request->label < (int64_t)classes) ? GAN_OK
                                                                                                     : GAN_ERROR_LABEL;
}

/* The plan for a number of images, made at the first request of it. */
static gan_plan plan_for(gan_context *context, uint64_t count) {
    for (uint32_t i = 0; i < PLANS; i++)
        if (context->planned[i].count == count) return context->planned[i].plan;
    const gan_model *model = context->model;
    cached_plan *to = &context->planned[context->next_planned++ % PLANS];
    *to = (cached_plan){count, gan_i_plan(&model->program, model->kernels, context->setup.methods, count,
                                          context->setup.threads, context->setup.max_chunk)};
    return to->plan;
}

gan_plan gan_i_context_plan(gan_context *context, uint64_t count, const gan_method **methods) {
    *methods = context->setup.methods;
    if (!context->model->file.nz) return (gan_plan){context->setup.threads, 1, 0};
    return plan_for(context, count);
}

/* The same of images that go in; the output's size is known only once the context is laid out for theirs. */
static gan_status check_images(const gan_context *context, const gan_images *images, const void *out, size_t out_size) {
    if (!context || !images || context->model->file.nz) return GAN_ERROR_ARGUMENT;
    if (!images->count) return GAN_OK;
    if (!out || !images->bytes == !images->floats) return GAN_ERROR_ARGUMENT;
    const gan_file *file = &context->model->file;
    if (!gan_i_takes_size(file, images->height, images->width)) return GAN_ERROR_ARGUMENT;
    const gan_shape s = gan_i_image_at(file, images->height, images->width);
    if (!s.h || (uint64_t)s.h * s.w > MAX_VALUE / s.c) return GAN_ERROR_UNSUPPORTED;
    return images->count > out_size / (shape_pixels(s) * s.c) ? GAN_ERROR_ARGUMENT : GAN_OK;
}

/* Run a call whose inputs are set, on a context that is marked busy. */
static gan_status run(gan_context *context, gan_call *call, uint8_t *bytes, float *floats) {
    const gan_model *model = context->model;
    const float factor = 2 / (model->file.high - model->file.low);
    gan_shared *shared = &call->shared;
    call->context = context;
    shared->program = gan_i_context_program(context);
    shared->kernels = model->kernels;
    shared->methods = context->setup.methods;
    shared->packed = context->packed;
    shared->table = model->table;
    shared->zeros = model->zeros;
    shared->nz = model->file.nz;
    shared->classes = model->file.classes;
    shared->bad_label = &call->bad_label;
    shared->factor = factor;
    shared->offset = -1 - model->file.low * factor;
    shared->bytes = bytes;
    shared->floats = floats;
    atomic_init(&call->next, 0);
    atomic_init(&call->bad_label, 0);
    const int groups = context->setup.threads / call->plan.members;
    for (int i = 0; i < groups; i++) gan_i_group_init(&context->groups[i], context->pool, call->plan.members);
    gan_i_pool_run(context->pool, work, call);
    return atomic_load(&call->bad_label) ? GAN_ERROR_LABEL : GAN_OK;
}

static gan_status apply(gan_context *context, const gan_images *images, uint8_t *bytes, float *floats,
                        size_t out_size) {
    gan_status status = check_images(context, images, bytes ? (void *)bytes : (void *)floats, out_size);
    if (status != GAN_OK || !images->count) return status;
    if (atomic_exchange(&context->busy, 1)) return GAN_ERROR_BUSY;
    status = gan_i_context_resize(context, images->height, images->width);
    if (status == GAN_OK) {
        const gan_file *file = &context->model->file;
        const gan_request request = {.count = images->count};
        gan_call call = {.plan = {.members = context->setup.threads, .chunk = 1}};
        call.shared.request = &request;
        call.shared.images = images;
        call.shared.in_factor = (float)(((double)file->in_high - (double)file->in_low) / 255);
        call.shared.in_offset = file->in_low;
        status = run(context, &call, bytes, floats);
    }
    atomic_store(&context->busy, 0);
    return status;
}

gan_status gan_apply_bytes(gan_context *context, const gan_images *images, uint8_t *out, size_t out_size) {
    return apply(context, images, out, NULL, out_size);
}

gan_status gan_apply_floats(gan_context *context, const gan_images *images, float *out, size_t out_size) {
    return apply(context, images, NULL, out, out_size);
}

static gan_status generate(gan_context *context, const gan_request *request, uint8_t *bytes, float *floats,
                           size_t out_size) {
    const uint64_t image = context ? context->model->file.image.c * shape_pixels(context->model->file.image) : 1;
    const gan_status status = check(context, request, bytes ? (void *)bytes : (void *)floats, out_size, image);
    if (status != GAN_OK || !request->count) return status;
    if (atomic_exchange(&context->busy, 1)) return GAN_ERROR_BUSY;
    gan_call call = {.plan = plan_for(context, request->count)};
    call.shared.request = request;
    const gan_status done = run(context, &call, bytes, floats);
    atomic_store(&context->busy, 0);
    return done;
}

gan_status gan_generate_bytes(gan_context *context, const gan_request *request, uint8_t *out, size_t out_size) {
    return generate(context, request, out, NULL, out_size);
}

gan_status gan_generate_floats(gan_context *context, const gan_request *request, float *out, size_t out_size) {
    return generate(context, request, NULL, out, out_size);
}
