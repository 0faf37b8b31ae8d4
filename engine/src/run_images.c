/* The steps of generators that take images, other than norms and products: some rows of one image's output,
 * [pixel][channels padded]. */
#include <string.h>

#include "latents.h"
#include "run.h"

/* One value of a step as its rows are walked. */
typedef struct rows_of_value {
    float *data; /* of the image */
    gan_shape shape;
    uint64_t wide; /* floats per pixel */
} rows_of_value;

static rows_of_value rows_of(const gan_worker *worker, uint32_t value, uint32_t image) {
    const gan_shape s = worker->shared->program->values[value].shape;
    return (rows_of_value){value_at(worker, value, image), s, wide_of(worker, value)};
}

static float *pixel_at(const rows_of_value *v, uint64_t y, uint64_t x) {
    return v->data + (y * v->shape.w + x) * v->wide;
}

static const float *constants_of(const gan_worker *worker, const gan_step *step) {
    return worker->shared->program->constants + step->constants;
}

void gan_i_run_PAD(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    const rows_of_value in = rows_of(worker, step->inputs[0], r->image), out = rows_of(worker, step->output, r->image);
    const int64_t size = step->layer->args[0], width = in.shape.w;
    const pad_mode mode = (pad_mode)step->layer->args[1];
    const size_t pixel = sizeof(float) * out.wide, copied = sizeof(float) * (in.wide < out.wide ? in.wide : out.wide);
    for (int64_t y = r->y0; y < r->y1; y++) {
        const int64_t from = source_of(y - size, in.shape.h, mode);
        float *to = pixel_at(&out, (uint64_t)y, 0);
        if (from < 0) {
            memset(to, 0, pixel * out.shape.w);
            continue;
        }
        for (int64_t x = 0; x < out.shape.w; x++) {
            if (x == size && in.wide == out.wide) {
                memcpy(to + size * (int64_t)out.wide, pixel_at(&in, (uint64_t)from, 0), pixel * in.shape.w);
                x += width - 1;
                continue;
            }
            const int64_t across = source_of(x - size, width, mode);
            if (across < 0 || in.wide < out.wide) memset(to + x * (int64_t)out.wide, 0, pixel);
            if (across >= 0)
                memcpy(to + x * (int64_t)out.wide, pixel_at(&in, (uint64_t)from, (uint64_t)across), copied);
        }
    }
}

void gan_i_run_PRELU(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    const rows_of_value in = rows_of(worker, step->inputs[0], r->image), out = rows_of(worker, step->output, r->image);
    worker->shared->kernels->prelu(pixel_at(&in, r->y0, 0), constants_of(worker, step), pixel_at(&out, r->y0, 0),
                                   (ptrdiff_t)(r->y1 - r->y0) * in.shape.w, (ptrdiff_t)in.wide);
}

void gan_i_run_CLAMP(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    const gan_pixel_runs runs = gan_i_pixel_runs(worker, step, r);
    for (uint64_t i = 0; i < runs.count; i++)
        worker->shared->kernels->clamp(runs.from[0] + i * runs.from_step[0], runs.to + i * runs.to_step, runs.n,
                                       step->layer->fargs[0], step->layer->fargs[1]);
}

/* Times `scale` if the mask's number exceeds the threshold, else zero.  The mask's coordinates lie channel by channel. */
void gan_i_run_DROPOUT(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    enum { PIECE = 256 };
    const gan_shared *shared = worker->shared;
    const gan_request *request = shared->request;
    const gan_layer *mask = step->style.plane;
    const rows_of_value in = rows_of(worker, step->inputs[0], r->image), out = rows_of(worker, step->output, r->image);
    const uint64_t i = shared->base + worker->first + r->image, width = in.shape.w;
    const float threshold = step->layer->fargs[0], scale = step->layer->fargs[1];
    const uint32_t least = (uint32_t)(threshold *
                                      (float)LATENT_TABLE); /* of the kept numbers n: (n + 0.5) / 65536 exceeds it */
    uint16_t numbers[PIECE];
    for (uint64_t y = r->y0; y < r->y1; y++) {
        memset(pixel_at(&out, y, 0), 0, sizeof(float) * width * out.wide);
        for (uint64_t c = 0; c < in.shape.c; c++)
            for (uint64_t x = 0, n; x < width; x += n) {
                n = width - x < PIECE ? width - x : PIECE;
                const uint64_t first = (c * in.shape.h + y) * width + x;
                const float *given = request->noise ? request->noise + i * shared->noise + mask->offset + first : NULL,
                            *from = pixel_at(&in, y, x) + c;
                float *to = pixel_at(&out, y, x) + c;
                if (!given) gan_i_numbers(seed_of(request, i), index_of(request, i), mask->args[1], first, n, numbers);
                for (uint64_t k = 0; k < n; k++, from += in.wide, to += in.wide)
                    if (given ? given[k] > threshold : numbers[k] >= least) *to = *from * scale;
            }
    }
}

/* Row `part` of the f rows that a row of pixels becomes.  `f` and `channels` are constants in the common uses. */
static inline void shuffle_row(const uint64_t f, const uint64_t channels, const float *from, uint64_t from_wide,
                               uint64_t width, uint64_t part, float *to, uint64_t wide) {
    from += part * f;
    for (uint64_t x = 0; x < width; x++, from += from_wide)
        for (uint64_t i = 0; i < f; i++, to += wide)
            for (uint64_t c = 0; c < channels; c++) to[c] = from[c * f * f + i];
}

/* Output pixel (y, x), channel c is input pixel (y / f, x / f), channel c f^2 + (y mod f) f + x mod f. */
void gan_i_run_PIXEL_SHUFFLE(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    const rows_of_value in = rows_of(worker, step->inputs[0], r->image), out = rows_of(worker, step->output, r->image);
    const uint64_t f = step->layer->args[0], width = in.shape.w, c = out.shape.c;
    for (uint64_t y = r->y0; y < r->y1; y++) {
        const float *from = pixel_at(&in, y / f, 0);
        float *to = pixel_at(&out, y, 0);
        if (f == 4 && c == 3 && out.wide == 3) shuffle_row(4, 3, from, in.wide, width, y % f, to, 3);
        else if (f == 2 && c == 3 && out.wide == 3) shuffle_row(2, 3, from, in.wide, width, y % f, to, 3);
        else shuffle_row(f, c, from, in.wide, width, y % f, to, out.wide);
    }
}

void gan_i_run_PIXEL_UNSHUFFLE(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    const rows_of_value in = rows_of(worker, step->inputs[0], r->image), out = rows_of(worker, step->output, r->image);
    const uint64_t f = step->layer->args[0], square = f * f;
    for (uint64_t y = r->y0; y < r->y1; y++)
        for (uint64_t x = 0; x < out.shape.w; x++) {
            float *to = pixel_at(&out, y, x);
            for (uint64_t part = 0; part < square; part++) {
                const float *from = pixel_at(&in, y * f + part / f, x * f + part % f);
                for (uint64_t c = 0; c < in.shape.c; c++) to[c * square + part] = from[c];
            }
            memset(to + out.shape.c, 0, sizeof *to * (out.wide - out.shape.c));
        }
}

/* A 3 x 3 filter per channel at every other pixel, the image mirrored by one pixel. */
void gan_i_run_BLUR_DOWN(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    const rows_of_value in = rows_of(worker, step->inputs[0], r->image), out = rows_of(worker, step->output, r->image);
    const float *x_of[9], *weights[9];
    for (uint64_t t = 0; t < 9; t++) weights[t] = constants_of(worker, step) + t * in.wide;
    for (int64_t y = r->y0; y < r->y1; y++)
        for (int64_t x = 0; x < out.shape.w; x++) {
            for (int64_t t = 0; t < 9; t++)
                x_of[t] = pixel_at(&in, (uint64_t)source_of(2 * y - 1 + t / 3, in.shape.h, PAD_REFLECT),
                                   (uint64_t)source_of(2 * x - 1 + t % 3, in.shape.w, PAD_REFLECT));
            worker->shared->kernels->weigh(9, x_of, weights, pixel_at(&out, (uint64_t)y, (uint64_t)x),
                                           (ptrdiff_t)in.wide);
        }
}

/* Input i of the image, whose edge is repeated by one pixel, meets output 2 i + k - 3 + 2 through element k of the
 * 4 x 4 filter: two elements along each dimension, those of the other parity. */
void gan_i_run_BLUR_UP(const gan_worker *worker, const gan_step *step, const gan_rows *r) {
    const rows_of_value in = rows_of(worker, step->inputs[0], r->image), out = rows_of(worker, step->output, r->image);
    const float *x_of[4], *weights[4];
    for (int64_t y = r->y0; y < r->y1; y++)
        for (int64_t x = 0; x < out.shape.w; x++) {
            for (int64_t t = 0; t < 4; t++) {
                const int64_t ky = (y + 1) % 2 + t / 2 * 2, kx = (x + 1) % 2 + t % 2 * 2;
                x_of[t] = pixel_at(&in, (uint64_t)source_of((y + 3 - ky) / 2 - 1, in.shape.h, PAD_REPLICATE),
                                   (uint64_t)source_of((x + 3 - kx) / 2 - 1, in.shape.w, PAD_REPLICATE));
                weights[t] = constants_of(worker, step) + (uint64_t)(ky * 4 + kx) * in.wide;
            }
            worker->shared->kernels->weigh(4, x_of, weights, pixel_at(&out, (uint64_t)y, (uint64_t)x),
                                           (ptrdiff_t)in.wide);
        }
}
