#include "pack.h"

#include <string.h>

#include "kernels/points.h"

const float GAN_I_METHOD_ERRORS[METHOD_COUNT] = {2e-6f, 2e-6f, 6e-6f, 3e-6f, 1e-5f};

float gan_i_error_of_points(uint32_t points) {
    return GAN_I_METHOD_ERRORS[points < 3 ? METHOD_DIRECT : points < MAX_TOOM ? METHOD_TOOM3 : METHOD_TOOM5];
}

int gan_i_method_fits(const conv *c, method f) {
    if (f == METHOD_DIRECT) return 1;
    if (c->in_stride != 1 || c->pixel_bias || c->kh != c->kw || c->pad < 0) return 0;
    const int32_t s = (int32_t)c->out_stride, k = (int32_t)c->kh;
    /* every output has an input pixel's worth of kernel over it, whether or not that pixel exists */
    if ((int32_t)c->out.h + c->pad > ((int32_t)c->in.h - 1) * s + k) return 0;
    if ((int32_t)c->out.w + c->pad > ((int32_t)c->in.w - 1) * s + k) return 0;
    if (f == METHOD_FOLD) return k >= s && (uint64_t)k * (uint64_t)k * c->out.c <= 1024;
    const int32_t taps = (int32_t)conv_taps(c, c->kh), tile = method_points(f) + 1 - taps;
    const uint64_t points = (uint64_t)method_points(f), grown = points * points * c->out_stride * c->out_stride;
    return taps >= 2 && tile >= 2 && c->in.h >= 2 && c->in.w >= 2 && c->out_stride <= 4 &&
           grown <= (uint64_t)MAX_GROWTH * c->layer_kernel * c->layer_kernel;
}

static uint64_t fold_columns(const conv *c, const gan_kernels *k) {
    return round_up((uint64_t)c->kh * c->kw * c->out.c, (uint64_t)k->nr);
}

uint64_t gan_i_method_floats(const conv *c, method f, const gan_kernels *k) {
    const uint64_t in = c->in.c, out = padded(c->out.c, k), points = (uint64_t)method_points(f);
    if (f == METHOD_DIRECT) return in * out * c->kh * c->kw;
    if (f == METHOD_FOLD) return in * fold_columns(c, k);
    return in * out * points * points * c->out_stride * c->out_stride;
}

uint64_t gan_i_pack_scratch(const conv *c, method f, const gan_kernels *k) {
    return (uint64_t)c->kh * c->kw * c->in.c * (f == METHOD_FOLD ? c->out.c : (uint64_t)k->nr);
}

/* Some of a step's output channels. */
typedef struct channels {
    uint64_t first, count;
} channels;

/* dense[ky][kx][in][of.count], the kernel of the equivalent transposed convolution. */
static void to_dense(const step *st, channels of, float *dense) {
    const conv *c = &st->conv;
    const layer *la = st->layer;
    const uint64_t in = c->in.c, out = c->out.c, elements = (uint64_t)c->kh * c->kw, n = of.count;
    const tensor *t = &la->weight;
    if (la->op == OP_LINEAR) { /* feature (out, y, x) of a picture, row-major */
        for (uint64_t o = 0; o < n; o++)
            for (uint64_t p = 0; p < elements; p++)
                for (uint64_t i = 0; i < in; i++)
                    dense[(p * in + i) * n + o] = gan_i_element(t, ((of.first + o) * elements + p) * in + i);
        return;
    }
    if (la->op == OP_CONV_TRANSPOSE) { /* (in, out, ky, kx) */
        for (uint64_t i = 0; i < in; i++)
            for (uint64_t o = 0; o < n; o++)
                for (uint64_t p = 0; p < elements; p++)
                    dense[(p * in + i) * n + o] = gan_i_element(t, (i * out + of.first + o) * elements + p);
        return;
    }
    const uint64_t side = la->args[2]; /* (out, in, ky, kx) */
    const int32_t f = (int32_t)c->upsampled;
    memset(dense, 0, sizeof *dense * elements * in * n);
    for (int32_t rho = 0; rho < f * f; rho++) {
        for (int32_t e = 0; e < (int32_t)(side * side); e++) {
            const int32_t ky = e / (int32_t)side, kx = e % (int32_t)side, ry = rho / f, rx = rho % f;
            int32_t y = ky, x = kx;
            if (f > 1) {
                y = ry - f * floor_div(ry - c->layer_pad + ky, f) + c->pad;
                x = rx - f * floor_div(rx - c->layer_pad + kx, f) + c->pad;
            } else if (c->in_stride == 1) { /* turned round */
                y = (int32_t)side - 1 - ky;
                x = (int32_t)side - 1 - kx;
            }
            float *to = dense + ((uint64_t)y * c->kw + (uint64_t)x) * in * n;
            for (uint64_t o = 0; o < n; o++)
                for (uint64_t i = 0; i < in; i++)
                    to[i * n + o] += gan_i_element(t, ((of.first + o) * in + i) * side * side + (uint64_t)e);
        }
    }
}

/* g[point][tap]: the filter's polynomial with coefficients by tap, evaluated. */
static void filter_matrix(int points, int taps, double g[MAX_TOOM][MAX_TOOM]) {
    for (int p = 0; p < points; p++) {
        double power = 1;
        for (int t = 0; t < taps; t++) {
            g[p][t] = p == points - 1 ? (t == taps - 1) : power;
            if (p < points - 1) power *= (double)TOOM_POINTS[points - 3][p];
        }
    }
}

/* One phase's panel, every point.  The inner loop runs over the panel's channels. */
static void toom_panel(const conv *c, const float *dense, uint32_t py, uint32_t px, uint64_t width, int points,
                       uint64_t nr, float *to) {
    const int taps = (int)conv_taps(c, c->kh);
    const uint64_t in = c->in.c, s = c->out_stride;
    double g[MAX_TOOM][MAX_TOOM];
    filter_matrix(points, taps, g);
    for (uint64_t i = 0; i < in; i++) {
        for (int p = 0; p < points * points; p++) {
            double sum[MAX_NR] = {0};
            for (int ty = 0; ty < taps; ty++) {
                for (int tx = 0; tx < taps; tx++) {
                    const uint64_t ky = s * (uint64_t)ty + py, kx = s * (uint64_t)tx + px;
                    const double factor = g[p / points][ty] * g[p % points][tx];
                    if (ky >= c->kh || kx >= c->kw || factor == 0) continue;
                    const float *from = dense + ((ky * c->kw + kx) * in + i) * width;
                    for (uint64_t n = 0; n < width; n++) sum[n] += factor * from[n];
                }
            }
            float *row = to + ((uint64_t)p * in + i) * nr;
            for (uint64_t n = 0; n < nr; n++) row[n] = (float)sum[n];
        }
    }
}

/* One phase's panel of the direct method, every tap. */
static void direct_panel(const conv *c, const float *dense, uint32_t py, uint32_t px, uint64_t width, uint64_t nr,
                         float *to) {
    const uint32_t s = c->out_stride;
    for (uint32_t ky = py; ky < c->kh; ky += s) {
        for (uint32_t kx = px; kx < c->kw; kx += s) {
            const float *from = dense + ((uint64_t)ky * c->kw + kx) * c->in.c * width;
            for (uint32_t i = 0; i < c->in.c; i++, to += nr, from += width) {
                memset(to, 0, sizeof *to * nr);
                memcpy(to, from, sizeof *to * width);
            }
        }
    }
}

static void pack_fold(const step *st, const gan_kernels *k, float *dense, float *to) {
    const conv *c = &st->conv;
    const uint64_t in = c->in.c, out = c->out.c, nr = (uint64_t)k->nr;
    to_dense(st, (channels){0, out}, dense);
    for (uint64_t first = 0; first < fold_columns(c, k); first += nr) {
        for (uint64_t i = 0; i < in; i++) {
            for (uint64_t n = 0; n < nr; n++) {
                const uint64_t column = first + n;
                *to++ = column < c->kh * c->kw * out ? dense[(column / out * in + i) * out + column % out] : 0;
            }
        }
    }
}

void gan_i_pack(const step *st, method f, const gan_kernels *k, float *dense, float *to) {
    const conv *c = &st->conv;
    const uint64_t in = c->in.c, out = c->out.c, nr = (uint64_t)k->nr, panels = padded(c->out.c, k) / nr;
    const uint32_t s = c->out_stride;
    const int points = method_points(f);
    if (f == METHOD_FOLD) {
        pack_fold(st, k, dense, to);
        return;
    }
    for (uint64_t panel = 0; panel < panels; panel++) {
        const uint64_t first = panel * nr, width = out - first < nr ? out - first : nr;
        to_dense(st, (channels){first, width}, dense);
        float *phase = to;
        for (uint32_t py = 0; py < s; py++) {
            for (uint32_t px = 0; px < s; px++) {
                const uint64_t taps = (uint64_t)phase_taps(c, c->kh, py) * phase_taps(c, c->kw, px);
                const uint64_t own = (f == METHOD_DIRECT ? taps : (uint64_t)(points * points)) * in * nr;
                if (f == METHOD_DIRECT) direct_panel(c, dense, py, px, width, nr, phase + panel * own);
                else toom_panel(c, dense, py, px, width, points, nr, phase + panel * own);
                phase += panels * own;
            }
        }
    }
}
