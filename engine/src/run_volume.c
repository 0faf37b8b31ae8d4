/* The steps of volumes and signals that are no products: some rows of one volume's output, [slice][row][x][channels
 * padded]. */
#include <string.h>

#include "run.h"

/* Each pixel of a row of `from`, `factor` times. */
static void repeat_across(const float *from, uint64_t width, uint64_t factor, uint64_t wide, float *to) {
    for (uint64_t x = 0; x < width * factor; x++) memcpy(to + x * wide, from + x / factor * wide, sizeof *to * wide);
}

void gan_i_run_UPSAMPLE_3D(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    const gan_program *program = worker->shared->program;
    const gan_shape in = program->values[step->inputs[0]].shape;
    const uint64_t wide = padded(in.c, worker->shared->kernels), f = step->layer->args[0], height = in.h * f;
    const float *from = value_at(worker, step->inputs[0], r->image);
    float *to = value_at(worker, step->output, r->image);
    for (uint64_t row = r->y0; row < r->y1; row++) {
        const uint64_t z = row / height / f, y = row % height / f;
        repeat_across(from + (z * in.h + y) * in.w * wide, in.w, f, wide, to + row * in.w * f * wide);
    }
}

void gan_i_run_UPSAMPLE_1D(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    const gan_shape in = worker->shared->program->values[step->inputs[0]].shape;
    if (r->y0 == r->y1) return; /* a signal is one row */
    repeat_across(value_at(worker, step->inputs[0], r->image), in.w, step->layer->args[0],
                  padded(in.c, worker->shared->kernels), value_at(worker, step->output, r->image));
}

/* Row-major order of (channels, depth, height, width) kept. */
void gan_i_run_RESHAPE_3D(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    gan_i_run_RESHAPE(worker, step, r);
}
