/* Pooling, and self-attention between the positions of an image: products with the image's own values, which each part
 * of the rows packs for itself. */
#include <string.h>

#include "run.h"

static gan_shape shape_of(const gan_worker *worker, uint32_t value) {
    return worker->shared->program->values[value].shape;
}

void gan_i_run_AVG_POOL(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    const gan_shape in = shape_of(worker, step->inputs[0]), out = shape_of(worker, step->output);
    const uint64_t wide = padded(out.c, worker->shared->kernels), size = step->layer->args[0];
    const float *from = value_at(worker, step->inputs[0], r->image), *x_of[MAX_POOL * MAX_POOL];
    float weights[MAX_POOL * MAX_POOL], *to = value_at(worker, step->output, r->image) + r->y0 * out.w * wide;
    for (uint64_t t = 0; t < size * size; t++) weights[t] = 1 / (float)(size * size);
    for (uint64_t y = r->y0; y < r->y1; y++)
        for (uint64_t x = 0; x < out.w; x++, to += wide) {
            for (uint64_t t = 0; t < size * size; t++)
                x_of[t] = from + ((y * size + t / size) * in.w + x * size + t % size) * wide;
            worker->shared->kernels->fir((int)(size * size), x_of, weights, to, (ptrdiff_t)wide);
        }
}

void gan_i_run_MAX_POOL(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    const gan_shape in = shape_of(worker, step->inputs[0]), out = shape_of(worker, step->output);
    const uint64_t wide = padded(out.c, worker->shared->kernels), size = step->layer->args[0];
    const float *from = value_at(worker, step->inputs[0], r->image);
    float *to = value_at(worker, step->output, r->image) + r->y0 * out.w * wide;
    for (uint64_t y = r->y0; y < r->y1; y++)
        for (uint64_t x = 0; x < out.w; x++, to += wide) {
            for (uint64_t t = 0; t < size * size; t++) {
                const float *of = from + ((y * size + t / size) * in.w + x * size + t % size) * wide;
                for (uint64_t c = 0; c < wide; c++) to[c] = t && !(of[c] > to[c] || of[c] != of[c]) ? to[c] : of[c];
            }
        }
}

/* Where the parts of a thread's memory for attention begin: keys [panel][D][nr], values [panel][key][nr], the weights
 * of mr positions [position][keys padded], and one more such row. */
typedef struct parts {
    uint64_t keys, all_keys, values, weights, row, end;
} parts;

static parts parts_of(const gan_program *program, const gan_kernels *kernels, const gan_step *step) {
    const gan_shape k = program->values[step->inputs[1]].shape, v = program->values[step->inputs[2]].shape;
    parts p = {.keys = shape_pixels(k)};
    p.all_keys = round_up(p.keys, (uint64_t)kernels->nr);
    p.values = p.all_keys * k.c;
    p.weights = p.values + p.keys * padded(v.c, kernels);
    p.row = p.weights + p.all_keys * (uint64_t)kernels->mr;
    p.end = p.row + p.all_keys;
    return p;
}

uint64_t gan_i_attend_floats(const gan_program *program, const gan_kernels *kernels, const gan_step *step) {
    return parts_of(program, kernels, step).end;
}

static void pack(const gan_worker *worker, const gan_step *step, uint32_t image, const parts *p, float *memory) {
    const gan_shape k = shape_of(worker, step->inputs[1]), v = shape_of(worker, step->inputs[2]);
    const gan_kernels *kernels = worker->shared->kernels;
    const uint64_t nr = (uint64_t)kernels->nr, k_wide = padded(k.c, kernels), v_wide = padded(v.c, kernels);
    const float *keys = value_at(worker, step->inputs[1], image), *values = value_at(worker, step->inputs[2], image);
    memset(memory, 0, sizeof *memory * p->values);
    for (uint64_t n = 0; n < p->keys; n++)
        for (uint64_t d = 0; d < k.c; d++) memory[(n / nr * k.c + d) * nr + n % nr] = keys[n * k_wide + d];
    for (uint64_t c = 0; c < v_wide; c += nr)
        for (uint64_t n = 0; n < p->keys; n++)
            memcpy(memory + p->values + (c / nr * p->keys + n) * nr, values + n * v_wide + c, sizeof *memory * nr);
}

/* Scores into weights that sum to 1.  e^x of x <= 0 is s / (1 - s), s the sigmoid of x, which kernels have. */
static void softmax(const gan_kernels *kernels, float *scores, float *row, uint64_t keys) {
    float most = scores[0], sum[16] = {0};
    for (uint64_t n = 1; n < keys; n++) most = scores[n] > most || scores[n] != scores[n] ? scores[n] : most;
    for (uint64_t n = 0; n < keys; n++) scores[n] -= most;
    kernels->activate(scores, row, (ptrdiff_t)keys, (activation){.kind = ACT_SIGMOID});
    for (uint64_t n = 0; n < keys; n++) scores[n] = row[n] / (1 - row[n]);
    for (uint64_t n = 0; n < keys; n++) sum[n % 16] += scores[n];
    for (int i = 1; i < 16; i++) sum[0] += sum[i];
    for (uint64_t n = 0; n < keys; n++) scores[n] /= sum[0];
}

void gan_i_run_ATTEND(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    const gan_kernels *kernels = worker->shared->kernels;
    const gan_shape q = shape_of(worker, step->inputs[0]);
    const parts p = parts_of(worker->shared->program, kernels, step);
    const uint64_t q_wide = padded(q.c, kernels), wide = padded(shape_of(worker, step->output).c, kernels),
                   nr = (uint64_t)kernels->nr, end = (uint64_t)r->y1 * q.w;
    const float *queries = value_at(worker, step->inputs[0], r->image), *rows[MAX_MR];
    float *memory = worker->thread_scratch, *to = value_at(worker, step->output, r->image), *sums[MAX_MR];
    pack(worker, step, r->image, &p, memory);
    for (uint64_t at = (uint64_t)r->y0 * q.w; at < end;) {
        const int m = end - at < (uint64_t)kernels->mr ? (int)(end - at) : kernels->mr;
        for (int i = 0; i < m; i++) rows[i] = queries + (at + (uint64_t)i) * q_wide;
        for (uint64_t n = 0; n < p.all_keys; n += nr) {
            for (int i = 0; i < m; i++) sums[i] = memory + p.weights + (uint64_t)i * p.all_keys + n;
            kernels->gemm(m, (int)nr, q.c, rows, KBLOCK, memory + n * q.c, sums, 0, memory + n * q.c, 0);
        }
        for (int i = 0; i < m; i++) {
            float *scores = memory + p.weights + (uint64_t)i * p.all_keys;
            softmax(kernels, scores, memory + p.row, p.keys);
            rows[i] = scores;
        }
        for (uint64_t c = 0; c < wide; c += nr)
            for (uint64_t k = 0; k < p.keys; k += SLICE) {
                const uint64_t count = p.keys - k < SLICE ? p.keys - k : SLICE;
                const float *of[MAX_MR];
                for (int i = 0; i < m; i++) of[i] = rows[i] + k, sums[i] = to + (at + (uint64_t)i) * wide + c;
                const float *values = memory + p.values + (c * p.keys + k * nr);
                kernels->gemm(m, (int)nr, (ptrdiff_t)count, of, KBLOCK, values, sums, k > 0, values, 0);
            }
        at += (uint64_t)m;
    }
}
