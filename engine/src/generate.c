/* Generating and applying: rounds of batches, each in chunks that the threads share. */
#include <string.h>

#include "arguments.h"
#include "context.h"
#include "run.h"

typedef struct gan_call {
    gan_context *context;
    gan_shared shared;
    gan_plan plan;
    uint64_t count; /* of this round */
    atomic_int bad_label;
    _Alignas(64) atomic_ullong next; /* the next chunk, if each thread generates its own */
} gan_call;

static void work(void *arg, int member) {
    gan_call *call = arg;
    gan_context *context = call->context;
    const int grouped = call->plan.members > 1;
    const uint64_t count = call->count, chunk = call->plan.chunk,
                   group_scratch = context->setup.group_scratch[call->plan.members == context->setup.threads];
    const uint64_t values = gan_i_values_floats(gan_i_context_program(context), context->setup.methods);
    gan_worker worker = {.shared = &call->shared,
                         .cursor = {.group = &context->groups[grouped ? 0 : member], .member = grouped ? member : 0}};
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
        chunked.transformed = chunked.values + values * worker.images;
        gan_i_run_chunk(&chunked);
        worker.cursor = chunked.cursor;
    }
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

/* What a call's chunks share, but for what goes in and out. */
static void prepare(gan_context *context, gan_call *call) {
    const gan_model *model = context->model;
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
    shared->scalars = model->file.scalars;
    shared->noise = model->file.nz ? model->file.noise : context->sized.file.noise;
    shared->bad_label = &call->bad_label;
    shared->out.factor = 2 / (model->file.high - model->file.low);
    shared->out.offset = -1 - model->file.low * shared->out.factor;
    atomic_init(&call->bad_label, 0);
}

/* Run the rounds of `count` images, of at most `batch` each if something is to be called after each. */
static gan_status run(gan_context *context, gan_call *call, uint64_t count, uint64_t batch, const gan_output *output) {
    gan_shared *shared = &call->shared;
    unsigned char *first = shared->out.data;
    const int whole = shared->out.capacity >= count;
    const uint64_t most = !output->done ? count : whole || batch < shared->out.capacity ? batch : shared->out.capacity;
    for (uint64_t n; shared->base < count; shared->base += n) {
        n = count - shared->base < most ? count - shared->base : most;
        shared->out.data = whole ? first + shared->base * shared->out.image : first;
        call->count = n;
        if (context->model->file.nz) call->plan = plan_for(context, n);
        atomic_init(&call->next, 0);
        const int groups = context->setup.threads / call->plan.members;
        for (int i = 0; i < groups; i++) gan_i_group_init(&context->groups[i], context->pool, call->plan.members);
        gan_i_pool_run(context->pool, work, call);
        if (atomic_load(&call->bad_label)) {
            gan_i_message(context->message, sizeof context->message, "a label is outside 0 to %u",
                          (uint64_t)shared->classes - 1);
            return GAN_ERROR_LABEL;
        }
        if (output->done && output->done(output->user, shared->base, n, shared->out.data)) return GAN_CANCELED;
    }
    return GAN_OK;
}

/* Whether the output holds `count` images, or one if they are taken away in turn. */
static gan_status check_room(const gan_pixels *out, uint64_t count, const gan_output *output, char *message) {
    if (out->capacity >= (output->done ? 1 : count)) return GAN_OK;
    gan_i_message(message, GAN_MESSAGE_SIZE, "the output holds %u images of %u", out->capacity, count);
    return GAN_ERROR_ARGUMENT;
}

static gan_status generate(gan_context *context, const gan_request *given, const gan_output *output) {
    const gan_file *file = &context->model->file;
    gan_request request;
    gan_call call = {0};
    if (!file->nz) {
        gan_i_message(context->message, sizeof context->message, "the model takes images, not latents");
        return GAN_ERROR_ARGUMENT;
    }
    gan_status status = gan_i_take_request(file, given, &request, context->message);
    if (status != GAN_OK || !request.count) return status;
    if (file->kind == GAN_KIND_SIGNAL && output->format > GAN_BYTES && output->format < GAN_FLOAT_PLANAR) {
        gan_i_message(context->message, sizeof context->message,
                      "the output: a picture's format for a signal: bytes and floats fit");
        return GAN_ERROR_ARGUMENT;
    }
    if (file->kind == GAN_KIND_VALUES && output->format < GAN_FLOAT_PLANAR) {
        gan_i_message(context->message, sizeof context->message, "the output: bytes for values: floats fit");
        return GAN_ERROR_ARGUMENT;
    }
    status = gan_i_pixels_out(output, file->image, &call.shared.out, context->message);
    if (status == GAN_OK) status = check_room(&call.shared.out, request.count, output, context->message);
    if (status != GAN_OK) return status;
    call.shared.request = &request;
    prepare(context, &call);
    return run(context, &call, request.count, context->options.batch, output);
}

static gan_status apply(gan_context *context, const gan_images *given, const gan_output *output) {
    const gan_file *file = &context->model->file;
    gan_images images;
    gan_request request;
    gan_pixels in;
    gan_call call = {.plan = {.members = context->setup.threads, .chunk = 1}};
    if (file->nz) {
        gan_i_message(context->message, sizeof context->message, "the model takes latents, not images");
        return GAN_ERROR_ARGUMENT;
    }
    gan_status status = gan_i_take(&images, sizeof images, given);
    if (status != GAN_OK || !images.count) return status;
    if (!gan_i_takes_size(file, images.height, images.width)) {
        gan_i_message(context->message, sizeof context->message, "the model doesn't take images of %u x %u",
                      (uint64_t)images.width, (uint64_t)images.height);
        return GAN_ERROR_ARGUMENT;
    }
    const gan_shape made = gan_i_image_at(file, images.height, images.width);
    if (!made.h || (uint64_t)made.h * made.w > MAX_VALUE / made.c ||
        (uint64_t)images.height * images.width > MAX_VALUE / file->input.c)
        return GAN_ERROR_UNSUPPORTED;
    const gan_shape taken = {file->input.c, images.height, images.width, 0};
    status = gan_i_pixels_in(&images, taken, &in, context->message);
    if (status == GAN_OK && in.capacity < images.count) {
        gan_i_message(context->message, sizeof context->message, "the data holds %u images of %u", in.capacity,
                      images.count);
        return GAN_ERROR_ARGUMENT;
    }
    if (status == GAN_OK) status = gan_i_pixels_out(output, made, &call.shared.out, context->message);
    if (status == GAN_OK) status = check_room(&call.shared.out, images.count, output, context->message);
    if (status == GAN_OK) status = gan_i_context_resize(context, images.height, images.width);
    if (status == GAN_OK) status = gan_i_take_noise(&images, context->sized.file.noise, &request, context->message);
    if (status != GAN_OK) return status;
    call.shared.request = &request;
    in.factor = (float)(((double)file->in_high - (double)file->in_low) / 255);
    in.offset = file->in_low;
    call.shared.in = &in;
    prepare(context, &call);
    return run(context, &call, images.count, 1, output);
}

/* Mark the context as busy for one call of one of the two. */
static gan_status call_alone(gan_context *context, const gan_request *request, const gan_images *images,
                             const gan_output *given) {
    gan_output output;
    if (!context || !given || (!request && !images)) return GAN_ERROR_ARGUMENT;
    if (atomic_exchange(&context->busy, 1)) return GAN_ERROR_BUSY;
    context->message[0] = 0;
    gan_status status = gan_i_take(&output, sizeof output, given);
    if (status == GAN_OK) status = request ? generate(context, request, &output) : apply(context, images, &output);
    gan_i_explain(context->message, sizeof context->message, status);
    atomic_store(&context->busy, 0);
    return status;
}

gan_status gan_generate(gan_context *context, const gan_request *request, const gan_output *output) {
    return call_alone(context, request, NULL, output);
}

gan_status gan_apply(gan_context *context, const gan_images *images, const gan_output *output) {
    return call_alone(context, NULL, images, output);
}
