/* Opening, describing and closing a model; latents; status strings. */
#define _GNU_SOURCE
#include "model.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "latents.h"
#include "team.h"

enum { HUGE_PAGE = 2 << 20 };

float *gan_i_allocate(uint64_t floats) {
    if (floats > SIZE_MAX / sizeof(float) - HUGE_PAGE) return NULL;
    const int huge = floats * sizeof(float) >= HUGE_PAGE;
    const size_t unit = huge ? HUGE_PAGE : 64, bytes = (size_t)round_up(floats * sizeof(float) + !floats, unit);
    void *memory = aligned_alloc(unit, bytes);
#if defined(MADV_HUGEPAGE)
    if (memory && huge) madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    return memory;
}

gan_status gan_i_packed(gan_model *m, uint32_t index, form f, const float **out) {
    float **slot = &m->packed[index * FORM_COUNT + f];
    const step *st = &m->s.steps[index];
    const conv *c = &st->conv;
    if (!*slot) {
        const uint64_t floats = gan_i_form_floats(c, f, m->k);
        float *dense = gan_i_allocate((uint64_t)c->kh * c->kw * c->in.c * c->out.c);
        float *packed = dense ? gan_i_allocate(floats) : NULL;
        if (packed) gan_i_pack(st, f, m->k, dense, packed);
        free(dense);
        if (!packed) return GAN_ERROR_MEMORY;
        *slot = packed;
        m->packed_bytes += floats * sizeof(float);
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
    uint64_t widest = MAX_NR;
    for (uint32_t v = 0; v < m->s.n_values; v++) {
        const uint64_t c = padded(m->s.values[v].shape.c, m->k);
        widest = c > widest ? c : widest;
    }
    m->table = malloc(LATENT_TABLE * sizeof *m->table);
    m->zeros = calloc(widest, sizeof *m->zeros);
    m->packed = calloc((size_t)m->s.n_steps * FORM_COUNT, sizeof *m->packed);
    if (!m->table || !m->zeros || !m->packed) return GAN_ERROR_MEMORY;
    if (m->f.prior == GAN_PRIOR_NORMAL) gan_i_normal_table(m->table);
    else gan_i_uniform_table(m->table);
    return GAN_OK;
}

static gan_status open_model(const void *data, size_t size, int mapped, gan_model **out) {
    gan_model *m = calloc(1, sizeof *m);
    if (!m) {
        if (mapped) munmap((void *)(uintptr_t)data, size);
        return GAN_ERROR_MEMORY;
    }
    m->data = data;
    m->size = size;
    m->mapped = mapped;
    pthread_mutex_init(&m->lock, NULL);
    const gan_status status = prepare(m);
    if (status == GAN_OK) *out = m;
    else gan_close(m);
    return status;
}

gan_status gan_open_memory(const void *data, size_t size, gan_model **model) {
    if (!model) return GAN_ERROR_ARGUMENT;
    *model = NULL;
    return data ? open_model(data, size, 0, model) : GAN_ERROR_ARGUMENT;
}

gan_status gan_open(const char *path, gan_model **model) {
    if (!model) return GAN_ERROR_ARGUMENT;
    *model = NULL;
    if (!path) return GAN_ERROR_ARGUMENT;
    const int handle = open(path, O_RDONLY | O_CLOEXEC);
    if (handle < 0) return GAN_ERROR_FILE;
    struct stat about;
    void *data = MAP_FAILED;
    gan_status status = GAN_ERROR_FILE;
    if (!fstat(handle, &about) && S_ISREG(about.st_mode)) {
        status = about.st_size > 0 ? GAN_ERROR_FILE : GAN_ERROR_FORMAT;
        if (about.st_size > 0) data = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, handle, 0);
    }
    close(handle);
    return data == MAP_FAILED ? status : open_model(data, (size_t)about.st_size, 1, model);
}

void gan_close(gan_model *m) {
    if (!m) return;
    for (uint32_t i = 0; m->packed && i < m->s.n_steps * FORM_COUNT; i++) free(m->packed[i]);
    free(m->packed);
    free(m->zeros);
    free(m->table);
    gan_i_schedule_free(&m->s);
    free(m->f.layers);
    pthread_mutex_destroy(&m->lock);
    if (m->mapped) munmap((void *)(uintptr_t)m->data, m->size);
    free(m);
}

void gan_describe(const gan_model *m, gan_info *info) {
    if (!m || !info) return;
    *info = (gan_info){.latent_size = m->f.nz, .channels = m->f.image.c, .height = m->f.image.h, .width = m->f.image.w,
                       .classes = m->f.classes, .prior = m->f.prior, .weights = m->f.weight_bytes,
                       .manifest = m->f.manifest, .manifest_size = m->f.manifest_size, .cpu = m->k->name};
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

const char *gan_version(void) { return GAN_VERSION_STRING; }

uint32_t gan_threads_default(void) { return (uint32_t)gan_i_usable_cores(); }
