/* Opening, describing and closing a model; latents; status strings. */
#include "model.h"

#include <stdlib.h>

#include "latents.h"

gan_status gan_i_packed(gan_model *m, uint32_t index, form f, const float **out) {
    float **slot = &m->packed[index * FORM_COUNT + f];
    const step *st = &m->s.steps[index];
    const conv *c = &st->conv;
    if (!*slot) {
        const uint64_t floats = gan_i_form_floats(c, f, m->k);
        float *dense = gan_i_allocate(gan_i_pack_scratch(c, f, m->k));
        float *packed = dense ? gan_i_allocate(floats) : NULL;
        if (packed) gan_i_pack(st, f, m->k, dense, packed);
        gan_i_free(dense);
        if (!packed) return GAN_ERROR_MEMORY;
        *slot = packed;
    }
    *out = *slot;
    return GAN_OK;
}

static gan_status prepare(gan_model *m) {
    gan_status status = gan_i_parse(m->data, m->size, &m->f);
    if (status != GAN_OK) return status;
    m->k = gan_i_kernels();
    if (!m->k) return GAN_ERROR_UNSUPPORTED;
    status = gan_i_schedule(&m->f, m->k, &m->s);
    if (status != GAN_OK) return status;
    uint64_t widest = MAX_NR; /* what convolutions read of beyond a picture's edge */
    for (uint32_t i = 0; i < m->s.n_steps; i++) {
        const uint64_t c = m->s.steps[i].kind == STEP_CONV ? padded(m->s.steps[i].conv.in.c, m->k) : 0;
        widest = c > widest ? c : widest;
    }
    m->table = malloc(LATENT_TABLE * sizeof *m->table);
    m->zeros = calloc(widest, sizeof *m->zeros);
    m->packed = calloc((size_t)m->s.n_steps * FORM_COUNT, sizeof *m->packed);
    m->users = calloc((size_t)m->s.n_steps * FORM_COUNT, sizeof *m->users);
    if (!m->table || !m->zeros || !m->packed || !m->users) return GAN_ERROR_MEMORY;
    if (m->f.prior == GAN_PRIOR_NORMAL) gan_i_normal_table(m->table);
    else gan_i_uniform_table(m->table);
    return GAN_OK;
}

/* `owned`: memory that the model frees, or NULL. */
static gan_status open_model(const void *data, size_t size, void *owned, gan_model **out) {
    gan_model *m = calloc(1, sizeof *m);
    if (!m) {
        gan_i_free(owned);
        return GAN_ERROR_MEMORY;
    }
    m->data = data;
    m->size = size;
    m->owned = owned;
    m->lock = gan_i_monitor_new();
    const gan_status status = m->lock ? prepare(m) : GAN_ERROR_MEMORY;
    if (status == GAN_OK) *out = m;
    else gan_close(m);
    return status;
}

gan_status gan_open_memory(const void *data, size_t size, gan_model **model) {
    if (!model) return GAN_ERROR_ARGUMENT;
    *model = NULL;
    return data ? open_model(data, size, NULL, model) : GAN_ERROR_ARGUMENT;
}

/* Read rather than mapped: a mapped file that is cut short kills its readers, and one that is written over draws
 * what was never checked.  docs/FORMAT.md says what that costs. */
gan_status gan_open(const char *path, gan_model **model) {
    if (!model) return GAN_ERROR_ARGUMENT;
    *model = NULL;
    if (!path) return GAN_ERROR_ARGUMENT;
    void *data;
    size_t size;
    const gan_status status = gan_i_read_file(path, &data, &size);
    return status == GAN_OK ? open_model(data, size, data, model) : status;
}

void gan_close(gan_model *m) {
    if (!m) return;
    CALLER_ERROR(atomic_load(&m->contexts));
    for (uint32_t i = 0; m->packed && i < m->s.n_steps * FORM_COUNT; i++) gan_i_free(m->packed[i]);
    free(m->packed);
    free(m->users);
    free(m->zeros);
    free(m->table);
    gan_i_schedule_free(&m->s);
    free(m->f.layers);
    gan_i_monitor_free(m->lock);
    gan_i_free(m->owned);
    free(m);
}

void gan_describe(const gan_model *m, gan_info *info) {
    if (!m || !info) return;
    *info = (gan_info){.latent_size = m->f.nz, .channels = m->f.image.c, .height = m->f.image.h, .width = m->f.image.w,
                       .classes = m->f.classes, .prior = m->f.prior, .weights = m->f.weight_bytes,
                       .manifest = m->f.manifest, .manifest_size = m->f.manifest_size, .cpu = m->k->name};
}

void gan_range(const gan_model *m, float *low, float *high) {
    if (m && low) *low = m->f.low;
    if (m && high) *high = m->f.high;
}

gan_status gan_latents(const gan_model *m, uint64_t seed, uint64_t start, uint64_t count, float *out) {
    if (!m || (count && (!out || start > UINT64_MAX - (count - 1)))) return GAN_ERROR_ARGUMENT;
    for (uint64_t i = 0; i < count; i++) gan_i_latent(m->table, seed, start + i, m->f.nz, out + i * m->f.nz);
    return GAN_OK;
}

gan_status gan_labels(const gan_model *m, uint64_t seed, uint64_t start, uint64_t count, int64_t *out) {
    if (!m || (count && (!out || start > UINT64_MAX - (count - 1)))) return GAN_ERROR_ARGUMENT;
    if (!m->f.classes) return GAN_ERROR_LABEL;
    for (uint64_t i = 0; i < count; i++) out[i] = gan_i_label(seed, start + i, m->f.classes);
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
        return "the file is no .gan file";
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
    }
    return "an unknown status";
}

const char *gan_version(void) { return GAN_VERSION; }

uint32_t gan_threads_default(void) { return (uint32_t)gan_i_usable_cores(); }
