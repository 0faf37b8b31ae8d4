#include "pack.h"

#include <string.h>

int gan_i_form_fits(const conv *c, form f) {
    if (f == FORM_DIRECT) return 1;
    if (c->in_stride != 1 || c->pixel_bias || c->kh != c->kw || c->pad < 0) return 0;
    const int32_t s = (int32_t)c->out_stride, k = (int32_t)c->kh;
    /* every output has an input pixel's worth of kernel over it, whether or not that pixel exists */
    if ((int32_t)c->out.h + c->pad > ((int32_t)c->in.h - 1) * s + k) return 0;
    if ((int32_t)c->out.w + c->pad > ((int32_t)c->in.w - 1) * s + k) return 0;
    if (f == FORM_FOLD) return k >= s && (uint64_t)k * (uint64_t)k * c->out.c <= 1024;
    const int32_t taps = (int32_t)conv_taps(c, c->kh), tile = form_points(f) + 1 - taps;
    return taps >= 2 && tile >= 2 && c->in.h >= 2 && c->in.w >= 2 && c->out_stride <= 4;
}

static uint64_t fold_columns(const conv *c, const gan_kernels *k) {
    return round_up((uint64_t)c->kh * c->kw * c->out.c, (uint64_t)k->nr);
}

uint64_t gan_i_form_floats(const conv *c, form f, const gan_kernels *k) {
    const uint64_t in = c->in.c, out = padded(c->out.c, k), points = (uint64_t)form_points(f);
    if (f == FORM_DIRECT) return in * out * c->kh * c->kw;
    if (f == FORM_FOLD) return in * fold_columns(c, k);
    return in * out * points * points * c->out_stride * c->out_stride;
}

/* dense[ky][kx][in][out], the kernel of the equivalent transposed convolution. */
static void to_dense(const step *st, float *dense) {
    const conv *c = &st->conv;
    const layer *la = st->layer;
    const uint64_t in = c->in.c, out = c->out.c, kh = c->kh, kw = c->kw;
    const tensor *t = &la->weight;
    memset(dense, 0, sizeof *dense * in * out * kh * kw);
    if (la->op == OP_LINEAR) { /* feature (out, y, x) of a picture, row-major */
        for (uint64_t o = 0; o < out; o++)
            for (uint64_t p = 0; p < kh * kw; p++)
                for (uint64_t i = 0; i < in; i++)
                    dense[(p * in + i) * out + o] = gan_i_element(t, la->dtype, (o * kh * kw + p) * in + i);
        return;
    }
    if (la->op == OP_CONV_TRANSPOSE) { /* (in, out, ky, kx) */
        for (uint64_t i = 0; i < in; i++)
            for (uint64_t o = 0; o < out; o++)
                for (uint64_t p = 0; p < kh * kw; p++)
                    dense[(p * in + i) * out + o] = gan_i_element(t, la->dtype, (i * out + o) * kh * kw + p);
        return;
    }
    const uint64_t side = la->args[2]; /* (out, in, ky, kx) */
    const int32_t f = (int32_t)c->upsampled;
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
            float *to = dense + ((uint64_t)y * kw + (uint64_t)x) * in * out;
            for (uint64_t o = 0; o < out; o++)
                for (uint64_t i = 0; i < in; i++)
                    to[i * out + o] += gan_i_element(t, la->dtype, (o * in + i) * side * side + (uint64_t)e);
        }
    }
}

/* One panel of nr channels from channel `first` on; `from` [in][out] or NULL for zeros. */
static void copy_panel(const float *from, uint64_t in, uint64_t out, uint64_t first, uint64_t nr, float *to) {
    const uint64_t width = first >= out ? 0 : out - first < nr ? out - first : nr;
    for (uint64_t i = 0; i < in; i++, to += nr) {
        memset(to, 0, sizeof *to * nr);
        if (from && width) memcpy(to, from + i * out + first, sizeof *to * width);
    }
}

static const double POINTS[3][4] = {{0, -1}, {0, 1, -1}, {0, 1, -0.5, -2}}; /* and infinity */

/* g[point][tap]: the filter's polynomial with coefficients by tap, evaluated. */
static void filter_matrix(int points, int taps, double g[MAX_TOOM][MAX_TOOM]) {
    for (int p = 0; p < points; p++) {
        double power = 1;
        for (int t = 0; t < taps; t++) {
            g[p][t] = p == points - 1 ? (t == taps - 1) : power;
            if (p < points - 1) power *= POINTS[points - 3][p];
        }
    }
}

/* One phase's panel, every point.  The inner loop runs over the panel's channels. */
static void toom_panel(const conv *c, const float *dense, uint32_t py, uint32_t px, uint64_t first, int points,
                       uint64_t nr, float *to) {
    const int taps = (int)conv_taps(c, c->kh);
    const uint64_t in = c->in.c, out = c->out.c, s = c->out_stride;
    const uint64_t width = first >= out ? 0 : out - first < nr ? out - first : nr;
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
                    const float *from = dense + ((ky * c->kw + kx) * in + i) * out + first;
                    for (uint64_t n = 0; n < width; n++) sum[n] += factor * from[n];
                }
            }
            float *row = to + ((uint64_t)p * in + i) * nr;
            for (uint64_t n = 0; n < nr; n++) row[n] = (float)sum[n];
        }
    }
}

void gan_i_pack(const step *st, form f, const gan_kernels *k, float *dense, float *to) {
    const conv *c = &st->conv;
    const uint64_t in = c->in.c, out = c->out.c, nr = (uint64_t)k->nr, wide = padded(c->out.c, k);
    const uint32_t s = c->out_stride;
    to_dense(st, dense);
    if (f == FORM_FOLD) {
        for (uint64_t first = 0; first < fold_columns(c, k); first += nr) {
            for (uint64_t i = 0; i < in; i++) {
                for (uint64_t n = 0; n < nr; n++) {
                    const uint64_t column = first + n;
                    *to++ = column < c->kh * c->kw * out ? dense[(column / out * in + i) * out + column % out] : 0;
                }
            }
        }
        return;
    }
    for (uint32_t py = 0; py < s; py++) {
        for (uint32_t px = 0; px < s; px++) {
            for (uint64_t first = 0; first < wide; first += nr) {
                if (f != FORM_DIRECT) {
                    const int points = form_points(f);
                    toom_panel(c, dense, py, px, first, points, nr, to);
                    to += (uint64_t)(points * points) * in * nr;
                    continue;
                }
                for (uint32_t ty = 0; ty < phase_taps(c, c->kh, py); ty++) {
                    for (uint32_t tx = 0; tx < phase_taps(c, c->kw, px); tx++) {
                        const uint64_t element = (uint64_t)(s * ty + py) * c->kw + s * tx + px;
                        copy_panel(dense + element * in * out, in, out, first, nr, to);
                        to += in * nr;
                    }
                }
            }
        }
    }
}
