#include "pack.h"

#include <string.h>

#include "kernels/points.h"

const float GAN_I_METHOD_ERRORS[METHOD_COUNT] = {2e-6f, 2e-6f, 6e-6f, 3e-6f, 1e-5f, 1.5e-5f};

float gan_i_error_of_points(uint32_t points) {
    return GAN_I_METHOD_ERRORS[points < 3 ? METHOD_DIRECT : points < MAX_TOOM ? METHOD_TOOM3 : METHOD_TOOM5];
}

int gan_i_method_fits(const gan_conv *conv, gan_method method) {
    if (method == METHOD_DIRECT) return 1;
    if (conv->in_stride != 1 || conv->pixel_bias || conv->kh != conv->kw || conv->pad < 0) return 0;
    if (method == METHOD_WINOGRAD)
        return conv->kh == 3 && conv->out_stride == 1 && conv->in.c <= MAX_WINOGRAD && conv->out.h >= 2 &&
               conv->out.w >= 2;
    const int32_t stride = (int32_t)conv->out_stride, side = (int32_t)conv->kh;
    /* every output has an input pixel's worth of kernel over it, whether or not that pixel exists */
    if ((int32_t)conv->out.h + conv->pad > ((int32_t)conv->in.h - 1) * stride + side) return 0;
    if ((int32_t)conv->out.w + conv->pad > ((int32_t)conv->in.w - 1) * stride + side) return 0;
    if (method == METHOD_FOLD) return side >= stride && (uint64_t)side * (uint64_t)side * conv->out.c <= 1024;
    const int32_t taps = (int32_t)conv_taps(conv, conv->kh), tile = method_points(method) + 1 - taps;
    const uint64_t points = (uint64_t)method_points(method),
                   grown = points * points * conv->out_stride * conv->out_stride;
    return taps >= 2 && tile >= 2 && conv->in.h >= 2 && conv->in.w >= 2 && conv->out_stride <= 4 &&
           grown <= (uint64_t)MAX_GROWTH * conv->layer_kernel * conv->layer_kernel;
}

static uint64_t fold_columns(const gan_conv *conv, const gan_kernels *kernels) {
    return round_up((uint64_t)conv->kh * conv->kw * conv->out.c, (uint64_t)kernels->nr);
}

uint64_t gan_i_method_floats(const gan_conv *conv, gan_method method, const gan_kernels *kernels) {
    const uint64_t in = conv->in.c, out = padded(conv->out.c, kernels), points = (uint64_t)method_points(method);
    if (method == METHOD_DIRECT) return in * out * conv->kh * conv->kw;
    if (method == METHOD_FOLD) return in * fold_columns(conv, kernels);
    return in * out * points * points * conv->out_stride * conv->out_stride;
}

uint64_t gan_i_pack_scratch(const gan_conv *conv, gan_method method, const gan_kernels *kernels) {
    return (uint64_t)conv->kh * conv->kw * conv->in.c * (method == METHOD_FOLD ? conv->out.c : (uint64_t)kernels->nr);
}

/* Some of a step's output channels. */
typedef struct channels {
    uint64_t first, count;
} channels;

/* dense[ky][kx][in][of.count], the kernel of the equivalent transposed convolution. */
static void to_dense(const gan_step *step, channels of, float *dense) {
    const gan_conv *conv = &step->conv;
    const gan_layer *layer = step->layer;
    const uint64_t in = conv->in.c, out = conv->out.c, elements = (uint64_t)conv->kh * conv->kw, n = of.count;
    const gan_tensor *tensor = &layer->weight;
    if (layer->op == OP_LINEAR) { /* feature (out, y, x) of an image, row-major */
        for (uint64_t o = 0; o < n; o++)
            for (uint64_t p = 0; p < elements; p++)
                for (uint64_t i = 0; i < in; i++)
                    dense[(p * in + i) * n + o] = gan_i_element(tensor, ((of.first + o) * elements + p) * in + i);
        return;
    }
    if (layer->op == OP_CONV_TRANSPOSE) { /* (in, out, ky, kx) */
        for (uint64_t i = 0; i < in; i++)
            for (uint64_t o = 0; o < n; o++)
                for (uint64_t p = 0; p < elements; p++)
                    dense[(p * in + i) * n + o] = gan_i_element(tensor, (i * out + of.first + o) * elements + p);
        return;
    }
    const uint64_t side = layer->args[2]; /* (out, in, ky, kx) */
    const int32_t f = (int32_t)conv->upsampled;
    memset(dense, 0, sizeof *dense * elements * in * n);
    for (int32_t rho = 0; rho < f * f; rho++) {
        for (int32_t e = 0; e < (int32_t)(side * side); e++) {
            const int32_t ky = e / (int32_t)side, kx = e % (int32_t)side, ry = rho / f, rx = rho % f;
            int32_t y = ky, x = kx;
            if (f > 1) {
                y = ry - f * floor_div(ry - conv->layer_pad + ky, f) + conv->pad;
                x = rx - f * floor_div(rx - conv->layer_pad + kx, f) + conv->pad;
            } else if (conv->in_stride == 1) { /* reversed */
                y = (int32_t)side - 1 - ky;
                x = (int32_t)side - 1 - kx;
            }
            float *to = dense + ((uint64_t)y * conv->kw + (uint64_t)x) * in * n;
            for (uint64_t o = 0; o < n; o++)
                for (uint64_t i = 0; i < in; i++)
                    to[i * n + o] += gan_i_element(tensor, ((of.first + o) * in + i) * side * side + (uint64_t)e);
        }
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

/* The same of WINOGRAD, whose kernel lies as the layer has it: the polynomial with coefficients from the last tap, over
 * the product of the point's distances from the others. */
static void winograd_matrix(double g[WINOGRAD][MAX_TOOM]) {
    for (int p = 0; p < WINOGRAD - 1; p++) {
        double power = 1, apart = 1;
        for (int q = 0; q < WINOGRAD - 1; q++) apart *= q == p ? 1 : WINOGRAD_POINTS[p] - WINOGRAD_POINTS[q];
        for (int t = 0; t < 3; t++) {
            g[p][2 - t] = power / apart;
            power *= WINOGRAD_POINTS[p];
        }
    }
    for (int t = 0; t < 3; t++) g[WINOGRAD - 1][t] = t == 0;
}

/* One phase's panel, every point.  The inner loop runs over the panel's channels. */
static void toom_panel(const gan_conv *conv, const float *dense, uint32_t py, uint32_t px, uint64_t width, int points,
                       uint64_t nr, float *to) {
    const int taps = (int)conv_taps(conv, conv->kh);
    const uint64_t in = conv->in.c, stride = conv->out_stride;
    double g[WINOGRAD][MAX_TOOM];
    if (points == WINOGRAD) winograd_matrix(g);
    else filter_matrix(points, taps, g);
    for (uint64_t i = 0; i < in; i++) {
        for (int p = 0; p < points * points; p++) {
            double sum[MAX_NR] = {0};
            for (int ty = 0; ty < taps; ty++) {
                for (int tx = 0; tx < taps; tx++) {
                    const uint64_t ky = stride * (uint64_t)ty + py, kx = stride * (uint64_t)tx + px;
                    const double factor = g[p / points][ty] * g[p % points][tx];
                    if (ky >= conv->kh || kx >= conv->kw || factor == 0) continue;
                    const float *from = dense + ((ky * conv->kw + kx) * in + i) * width;
                    for (uint64_t n = 0; n < width; n++) sum[n] += factor * from[n];
                }
            }
            float *row = to + ((uint64_t)p * in + i) * nr;
            for (uint64_t n = 0; n < nr; n++) row[n] = (float)sum[n];
        }
    }
}

/* One phase's panel of the direct method, every tap. */
static void direct_panel(const gan_conv *conv, const float *dense, uint32_t py, uint32_t px, uint64_t width,
                         uint64_t nr, float *to) {
    const uint32_t stride = conv->out_stride;
    for (uint32_t ky = py; ky < conv->kh; ky += stride) {
        for (uint32_t kx = px; kx < conv->kw; kx += stride) {
            const float *from = dense + ((uint64_t)ky * conv->kw + kx) * conv->in.c * width;
            for (uint32_t i = 0; i < conv->in.c; i++, to += nr, from += width) {
                memset(to, 0, sizeof *to * nr);
                memcpy(to, from, sizeof *to * width);
            }
        }
    }
}

static void pack_fold(const gan_step *step, const gan_kernels *kernels, float *dense, float *to) {
    const gan_conv *conv = &step->conv;
    const uint64_t in = conv->in.c, out = conv->out.c, nr = (uint64_t)kernels->nr;
    to_dense(step, (channels){0, out}, dense);
    for (uint64_t first = 0; first < fold_columns(conv, kernels); first += nr) {
        for (uint64_t i = 0; i < in; i++) {
            for (uint64_t n = 0; n < nr; n++) {
                const uint64_t column = first + n;
                *to++ = column < conv->kh * conv->kw * out ? dense[(column / out * in + i) * out + column % out] : 0;
            }
        }
    }
}

void gan_i_pack(const gan_step *step, gan_method method, const gan_kernels *kernels, float *dense, float *to) {
    const gan_conv *conv = &step->conv;
    const uint64_t in = conv->in.c, out = conv->out.c, nr = (uint64_t)kernels->nr,
                   panels = padded(conv->out.c, kernels) / nr;
    const uint32_t stride = conv->out_stride;
    const int points = method_points(method);
    if (method == METHOD_FOLD) {
        pack_fold(step, kernels, dense, to);
        return;
    }
    for (uint64_t panel = 0; panel < panels; panel++) {
        const uint64_t first = panel * nr, width = out - first < nr ? out - first : nr;
        to_dense(step, (channels){first, width}, dense);
        float *phase = to;
        for (uint32_t py = 0; py < stride; py++) {
            for (uint32_t px = 0; px < stride; px++) {
                const uint64_t taps = (uint64_t)phase_taps(conv, conv->kh, py) * phase_taps(conv, conv->kw, px);
                const uint64_t own = (method == METHOD_DIRECT ? taps : (uint64_t)(points * points)) * in * nr;
                if (method == METHOD_DIRECT) direct_panel(conv, dense, py, px, width, nr, phase + panel * own);
                else toom_panel(conv, dense, py, px, width, points, nr, phase + panel * own);
                phase += panels * own;
            }
        }
    }
}
