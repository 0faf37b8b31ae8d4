/* The steps that are no products: some rows of one image's output, [pixel][channels padded]. */
#include <string.h>

#include "run.h"

/* Shared locals of the functions below: output row pointers, and floats per output row. */
static uint64_t row_floats(const worker *w, const step *st) {
    const shape s = w->j->s->values[st->output].shape;
    return (s.h ? s.w : 1) * (uint64_t)padded(s.c, w->j->k);
}

static float *rows_to(const worker *w, const step *st, const rows *r) {
    return value_at(w, st->output, r->image) + r->y0 * row_floats(w, st);
}

/* The same rows of an input of the output's shape. */
static const float *rows_of(const worker *w, const step *st, const rows *r, uint32_t input) {
    return value_at(w, st->inputs[input], r->image) + r->y0 * row_floats(w, st);
}

static ptrdiff_t floats_in(const worker *w, const step *st, const rows *r) {
    return (ptrdiff_t)(row_floats(w, st) * (r->y1 - r->y0));
}

void gan_i_run_ACTIVATION(const worker *w, const step *st, const rows *r) {
    w->j->k->activate(rows_of(w, st, r, 0), rows_to(w, st, r), floats_in(w, st, r), st->act);
}

void gan_i_run_SCALE(const worker *w, const step *st, const rows *r) { /* all channels alike: one panel's constants */
    const gan_kernels *k = w->j->k;
    const float *constants = w->j->s->constants + st->constants;
    k->affine(rows_of(w, st, r, 0), constants, constants + k->nr, rows_to(w, st, r), floats_in(w, st, r) / k->nr, k->nr, st->act);
}

void gan_i_run_AFFINE(const worker *w, const step *st, const rows *r) {
    const ptrdiff_t wide = (ptrdiff_t)padded(w->j->s->values[st->output].shape.c, w->j->k);
    const float *constants = w->j->s->constants + st->constants;
    w->j->k->affine(rows_of(w, st, r, 0), constants, constants + wide, rows_to(w, st, r), floats_in(w, st, r) / wide, wide, st->act);
}

void gan_i_run_ADD(const worker *w, const step *st, const rows *r) {
    w->j->k->add(rows_of(w, st, r, 0), rows_of(w, st, r, 1), rows_to(w, st, r), floats_in(w, st, r));
}

void gan_i_run_MULTIPLY(const worker *w, const step *st, const rows *r) {
    w->j->k->multiply(rows_of(w, st, r, 0), rows_of(w, st, r, 1), rows_to(w, st, r), floats_in(w, st, r));
}

void gan_i_run_CONCAT(const worker *w, const step *st, const rows *r) {
    const schedule *s = w->j->s;
    const uint64_t row = row_floats(w, st), wide = padded(s->values[st->output].shape.c, w->j->k);
    const uint64_t pixels = row / wide * (r->y1 - r->y0);
    float *to = rows_to(w, st, r);
    memset(to, 0, sizeof *to * pixels * wide);
    for (uint32_t i = 0; i < st->n_inputs; i++) {
        const uint64_t c = s->values[st->inputs[i]].shape.c, from_wide = padded((uint32_t)c, w->j->k);
        const float *from = value_at(w, st->inputs[i], r->image) + r->y0 * (row / wide) * from_wide;
        for (uint64_t p = 0; p < pixels; p++) memcpy(to + p * wide, from + p * from_wide, sizeof *to * c);
        to += c;
    }
}

void gan_i_run_UPSAMPLE(const worker *w, const step *st, const rows *r) {
    const schedule *s = w->j->s;
    const gan_kernels *k = w->j->k;
    const shape in = s->values[st->inputs[0]].shape;
    const uint64_t wide = padded(in.c, k), in_row = in.w * wide, f = st->layer->args[0];
    const float *from = value_at(w, st->inputs[0], r->image);
    float *to = rows_to(w, st, r);
    for (uint64_t y = r->y0; y < r->y1; y++, to += row_floats(w, st)) {
        const float *line = from + y / f * in_row;
        if (!st->layer->args[1]) {
            for (uint64_t x = 0; x < in.w * f; x++) memcpy(to + x * wide, line + x / f * wide, sizeof *to * wide);
            continue;
        }
        /* half-pixel centers: output o lies at (o + 0.5) / f - 0.5, held within the image */
        const float at = ((float)y + 0.5f) / (float)f - 0.5f, y_at = at > 0 ? at : 0;
        const uint64_t above = (uint64_t)y_at, below = above + 1 < in.h ? above + 1 : above;
        k->lerp(from + above * in_row, from + below * in_row, y_at - (float)above, w->thread_scratch, (ptrdiff_t)in_row);
        for (uint64_t x = 0; x < in.w * f; x++) {
            const float across = ((float)x + 0.5f) / (float)f - 0.5f, x_at = across > 0 ? across : 0;
            const uint64_t left = (uint64_t)x_at, right = left + 1 < in.w ? left + 1 : left;
            k->lerp(w->thread_scratch + left * wide, w->thread_scratch + right * wide, x_at - (float)left, to + x * wide, (ptrdiff_t)wide);
        }
    }
}

/* Row-major order of (channels, height, width) kept: element by element. */
void gan_i_run_RESHAPE(const worker *w, const step *st, const rows *r) {
    const schedule *s = w->j->s;
    const shape in = s->values[st->inputs[0]].shape, out = s->values[st->output].shape;
    const uint64_t pixels = shape_pixels(out), width = out.h ? out.w : 1, in_pixels = shape_pixels(in);
    const uint64_t wide = padded(out.c, w->j->k), in_wide = padded(in.c, w->j->k);
    const float *from = value_at(w, st->inputs[0], r->image);
    float *to = rows_to(w, st, r);
    for (uint64_t p = r->y0 * width; p < r->y1 * width; p++, to += wide) {
        memset(to, 0, sizeof *to * wide);
        for (uint64_t c = 0; c < out.c; c++) {
            const uint64_t flat = c * pixels + p;
            to[c] = from[flat % in_pixels * in_wide + flat / in_pixels];
        }
    }
}

void gan_i_run_CROP(const worker *w, const step *st, const rows *r) {
    const shape in = w->j->s->values[st->inputs[0]].shape;
    const uint64_t wide = padded(in.c, w->j->k), row = row_floats(w, st), top = st->layer->args[0], left = st->layer->args[1];
    float *to = rows_to(w, st, r);
    for (uint64_t y = r->y0; y < r->y1; y++, to += row)
        memcpy(to, value_at(w, st->inputs[0], r->image) + ((y + top) * in.w + left) * wide, sizeof *to * row);
}

void gan_i_run_EMBEDDING(const worker *w, const step *st, const rows *r) {
    const uint64_t length = st->layer->out.c, at = (uint64_t)w->labels[r->image] * length;
    float *to = rows_to(w, st, r);
    for (uint64_t c = 0; c < row_floats(w, st); c++) to[c] = c < length ? gan_i_element(&st->layer->weight, at + c) : 0;
}

void gan_i_run_ONE_HOT(const worker *w, const step *st, const rows *r) {
    float *to = rows_to(w, st, r);
    for (uint64_t c = 0; c < row_floats(w, st); c++) to[c] = c == (uint64_t)w->labels[r->image];
}
