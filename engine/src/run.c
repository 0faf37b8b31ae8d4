#include "run.h"

#include <string.h>

#include "latents.h"

int gan_i_take_rows(gan_worker *worker, uint32_t v, uint32_t each, gan_rows *r) {
    const gan_shape s = worker->shared->program->values[v].shape;
    const uint32_t h = shape_rows(s), all = (h + each - 1) / each, members = (uint32_t)worker->cursor.group->size,
                   wanted = members > 1 ? 4 * members : 1;
    const uint32_t spread = worker->images >= wanted ? 1 : (wanted + worker->images - 1) / worker->images,
                   parts = spread < all ? spread : all;
    uint64_t n;
    if (!gan_i_group_take(&worker->cursor, (uint64_t)worker->images * parts, &n)) return 0;
    const uint32_t part = (uint32_t)(n % parts);
    const uint32_t end = (uint32_t)((uint64_t)all * (part + 1) / parts) * each;
    *r = (gan_rows){(uint32_t)(n / parts), (uint32_t)((uint64_t)all * part / parts) * each, end < h ? end : h};
    return 1;
}

int gan_i_take_pixels(gan_worker *worker, const gan_conv *conv, uint64_t most, gan_pixel_range *r) {
    const uint64_t pixels = shape_pixels(conv->out) * worker->images, members = (uint64_t)worker->cursor.group->size,
                   share = (pixels + 2 * members - 1) / (2 * members), each = share < most ? share : most;
    uint64_t n;
    if (!gan_i_group_take(&worker->cursor, (pixels + each - 1) / each, &n)) return 0;
    *r = (gan_pixel_range){n * each, (int64_t)(pixels - n * each < each ? pixels - n * each : each)};
    return 1;
}

/* A step that is no product, rows of an image at a time. */
static void run_rows(gan_worker *worker, const gan_step *step) {
    if (step->layer->op == OP_INSTANCE_NORM) gan_i_run_moments(worker, step);
    const uint32_t each = step->style.transformed ? WINOGRAD_TILE : 1;
    for (gan_rows r; gan_i_take_rows(worker, step->output, each, &r);) step->run(worker, step, &r);
    gan_i_group_barrier(&worker->cursor);
}

/* ---- the ends ---- */

static void take_images(gan_worker *worker) {
    const gan_shape s = worker->shared->program->values[VALUE_Z].shape;
    const uint64_t wide = wide_of(worker, VALUE_Z), row = s.w * wide;
    for (gan_rows r; gan_i_take_rows(worker, VALUE_Z, 1, &r);)
        for (uint64_t y = r.y0; y < r.y1; y++)
            gan_i_take_row(worker->shared->in, worker->shared->base + worker->first + r.image, y,
                           value_at(worker, VALUE_Z, r.image) + y * row, wide);
    gan_i_group_barrier(&worker->cursor);
}

void gan_i_begin_chunk(gan_worker *worker) {
    const gan_shared *shared = worker->shared;
    if (shared->in) {
        take_images(worker);
        return;
    }
    const gan_request *request = shared->request;
    const gan_shape s = shared->program->values[VALUE_Z].shape; /* of rows only if they are given */
    const uint64_t rows = s.h ? s.w : 1, length = s.c, wide = wide_of(worker, VALUE_Z);
    const float scale = request->latent_scale;
    for (uint64_t n; gan_i_group_take(&worker->cursor, worker->images, &n);) {
        const uint64_t i = shared->base + worker->first + n;
        float *z = value_at(worker, VALUE_Z, (uint32_t)n);
        if (!request->latents) gan_i_latent(shared->table, seed_of(request, i), index_of(request, i), shared->nz, z);
        for (uint64_t row = 0; row < rows; row++, z += wide) {
            if (request->latents) memcpy(z, request->latents + i * shared->nz + row * length, sizeof *z * length);
            for (uint64_t c = 0; scale != 1 && c < length; c++) z[c] *= scale;
            memset(z + length, 0, sizeof *z * (wide - length));
        }
        if (!shared->classes) continue;
        const int64_t label = gan_i_label_of(request, i, shared->classes);
        const int known = label >= 0 && label < (int64_t)shared->classes;
        if (!known) atomic_store_explicit(shared->bad_label, 1, memory_order_relaxed);
        worker->labels[n] = known ? label : 0;
    }
    gan_i_group_barrier(&worker->cursor);
}

/* The last value to the caller's buffer, where the last step hasn't put it there itself. */
static void end(gan_worker *worker, uint32_t v) {
    const gan_shape s = worker->shared->program->values[v].shape;
    const uint64_t wide = wide_of(worker, v), row = s.w * wide;
    for (gan_rows r; gan_i_take_rows(worker, v, 1, &r);)
        for (uint64_t y = r.y0; y < r.y1; y++)
            gan_i_put_row(&worker->shared->out, worker->shared->kernels, worker->first + r.image, y,
                          value_at(worker, v, r.image) + y * row, wide);
    gan_i_group_barrier(&worker->cursor);
}

void gan_i_run_step(gan_worker *worker, uint32_t index) {
    const gan_program *program = worker->shared->program;
    const gan_step *step = &program->steps[index];
    const gan_method method = worker->shared->methods[index];
    const float *weights = worker->shared->packed[index];
    const int last = index + 1 == program->n_steps;
    if (step->reader && conv_reads_pieces(&program->steps[step->reader].conv, worker->shared->methods[step->reader]))
        return;
    if (step->run) run_rows(worker, step);
    else if (method == METHOD_DIRECT) gan_i_run_direct(worker, step, weights);
    else if (method == METHOD_STRASSEN) gan_i_run_strassen(worker, step, weights);
    else if (method_is_fold(method)) gan_i_run_fold(worker, step, method, weights, last);
    else if (method == METHOD_DIRECT_INT16) gan_i_run_direct_int16(worker, step, weights);
    else if (method_is_winograd(method)) gan_i_run_winograd(worker, step, method, weights);
    else gan_i_run_toom(worker, step, method, weights);
    if (last && (step->run || !method_is_fold(method))) end(worker, program->n_values - 1);
}

void gan_i_run_chunk(gan_worker *worker) {
    gan_i_begin_chunk(worker);
    for (uint32_t i = 0; i < worker->shared->program->n_steps; i++) gan_i_run_step(worker, i);
}
