/* Contexts: choosing how to draw, the memory for it, and drawing. */
#include <stdlib.h>

#include "model.h"
#include "run.h"

enum {
    MAX_THREADS = 1024,
    CHUNK_TILES = 6, /* register tiles of pictures that a thread draws at once */
    VALUES_BYTES = 32 << 20
};

/* How a context works, before any memory is taken for it. */
typedef struct context_plan {
    method *methods;                     /* by step */
    int threads;
    uint32_t chunk_per_thread, chunk_shared; /* images in a chunk of one thread, and of all together */
    uint64_t shared[2], thread_scratch, floats; /* `shared` of a crew of one thread, and of one of all */
    uint64_t weights;                /* bytes of packed weights that the model then holds */
} context_plan;

/* A plan that was made, and the count that it is for; 0 for none. */
typedef struct planned {
    uint64_t count;
    plan plan;
} planned;

enum { PLANS = 4 }; /* kept: a program draws in batches of one size, and a rest */

struct gan_context {
    gan_model *model;
    context_plan lay;
    const float **packed;
    uint32_t n_packed; /* steps whose weights are acquired */
    float *scratch;
    team *team;
    crew *crews;
    planned planned[PLANS];
    uint32_t next_planned;
    atomic_int busy; /* a call is drawing */
};

typedef struct call {
    gan_context *c;
    job j;
    plan p;
    atomic_int bad_label;
    _Alignas(64) atomic_ullong next; /* chunk, if a chunk is one thread's */
} call;

static uint64_t measure(const gan_model *m, context_plan *l, uint32_t batch) {
    const uint32_t most = l->chunk_per_thread * (uint32_t)l->threads;
    l->chunk_shared = batch < most ? batch : most;
    const needs one = gan_i_needs(&m->s, m->k, l->methods, 1, l->chunk_per_thread);
    const needs all = gan_i_needs(&m->s, m->k, l->methods, l->threads, l->chunk_shared);
    l->shared[0] = one.shared;
    l->shared[1] = all.shared;
    l->thread_scratch = one.thread_scratch > all.thread_scratch ? one.thread_scratch : all.thread_scratch;
    const uint64_t separate = one.shared * (uint64_t)l->threads;
    l->floats = (separate > all.shared ? separate : all.shared) + l->thread_scratch * (uint64_t)l->threads;
    l->weights = 0;
    for (uint32_t i = 0; i < m->s.n_steps; i++) {
        if (m->s.steps[i].run) continue;
        for (uint32_t f = 0; f < METHOD_COUNT; f++)
            if (f == (uint32_t)l->methods[i] || m->packed[i * METHOD_COUNT + f].users)
                l->weights += gan_i_method_floats(&m->s.steps[i].conv, (method)f, m->k) * sizeof(float);
    }
    return l->weights + l->floats * sizeof(float);
}

/* The best way within max_memory: smaller transforms first, then smaller chunks.  `l->methods` has room for two methods of
 * each step.  In the lock. */
static gan_status lay_out(const gan_model *m, const gan_options *o, context_plan *l) {
    const uint32_t batch = o && o->batch ? o->batch : 1, threads = o ? o->threads : 0;
    if (threads > MAX_THREADS) return GAN_ERROR_ARGUMENT;
    l->threads = threads ? (int)threads : gan_i_usable_cores();
    const uint64_t image = m->s.values_per_image * sizeof(float) * (uint64_t)l->threads, fit = VALUES_BYTES / image;
    const uint32_t chunk = CHUNK_TILES * (uint32_t)m->k->mr;
    const uint32_t share = (uint32_t)(((uint64_t)batch + (uint64_t)l->threads - 1) / (uint64_t)l->threads);
    const uint32_t most = fit < 1 ? 1 : fit < chunk ? (uint32_t)fit : chunk, first = share < most ? share : most;
    const uint64_t bound = o && o->max_memory ? o->max_memory : m->s.machine.memory / 2;
    for (l->chunk_per_thread = first; l->chunk_per_thread; l->chunk_per_thread /= 2) {
        for (int points = MAX_TOOM; points >= 2; points--) { /* 2: no transform */
            const limits allowed = {points, m->f.error_budget};
            gan_i_plan_methods(&m->s, m->k, batch, l->threads, l->chunk_per_thread, allowed, l->methods, l->methods + m->s.n_steps);
            if (measure(m, l, batch) <= bound) return GAN_OK;
        }
    }
    return GAN_ERROR_MEMORY;
}

static method *methods_of(const gan_model *m) { return calloc(2 * (size_t)m->s.n_steps, sizeof(method)); }

gan_status gan_context_size(gan_model *m, const gan_options *o, uint64_t *scratch, uint64_t *weights) {
    if (!m || !scratch || !weights) return GAN_ERROR_ARGUMENT;
    context_plan l = {.methods = methods_of(m)};
    gan_status status = l.methods ? gan_i_model_enter(m) : GAN_ERROR_MEMORY;
    if (status == GAN_OK) {
        status = lay_out(m, o, &l);
        gan_i_model_leave(m);
    }
    if (status == GAN_OK) {
        *scratch = l.floats * sizeof(float);
        *weights = l.weights;
    }
    free(l.methods);
    return status;
}

/* In the lock. */
static gan_status acquire_weights(gan_context *c) {
    gan_status status = GAN_OK;
    for (; c->n_packed < c->model->s.n_steps && status == GAN_OK; c->n_packed += status == GAN_OK)
        if (!c->model->s.steps[c->n_packed].run)
            status = gan_i_acquire_weights(c->model, c->n_packed, c->lay.methods[c->n_packed], &c->packed[c->n_packed]);
    return status;
}

static void release_weights(gan_context *c) {
    if (!c->n_packed || gan_i_model_enter(c->model) != GAN_OK) return; /* or they stay for gan_close */
    for (uint32_t i = 0; i < c->n_packed; i++)
        if (!c->model->s.steps[i].run) gan_i_release_weights(c->model, i, c->lay.methods[i]);
    gan_i_model_leave(c->model);
}

static gan_status build(gan_context *c, const gan_options *o) {
    gan_model *m = c->model;
    c->lay.methods = methods_of(m);
    c->packed = calloc(m->s.n_steps, sizeof *c->packed);
    gan_status status = c->lay.methods && c->packed ? gan_i_model_enter(m) : GAN_ERROR_MEMORY;
    if (status != GAN_OK) return status;
    status = lay_out(m, o, &c->lay);
    if (status == GAN_OK) status = acquire_weights(c);
    gan_i_model_leave(m);
    if (status != GAN_OK) return status;
    c->scratch = gan_i_allocate(c->lay.floats);
    c->crews = gan_i_allocate_bytes(sizeof *c->crews * (size_t)c->lay.threads);
    if (!c->scratch || !c->crews) return GAN_ERROR_MEMORY;
    return gan_i_team_new(c->lay.threads, &c->team);
}

gan_status gan_context_new(gan_model *m, const gan_options *o, gan_context **out) {
    if (!m || !out) return GAN_ERROR_ARGUMENT;
    *out = NULL;
    gan_context *c = calloc(1, sizeof *c);
    if (!c) return GAN_ERROR_MEMORY;
    c->model = m;
    atomic_fetch_add(&m->contexts, 1);
    const gan_status status = build(c, o);
    if (status == GAN_OK) *out = c;
    else gan_context_free(c);
    return status;
}

void gan_context_free(gan_context *c) {
    if (!c) return;
    CALLER_ERROR(atomic_load(&c->busy));
    gan_i_team_free(c->team);
    gan_i_free(c->crews);
    gan_i_free(c->scratch);
    release_weights(c);
    free(c->packed);
    free(c->lay.methods);
    atomic_fetch_sub(&c->model->contexts, 1);
    free(c);
}

uint32_t gan_context_threads(const gan_context *c) { return c ? (uint32_t)c->lay.threads : 0; }

static void work(void *arg, int member) {
    call *l = arg;
    gan_context *c = l->c;
    const int together = l->p.crew > 1;
    const uint64_t count = l->j.request->count, chunk = l->p.chunk, shared = c->lay.shared[l->p.crew == c->lay.threads];
    worker w = {.j = &l->j, .cursor = {.crew = &c->crews[together ? 0 : member]}};
    w.values = c->scratch + (together ? 0 : shared * (uint64_t)member);
    w.thread_scratch = c->scratch + c->lay.floats - c->lay.thread_scratch * (uint64_t)(member + 1);
    for (uint64_t n = 0;; n++) {
        if (!together) n = atomic_fetch_add_explicit(&l->next, 1, memory_order_relaxed);
        if (n > (count - 1) / chunk || atomic_load_explicit(&l->bad_label, memory_order_relaxed)) return;
        w.first = n * chunk;
        w.images = (uint32_t)(count - w.first < chunk ? count - w.first : chunk);
        w.labels = (int64_t *)(void *)w.values; /* the first 2 floats a picture of the shared part */
        worker chunked = w;
        chunked.values = w.values + round_up(2ull * w.images, 16);
        chunked.transformed = chunked.values + c->model->s.values_per_image * w.images;
        gan_i_run_chunk(&chunked);
        w.cursor = chunked.cursor;
    }
}

/* Whether the request can be met and `out_size` holds its images of `image` elements each.  Labels are checked as they
 * are read. */
static gan_status check(const gan_context *c, const gan_request *q, const void *out, size_t out_size, uint64_t image) {
    if (!c || !q) return GAN_ERROR_ARGUMENT;
    const uint32_t classes = c->model->f.classes;
    if (!q->count) return GAN_OK;
    if (!out || q->start > UINT64_MAX - (q->count - 1) || q->count > out_size / image) return GAN_ERROR_ARGUMENT;
    if (!classes) return q->labels ? GAN_ERROR_LABEL : GAN_OK;
    return q->labels || (q->label >= GAN_LABEL_ALL && q->label < (int64_t)classes) ? GAN_OK : GAN_ERROR_LABEL;
}

/* The plan for a count, made at its first call. */
static plan plan_for(gan_context *c, uint64_t count) {
    for (uint32_t i = 0; i < PLANS; i++)
        if (c->planned[i].count == count) return c->planned[i].plan;
    const gan_model *m = c->model;
    planned *to = &c->planned[c->next_planned++ % PLANS];
    *to = (planned){count, gan_i_plan(&m->s, m->k, c->lay.methods, count, c->lay.threads, c->lay.chunk_per_thread, c->lay.chunk_shared)};
    return to->plan;
}

static gan_status generate(gan_context *c, const gan_request *q, uint8_t *bytes, float *floats, size_t out_size) {
    const uint64_t image = c ? c->model->f.image.c * shape_pixels(c->model->f.image) : 1;
    const gan_status status = check(c, q, bytes ? (void *)bytes : (void *)floats, out_size, image);
    if (status != GAN_OK || !q->count) return status;
    if (atomic_exchange(&c->busy, 1)) return GAN_ERROR_BUSY;
    const gan_model *m = c->model;
    const float factor = 2 / (m->f.high - m->f.low);
    call l = {.c = c, .p = plan_for(c, q->count)};
    l.j = (job){.s = &m->s, .k = m->k, .methods = c->lay.methods, .packed = c->packed, .table = m->table, .zeros = m->zeros,
                .request = q, .nz = m->f.nz, .classes = m->f.classes, .bad_label = &l.bad_label, .factor = factor,
                .offset = -1 - m->f.low * factor, .bytes = bytes, .floats = floats};
    atomic_init(&l.next, 0);
    atomic_init(&l.bad_label, 0);
    const int crews = c->lay.threads / l.p.crew;
    for (int i = 0; i < crews; i++) gan_i_crew_init(&c->crews[i], c->team, l.p.crew);
    gan_i_team_run(c->team, work, &l);
    atomic_store(&c->busy, 0);
    return atomic_load(&l.bad_label) ? GAN_ERROR_LABEL : GAN_OK;
}

gan_status gan_generate_bytes(gan_context *c, const gan_request *q, uint8_t *out, size_t out_size) {
    return generate(c, q, out, NULL, out_size);
}

gan_status gan_generate_floats(gan_context *c, const gan_request *q, float *out, size_t out_size) {
    return generate(c, q, NULL, out, out_size);
}
