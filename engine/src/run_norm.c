/* Instance norm: each channel of an image by its own mean and variance.  The moments of each row of pixels are taken
 * first, in parts that don't depend on the number of threads, then joined in double; the rows follow. */
#include <math.h>

#include "run.h"

/* [row][2][wide]: mean and squares; then [2][wide]: factors and summands (plan.h, gan_i_moments_floats). */
static float *moments_at(const gan_worker *worker, const gan_step *step, uint32_t image) {
    const gan_shared *shared = worker->shared;
    return worker->transformed + gan_i_moments_floats(shared->program, step, shared->kernels) * image;
}

/* The factors and summands of one panel's channels. */
static void join(const gan_worker *worker, const gan_step *step, uint32_t image, uint32_t panel) {
    const gan_shared *shared = worker->shared;
    const gan_shape s = shared->program->values[step->output].shape;
    const uint64_t wide = padded(s.c, shared->kernels), nr = (uint64_t)shared->kernels->nr;
    const float *constants = shared->program->constants + step->constants + panel * nr;
    float *moments = moments_at(worker, step, image) + panel * nr, *out = moments + 2 * s.h * wide;
    double mean[MAX_NR] = {0}, squares[MAX_NR] = {0};
    for (uint64_t y = 0; y < s.h; y++)
        for (uint64_t n = 0; n < nr; n++) mean[n] += (double)moments[2 * y * wide + n];
    for (uint64_t n = 0; n < nr; n++) mean[n] /= s.h;
    for (uint64_t y = 0; y < s.h; y++)
        for (uint64_t n = 0; n < nr; n++) {
            const double apart = (double)moments[2 * y * wide + n] - mean[n];
            squares[n] += (double)moments[(2 * y + 1) * wide + n] + s.w * apart * apart;
        }
    for (uint64_t n = 0; n < nr; n++) {
        const double deviation = sqrt(squares[n] / (double)shape_pixels(s) + (double)step->layer->fargs[0]);
        const double factor = (double)constants[n] / deviation;
        out[n] = (float)factor;
        out[wide + n] = (float)((double)constants[wide + n] - mean[n] * factor);
    }
}

void gan_i_run_moments(gan_worker *worker, const gan_step *step) {
    const gan_shared *shared = worker->shared;
    const gan_shape s = shared->program->values[step->output].shape;
    const uint64_t wide = padded(s.c, shared->kernels), panels = wide / (uint64_t)shared->kernels->nr;
    for (gan_rows r; gan_i_take_rows(worker, step->output, 1, &r);)
        for (uint64_t y = r.y0; y < r.y1; y++) {
            float *to = moments_at(worker, step, r.image) + 2 * y * wide;
            shared->kernels->moments(value_at(worker, step->inputs[0], r.image) + y * s.w * wide, s.w, (ptrdiff_t)wide,
                                     to, to + wide);
        }
    gan_i_group_barrier(&worker->cursor);
    for (uint64_t n; gan_i_group_take(&worker->cursor, worker->images * panels, &n);)
        join(worker, step, (uint32_t)(n / panels), (uint32_t)(n % panels));
    gan_i_group_barrier(&worker->cursor);
}

void gan_i_run_INSTANCE_NORM(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    const gan_shape s = worker->shared->program->values[step->output].shape;
    const uint64_t wide = padded(s.c, worker->shared->kernels), from = r->y0 * s.w * wide;
    const float *constants = moments_at(worker, step, r->image) + 2 * s.h * wide;
    worker->shared->kernels->affine(value_at(worker, step->inputs[0], r->image) + from, constants, constants + wide,
                                    value_at(worker, step->output, r->image) + from,
                                    (ptrdiff_t)((r->y1 - r->y0) * (uint64_t)s.w), (ptrdiff_t)wide, step->act);
}
