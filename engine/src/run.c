#include "run.h"

#include <string.h>

#include "latents.h"

/* The next share of the rows of a value; 0 when there is none left. */
static int take_rows(worker *w, uint32_t v, rows *r) {
    const shape s = w->j->s->values[v].shape;
    const uint32_t h = s.h ? s.h : 1, wanted = 4 * (uint32_t)w->cursor.crew->size;
    const uint32_t spread = w->images >= wanted ? 1 : (wanted + w->images - 1) / w->images, parts = spread < h ? spread : h;
    uint64_t n;
    if (!gan_i_crew_take(&w->cursor, (uint64_t)w->images * parts, &n)) return 0;
    const uint32_t part = (uint32_t)(n % parts);
    *r = (rows){(uint32_t)(n / parts), (uint32_t)((uint64_t)h * part / parts), (uint32_t)((uint64_t)h * (part + 1) / parts)};
    return 1;
}

/* A step that is no product, rows of an image at a time. */
static void run_rows(worker *w, const step *st) {
    for (rows r; take_rows(w, st->output, &r);) st->run(w, st, &r);
    gan_i_crew_barrier(&w->cursor);
}

/* ---- the ends ---- */

/* Latents and labels of the chunk. */
static void begin(worker *w) {
    const job *j = w->j;
    const gan_request *q = j->request;
    const uint64_t wide = padded(j->nz, j->k);
    for (uint64_t n; gan_i_crew_take(&w->cursor, w->images, &n);) {
        const uint64_t at = w->first + n, index = q->start + at;
        float *z = value_at(w, VALUE_Z, (uint32_t)n);
        if (q->latents) memcpy(z, q->latents + at * j->nz, sizeof *z * j->nz);
        else gan_i_latent(j->table, q->seed, index, j->nz, z);
        memset(z + j->nz, 0, sizeof *z * (wide - j->nz));
        if (!j->classes) continue;
        /* read once: the caller may write to its labels meanwhile */
        const int64_t label = q->labels                      ? q->labels[at]
                              : q->label == GAN_LABEL_RANDOM ? gan_i_label(q->seed, index, j->classes)
                              : q->label == GAN_LABEL_ALL    ? (int64_t)(index % j->classes)
                                                             : q->label;
        const int known = label >= 0 && label < (int64_t)j->classes;
        if (!known) atomic_store_explicit(j->bad_label, 1, memory_order_relaxed);
        w->labels[n] = known ? label : 0;
    }
    gan_i_crew_barrier(&w->cursor);
}

/* The last value to the caller's buffer, where the last step hasn't put it there itself. */
static void end(worker *w, uint32_t v) {
    const shape s = w->j->s->values[v].shape;
    const uint64_t wide = padded(s.c, w->j->k), row = s.w * wide;
    for (rows r; take_rows(w, v, &r);) {
        const uint64_t picture = w->first + r.image;
        for (uint64_t y = r.y0; y < r.y1; y++) {
            float *from = value_at(w, v, r.image) + y * row;
            if (w->j->bytes) {
                uint8_t *to = w->j->bytes + (picture * s.h + y) * s.w * s.c;
                for (uint64_t x = 0; x < s.w; x++) put_bytes(w->j, from + x * wide, to + x * s.c, s.c);
            } else {
                for (uint64_t c = 0; c < s.c; c++)
                    for (uint64_t x = 0; x < s.w; x++)
                        w->j->floats[((picture * s.c + c) * s.h + y) * s.w + x] = from[x * wide + c];
            }
        }
    }
    gan_i_crew_barrier(&w->cursor);
}

void gan_i_run_chunk(worker *w) {
    const schedule *s = w->j->s;
    begin(w);
    for (uint32_t i = 0; i < s->n_steps; i++) {
        const step *st = &s->steps[i];
        const method f = w->j->methods[i];
        const int last = i + 1 == s->n_steps;
        if (st->run) run_rows(w, st);
        else if (f == METHOD_DIRECT) gan_i_run_direct(w, st, w->j->packed[i]);
        else if (f == METHOD_FOLD) gan_i_run_fold(w, st, w->j->packed[i], last);
        else gan_i_run_toom(w, st, f, w->j->packed[i]);
        if (last && (st->run || f != METHOD_FOLD)) end(w, s->n_values - 1);
    }
}
