/* Contexts: choosing how to draw, the memory for it, and drawing. */
#include <stdlib.h>

#include "model.h"
#include "run.h"

enum {
    MAX_THREADS = 1024,
    CHUNK_TILES = 6, /* register tiles of pictures that a thread draws at once */
    VALUES_BYTES = 32 << 20
};

/* A context's way of working, before any memory is taken for it. */
typedef struct layout {
    form forms[MAX_LAYERS];
    int threads;
    uint32_t largest, together;      /* pictures in a chunk of one thread, and of all together */
    uint64_t shared[2], own, floats; /* `shared` of a crew of one thread, and of one of all */
    uint64_t weights;                /* bytes of packed weights that the model then holds */
    int lean;                        /* without those that no other context draws by */
} layout;

struct gan_context {
    gan_model *model;
    layout lay;
    const float **packed;
    float *scratch;
    team *team;
    crew *crews;
    atomic_int busy; /* a call is drawing */
};

typedef struct call {
    gan_context *c;
    job j;
    plan p;
    _Alignas(64) atomic_ullong next; /* chunk, where a chunk is one thread's */
} call;

/* Whether the packed weights `at` are there and stay, whatever this layout draws by. */
static int stays(const gan_model *m, const layout *l, uint32_t at) { return m->packed[at] && (!l->lean || m->users[at]); }

static int has_unused(const gan_model *m) {
    for (uint32_t at = 0; at < m->s.n_steps * FORM_COUNT; at++)
        if (m->packed[at] && !m->users[at]) return 1;
    return 0;
}

static uint64_t measure(const gan_model *m, layout *l, uint32_t batch) {
    const uint32_t most = l->largest * (uint32_t)l->threads;
    l->together = batch < most ? batch : most;
    const needs one = gan_i_needs(&m->s, m->k, l->forms, 1, l->largest);
    const needs all = gan_i_needs(&m->s, m->k, l->forms, l->threads, l->together);
    l->shared[0] = one.shared;
    l->shared[1] = all.shared;
    l->own = one.own > all.own ? one.own : all.own;
    const uint64_t separate = one.shared * (uint64_t)l->threads;
    l->floats = (separate > all.shared ? separate : all.shared) + l->own * (uint64_t)l->threads;
    l->weights = 0;
    for (uint32_t i = 0; i < m->s.n_steps; i++) {
        if (m->s.steps[i].kind != STEP_CONV) continue;
        for (uint32_t f = 0; f < FORM_COUNT; f++)
            if (f == (uint32_t)l->forms[i] || stays(m, l, i * FORM_COUNT + f))
                l->weights += gan_i_form_floats(&m->s.steps[i].conv, (form)f, m->k) * sizeof(float);
    }
    return l->weights + l->floats * sizeof(float);
}

/* The best way within max_memory: smaller transforms first, then smaller chunks, then without what nobody draws by. */
static gan_status lay_out(const gan_model *m, const gan_options *o, layout *l) {
    const uint32_t batch = o && o->batch ? o->batch : 1, threads = o ? o->threads : 0;
    if (threads > MAX_THREADS) return GAN_ERROR_ARGUMENT;
    l->threads = threads ? (int)threads : gan_i_usable_cores();
    const uint64_t image = m->s.values_per_image * sizeof(float) * (uint64_t)l->threads, fit = VALUES_BYTES / image;
    const uint32_t chunk = CHUNK_TILES * (uint32_t)m->k->mr;
    const uint32_t share = (uint32_t)(((uint64_t)batch + (uint64_t)l->threads - 1) / (uint64_t)l->threads);
    const uint32_t most = fit < 1 ? 1 : fit < chunk ? (uint32_t)fit : chunk, first = share < most ? share : most;
    const int limit = m->f.points && m->f.points < MAX_TOOM ? (int)m->f.points : MAX_TOOM;
    for (l->lean = 0; l->lean < 1 + has_unused(m); l->lean++) {
        for (l->largest = first; l->largest; l->largest /= 2) {
            for (int points = limit; points >= 2; points--) { /* 2: no transform */
                gan_i_plan_forms(&m->s, m->k, batch, l->threads, l->largest, points, l->forms);
                if (measure(m, l, batch) <= (o && o->max_memory ? o->max_memory : UINT64_MAX)) return GAN_OK;
            }
        }
    }
    return GAN_ERROR_MEMORY;
}

gan_status gan_context_size(gan_model *m, const gan_options *o, uint64_t *scratch, uint64_t *weights) {
    if (!m || !scratch || !weights) return GAN_ERROR_ARGUMENT;
    layout l;
    gan_i_enter(m->lock);
    const gan_status status = lay_out(m, o, &l);
    if (status == GAN_OK) {
        *scratch = l.floats * sizeof(float);
        *weights = l.weights;
    }
    gan_i_leave(m->lock);
    return status;
}

/* The context's packed weights, each counted as used, into c->packed.  Under the model's lock. */
static gan_status take_weights(gan_context *c) {
    gan_model *m = c->model;
    gan_status status = GAN_OK;
    for (uint32_t at = 0; at < m->s.n_steps * FORM_COUNT; at++) {
        if (at % FORM_COUNT == (uint32_t)c->lay.forms[at / FORM_COUNT] || stays(m, &c->lay, at)) continue;
        gan_i_free(m->packed[at]);
        m->packed[at] = NULL;
    }
    for (uint32_t i = 0; i < m->s.n_steps && status == GAN_OK; i++) {
        if (m->s.steps[i].kind != STEP_CONV) continue;
        status = gan_i_packed(m, i, c->lay.forms[i], &c->packed[i]);
        if (status == GAN_OK) m->users[i * FORM_COUNT + c->lay.forms[i]]++;
    }
    return status;
}

static void give_weights_back(gan_context *c) {
    gan_model *m = c->model;
    gan_i_enter(m->lock);
    for (uint32_t i = 0; i < m->s.n_steps; i++)
        if (c->packed[i]) m->users[i * FORM_COUNT + c->lay.forms[i]]--;
    gan_i_leave(m->lock);
}

static gan_status build(gan_context *c, const gan_options *o) {
    gan_model *m = c->model;
    gan_i_enter(m->lock);
    gan_status status = lay_out(m, o, &c->lay);
    c->packed = status == GAN_OK ? calloc(m->s.n_steps, sizeof *c->packed) : NULL;
    if (status == GAN_OK && !c->packed) status = GAN_ERROR_MEMORY;
    if (status == GAN_OK) status = take_weights(c);
    gan_i_leave(m->lock);
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
    if (c->packed) give_weights_back(c);
    free(c->packed);
    atomic_fetch_sub(&c->model->contexts, 1);
    free(c);
}

uint32_t gan_context_threads(const gan_context *c) { return c ? (uint32_t)c->lay.threads : 0; }

static void work(void *arg, int member) {
    call *l = arg;
    gan_context *c = l->c;
    const int together = l->p.crew > 1;
    const uint64_t count = l->j.request->count, chunk = l->p.chunk, shared = c->lay.shared[l->p.crew == c->lay.threads];
    worker w = {.j = &l->j, .place = {.crew = &c->crews[together ? 0 : member]}};
    w.values = c->scratch + (together ? 0 : shared * (uint64_t)member);
    w.own = c->scratch + c->lay.floats - c->lay.own * (uint64_t)(member + 1);
    for (uint64_t n = 0;; n++) {
        if (!together) n = atomic_fetch_add_explicit(&l->next, 1, memory_order_relaxed);
        if (n > (count - 1) / chunk) return;
        w.first = n * chunk;
        w.images = (uint32_t)(count - w.first < chunk ? count - w.first : chunk);
        w.labels = (int64_t *)(void *)w.values; /* the first 2 floats a picture of the shared part */
        worker chunked = w;
        chunked.values = w.values + round_up(2ull * w.images, 16);
        chunked.transformed = chunked.values + c->model->s.values_per_image * w.images;
        gan_i_run_chunk(&chunked);
        w.place = chunked.place;
    }
}

/* Whether the request can be met and `out_size` holds its pictures of `picture` elements each. */
static gan_status check(const gan_context *c, const gan_request *q, const void *out, size_t out_size, uint64_t picture) {
    if (!c || !q) return GAN_ERROR_ARGUMENT;
    const uint32_t classes = c->model->f.classes;
    if (!q->count) return GAN_OK;
    if (!out || q->start > UINT64_MAX - (q->count - 1) || q->count > out_size / picture) return GAN_ERROR_ARGUMENT;
    if (!classes) return q->labels ? GAN_ERROR_LABEL : GAN_OK;
    if (!q->labels) return q->label >= GAN_LABEL_ALL && q->label < (int64_t)classes ? GAN_OK : GAN_ERROR_LABEL;
    for (uint64_t i = 0; i < q->count; i++)
        if (q->labels[i] < 0 || q->labels[i] >= (int64_t)classes) return GAN_ERROR_LABEL;
    return GAN_OK;
}

static gan_status generate(gan_context *c, const gan_request *q, uint8_t *bytes, float *floats, size_t out_size) {
    const uint64_t picture = c ? c->model->f.image.c * shape_pixels(c->model->f.image) : 1;
    const gan_status status = check(c, q, bytes ? (void *)bytes : (void *)floats, out_size, picture);
    if (status != GAN_OK || !q->count) return status;
    const gan_model *m = c->model;
    call l = {.c = c};
    l.j = (job){.s = &m->s, .k = m->k, .forms = c->lay.forms, .packed = c->packed, .table = m->table, .zeros = m->zeros,
                .request = q, .nz = m->f.nz, .classes = m->f.classes, .factor = 2 / (m->f.high - m->f.low),
                .offset = -1 - m->f.low * (2 / (m->f.high - m->f.low)), .bytes = bytes, .floats = floats};
    l.p = gan_i_plan(&m->s, m->k, c->lay.forms, q->count, c->lay.threads, c->lay.largest, c->lay.together);
    atomic_init(&l.next, 0);
    const int crews = c->lay.threads / l.p.crew;
    for (int i = 0; i < crews; i++) gan_i_crew_init(&c->crews[i], l.p.crew);
    CALLER_ERROR(atomic_exchange(&c->busy, 1));
    gan_i_team_run(c->team, work, &l);
    atomic_store(&c->busy, 0);
    return GAN_OK;
}

gan_status gan_generate_bytes(gan_context *c, const gan_request *q, uint8_t *out, size_t out_size) {
    return generate(c, q, out, NULL, out_size);
}

gan_status gan_generate_floats(gan_context *c, const gan_request *q, float *out, size_t out_size) {
    return generate(c, q, NULL, out, out_size);
}
