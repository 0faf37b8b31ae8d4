#include "run.h"

#include <string.h>

#include "latents.h"

int gan_i_take_rows(gan_worker *worker, uint32_t v, gan_rows *r) {
    const gan_shape s = worker->shared->program->values[v].shape;
    const uint32_t h = s.h ? s.h : 1, wanted = 4 * (uint32_t)worker->cursor.group->size;
    const uint32_t spread = worker->images >= wanted ? 1 : (wanted + worker->images - 1) / worker->images,
                   parts = spread < h ? spread : h;
    uint64_t n;
    if (!gan_i_group_take(&worker->cursor, (uint64_t)worker->images * parts, &n)) return 0;
    const uint32_t part = (uint32_t)(n % parts);
    *r = (gan_rows){(uint32_t)(n / parts), (uint32_t)((uint64_t)h * part / parts),
                    (uint32_t)((uint64_t)h * (part + 1) / parts)};
    return 1;
}

/* A step that is no product, rows of an image at a time. */
static void run_rows(gan_worker *worker, const gan_step *step) {
    if (step->layer->op == OP_INSTANCE_NORM) gan_i_run_moments(worker, step);
    for (gan_rows r; gan_i_take_rows(worker, step->output, &r);) step->run(worker, step, &r);
    gan_i_group_barrier(&worker->cursor);
}

/* ---- the ends ---- */

/* One row of an image that goes in, as [pixel][channels padded]. */
static void take_row(const gan_shared *shared, uint64_t number, gan_shape s, uint64_t y, float *to) {
    const gan_images *images = shared->images;
    const uint64_t wide = padded(s.c, shared->kernels);
    memset(to, 0, sizeof *to * s.w * wide);
    if (images->bytes) {
        const uint8_t *from = images->bytes + (number * s.h + y) * s.w * s.c;
        for (uint64_t x = 0; x < s.w; x++, to += wide, from += s.c)
            for (uint64_t c = 0; c < s.c; c++) to[c] = (float)from[c] * shared->in_factor + shared->in_offset;
        return;
    }
    for (uint64_t c = 0; c < s.c; c++) {
        const float *from = images->floats + ((number * s.c + c) * s.h + y) * s.w;
        for (uint64_t x = 0; x < s.w; x++) to[x * wide + c] = from[x];
    }
}

static void take_images(gan_worker *worker) {
    const gan_shape s = worker->shared->program->values[VALUE_Z].shape;
    const uint64_t row = s.w * (uint64_t)padded(s.c, worker->shared->kernels);
    for (gan_rows r; gan_i_take_rows(worker, VALUE_Z, &r);)
        for (uint64_t y = r.y0; y < r.y1; y++)
            take_row(worker->shared, worker->first + r.image, s, y, value_at(worker, VALUE_Z, r.image) + y * row);
    gan_i_group_barrier(&worker->cursor);
}

void gan_i_begin_chunk(gan_worker *worker) {
    const gan_shared *shared = worker->shared;
    if (shared->images) {
        take_images(worker);
        return;
    }
    const gan_request *request = shared->request;
    const uint64_t wide = padded(shared->nz, shared->kernels);
    for (uint64_t n; gan_i_group_take(&worker->cursor, worker->images, &n);) {
        const uint64_t at = worker->first + n, index = request->start + at;
        float *z = value_at(worker, VALUE_Z, (uint32_t)n);
        if (request->latents) memcpy(z, request->latents + at * shared->nz, sizeof *z * shared->nz);
        else gan_i_latent(shared->table, request->seed, index, shared->nz, z);
        memset(z + shared->nz, 0, sizeof *z * (wide - shared->nz));
        if (!shared->classes) continue;
        /* read once: the caller may write to its labels meanwhile */
        const int64_t label = request->labels                      ? request->labels[at]
                              : request->label == GAN_LABEL_RANDOM ? gan_i_label(request->seed, index, shared->classes)
                              : request->label == GAN_LABEL_ALL    ? (int64_t)(index % shared->classes)
                                                                   : request->label;
        const int known = label >= 0 && label < (int64_t)shared->classes;
        if (!known) atomic_store_explicit(shared->bad_label, 1, memory_order_relaxed);
        worker->labels[n] = known ? label : 0;
    }
    gan_i_group_barrier(&worker->cursor);
}

/* The last value to the caller's buffer, where the last step hasn't put it there itself. */
static void end(gan_worker *worker, uint32_t v) {
    const gan_shape s = worker->shared->program->values[v].shape;
    const uint64_t wide = padded(s.c, worker->shared->kernels), row = s.w * wide;
    for (gan_rows r; gan_i_take_rows(worker, v, &r);) {
        const uint64_t number = worker->first + r.image;
        for (uint64_t y = r.y0; y < r.y1; y++) {
            float *from = value_at(worker, v, r.image) + y * row;
            if (worker->shared->bytes) {
                uint8_t *to = worker->shared->bytes + (number * s.h + y) * s.w * s.c;
                for (uint64_t x = 0; x < s.w; x++) put_bytes(worker->shared, from + x * wide, to + x * s.c, s.c);
            } else {
                for (uint64_t c = 0; c < s.c; c++)
                    for (uint64_t x = 0; x < s.w; x++)
                        worker->shared->floats[((number * s.c + c) * s.h + y) * s.w + x] = from[x * wide + c];
            }
        }
    }
    gan_i_group_barrier(&worker->cursor);
}

void gan_i_run_step(gan_worker *worker, uint32_t index) {
    const gan_program *program = worker->shared->program;
    const gan_step *step = &program->steps[index];
    const gan_method method = worker->shared->methods[index];
    const float *weights = worker->shared->packed[index];
    const int last = index + 1 == program->n_steps;
    if (step->run) run_rows(worker, step);
    else if (method == METHOD_DIRECT) gan_i_run_direct(worker, step, weights);
    else if (method == METHOD_FOLD) gan_i_run_fold(worker, step, weights, last);
    else if (method == METHOD_WINOGRAD) gan_i_run_winograd(worker, step, weights);
    else gan_i_run_toom(worker, step, method, weights);
    if (last && (step->run || method != METHOD_FOLD)) end(worker, program->n_values - 1);
}

void gan_i_run_chunk(gan_worker *worker) {
    gan_i_begin_chunk(worker);
    for (uint32_t i = 0; i < worker->shared->program->n_steps; i++) gan_i_run_step(worker, i);
}
