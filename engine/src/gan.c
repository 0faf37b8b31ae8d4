/* Opening, describing and closing a model; latents; status strings. */
#include "model.h"

#include <stdlib.h>
#include <string.h>

#include "latents.h"

enum { PATIENCE = 1000 }; /* yields: a thread of this process marks the lock as its own within a few */

gan_status gan_i_model_enter(gan_model *m) {
    const unsigned forks = gan_i_forks();
    for (int i = 0; i < PATIENCE; i++) {
        if (atomic_load(&m->forks) == forks) {
            gan_i_enter(m->lock);
            return GAN_OK;
        }
        if (gan_i_try_enter(m->lock)) { /* a child, and nobody was inside at the fork */
            atomic_store(&m->forks, forks);
            return GAN_OK;
        }
        gan_i_yield();
    }
    return GAN_ERROR_BUSY;
}

void gan_i_model_leave(gan_model *m) { gan_i_leave(m->lock); }

gan_status gan_i_acquire_weights(gan_model *m, uint32_t index, method f, const float **out) {
    packed *p = &m->packed[(size_t)index * METHOD_COUNT + f];
    const step *st = &m->s.steps[index];
    if (!p->users) {
        float *dense = gan_i_allocate(gan_i_pack_scratch(&st->conv, f, m->k));
        p->floats = dense ? gan_i_allocate(gan_i_method_floats(&st->conv, f, m->k)) : NULL;
        if (p->floats) gan_i_pack(st, f, m->k, dense, p->floats);
        gan_i_free(dense);
        if (!p->floats) return GAN_ERROR_MEMORY;
    }
    p->users++;
    *out = p->floats;
    return GAN_OK;
}

void gan_i_release_weights(gan_model *m, uint32_t index, method f) {
    packed *p = &m->packed[(size_t)index * METHOD_COUNT + f];
    if (--p->users) return;
    gan_i_free(p->floats);
    p->floats = NULL;
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
        const uint64_t c = !m->s.steps[i].run ? padded(m->s.steps[i].conv.in.c, m->k) : 0;
        widest = c > widest ? c : widest;
    }
    m->table = malloc(LATENT_TABLE * sizeof *m->table);
    m->zeros = calloc(widest, sizeof *m->zeros);
    m->packed = calloc((size_t)m->s.n_steps * METHOD_COUNT, sizeof *m->packed);
    m->manifest = malloc(m->f.manifest_size + 1);
    if (!m->table || !m->zeros || !m->packed || !m->manifest) return GAN_ERROR_MEMORY;
    memcpy(m->manifest, m->f.manifest, m->f.manifest_size);
    m->manifest[m->f.manifest_size] = 0;
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
    atomic_init(&m->forks, gan_i_forks());
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
 * what was never checked.  docs/gan-file-format.md says what that costs. */
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
    for (uint32_t i = 0; m->packed && i < m->s.n_steps * METHOD_COUNT; i++) gan_i_free(m->packed[i].floats);
    free(m->packed);
    free(m->manifest);
    free(m->zeros);
    free(m->table);
    gan_i_schedule_free(&m->s);
    gan_i_file_free(&m->f);
    gan_i_monitor_free(m->lock);
    gan_i_free(m->owned);
    free(m);
}

void gan_describe(const gan_model *m, gan_info *info) {
    if (!m || !info) return;
    *info = (gan_info){.latent_size = m->f.nz, .channels = m->f.image.c, .height = m->f.image.h, .width = m->f.image.w,
                       .classes = m->f.classes, .prior = m->f.prior, .weights = m->f.weight_bytes,
                       .manifest = m->manifest, .manifest_size = m->f.manifest_size, .cpu = m->k->name};
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
        return "the context is drawing, or another thread was in the model when this process was forked: open it anew";
    }
    return "an unknown status";
}

const char *gan_version(void) { return GAN_VERSION; }

uint32_t gan_threads_default(void) { return (uint32_t)gan_i_usable_cores(); }
