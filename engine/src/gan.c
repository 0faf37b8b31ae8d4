/* Opening, describing and closing a model; latents; status strings. */
#include "model.h"

#include <stdlib.h>
#include <string.h>

#include "arguments.h"
#include "latents.h"

enum {
    PATIENCE = 1000
}; /* attempts, with a yield after each: a thread that has just taken the lock marks it as its process's within a few */

gan_status gan_i_model_enter(gan_model *model) {
    const unsigned forks = gan_i_forks();
    for (int i = 0; i < PATIENCE; i++) {
        if (atomic_load(&model->forks) == forks) {
            gan_i_enter(model->lock);
            return GAN_OK;
        }
        if (gan_i_try_enter(model->lock)) { /* this is a child, and no thread was inside at the fork */
            atomic_store(&model->forks, forks);
            return GAN_OK;
        }
        gan_i_yield();
    }
    return GAN_ERROR_BUSY;
}

void gan_i_model_leave(gan_model *model) { gan_i_leave(model->lock); }

gan_status gan_i_acquire_weights(gan_model *model, const gan_program *program, uint32_t index, gan_method method,
                                 const float **out) {
    packed_weights *p = &model->packed[(size_t)index * METHOD_COUNT + method];
    const gan_step *step = &program->steps[index];
    if (!p->users) {
        float *dense = gan_i_allocate(gan_i_pack_scratch(&step->conv, method, model->kernels));
        p->floats = dense ? gan_i_allocate(gan_i_method_floats(&step->conv, method, model->kernels)) : NULL;
        if (p->floats) gan_i_pack(step, method, model->kernels, dense, p->floats);
        gan_i_free(dense);
        if (!p->floats) return GAN_ERROR_MEMORY;
    }
    p->users++;
    *out = p->floats;
    return GAN_OK;
}

void gan_i_release_weights(gan_model *model, uint32_t index, gan_method method) {
    packed_weights *p = &model->packed[(size_t)index * METHOD_COUNT + method];
    if (--p->users) return;
    gan_i_free(p->floats);
    p->floats = NULL;
}

static gan_status prepare(gan_model *model, const gan_open_options *options) {
    model->kernels = gan_i_kernels(options->kernels);
    if (!model->kernels) {
        gan_i_message(model->file.message, GAN_MESSAGE_SIZE, "this machine has no kernels %s", options->kernels);
        return GAN_ERROR_UNSUPPORTED;
    }
    gan_status status = gan_i_parse(model->data, model->size, &model->file);
    if (status != GAN_OK) return status;
    status = gan_i_program(&model->file, model->kernels, &model->program);
    if (status != GAN_OK) return status;
    uint64_t widest = MAX_NR; /* what convolutions read beyond an image's edge */
    for (uint32_t i = 0; i < model->program.n_steps; i++) {
        const uint64_t c = !model->program.steps[i].run ? padded(model->program.steps[i].conv.in.c, model->kernels) : 0;
        widest = c > widest ? c : widest;
    }
    model->table = malloc(LATENT_TABLE * sizeof *model->table);
    model->zeros = calloc(widest, sizeof *model->zeros);
    model->packed = calloc((size_t)model->program.n_steps * METHOD_COUNT, sizeof *model->packed);
    model->manifest = malloc(model->file.manifest_size + 1);
    if (!model->table || !model->zeros || !model->packed || !model->manifest) return GAN_ERROR_MEMORY;
    memcpy(model->manifest, model->file.manifest, model->file.manifest_size);
    model->manifest[model->file.manifest_size] = 0;
    if (!model->file.nz) return GAN_OK;
    if (model->file.prior == GAN_PRIOR_UNIFORM) gan_i_uniform_table(model->table);
    else gan_i_normal_table(model->table); /* of noise, if of nothing else */
    return GAN_OK;
}

/* `owned`: memory that the model frees, or NULL. */
static gan_status open_model(const void *data, size_t size, void *owned, const gan_open_options *options,
                             gan_model **out) {
    gan_model *model = calloc(1, sizeof *model);
    if (!model) {
        gan_i_free(owned);
        return GAN_ERROR_MEMORY;
    }
    model->data = data;
    model->size = size;
    model->owned = owned;
    model->lock = gan_i_monitor_new();
    atomic_init(&model->forks, gan_i_forks());
    const gan_status status = model->lock ? prepare(model, options) : GAN_ERROR_MEMORY;
    if (status == GAN_OK) {
        *out = model;
        return status;
    }
    gan_i_message(options->message, options->message_size, "%s", model->file.message);
    gan_close(model);
    return status;
}

/* Open data that is there, or a file. */
static gan_status open_either(const char *path, const void *data, size_t size, const gan_open_options *given,
                              gan_model **model) {
    gan_open_options options;
    if (!model) return GAN_ERROR_ARGUMENT;
    *model = NULL;
    gan_status status = gan_i_take(&options, sizeof options, given);
    if (status != GAN_OK) return status;
    if (options.message && options.message_size) *options.message = 0;
    void *owned = NULL;
    if (!path && !data) status = GAN_ERROR_ARGUMENT;
    else if (path) status = gan_i_read_file(path, &owned, &size);
    if (status == GAN_OK) status = open_model(path ? owned : data, size, owned, &options, model);
    return gan_i_explain(options.message, options.message_size, status);
}

gan_status gan_open_memory(const void *data, size_t size, const gan_open_options *options, gan_model **model) {
    return open_either(NULL, data, size, options, model);
}

/* The file is read, not mapped: a mapped file that is cut short would end the program, and one that is overwritten
 * would give images of data that was never checked (docs/gan-file-format.md, "Read, not mapped"). */
gan_status gan_open(const char *path, const gan_open_options *options, gan_model **model) {
    return open_either(path, NULL, 0, options, model);
}

void gan_close(gan_model *model) {
    if (!model) return;
    CALLER_ERROR(atomic_load(&model->contexts));
    for (uint32_t i = 0; model->packed && i < model->program.n_steps * METHOD_COUNT; i++)
        gan_i_free(model->packed[i].floats);
    free(model->packed);
    free(model->manifest);
    free(model->zeros);
    free(model->table);
    gan_i_program_free(&model->program);
    gan_i_file_free(&model->file);
    gan_i_monitor_free(model->lock);
    gan_i_free(model->owned);
    free(model);
}

void gan_describe(const gan_model *model, gan_info *info) {
    if (!model || !info) return;
    int int16 = 0;
    for (uint32_t i = 0; i < model->program.n_steps; i++) int16 |= model->program.steps[i].conv.int16 != 0;
    const gan_info known = {.latent_size = model->file.nz,
                            .classes = model->file.classes,
                            .prior = model->file.prior,
                            .channels = model->file.image.c,
                            .height = model->file.image.h,
                            .width = model->file.image.w,
                            .low = model->file.low,
                            .high = model->file.high,
                            .weights = model->file.weight_bytes,
                            .manifest = model->manifest,
                            .manifest_size = model->file.manifest_size,
                            .kernels = model->kernels->name,
                            .kind = model->file.kind,
                            .depth = model->file.image.d,
                            .arithmetic = int16 ? "int16" : "float32",
                            .scalars = model->file.scalars,
                            .noise_size = model->file.noise};
    gan_i_hand(info, &known, sizeof known);
}

void gan_describe_input(const gan_model *model, gan_input *input) {
    if (!model || !input) return;
    const gan_side h = model->file.height, w = model->file.width;
    const gan_input known = {.channels = model->file.input.c,
                             .least_height = h.least,
                             .multiple_height = h.multiple,
                             .most_height = h.most,
                             .least_width = w.least,
                             .multiple_width = w.multiple,
                             .most_width = w.most,
                             .low = model->file.in_low,
                             .high = model->file.in_high};
    const gan_input none = {0};
    gan_i_hand(input, model->file.nz ? &none : &known, sizeof known);
}

gan_status gan_output_size(const gan_model *model, uint32_t height, uint32_t width, uint32_t *out_height,
                           uint32_t *out_width) {
    if (!model || !out_height || !out_width || model->file.nz) return GAN_ERROR_ARGUMENT;
    if (!gan_i_takes_size(&model->file, height, width)) return GAN_ERROR_ARGUMENT;
    const gan_shape out = gan_i_image_at(&model->file, height, width);
    if (!out.h) return GAN_ERROR_UNSUPPORTED;
    *out_height = out.h;
    *out_width = out.w;
    return GAN_OK;
}

gan_status gan_latents(const gan_model *model, const gan_request *given, float *out, size_t out_size) {
    gan_request request;
    if (!model || !model->file.nz || model->file.prior == GAN_PRIOR_NONE) return GAN_ERROR_ARGUMENT;
    const gan_status status = gan_i_take_request(&model->file, given, &request, NULL);
    if (status != GAN_OK || !request.count) return status;
    const uint32_t nz = model->file.nz;
    if (!out || request.count > out_size / nz) return GAN_ERROR_ARGUMENT;
    for (uint64_t i = 0; i < request.count; i++, out += nz) {
        if (request.latents) memmove(out, request.latents + i * nz, sizeof *out * nz);
        else gan_i_latent(model->table, seed_of(&request, i), index_of(&request, i), nz, out);
        for (uint32_t c = 0; request.latent_scale != 1 && c < nz; c++) out[c] *= request.latent_scale;
    }
    return GAN_OK;
}

gan_status gan_labels(const gan_model *model, const gan_request *given, int64_t *out, size_t out_size) {
    gan_request request;
    if (!model) return GAN_ERROR_ARGUMENT;
    if (!model->file.classes) return GAN_ERROR_LABEL;
    const gan_status status = gan_i_take_request(&model->file, given, &request, NULL);
    if (status != GAN_OK || !request.count) return status;
    if (!out || request.count > out_size) return GAN_ERROR_ARGUMENT;
    for (uint64_t i = 0; i < request.count; i++) {
        out[i] = gan_i_label_of(&request, i, model->file.classes);
        if (out[i] < 0 || out[i] >= (int64_t)model->file.classes) return GAN_ERROR_LABEL;
    }
    return GAN_OK;
}

gan_status gan_interpolate(const gan_model *model, const float *from, const float *to, double at, float *out,
                           size_t size) {
    if (!model || !model->file.nz || !from || !to || !out || !(at >= 0 && at <= 1) || size % model->file.nz)
        return GAN_ERROR_ARGUMENT;
    for (size_t i = 0; i < size; i += model->file.nz) {
        if (model->file.prior == GAN_PRIOR_NORMAL) gan_i_arc(from + i, to + i, at, out + i, model->file.nz);
        else gan_i_line(from + i, to + i, at, out + i, model->file.nz);
    }
    return GAN_OK;
}

const char *gan_status_string(gan_status status) {
    switch (status) {
    case GAN_OK:
        return "done";
    case GAN_ERROR_ARGUMENT:
        return "an argument is missing, out of range, or a buffer that is too small";
    case GAN_ERROR_FILE:
        return "the file can't be read";
    case GAN_ERROR_FORMAT:
        return "not a .gan file";
    case GAN_ERROR_VERSION:
        return "the file is of a later format than this library reads";
    case GAN_ERROR_CORRUPT:
        return "the file is cut short or was changed since it was written";
    case GAN_ERROR_UNSUPPORTED:
        return "this library doesn't have, or can't run here, a layer, a size, the kernels or a structure's member";
    case GAN_ERROR_MEMORY:
        return "there is no memory, or less is allowed than is needed";
    case GAN_ERROR_THREAD:
        return "a thread can't be started";
    case GAN_ERROR_LABEL:
        return "a label is not one of the model's classes";
    case GAN_ERROR_BUSY:
        return "the context is generating, or another thread was in the model when this process was forked: open it "
               "anew";
    case GAN_CANCELED:
        return "the program stopped it";
    default:
        return "an unknown status";
    }
}

#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)

const char *gan_version(void) {
    return TEXT(GAN_VERSION_MAJOR) "." TEXT(GAN_VERSION_MINOR) "." TEXT(GAN_VERSION_PATCH);
}

uint32_t gan_threads_default(void) { return (uint32_t)gan_i_usable_cores(); }
