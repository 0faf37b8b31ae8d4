#include "run.h"

#include <string.h>

#include "latents.h"

/* ---- the steps that are no convolution: one picture's rows at a time, [pixel][channels padded] ---- */

typedef struct rows {
    uint32_t image, y0, y1;
} rows;

/* The next share of the rows of a value; 0 when there is none left. */
static int take_rows(worker *w, uint32_t v, rows *r) {
    const shape s = w->j->s->values[v].shape;
    const uint32_t h = s.h ? s.h : 1, wanted = 4 * (uint32_t)w->place.crew->size;
    const uint32_t spread = w->images >= wanted ? 1 : (wanted + w->images - 1) / w->images, parts = spread < h ? spread : h;
    uint64_t n;
    if (!gan_i_crew_take(&w->place, (uint64_t)w->images * parts, &n)) return 0;
    const uint32_t part = (uint32_t)(n % parts);
    *r = (rows){(uint32_t)(n / parts), (uint32_t)((uint64_t)h * part / parts), (uint32_t)((uint64_t)h * (part + 1) / parts)};
    return 1;
}

static uint32_t width_of(shape s) { return s.h ? s.w : 1; }

static void concat(worker *w, const step *st, rows r, uint64_t row) {
    const schedule *s = w->j->s;
    const uint64_t wide = padded(s->values[st->output].shape.c, w->j->k), pixels = row / wide * (r.y1 - r.y0);
    float *to = value_at(w, st->output, r.image) + r.y0 * row;
    memset(to, 0, sizeof *to * pixels * wide);
    for (uint32_t i = 0; i < st->n_inputs; i++) {
        const uint64_t c = s->values[st->inputs[i]].shape.c, from_wide = padded((uint32_t)c, w->j->k);
        const float *from = value_at(w, st->inputs[i], r.image) + r.y0 * (row / wide) * from_wide;
        for (uint64_t p = 0; p < pixels; p++) memcpy(to + p * wide, from + p * from_wide, sizeof *to * c);
        to += c;
    }
}

static void upsample(worker *w, const step *st, rows r, uint64_t row) {
    const schedule *s = w->j->s;
    const gan_kernels *k = w->j->k;
    const shape in = s->values[st->inputs[0]].shape;
    const uint64_t wide = padded(in.c, k), in_row = in.w * wide, f = st->layer->args[0];
    const float *from = value_at(w, st->inputs[0], r.image);
    for (uint64_t y = r.y0; y < r.y1; y++) {
        float *to = value_at(w, st->output, r.image) + y * row;
        const float *line = from + y / f * in_row;
        if (!st->layer->args[1]) {
            for (uint64_t x = 0; x < in.w * f; x++) memcpy(to + x * wide, line + x / f * wide, sizeof *to * wide);
            continue;
        }
        /* half-pixel centres: output o lies at (o + 0.5) / f - 0.5, held within the picture */
        const float at = ((float)y + 0.5f) / (float)f - 0.5f, y_at = at > 0 ? at : 0;
        const uint64_t above = (uint64_t)y_at, below = above + 1 < in.h ? above + 1 : above;
        k->mix(from + above * in_row, from + below * in_row, y_at - (float)above, w->own, (ptrdiff_t)in_row);
        for (uint64_t x = 0; x < in.w * f; x++) {
            const float across = ((float)x + 0.5f) / (float)f - 0.5f, x_at = across > 0 ? across : 0;
            const uint64_t left = (uint64_t)x_at, right = left + 1 < in.w ? left + 1 : left;
            k->mix(w->own + left * wide, w->own + right * wide, x_at - (float)left, to + x * wide, (ptrdiff_t)wide);
        }
    }
}

/* Row-major order of (channels, height, width) kept: element by element. */
static void reshape(worker *w, const step *st, rows r, uint64_t row) {
    const schedule *s = w->j->s;
    const shape in = s->values[st->inputs[0]].shape, out = s->values[st->output].shape;
    const uint64_t pixels = shape_pixels(out), width = width_of(out), in_pixels = shape_pixels(in);
    const uint64_t wide = padded(out.c, w->j->k), in_wide = padded(in.c, w->j->k);
    const float *from = value_at(w, st->inputs[0], r.image);
    float *to = value_at(w, st->output, r.image) + r.y0 * row;
    for (uint64_t p = r.y0 * width; p < r.y1 * width; p++, to += wide) {
        memset(to, 0, sizeof *to * wide);
        for (uint64_t c = 0; c < out.c; c++) {
            const uint64_t flat = c * pixels + p;
            to[c] = from[flat % in_pixels * in_wide + flat / in_pixels];
        }
    }
}

void gan_i_run_plain(worker *w, const step *st) {
    const schedule *s = w->j->s;
    const gan_kernels *k = w->j->k;
    const shape out = s->values[st->output].shape;
    const uint64_t wide = padded(out.c, k), row = width_of(out) * wide;
    for (rows r; take_rows(w, st->output, &r);) {
        float *to = value_at(w, st->output, r.image) + r.y0 * row;
        const ptrdiff_t n = (ptrdiff_t)(row * (r.y1 - r.y0));
        const int label = st->inputs[0] == VALUE_LABEL;
        const float *a = label ? NULL : value_at(w, st->inputs[0], r.image) + r.y0 * row;
        const float *constants = s->constants + st->constants;
        switch (st->kind) {
        case STEP_AFFINE:
            if (st->layer->op == OP_ACTIVATION) k->activate(a, to, n, st->act);
            else if (st->layer->op == OP_SCALE) k->affine(a, constants, constants + k->nr, to, n / k->nr, k->nr, st->act);
            else k->affine(a, constants, constants + wide, to, n / (ptrdiff_t)wide, (ptrdiff_t)wide, st->act);
            break;
        case STEP_ADD:
            k->add(a, value_at(w, st->inputs[1], r.image) + r.y0 * row, to, n);
            break;
        case STEP_MULTIPLY:
            k->multiply(a, value_at(w, st->inputs[1], r.image) + r.y0 * row, to, n);
            break;
        case STEP_CONCAT:
            concat(w, st, r, row);
            break;
        case STEP_UPSAMPLE:
            upsample(w, st, r, row);
            break;
        case STEP_RESHAPE:
            reshape(w, st, r, row);
            break;
        case STEP_CROP: {
            const uint64_t in_width = s->values[st->inputs[0]].shape.w, top = st->layer->args[0], left = st->layer->args[1];
            for (uint64_t y = r.y0; y < r.y1; y++, to += row)
                memcpy(to, value_at(w, st->inputs[0], r.image) + ((y + top) * in_width + left) * wide, sizeof *to * row);
            break;
        }
        case STEP_EMBEDDING:
            for (uint64_t c = 0; c < wide; c++)
                to[c] = c < out.c ? gan_i_element(&st->layer->weight, st->layer->dtype,
                                                  (uint64_t)w->labels[r.image] * out.c + c) : 0;
            break;
        default: /* STEP_ONE_HOT */
            for (uint64_t c = 0; c < wide; c++) to[c] = c == (uint64_t)w->labels[r.image];
        }
    }
    gan_i_crew_barrier(&w->place);
}

/* ---- the ends ---- */

/* Latents and labels of the chunk. */
static void begin(worker *w) {
    const job *j = w->j;
    const gan_request *q = j->request;
    const uint64_t wide = padded(j->nz, j->k);
    for (uint64_t n; gan_i_crew_take(&w->place, w->images, &n);) {
        const uint64_t at = w->first + n, index = q->start + at;
        float *z = value_at(w, VALUE_Z, (uint32_t)n);
        if (q->latents) memcpy(z, q->latents + at * j->nz, sizeof *z * j->nz);
        else gan_i_latent(j->table, q->seed, index, j->nz, z);
        memset(z + j->nz, 0, sizeof *z * (wide - j->nz));
        if (!j->classes) continue;
        w->labels[n] = q->labels                       ? q->labels[at]
                       : q->label == GAN_LABEL_RANDOM ? gan_i_label(q->seed, index, j->classes)
                       : q->label == GAN_LABEL_ALL    ? (int64_t)(index % j->classes)
                                                      : q->label;
    }
    gan_i_crew_barrier(&w->place);
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
    gan_i_crew_barrier(&w->place);
}

void gan_i_run_chunk(worker *w) {
    const schedule *s = w->j->s;
    begin(w);
    for (uint32_t i = 0; i < s->n_steps; i++) {
        const step *st = &s->steps[i];
        const form f = w->j->forms[i];
        const int last = i + 1 == s->n_steps;
        if (st->kind != STEP_CONV) gan_i_run_plain(w, st);
        else if (f == FORM_DIRECT) gan_i_run_direct(w, st, w->j->packed[i]);
        else if (f == FORM_FOLD) gan_i_run_fold(w, st, w->j->packed[i], last);
        else gan_i_run_toom(w, st, f, w->j->packed[i]);
        if (last && !(st->kind == STEP_CONV && f == FORM_FOLD)) end(w, s->n_values - 1);
    }
}
