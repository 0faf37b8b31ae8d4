/* The steps that are no products: some rows of one image's output, [pixel][channels padded]. */
#include <string.h>

#include "run.h"

enum { AHEAD = 8 /* pixels that memory is fetched before they are written */ };

/* Shared locals of the functions below: output row pointers, and floats per output row. */
static uint64_t row_floats(const gan_worker *worker, const gan_step *step) {
    const gan_shape s = worker->shared->program->values[step->output].shape;
    return (s.h ? s.w : 1) * (uint64_t)wide_of(worker, step->output);
}

static float *rows_to(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    return value_at(worker, step->output, r->image) + r->y0 * row_floats(worker, step);
}

/* The same rows of an input of the output's shape. */
static const float *rows_of(const gan_worker *worker, const gan_step *step, const gan_rows *r, uint32_t input) {
    return value_at(worker, step->inputs[input], r->image) + r->y0 * row_floats(worker, step);
}

static ptrdiff_t floats_in(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    return (ptrdiff_t)(row_floats(worker, step) * (r->y1 - r->y0));
}

gan_pixel_runs gan_i_pixel_runs(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    const gan_shape s = worker->shared->program->values[step->output].shape;
    const uint64_t width = s.h ? s.w : 1, pixels = width * (r->y1 - r->y0), first = width * r->y0;
    gan_pixel_runs runs = {.to_step = wide_of(worker, step->output), .count = pixels, .n = s.c};
    int alike = runs.to_step <= padded(s.c, worker->shared->kernels);
    runs.to = value_at(worker, step->output, r->image) + first * runs.to_step;
    for (uint32_t i = 0; i < step->n_inputs; i++) {
        runs.from_step[i] = wide_of(worker, step->inputs[i]);
        runs.from[i] = value_at(worker, step->inputs[i], r->image) + first * runs.from_step[i];
        alike &= runs.from_step[i] == runs.to_step;
    }
    if (alike) runs.n = (ptrdiff_t)(pixels * runs.to_step), runs.count = 1;
    return runs;
}

void gan_i_run_ACTIVATION(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    const gan_pixel_runs runs = gan_i_pixel_runs(worker, step, r);
    for (uint64_t i = 0; i < runs.count; i++)
        worker->shared->kernels->activate(runs.from[0] + i * runs.from_step[0], runs.to + i * runs.to_step, runs.n,
                                          step->act);
}

void gan_i_run_SCALE(const gan_worker *worker, const gan_step *step,
                     const gan_rows *r) { /* all channels alike: one panel's constants */
    const gan_kernels *kernels = worker->shared->kernels;
    const float *constants = worker->shared->program->constants + step->constants;
    kernels->affine(rows_of(worker, step, r, 0), constants, constants + kernels->nr, rows_to(worker, step, r),
                    floats_in(worker, step, r) / kernels->nr, kernels->nr, step->act);
}

void gan_i_run_AFFINE(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    const ptrdiff_t wide = (ptrdiff_t)padded(worker->shared->program->values[step->output].shape.c,
                                             worker->shared->kernels);
    const float *constants = worker->shared->program->constants + step->constants;
    worker->shared->kernels->affine(rows_of(worker, step, r, 0), constants, constants + wide, rows_to(worker, step, r),
                                    floats_in(worker, step, r) / wide, wide, step->act);
}

void gan_i_run_MULTIPLY(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    const gan_pixel_runs runs = gan_i_pixel_runs(worker, step, r);
    for (uint64_t i = 0; i < runs.count; i++)
        worker->shared->kernels->multiply(runs.from[0] + i * runs.from_step[0], runs.from[1] + i * runs.from_step[1],
                                          runs.to + i * runs.to_step, runs.n);
}

void gan_i_run_CONCAT(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    const gan_program *program = worker->shared->program;
    const uint64_t row = row_floats(worker, step),
                   wide = padded(program->values[step->output].shape.c, worker->shared->kernels);
    const uint64_t pixels = row / wide * (r->y1 - r->y0);
    float *to = rows_to(worker, step, r);
    memset(to, 0, sizeof *to * pixels * wide);
    for (uint32_t i = 0; i < step->n_inputs; i++) {
        const uint64_t c = program->values[step->inputs[i]].shape.c,
                       from_wide = padded((uint32_t)c, worker->shared->kernels);
        const float *from = value_at(worker, step->inputs[i], r->image) + r->y0 * (row / wide) * from_wide;
        for (uint64_t p = 0; p < pixels; p++) memcpy(to + p * wide, from + p * from_wide, sizeof *to * c);
        to += c;
    }
}

/* A row of an image that is enlarged, to which a row of another value may be added. */
typedef struct enlarging {
    const float *from, *other; /* the image's pixels; the row to add, or NULL */
    float *to, *scratch; /* the row; as much memory */
    gan_shape in;
    uint64_t factor, width; /* `width`: pixels of a row that is made */
    uint64_t in_wide, other_wide, wide; /* floats per pixel */
} enlarging;

/* `first`: whether no row lies before this one. */
static void enlarge_nearest(const gan_kernels *kernels, const enlarging *e, uint64_t y, int first) {
    const uint64_t f = e->factor, channels = e->in.c, wide = e->wide, row = e->width * wide;
    float *pixel = e->other ? e->scratch : e->to;
    if (first || y % f == 0) {
        const float *from = e->from + y / f * e->in.w * e->in_wide;
        for (uint64_t x = 0; x < e->in.w; x++, from += e->in_wide)
            for (uint64_t i = 0; i < f; i++, pixel += wide)
                for (uint64_t c = 0; c < channels; c++) pixel[c] = from[c];
    } else if (!e->other) { /* the same as the row above */
        memcpy(e->to, e->to - row, sizeof *e->to * row);
    }
    if (!e->other) return;
    const int alike = e->other_wide == wide; /* one run for the row */
    const uint64_t runs = alike ? 1 : e->width, n = alike ? row : channels;
    for (uint64_t x = 0; x < runs; x++)
        kernels->add(e->scratch + x * wide, 1, e->other + x * e->other_wide, e->to + x * wide, (ptrdiff_t)n);
}

/* Half-pixel centers: output o lies at (o + 0.5) / f - 0.5, held within the image. */
static void enlarge_bilinear(const gan_kernels *kernels, const enlarging *e, uint64_t y) {
    const float f = (float)e->factor, at = ((float)y + 0.5f) / f - 0.5f, y_at = at > 0 ? at : 0;
    const uint64_t in_row = e->in.w * e->in_wide, above = (uint64_t)y_at,
                   below = above + 1 < e->in.h ? above + 1 : above;
    const ptrdiff_t channels = e->in.c;
    float *row = e->scratch, *pixel = row + in_row, *to = e->to;
    kernels->lerp(e->from + above * in_row, e->from + below * in_row, y_at - (float)above, row, (ptrdiff_t)in_row);
    for (uint64_t x = 0; x < e->width; x++, to += e->wide) {
        const float across = ((float)x + 0.5f) / f - 0.5f, x_at = across > 0 ? across : 0;
        const uint64_t left = (uint64_t)x_at, right = left + 1 < e->in.w ? left + 1 : left;
        fetch_to_write(to + AHEAD * e->wide, 1, 0, channels);
        kernels->lerp(row + left * e->in_wide, row + right * e->in_wide, x_at - (float)left, e->other ? pixel : to,
                      channels);
        if (e->other) kernels->add(pixel, 1, e->other + x * e->other_wide, to, channels);
    }
}

/* Rows of an upsampling by `layer` of the step's first input, and if there is a second one of the sum of both. */
static void enlarge(const gan_worker *worker, const gan_step *step, const gan_layer *layer, const gan_rows *r) {
    const gan_value *values = worker->shared->program->values;
    const int sum = step->n_inputs > 1;
    enlarging e = {.from = value_at(worker, step->inputs[0], r->image),
                   .to = rows_to(worker, step, r),
                   .scratch = worker->thread_scratch,
                   .in = values[step->inputs[0]].shape,
                   .factor = layer->args[0],
                   .width = values[step->output].shape.w,
                   .in_wide = wide_of(worker, step->inputs[0]),
                   .other_wide = sum ? wide_of(worker, step->inputs[1]) : 0,
                   .wide = wide_of(worker, step->output)};
    if (sum) e.other = value_at(worker, step->inputs[1], r->image) + r->y0 * e.width * e.other_wide;
    for (uint64_t y = r->y0; y < r->y1; y++) {
        if (layer->args[1]) enlarge_bilinear(worker->shared->kernels, &e, y);
        else enlarge_nearest(worker->shared->kernels, &e, y, y == r->y0);
        e.to += e.width * e.wide;
        if (sum) e.other += e.width * e.other_wide;
    }
}

void gan_i_run_UPSAMPLE(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    enlarge(worker, step, step->layer, r);
}

void gan_i_run_ADD(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    if (step->enlarged) {
        enlarge(worker, step, step->enlarged, r);
        return;
    }
    const gan_pixel_runs runs = gan_i_pixel_runs(worker, step, r);
    for (uint64_t i = 0; i < runs.count; i++)
        worker->shared->kernels->add(runs.from[0] + i * runs.from_step[0], step->factor,
                                     runs.from[1] + i * runs.from_step[1], runs.to + i * runs.to_step, runs.n);
}

/* Row-major order of (channels, height, width) kept: element by element. */
void gan_i_run_RESHAPE(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    const gan_program *program = worker->shared->program;
    const gan_shape in = program->values[step->inputs[0]].shape, out = program->values[step->output].shape;
    const uint64_t pixels = shape_pixels(out), width = out.h ? out.w : 1, in_pixels = shape_pixels(in);
    const uint64_t wide = padded(out.c, worker->shared->kernels), in_wide = padded(in.c, worker->shared->kernels);
    const float *from = value_at(worker, step->inputs[0], r->image);
    float *to = rows_to(worker, step, r);
    for (uint64_t p = r->y0 * width; p < r->y1 * width; p++, to += wide) {
        memset(to, 0, sizeof *to * wide);
        for (uint64_t c = 0; c < out.c; c++) {
            const uint64_t flat = c * pixels + p;
            to[c] = from[flat % in_pixels * in_wide + flat / in_pixels];
        }
    }
}

void gan_i_run_CROP(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    const gan_shape in = worker->shared->program->values[step->inputs[0]].shape;
    const uint64_t wide = padded(in.c, worker->shared->kernels), row = row_floats(worker, step),
                   top = step->layer->args[0], left = step->layer->args[1];
    float *to = rows_to(worker, step, r);
    for (uint64_t y = r->y0; y < r->y1; y++, to += row)
        memcpy(to, value_at(worker, step->inputs[0], r->image) + ((y + top) * in.w + left) * wide, sizeof *to * row);
}

void gan_i_run_EMBEDDING(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    const uint64_t length = step->layer->out.c, at = (uint64_t)worker->labels[r->image] * length;
    float *to = rows_to(worker, step, r);
    for (uint64_t c = 0; c < row_floats(worker, step); c++)
        to[c] = c < length ? gan_i_element(&step->layer->weight, at + c) : 0;
}

void gan_i_run_ONE_HOT(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    float *to = rows_to(worker, step, r);
    for (uint64_t c = 0; c < row_floats(worker, step); c++) to[c] = c == (uint64_t)worker->labels[r->image];
}
