/* The steps of style-based generators: some rows of one image's output, [pixel][channels padded]. */
#include <math.h>
#include <string.h>

#include "latents.h"
#include "run.h"

static gan_shape shape_of(const gan_worker *worker, uint32_t value) {
    return worker->shared->program->values[value].shape;
}

static const float *constants_of(const gan_worker *worker, const gan_step *step) {
    return worker->shared->program->constants + step->constants;
}

/* x / sqrt(mean of x^2 over the channels + eps), pixel by pixel. */
void gan_i_run_PIXEL_NORM(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    enum { PARTS = 16 }; /* sums side by side */
    const gan_shape s = shape_of(worker, step->output);
    const uint64_t wide = wide_of(worker, step->output), width = s.h ? s.w : 1;
    const float *from = value_at(worker, step->inputs[0], r->image);
    float *to = value_at(worker, step->output, r->image);
    for (uint64_t p = r->y0 * width; p < r->y1 * width; p++) {
        const float *x = from + p * wide;
        float *y = to + p * wide, sums[PARTS] = {0};
        double sum = 0;
        uint64_t c = 0;
        for (; c + PARTS <= s.c; c += PARTS)
            for (int i = 0; i < PARTS; i++) sums[i] += x[c + (uint64_t)i] * x[c + (uint64_t)i];
        for (; c < s.c; c++) sum += (double)x[c] * (double)x[c];
        for (int i = 0; i < PARTS; i++) sum += (double)sums[i];
        const float factor = (float)(1 / sqrt(sum / s.c + (double)step->layer->fargs[0]));
        for (c = 0; c < wide; c++) y[c] = x[c] * factor;
    }
}

/* 1 / sqrt(Q s^2 + eps): a product with the squares of the style. */
void gan_i_run_DEMODULATE(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    const gan_kernels *kernels = worker->shared->kernels;
    const uint64_t in = step->layer->args[0], wide = wide_of(worker, step->output), nr = (uint64_t)kernels->nr;
    const float *style = value_at(worker, step->inputs[0], r->image), eps = step->layer->fargs[0];
    float *squares = worker->thread_scratch, *to = value_at(worker, step->output, r->image);
    for (uint64_t i = 0; i < in; i++) squares[i] = style[i] * style[i];
    for (uint64_t c = 0; c < wide; c += nr) {
        const float *panel = constants_of(worker, step) + c * in;
        for (uint64_t k = 0; k < in; k += SLICE) {
            const uint64_t count = in - k < SLICE ? in - k : SLICE;
            const float *a[] = {squares + k};
            float *sums[] = {to + c};
            kernels->gemm(1, (int)nr, (ptrdiff_t)count, a, KBLOCK, panel + k * nr, sums, k > 0, panel + k * nr, 0);
        }
        for (uint64_t n = c; n < c + nr; n++) to[n] = 1 / sqrtf(to[n] + eps);
    }
}

void gan_i_run_MODULATED_CONSTANT(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    const gan_shape s = shape_of(worker, step->output);
    const uint64_t wide = wide_of(worker, step->output), from = r->y0 * s.w * wide;
    const float *constants = constants_of(worker, step), *zeros = constants + shape_pixels(s) * wide;
    worker->shared->kernels->affine(constants + from, value_at(worker, step->inputs[0], r->image), zeros,
                                    value_at(worker, step->output, r->image) + from,
                                    (ptrdiff_t)((r->y1 - r->y0) * (uint64_t)s.w), (ptrdiff_t)wide,
                                    (activation){.kind = ACT_NONE});
}

/* center + psi (w - center) */
void gan_i_run_TRUNCATE(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    const float psi = *value_at(worker, step->inputs[1], r->image);
    worker->shared->kernels->lerp(constants_of(worker, step), value_at(worker, step->inputs[0], r->image), psi,
                                  value_at(worker, step->output, r->image), (ptrdiff_t)wide_of(worker, step->output));
}

/* A scalar of the request, or rows of noise: the request's, or those of the seed. */
void gan_i_run_given(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    const gan_shared *shared = worker->shared;
    const gan_request *request = shared->request;
    const uint32_t *g = step->layer->args; /* its kind, the stream */
    const uint64_t offset = step->layer->offset;
    const gan_shape s = shape_of(worker, step->output);
    const uint64_t wide = wide_of(worker, step->output), i = shared->base + worker->first + r->image;
    for (uint64_t y = r->y0; y < r->y1; y++) {
        float *to = value_at(worker, step->output, r->image) + y * wide;
        const uint64_t first = y * s.c;
        if (g[0] == GIVEN_SCALAR) *to = request->scalars ? request->scalars[i * shared->scalars + offset] : 1;
        else if (request->noise) memcpy(to, request->noise + i * shared->noise + offset + first, sizeof *to * s.c);
        else gan_i_noise(shared->table, seed_of(request, i), index_of(request, i), g[1], first, s.c, to);
        memset(to + s.c, 0, sizeof *to * (wide - s.c));
    }
}

void gan_i_run_ROW(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    const uint64_t wide = wide_of(worker, step->output);
    memcpy(value_at(worker, step->output, r->image),
           value_at(worker, step->inputs[0], r->image) + step->layer->args[0] * wide, sizeof(float) * wide);
}

void gan_i_run_ROWS(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    const uint64_t wide = wide_of(worker, step->output);
    float *to = value_at(worker, step->output, r->image);
    for (uint32_t i = 0; i < step->n_inputs; i++)
        memcpy(to + i * wide, value_at(worker, step->inputs[i], r->image), sizeof *to * wide);
}

void gan_i_run_CHANNELS(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    const gan_shape s = shape_of(worker, step->output);
    const uint64_t wide = wide_of(worker, step->output), in_wide = wide_of(worker, step->inputs[0]),
                   width = s.h ? s.w : 1;
    const float *from = value_at(worker, step->inputs[0], r->image) + step->layer->args[0];
    float *to = value_at(worker, step->output, r->image);
    for (uint64_t p = r->y0 * width; p < r->y1 * width; p++) {
        memcpy(to + p * wide, from + p * in_wide, sizeof *to * s.c);
        memset(to + p * wide + s.c, 0, sizeof *to * (wide - s.c));
    }
}

/* ---- filters per channel ---- */

/* Row `y` by columns into a row with the padding's zeros, then by rows. */
static void filter_row(const gan_worker *worker, const gan_step *step, uint32_t image, int64_t y, float *to) {
    const gan_kernels *kernels = worker->shared->kernels;
    const gan_layer *filter = step->style.filter;
    const gan_shape in = shape_of(worker, step->inputs[0]), out = shape_of(worker, step->output);
    const int64_t side = filter->args[2], pad = filter->args[4], wide = (int64_t)wide_of(worker, step->output),
                  row = in.w * wide;
    const float *from = value_at(worker, step->inputs[0], image), *taps = constants_of(worker, step), *x[MAX_FILTER];
    const int64_t first = y < pad ? pad - y : 0, below = in.h + pad - y, end = below < side ? below : side;
    float *line = worker->thread_scratch; /* in.w + 2 pad = out.w + side - 1 pixels */
    memset(line, 0, sizeof *line * (size_t)(pad * wide));
    memset(line + pad * wide + row, 0, sizeof *line * (size_t)(pad * wide));
    int n = 0;
    for (int64_t k = first; k < end; k++) x[n++] = from + (y + k - pad) * row;
    kernels->fir(n, x, taps + (n ? first : 0), line + pad * wide, row);
    for (int64_t k = 0; k < side; k++) x[k] = line + k * wide;
    kernels->fir((int)side, x, taps + MAX_FILTER, to, out.w * wide);
}

/* The same of filters that are no such product, or differ by channel. */
static void weigh_row(const gan_worker *worker, const gan_step *step, uint32_t image, int64_t y, float *to) {
    const gan_layer *filter = step->style.filter;
    const gan_shape in = shape_of(worker, step->inputs[0]), out = shape_of(worker, step->output);
    const int64_t side = filter->args[2], pad = filter->args[4], wide = (int64_t)wide_of(worker, step->output);
    const float *from = value_at(worker, step->inputs[0], image), *taps = constants_of(worker, step);
    const float *x_of[MAX_FILTER * MAX_FILTER], *weights[MAX_FILTER * MAX_FILTER];
    for (int64_t x = 0; x < out.w; x++) {
        int n = 0;
        for (int64_t ky = 0; ky < side; ky++)
            for (int64_t kx = 0; kx < side; kx++) {
                const int64_t iy = y + ky - pad, ix = x + kx - pad;
                if (iy < 0 || ix < 0 || iy >= in.h || ix >= in.w) continue;
                x_of[n] = from + (iy * in.w + ix) * wide;
                weights[n++] = taps + (ky * side + kx) * wide;
            }
        worker->shared->kernels->weigh(n, x_of, weights, to + x * wide, wide);
    }
}

void gan_i_run_GROUPED_CONV_TRANSPOSE(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    const uint32_t *g = step->layer->args; /* in, out, kernel, groups, stride, padding */
    const gan_shape in = shape_of(worker, step->inputs[0]), out = shape_of(worker, step->output);
    const int64_t side = g[2], stride = g[4], pad = g[5], wide = (int64_t)wide_of(worker, step->output);
    const float *from = value_at(worker, step->inputs[0], r->image), *taps = constants_of(worker, step);
    const float *x_of[MAX_FILTER * MAX_FILTER], *weights[MAX_FILTER * MAX_FILTER];
    float *to = value_at(worker, step->output, r->image) + (int64_t)r->y0 * out.w * wide;
    for (int64_t y = r->y0; y < r->y1; y++)
        for (int64_t x = 0; x < out.w; x++, to += wide) {
            int n = 0;
            for (int64_t ky = (y + pad) % stride; ky < side; ky += stride)
                for (int64_t kx = (x + pad) % stride; kx < side; kx += stride) {
                    const int64_t iy = (y + pad - ky) / stride, ix = (x + pad - kx) / stride;
                    if (y + pad < ky || x + pad < kx || iy >= in.h || ix >= in.w) continue;
                    x_of[n] = from + (iy * in.w + ix) * wide;
                    weights[n++] = taps + (ky * side + kx) * wide;
                }
            worker->shared->kernels->weigh(n, x_of, weights, to, wide);
        }
}

/* ---- what lies between two convolutions ---- */

static void run_styled(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    const gan_style *style = &step->style;
    const gan_shape s = shape_of(worker, step->output);
    const uint64_t wide = wide_of(worker, step->output), row = s.w * wide;
    const gan_styled at = gan_i_styled_constants(worker->shared->program, worker->shared->kernels, step);
    const float *constants = constants_of(worker, step);
    const float *scale = style->scale ? value_at(worker, step->inputs[style->scale], r->image) : constants + at.scale;
    const float *shift = style->shift ? value_at(worker, step->inputs[style->shift], r->image) : constants + at.shift;
    const int bare = !style->scale && !style->shift && !style->bias && !style->plane && step->act.kind == ACT_NONE &&
                     style->low == -INFINITY && style->high == INFINITY;
    const uint64_t noise_wide = style->noise ? wide_of(worker, step->inputs[style->noise]) : 0;
    float *noise = worker->thread_scratch + row + (style->filter ? (style->filter->args[2] - 1) * wide : 0); /* behind
        what a filter needs */
    const int finished = gan_i_groups_finish(step);
    if (style->grouped) gan_i_run_groups(worker, step, r, finished ? shift : NULL);
    if (finished || (bare && style->grouped)) return;
    for (uint32_t y = r->y0; y < r->y1; y++) {
        float *to = value_at(worker, step->output, r->image) + y * row;
        const float *from = to, *plane = style->plane ? constants + at.plane + (style->noise ? 0 : y * s.w) : NULL;
        if (!style->filter) from = value_at(worker, step->inputs[0], r->image) + y * row;
        else if (style->separable) filter_row(worker, step, r->image, (int64_t)y, to);
        else if (!style->grouped) weigh_row(worker, step, r->image, (int64_t)y, to);
        if (bare) continue;
        if (style->noise) {
            const float *of = value_at(worker, step->inputs[style->noise], r->image) + y * noise_wide;
            worker->shared->kernels->fir(1, &of, plane, noise, (ptrdiff_t)noise_wide);
            plane = noise;
        }
        worker->shared->kernels->styled(from, scale, shift, plane, to, s.w, (ptrdiff_t)wide, step->act, style->low,
                                        style->high);
    }
}

void gan_i_run_SCALE_CHANNELS(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    run_styled(worker, step, r);
}

void gan_i_run_SHIFT_CHANNELS(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    run_styled(worker, step, r);
}

void gan_i_run_CHANNEL_BIAS(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    run_styled(worker, step, r);
}

void gan_i_run_ADD_PLANE(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    run_styled(worker, step, r);
}

void gan_i_run_ADD_NOISE(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    run_styled(worker, step, r);
}

void gan_i_run_GROUPED_CONV(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    run_styled(worker, step, r);
}
