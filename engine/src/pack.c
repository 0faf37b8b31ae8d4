#include "pack.h"

#include <string.h>

#include "kernels/points.h"
#include "plan.h"

const char *const GAN_I_METHOD_NAMES[METHOD_COUNT] = {[METHOD_DIRECT] = "direct",
                                                      [METHOD_FOLD] = "fold",
                                                      [METHOD_STRASSEN] = "strassen",
                                                      [METHOD_TOOM3] = "toom3",
                                                      [METHOD_TOOM4] = "toom4",
                                                      [METHOD_TOOM5] = "toom5",
                                                      [METHOD_WINOGRAD] = "winograd",
                                                      [METHOD_WINOGRAD_SMALL] = "winograd3",
                                                      [METHOD_TOOM3_INT16] = "toom3/16",
                                                      [METHOD_TOOM5_INT16] = "toom5/16",
                                                      [METHOD_WINOGRAD_INT16] = "winograd/16",
                                                      [METHOD_DIRECT_INT16] = "direct/16",
                                                      [METHOD_FOLD_INT16] = "fold/16",
                                                      [METHOD_WINOGRAD_SMALL_INT16] = "winograd3/16",
                                                      [METHOD_TOOM4_INT16] = "toom4/16"};

const float GAN_I_METHOD_ERRORS[METHOD_COUNT] = {2e-6f, 2e-6f, 5e-6f, 6e-6f, 3e-6f, 1e-5f, 1.5e-5f, 4e-6f,
                                                 4e-3f, 7e-3f, 1e-2f, 2e-3f, 2e-3f, 6e-3f, 4e-3f};

/* Strassen's own seven products.  Each quarter of the outputs but the last is first written by a product. */
const strassen_product GAN_I_STRASSEN[STRASSEN_PRODUCTS] = {
    {{1, 0, 0, 1}, {1, 0, 0, 1}, 0, 0, {0, 0, 0, 1}, -1},  {{0, 0, 1, 1}, {1, 0, 0, 0}, 2, 0, {0, 0, 0, -1}, -1},
    {{1, 0, 0, 0}, {0, 1, 0, -1}, 1, 0, {0, 0, 0, 1}, -1}, {{0, 0, 0, 1}, {-1, 0, 1, 0}, -1, 0, {1, 0, 1, 0}, 2},
    {{1, 1, 0, 0}, {0, 0, 0, 1}, -1, 0, {-1, 1, 0, 0}, 1}, {{-1, 0, 1, 0}, {1, 1, 0, 0}, 3, 1, {0}, 3},
    {{0, 1, 0, -1}, {0, 0, 1, 1}, 0, 1, {0}, 0},
};

float gan_i_error_of_points(uint32_t points) {
    return GAN_I_METHOD_ERRORS[points < 3 ? METHOD_DIRECT : points < MAX_TOOM ? METHOD_TOOM3 : METHOD_TOOM5];
}

/* Whether every output along a dimension has an input's worth of kernel over it, whether or not that input exists. */
static int is_covered(const gan_conv *conv, uint32_t in, uint32_t out, uint32_t kernel, int32_t pad) {
    return (int64_t)out + pad <= ((int64_t)in - 1) * conv->out_stride + kernel;
}

int gan_i_method_fits(const gan_conv *conv, gan_method method) {
    if (method == METHOD_DIRECT) return 1;
    if (method == METHOD_DIRECT_INT16)
        return conv->int16 >> method & 1 && (gan_i_blocks_fit_int16(conv) || gan_i_direct_fits_int16(conv));
    if (method_is_int16(method)) return conv->int16 >> method & 1 && gan_i_method_fits(conv, method_in_floats(method));
    if (conv->in_stride == 2 && method_is_winograd(method))
        return conv->dims == 2 && (conv->kw == 3 || conv->kw == 4) && 4ull * conv->in.c <= MAX_WINOGRAD &&
               conv->out.h >= 2 && conv->out.w >= 2;
    if (conv->in_stride != 1 || conv->pixel_bias || conv->pad < 0 || method == METHOD_WINOGRAD_SMALL) return 0;
    /* slices that are multiplied, or summed, whole take memory of a thread's own */
    if (conv->dims > 2 && (uint64_t)conv->in.h * conv->in.w > MAX_SLICE) return 0;
    if (conv->dims > 2 && !is_covered(conv, shape_depth(conv->in), shape_depth(conv->out), conv->kd, conv->pad_z))
        return 0;
    if (method == METHOD_WINOGRAD)
        return conv->kw == 3 && conv->kh == 3 && conv->out_stride == 1 &&
               (uint64_t)conv->kd * conv->in.c <= MAX_WINOGRAD && conv->out.h >= 2 && conv->out.w >= 2;
    if (method == METHOD_STRASSEN)
        return conv_elements(conv) == 1 && conv->out_stride == 1 && conv->pad == 0 && conv->in.c % (2 * KBLOCK) == 0 &&
               conv->out.c % (2 * MAX_NR) == 0;
    const uint32_t stride = conv->out_stride;
    if (!is_covered(conv, conv->in.h, conv->out.h, conv->kh, conv->pad_y) ||
        !is_covered(conv, conv->in.w, conv->out.w, conv->kw, conv->pad))
        return 0;
    if (method == METHOD_FOLD) return conv->kw >= stride && fold_columns(conv) <= 1024;
    const int32_t taps = (int32_t)conv_taps(conv, conv->kw), tile = method_points(method) + 1 - taps;
    const uint64_t points = (uint64_t)method_points(method),
                   grown = points * points * conv->out_stride * conv->out_stride;
    return conv->kh == conv->kw && taps >= 2 && tile >= 2 && conv->in.h >= 2 && conv->in.w >= 2 && stride <= 4 &&
           grown * conv->kd <= (uint64_t)MAX_GROWTH * conv->layer_kernel * conv->layer_kernel *
                                   (conv->dims > 2 ? conv->layer_kernel : 1);
}

uint64_t gan_i_method_floats(const gan_conv *conv, gan_method method, const gan_kernels *kernels) {
    const uint64_t in = conv->in.c, out = padded(conv->out.c, kernels), points = (uint64_t)conv_points(conv, method),
                   slices = method_is_winograd(method) ? winograd_slices(conv) : conv->kd,
                   columns = round_up(fold_columns(conv), (uint64_t)kernels->nr);
    if (method == METHOD_DIRECT) return in * out * conv_elements(conv);
    if (method == METHOD_STRASSEN) return in * out / 4 * STRASSEN_PRODUCTS;
    if (method == METHOD_FOLD) return in * columns;
    if (method == METHOD_FOLD_INT16)
        return gan_i_int16_parts(conv, method, kernels).weights + round_up(in, KBLOCK) * columns / 2;
    if (method_is_int16(method))
        return gan_i_int16_parts(conv, method, kernels).weights +
               slices * round_up(int16_inputs(conv, method), KBLOCK) * out * int16_sets(conv, method) *
                   conv->out_stride * conv->out_stride / 2;
    return in * out * points * points * conv->out_stride * conv->out_stride * slices;
}

uint64_t gan_i_pack_scratch(const gan_conv *conv, gan_method method, const gan_kernels *kernels) {
    const uint64_t slices = method_is_winograd(method) ? winograd_slices(conv) : 1, nr = (uint64_t)kernels->nr;
    const int whole = method_is_fold(method) || method == METHOD_STRASSEN; /* all channels at once, not a panel */
    const uint64_t panel = method_is_int16(method) ? slices * int16_sets(conv, method) * int16_inputs(conv, method) * nr
                                                   : 0;
    return panel + conv_elements(conv) * conv->in.c * (whole ? conv->out.c : nr);
}

/* Some of a step's output channels. */
typedef struct channels {
    uint64_t first, count;
} channels;

/* Where element `kk` of a convolution's kernel stands in the equivalent transposed one, along a dimension of `side`
 * elements; for the phase `rho` of `factor`, that of the upsampling that is folded in (1 for none). */
static int32_t element_at(const gan_conv *conv, int32_t factor, int32_t rho, int32_t side, int32_t kk) {
    if (factor > 1) return rho - factor * floor_div(rho - conv->layer_pad + kk, factor) + conv->pad;
    return conv->in_stride == 1 ? side - 1 - kk : kk; /* reversed */
}

/* The kernel of a convolution, (out, in, kz, ky, kx), as to_dense has it: one that takes an upsampling in has each
 * element once for each phase. */
static void to_dense_conv(const gan_step *step, channels of, float *dense) {
    const gan_conv *conv = &step->conv;
    const uint64_t in = conv->in.c, n = of.count;
    const int32_t side = (int32_t)step->layer->args[2], f = (int32_t)conv->upsampled;
    const int32_t sides[3] = {conv->dims > 2 ? side : 1, conv->dims > 1 ? side : 1, side};
    const int32_t factors[3] = {conv->dims > 2 ? f : 1, conv->dims > 1 ? f : 1, f};
    const int32_t elements = sides[0] * sides[1] * sides[2];
    memset(dense, 0, sizeof *dense * conv_elements(conv) * in * n);
    for (int32_t rho = 0; rho < factors[0] * factors[1] * factors[2]; rho++)
        for (int32_t e = 0; e < elements; e++) {
            const int32_t z = element_at(conv, factors[0], rho / (f * factors[1]), sides[0], e / (side * sides[1]));
            const int32_t y = element_at(conv, factors[1], rho / f % factors[1], sides[1], e / side % sides[1]);
            const int32_t x = element_at(conv, f, rho % f, side, e % side);
            float *to = dense + (((uint64_t)z * conv->kh + (uint64_t)y) * conv->kw + (uint64_t)x) * in * n;
            for (uint64_t o = 0; o < n; o++)
                for (uint64_t i = 0; i < in; i++)
                    to[i * n + o] += gan_i_element(&step->layer->weight,
                                                   ((of.first + o) * in + i) * (uint64_t)elements + (uint64_t)e);
        }
}

/* dense[kz][ky][kx][in][of.count], the kernel of the equivalent transposed convolution. */
static void to_dense(const gan_step *step, channels of, float *dense) {
    const gan_conv *conv = &step->conv;
    const gan_layer *layer = step->layer;
    const uint64_t in = conv->in.c, out = conv->out.c, elements = conv_elements(conv), n = of.count;
    const gan_tensor *tensor = &layer->weight;
    if (layer->op == OP_LINEAR) { /* feature (out, z, y, x) of an image, row-major */
        for (uint64_t o = 0; o < n; o++)
            for (uint64_t p = 0; p < elements; p++)
                for (uint64_t i = 0; i < in; i++)
                    dense[(p * in + i) * n + o] = gan_i_element(tensor, ((of.first + o) * elements + p) * in + i);
    } else if (conv_is_transposed(layer->op)) { /* (in, out, kz, ky, kx) */
        for (uint64_t i = 0; i < in; i++)
            for (uint64_t o = 0; o < n; o++)
                for (uint64_t p = 0; p < elements; p++)
                    dense[(p * in + i) * n + o] = gan_i_element(tensor, (i * out + of.first + o) * elements + p);
    } else {
        to_dense_conv(step, of, dense);
    }
}

/* g[point][tap]: the filter's polynomial with coefficients by tap, evaluated. */
static void filter_matrix(int points, int taps, double g[WINOGRAD][MAX_TOOM]) {
    for (int p = 0; p < points; p++) {
        double power = 1;
        for (int t = 0; t < taps; t++) {
            g[p][t] = p == points - 1 ? (t == taps - 1) : power;
            if (p < points - 1) power *= (double)TOOM_POINTS[points - 3][p];
        }
    }
}

/* The same of Winograd's points: the polynomial over the product of the point's distances from the others.  The kernel
 * of stride 1 lies as a transposed convolution has it, from the last tap to the first. */
static void winograd_matrix(int points, int taps, double g[WINOGRAD][MAX_TOOM]) {
    const double *at = points == WINOGRAD ? WINOGRAD_POINTS : points == WINOGRAD_SMALL ? SMALL_POINTS : HALVED_POINTS;
    for (int p = 0; p < points; p++) {
        double power = 1, apart = 1;
        for (int q = 0; q < points - 1 && p < points - 1; q++) apart *= q == p ? 1 : at[p] - at[q];
        for (int t = 0; t < taps; t++) {
            g[p][points == WINOGRAD ? taps - 1 - t : t] = p < points - 1 ? power / apart : t == taps - 1;
            if (p < points - 1) power *= at[p];
        }
    }
}

void gan_i_winograd_weights(const float kernel[9], float values[WINOGRAD * WINOGRAD]) {
    double g[WINOGRAD][MAX_TOOM];
    winograd_matrix(WINOGRAD, 3, g);
    for (int p = 0; p < WINOGRAD * WINOGRAD; p++) {
        double sum = 0;
        for (int t = 0; t < 9; t++) /* the matrix is that of the reversed kernel */
            sum += g[p / WINOGRAD][2 - t / 3] * g[p % WINOGRAD][2 - t % 3] * (double)kernel[t];
        values[p] = (float)sum;
    }
}

/* One phase of the rows and columns of a kernel's slice, and one panel of its output channels. */
typedef struct phase_panel {
    uint32_t py, px;
    uint64_t width, nr; /* channels in it, and with those that pad it */
} phase_panel;

/* The panel of one slice of the kernel, every point, `point_step` floats apart.  The inner loop runs over the panel's
 * channels. */
static void toom_panel(const gan_conv *conv, gan_method method, const float *dense, const phase_panel *of,
                       uint64_t point_step, float *to) {
    const uint64_t in = conv->in.c, stride = conv->out_stride * conv->in_stride, width = of->width;
    const int points = conv_points(conv, method), taps = (int)((conv->kh + stride - 1) / stride);
    double g[WINOGRAD][MAX_TOOM];
    if (method_is_winograd(method)) winograd_matrix(points, taps, g);
    else filter_matrix(points, taps, g);
    for (uint64_t i = 0; i < in; i++) {
        for (int p = 0; p < points * points; p++) {
            double sum[MAX_NR] = {0};
            for (int ty = 0; ty < taps; ty++) {
                for (int tx = 0; tx < taps; tx++) {
                    const uint64_t ky = stride * (uint64_t)ty + of->py, kx = stride * (uint64_t)tx + of->px;
                    const double factor = g[p / points][ty] * g[p % points][tx];
                    if (ky >= conv->kh || kx >= conv->kw || factor == 0) continue;
                    const float *from = dense + ((ky * conv->kw + kx) * in + i) * width;
                    for (uint64_t n = 0; n < width; n++) sum[n] += factor * from[n];
                }
            }
            float *row = to + (uint64_t)p * point_step + i * of->nr;
            for (uint64_t n = 0; n < of->nr; n++) row[n] = (float)sum[n];
        }
    }
}

/* The elements of the kernel that multiply a slice of Winograd's inputs: with stride 2, those of even or odd rows and
 * columns, otherwise all of the phase's. */
static phase_panel part_of_slice(const gan_conv *conv, phase_panel phase, uint32_t slice) {
    return conv->in_stride == 2 ? (phase_panel){slice / 2, slice % 2, phase.width, phase.nr} : phase;
}

/* The same of the direct method, every tap. */
static void direct_panel(const gan_conv *conv, const float *dense, const phase_panel *of, float *to) {
    const uint32_t stride = conv->out_stride;
    for (uint32_t ky = of->py; ky < conv->kh; ky += stride) {
        for (uint32_t kx = of->px; kx < conv->kw; kx += stride) {
            const float *from = dense + ((uint64_t)ky * conv->kw + kx) * conv->in.c * of->width;
            for (uint32_t i = 0; i < conv->in.c; i++, to += of->nr, from += of->width) {
                memset(to, 0, sizeof *to * of->nr);
                memcpy(to, from, sizeof *to * of->width);
            }
        }
    }
}

static void pack_fold(const gan_conv *conv, gan_method method, const gan_kernels *kernels, float *dense, float *to) {
    const uint64_t in = conv->in.c, out = conv->out.c, nr = (uint64_t)kernels->nr, columns = fold_columns(conv);
    const int16_parts parts = gan_i_int16_parts(conv, method, kernels);
    for (uint64_t first = 0; first < columns; first += nr) {
        float *panel = method == METHOD_FOLD ? to + first * in : dense + columns * in;
        for (uint64_t i = 0; i < in; i++) {
            for (uint64_t n = 0; n < nr; n++) {
                const uint64_t column = first + n;
                panel[i * nr + n] = column < columns ? dense[(column / out * in + i) * out + column % out] : 0;
            }
        }
        if (method == METHOD_FOLD_INT16)
            gan_i_to_int16(panel, 1, 1, in, nr, to, to + parts.scales + first,
                           (int16_t *)(void *)(to + parts.weights) + first * round_up(in, KBLOCK));
    }
}

/* `dense`: all of the kernel's channels. */
static void pack_strassen(const gan_conv *conv, const gan_kernels *kernels, const float *dense, float *to) {
    const uint64_t nr = (uint64_t)kernels->nr, in = conv->in.c / 2, out = conv->out.c / 2;
    for (uint64_t p = 0; p < STRASSEN_PRODUCTS; p++)
        for (uint64_t first = 0; first < out; first += nr)
            for (uint64_t i = 0; i < in; i++)
                for (uint64_t n = first; n < first + nr; n++) {
                    float sum = 0;
                    for (uint64_t part = 0; part < STRASSEN_PARTS; part++)
                        sum += (float)GAN_I_STRASSEN[p].weights[part] *
                               dense[(part / 2 * in + i) * 2 * out + part % 2 * out + n];
                    *to++ = sum;
                }
}

/* Pack the slices of a kernel that one phase of the depth uses, for one panel, to the phase's first float `to`. */
static void pack_phase(const gan_conv *conv, gan_method method, const float *dense, uint32_t pz, uint64_t panel,
                       uint64_t panels, uint64_t width, uint64_t nr, float *to) {
    const int points = conv_points(conv, method);
    const uint32_t stride = conv->out_stride,
                   slices = conv->in_stride == 2 && points ? winograd_slices(conv) : phase_taps(conv, conv->kd, pz);
    const uint64_t in = conv->in.c, kernel_slice = (uint64_t)conv->kh * conv->kw * in * width;
    for (uint32_t py = 0; py < stride; py++) {
        for (uint32_t px = 0; px < stride; px++) {
            const phase_panel of = {py, px, width, nr};
            const uint64_t taps = (uint64_t)phase_taps(conv, conv->kh, py) * phase_taps(conv, conv->kw, px);
            const uint64_t slice = (method == METHOD_DIRECT ? taps : (uint64_t)(points * points)) * in * nr;
            float *own = to + panel * slice * slices;
            for (uint32_t t = 0; t < slices; t++) {
                const phase_panel part = part_of_slice(conv, of, t);
                const float *from = conv->kd > 1 ? dense + (uint64_t)(stride * t + pz) * kernel_slice : dense;
                if (method == METHOD_DIRECT) direct_panel(conv, from, &of, own + t * slice);
                else toom_panel(conv, method, from, &part, slices * in * nr, own + t * in * nr);
            }
            to += panels * slice * slices;
        }
    }
}

/* The same of every phase in 16 bits: gan_i_int16_methods are those of images, whose kernels have one slice. */
static void pack_int16(const gan_conv *conv, gan_method method, const gan_kernels *kernels, float *dense,
                       uint64_t panel, uint64_t width, float *to) {
    const uint64_t in = int16_inputs(conv, method), nr = (uint64_t)kernels->nr,
                   panels = padded(conv->out.c, kernels) / nr;
    const uint32_t stride = conv->out_stride;
    const uint64_t sets = int16_sets(conv, method), all = sets * nr,
                   slices = method_is_winograd(method) ? winograd_slices(conv) : 1;
    const int16_parts parts = gan_i_int16_parts(conv, method, kernels);
    float *floats = dense + conv_elements(conv) * conv->in.c * nr;
    for (uint32_t phase = 0; phase < stride * stride; phase++) {
        const phase_panel of = {phase / stride, phase % stride, width, nr};
        const uint64_t unit = phase * panels + panel;
        const uint64_t taps = (uint64_t)phase_taps(conv, conv->kh, of.py) * phase_taps(conv, conv->kw, of.px),
                       own = method_points(method) || taps > sets ? sets : taps;
        for (uint32_t t = 0; t < slices; t++) {
            const phase_panel part = part_of_slice(conv, of, t);
            if (method_points(method)) toom_panel(conv, method, dense, &part, slices * in * nr, floats + t * in * nr);
            else direct_panel(conv, dense, &of, floats);
        }
        gan_i_to_int16(floats, (int)own, slices, in, nr, to, to + parts.scales + unit * all,
                       (int16_t *)(void *)(to + parts.weights) + unit * all * slices * round_up(in, KBLOCK));
    }
}

void gan_i_pack(const gan_step *step, gan_method method, const gan_kernels *kernels, float *dense, float *to) {
    const gan_conv *conv = &step->conv;
    const uint64_t out = conv->out.c, nr = (uint64_t)kernels->nr, panels = padded(conv->out.c, kernels) / nr;
    const int sets = method_is_int16(method) ? (int)int16_sets(conv, method) : 0;
    for (int p = 0; p < sets; p++) to[p] = gan_i_int16_scale(step, method, p);
    if (method_is_fold(method) || method == METHOD_STRASSEN) {
        to_dense(step, (channels){0, out}, dense);
        if (method == METHOD_STRASSEN) pack_strassen(conv, kernels, dense, to);
        else pack_fold(conv, method, kernels, dense, to);
        return;
    }
    /* floats that one slice of the kernel takes in all phases of its rows and columns */
    const uint64_t per_slice = gan_i_method_floats(conv, method, kernels) / conv->kd;
    for (uint64_t panel = 0; panel < panels; panel++) {
        const uint64_t first = panel * nr, width = out - first < nr ? out - first : nr;
        to_dense(step, (channels){first, width}, dense);
        if (method_is_int16(method)) {
            pack_int16(conv, method, kernels, dense, panel, width, to);
            continue;
        }
        for (uint32_t pz = 0; pz < conv->out_stride; pz++)
            pack_phase(conv, method, dense, pz, panel, panels, width, nr,
                       to + taps_before(conv, conv->kd, pz) * per_slice);
    }
}
