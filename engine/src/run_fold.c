/* A convolution with few output channels: each input pixel times every kernel element of every output channel in
 * one product, then folded: product (ky, kx) of pixel (y, x) belongs to output (s y + ky - pad, s x + kx - pad), and of a
 * volume product (kz, ky, kx) likewise. */
#include <string.h>

#include "run.h"

/* Write a finished row of outputs, [x][channel]; `y` is its number among the rows of all slices. */
static void emit(const gan_worker *worker, const gan_step *step, uint32_t image, int32_t y, float *row, int last) {
    const gan_conv *conv = &step->conv;
    const gan_kernels *kernels = worker->shared->kernels;
    const int64_t nc = conv->out.c, n = nc * conv->out.w;
    if (step->act.kind == ACT_PRELU) {
        for (int64_t i = 0; i < n; i++) row[i] = row[i] < 0 ? row[i] * step->act.slopes[i % nc] : row[i];
    } else kernels->activate(row, row, n, step->act);
    if (!last) {
        const int64_t wide = padded(conv->out.c, kernels);
        float *to = value_at(worker, step->output, image) + (int64_t)y * conv->out.w * wide;
        for (int64_t x = 0; x < conv->out.w; x++, to += wide) {
            for (int64_t i = 0; i < nc; i++) to[i] = row[x * nc + i];
            for (int64_t i = nc; i < wide; i++) to[i] = 0;
        }
        return;
    }
    gan_i_put_row(&worker->shared->out, kernels, worker->first + image, (uint64_t)y, row, (uint64_t)nc);
}

/* The products of one row of input pixels in 16 bits: products[x][columns]. */
static void multiply_int16(const gan_worker *worker, const gan_step *step, uint32_t image, int64_t row,
                           const packed_units *weights, int64_t columns, float *products) {
    const gan_conv *conv = &step->conv;
    const gan_kernels *kernels = worker->shared->kernels;
    const int64_t nr = kernels->nr, width = conv->in.w, wide = (int64_t)round_up(conv->in.c, KBLOCK);
    int16_t *packed = (int16_t *)(void *)(products + width * columns), *to = packed;
    int64_t tiles = (width + kernels->mr - 1) / kernels->mr;
    for (int64_t x = 0; x < width; tiles--) {
        const int m = next_part(width - x, tiles);
        for (int64_t i = 0; i < m; i++, x++) {
            for (uint32_t n = 0, c = 0; n < step_pieces(step); n++) {
                const uint32_t value = step_piece(step, n), channels = worker->shared->program->values[value].shape.c;
                const int64_t in_c = (int64_t)wide_of(worker, value);
                const float *from = value_at(worker, value, image) + (row * width + x) * in_c;
                if (row + 1 < (int64_t)shape_rows(conv->in)) /* the pixel below */
                    fetch_to_read(from + width * in_c, 1, 0, channels);
                kernels->to_int16(from, weights->in_scales[0], to + c * m + i * KBLOCK, m * KBLOCK,
                                  (int64_t)round_up(channels, KBLOCK));
                c += channels;
            }
        }
        to += m * wide;
    }
    const gan_packed_rows rows = {NULL, packed, width, wide};
    for (int64_t first = 0; first < columns; first += nr) {
        const gan_panel panel = {NULL, weights->int16 + first * wide, weights->scales + first,
                                 panel_columns((uint32_t)fold_columns(conv), first / nr, kernels)};
        gan_i_multiply_packed(kernels, &rows, &panel, products + first, columns, 0);
    }
}

/* products[x][first .. first+nr-1] (+)= the products of one value's pixels, row `row` of all its slices. */
static void multiply_value(const gan_worker *worker, const gan_conv *conv, uint32_t value, uint32_t image, int64_t row,
                           const float *weights, int64_t columns, int64_t first, int accumulate, float *products) {
    const gan_kernels *kernels = worker->shared->kernels;
    const int64_t nr = kernels->nr, in_c = (int64_t)wide_of(worker, value), width = conv->in.w,
                  tiles = (width + kernels->mr - 1) / kernels->mr;
    const uint32_t channels = worker->shared->program->values[value].shape.c;
    const float *from = value_at(worker, value, image) + row * width * in_c;
    const int used = panel_columns((uint32_t)fold_columns(conv), first / nr, kernels);
    for (uint32_t k0 = 0; k0 < channels; k0 += SLICE) {
        const ptrdiff_t depth = channels - k0 < SLICE ? (ptrdiff_t)(channels - k0) : (ptrdiff_t)SLICE;
        for (int64_t n = 0, x = 0; n < tiles; n++) {
            const int m = next_part(width - x, tiles - n);
            const float *a[MAX_MR];
            float *to[MAX_MR];
            for (int i = 0; i < m; i++, x++) {
                a[i] = from + x * in_c + k0;
                to[i] = products + x * columns + first;
                /* the next tile's first inputs; gemm prefetches the rest */
                __builtin_prefetch(a[i] + m * in_c, 0, 3);
                __builtin_prefetch(a[i] + m * in_c + KBLOCK, 0, 3);
            }
            kernels->gemm(m, used, depth, a, KBLOCK, weights, to, accumulate || k0, weights, 0);
        }
        weights += depth * nr;
    }
}

/* What fold reads: a step's weights, in floats or in 16 bits. */
typedef struct fold_weights {
    gan_method method;
    const float *packed;
} fold_weights;

/* products[x][columns] for one row of input pixels. */
static void multiply(const gan_worker *worker, const gan_step *step, uint32_t image, int64_t row, fold_weights of,
                     int64_t columns, float *products) {
    const gan_program *program = worker->shared->program;
    const int64_t nr = worker->shared->kernels->nr;
    const float *weights = of.packed;
    if (of.method == METHOD_FOLD_INT16) {
        const packed_units units = packed_units_of(&step->conv, of.method, worker->shared->kernels, of.packed);
        multiply_int16(worker, step, image, row, &units, columns, products);
        return;
    }
    for (int64_t first = 0; first < columns; first += nr)
        for (uint32_t m = 0; m < step_pieces(step); m++) {
            const uint32_t value = step_piece(step, m);
            multiply_value(worker, &step->conv, value, image, row, weights, columns, first, m > 0, products);
            weights += program->values[value].shape.c * nr;
        }
}

/* Fill `to` with `n` floats: the `period` floats at `from`, again and again, by copies that double. */
static void repeat(const float *from, int64_t period, float *to, int64_t n) {
    memcpy(to, from, sizeof *to * (size_t)period);
    for (int64_t done = period, part; done < n; done += part) {
        part = done < n - done ? done : n - done;
        memcpy(to + done, to, sizeof *to * (size_t)part);
    }
}

/* The sums of a convolution while it is folded: rows that begin `pad` pixels before the output's. */
typedef struct fold_sums {
    int32_t stride, kernel; /* `kernel`: rows or slices in progress */
    int64_t columns, line, spacing; /* floats of a pixel's products and of a row of sums; pixels that don't overlap */
} fold_sums;

static fold_sums sums_of(const gan_conv *conv, const gan_kernels *kernels) {
    const int32_t stride = (int32_t)conv->out_stride, wide = (int32_t)conv->kw;
    return (fold_sums){stride, (int32_t)(conv->dims > 2 ? conv->kd : conv->kh),
                       (int64_t)round_up(fold_columns(conv), (uint64_t)kernels->nr),
                       ((int64_t)(conv->in.w - 1) * stride + wide) * conv->out.c, (wide + stride - 1) / stride};
}

/* Floats of a row of inputs in 16 bits, which lie behind its products. */
static uint64_t narrow_floats(const gan_conv *conv, gan_method method) {
    return method == METHOD_FOLD_INT16 ? conv->in.w * round_up(conv->in.c, KBLOCK) / 2 : 0;
}

/* The row of kernel elements `part` of a row of pixels, added to a row of sums.  Pixels `spacing` apart don't overlap: a
 * store is never loaded again at once. */
static void add_part(const gan_worker *worker, const gan_conv *conv, const fold_sums *of, const float *products,
                     int64_t part, float *sums) {
    const int64_t n = (int64_t)conv->kw * conv->out.c;
    for (int64_t g = 0; g < of->spacing && g < conv->in.w; g++)
        worker->shared->kernels->add_rows(products + g * of->columns + part * n, of->spacing * of->columns,
                                          sums + g * of->stride * conv->out.c, of->spacing * of->stride * conv->out.c,
                                          (conv->in.w - g + of->spacing - 1) / of->spacing, n);
}

/* Those inputs of `in` that reach the outputs from .. to-1, first and last. */
static void inputs_of(const fold_sums *of, int32_t pad, uint32_t in, int32_t from, int32_t to, int32_t *first,
                      int32_t *last) {
    *first = ceil_div(from + pad - of->kernel + 1, of->stride), *last = floor_div(to - 1 + pad, of->stride);
    *first = *first > 0 ? *first : 0;
    *last = *last < (int32_t)in - 1 ? *last : (int32_t)in - 1;
}

/* Output rows y0 .. y1-1 of an image. */
static void run_band(gan_worker *worker, const gan_step *step, fold_weights weights, uint32_t image, int32_t y0,
                     int32_t y1, int last) {
    const gan_conv *conv = &step->conv;
    const gan_kernels *kernels = worker->shared->kernels;
    const fold_sums of = sums_of(conv, kernels);
    const int64_t nc = conv->out.c, line = of.line;
    const int32_t kernel = of.kernel, stride = of.stride;
    float *products = worker->thread_scratch, /* sums: the `kernel` output rows in progress */
        *sums = products + conv->in.w * of.columns + narrow_floats(conv, weights.method);
    const float *bias = worker->shared->program->constants + step->constants;
    int32_t from, to;
    inputs_of(&of, conv->pad_y, conv->in.h, y0, y1, &from, &to);
    for (int32_t iy = from; iy <= to; iy++) {
        const int32_t fresh = iy == from ? kernel : stride;
        repeat(bias, nc, sums + (kernel - fresh) * line, fresh * line);
        multiply(worker, step, image, iy, weights, of.columns, products);
        for (int32_t ky = 0; ky < kernel; ky++) add_part(worker, conv, &of, products, ky, sums + ky * line);
        const int32_t done = iy == to ? kernel : stride;
        for (int32_t i = 0; i < done; i++) {
            const int32_t y = stride * iy + i - conv->pad_y;
            if (y >= y0 && y < y1) emit(worker, step, image, y, sums + i * line + conv->pad * nc, last);
        }
        if (iy < to) memmove(sums, sums + stride * line, sizeof *sums * (size_t)((kernel - stride) * line));
    }
}

/* Output slices z0 .. z1-1 of a volume.  Slice s of the sums lies in place s mod `kernel`. */
static void run_slices(gan_worker *worker, const gan_step *step, fold_weights weights, uint32_t image, int32_t z0,
                       int32_t z1, int last) {
    const gan_conv *conv = &step->conv;
    const gan_kernels *kernels = worker->shared->kernels;
    const fold_sums of = sums_of(conv, kernels);
    const int32_t kernel = of.kernel, stride = of.stride, rows = (int32_t)conv->kh;
    const int64_t plane = of.line * ((int64_t)(conv->in.h - 1) * stride + rows);
    float *products = worker->thread_scratch, *sums = products + conv->in.w * of.columns;
    const float *bias = worker->shared->program->constants + step->constants;
    int32_t from, to;
    inputs_of(&of, conv->pad_z, conv->in.d, z0, z1, &from, &to);
    for (int32_t iz = from; iz <= to; iz++) {
        for (int32_t kz = iz == from ? 0 : kernel - stride; kz < kernel; kz++)
            repeat(bias, conv->out.c, sums + (stride * iz + kz) % kernel * plane, plane);
        for (int64_t iy = 0; iy < conv->in.h; iy++) {
            multiply(worker, step, image, iz * (int64_t)conv->in.h + iy, weights, of.columns, products);
            for (int32_t kz = 0; kz < kernel; kz++) {
                float *lines = sums + (stride * iz + kz) % kernel * plane + stride * iy * of.line;
                for (int32_t ky = 0; ky < rows; ky++)
                    add_part(worker, conv, &of, products, kz * rows + ky, lines + ky * of.line);
            }
        }
        for (int32_t i = 0; i < (iz == to ? kernel : stride); i++) {
            const int32_t z = stride * iz + i - conv->pad_z;
            float *slice = sums + (stride * iz + i) % kernel * plane;
            for (int32_t y = 0; y < (int32_t)conv->out.h && z >= z0 && z < z1; y++)
                emit(worker, step, image, z * (int32_t)conv->out.h + y,
                     slice + (y + conv->pad_y) * of.line + conv->pad * (int64_t)conv->out.c, last);
        }
    }
}

uint64_t gan_i_fold_floats(const gan_conv *conv, gan_method method, const gan_kernels *kernels) {
    const fold_sums of = sums_of(conv, kernels);
    const uint64_t lines = conv->dims > 2 ? (conv->in.h - 1) * (uint64_t)conv->out_stride + conv->kh : 1;
    return conv->in.w * (uint64_t)of.columns + narrow_floats(conv, method) +
           (uint64_t)of.kernel * lines * (uint64_t)of.line;
}

void gan_i_run_fold(gan_worker *worker, const gan_step *step, gan_method method, const float *packed, int last) {
    const fold_weights weights = {method, packed};
    const int volume = step->conv.dims > 2;
    const uint32_t size = (uint32_t)worker->cursor.group->size;
    const uint32_t sides = volume ? step->conv.out.d : step->conv.out.h,
                   kernel = volume ? step->conv.kd : step->conv.kh;
    const uint32_t wanted = size == 1 || worker->images >= 4 * size ? 1
                                                                    : (4 * size + worker->images - 1) / worker->images;
    /* a band reads up to one kernel's rows or slices of inputs again */
    const uint32_t max_bands = sides / (4 * kernel) ? sides / (4 * kernel) : 1,
                   bands = wanted < max_bands ? wanted : max_bands;
    for (uint64_t n; gan_i_group_take(&worker->cursor, (uint64_t)worker->images * bands, &n);) {
        const uint32_t image = (uint32_t)(n / bands), band = (uint32_t)(n % bands);
        (volume ? run_slices : run_band)(worker, step, weights, image, (int32_t)((uint64_t)sides * band / bands),
                                         (int32_t)((uint64_t)sides * (band + 1) / bands), last);
    }
    gan_i_group_barrier(&worker->cursor);
}
