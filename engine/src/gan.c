/* Opening, describing and closing a model; latents; status strings. */
#include "model.h"

#include <stdlib.h>
#include <string.h>

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

static gan_status prepare(gan_model *model) {
    gan_status status = gan_i_parse(model->data, model->size, &model->file);
    if (status != GAN_OK) return status;
    model->kernels = gan_i_kernels();
    if (!model->kernels) return GAN_ERROR_UNSUPPORTED;
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
    if (model->file.prior == GAN_PRIOR_NORMAL) gan_i_normal_table(model->table);
    else gan_i_uniform_table(model->table);
    return GAN_OK;
}

/* `owned`: memory that the model frees, or NULL. */
static gan_status open_model(const void *data, size_t size, void *owned, gan_model **out) {
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
    const gan_status status = model->lock ? prepare(model) : GAN_ERROR_MEMORY;
    if (status == GAN_OK) *out = model;
    else gan_close(model);
    return status;
}

gan_status gan_open_memory(const void *data, size_t size, gan_model **model) {
    if (!model) return GAN_ERROR_ARGUMENT;
    *model = NULL;
    return data ? open_model(data, size, NULL, model) : GAN_ERROR_ARGUMENT;
}

/* The file is read, not mapped: a mapped file that is cut short would end the program, and one that is overwritten
 * would give images of data that was never checked (docs/gan-file-format.md, "Read, not mapped"). */
gan_status gan_open(const char *path, gan_model **model) {
    if (!model) return GAN_ERROR_ARGUMENT;
    *model = NULL;
    if (!path) return GAN_ERROR_ARGUMENT;
    void *data;
    size_t size;
    const gan_status status = gan_i_read_file(path, &data, &size);
    return status == GAN_OK ? open_model(data, size, data, model) : status;
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
    *info = (gan_info){.latent_size = model->file.nz,
                       .channels = model->file.image.c,
                       .height = model->file.image.h,
                       .width = model->file.image.w,
                       .classes = model->file.classes,
                       .prior = model->file.prior,
                       .weights = model->file.weight_bytes,
                       .manifest = model->manifest,
                       .manifest_size = model->file.manifest_size,
                       .cpu = model->kernels->name};
}

void gan_range(const gan_model *model, float *low, float *high) {
    if (model && low) *low = model->file.low;
    if (model && high) *high = model->file.high;
}

void gan_describe_input(const gan_model *model, gan_input *input) {
    if (!model || !input) return;
    *input = (gan_input){0};
    if (model->file.nz) return;
    const gan_side h = model->file.height, w = model->file.width;
    *input = (gan_input){.channels = model->file.input.c,
                         .least_height = h.least,
                         .multiple_height = h.multiple,
                         .most_height = h.most,
                         .least_width = w.least,
                         .multiple_width = w.multiple,
                         .most_width = w.most,
                         .low = model->file.in_low,
                         .high = model->file.in_high};
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

gan_status gan_latents(const gan_model *model, uint64_t seed, uint64_t start, uint64_t count, float *out) {
    if (!model || !model->file.nz || (count && (!out || start > UINT64_MAX - (count - 1)))) return GAN_ERROR_ARGUMENT;
    for (uint64_t i = 0; i < count; i++)
        gan_i_latent(model->table, seed, start + i, model->file.nz, out + i * model->file.nz);
    return GAN_OK;
}

gan_status gan_labels(const gan_model *model, uint64_t seed, uint64_t start, uint64_t count, int64_t *out) {
    if (!model || (count && (!out || start > UINT64_MAX - (count - 1)))) return GAN_ERROR_ARGUMENT;
    if (!model->file.classes) return GAN_ERROR_LABEL;
    for (uint64_t i = 0; i < count; i++) out[i] = gan_i_label(seed, start + i, model->file.classes);
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
        return "the file has a layer or size, or GAN_CPU names kernels, that this library can't run here";
    case GAN_ERROR_MEMORY:
        return "there is no memory, or less is allowed than is needed";
    case GAN_ERROR_THREAD:
        return "a thread can't be started";
    case GAN_ERROR_LABEL:
        return "a label is not one of the model's classes";
    case GAN_ERROR_BUSY:
        return "the context is generating, or another thread was in the model when this process was forked: open it "
               "anew";
    }
    return "an unknown status";
}

const char *gan_version(void) { return GAN_VERSION; }

uint32_t gan_threads_default(void) { return (uint32_t)gan_i_usable_cores(); }
