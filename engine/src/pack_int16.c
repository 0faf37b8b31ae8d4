/* Weights as 16-bit numbers, so that no sum of their products with 16-bit inputs overflows 32 bits.
 *
 * Inputs are whole numbers within +-INT16_MOST, whatever they were (kernels.h, to_int16), and at most INT16_SLICE
 * products are added up.  With weights w f, rounded, the sum is at most INT16_MOST x (f x sum |w| + INT16_SLICE / 2),
 * so f is chosen for each point and output channel by the slice with the largest sum |w|. */
#include <math.h>

#include "format_parts.h"
#include "pack.h"

static range_kind range_of(gan_method method) {
    return method == METHOD_TOOM3_INT16      ? RANGE_TOOM3
           : method == METHOD_TOOM5_INT16    ? RANGE_TOOM5
           : method == METHOD_WINOGRAD_INT16 ? RANGE_WINOGRAD
                                             : RANGE_DIRECT;
}

/* Whether ranges begin with the side of a tile of inputs. */
static int has_side(gan_method method) { return method == METHOD_TOOM3_INT16 || method == METHOD_TOOM5_INT16; }

/* Whether a value at point `p` of a side is a sum or a difference of two inputs, which has twice their range: of
 * Winograd's three points all but the middle one, of Toom-Cook's four for 3 taps the middle ones. */
static int is_of_two(int points, int p) { return points == WINOGRAD_SMALL ? p != 1 : p == 1 || p == 2; }

static gan_ranges ranges_of(const gan_step *step, gan_method method) { return step->layer->ranges[range_of(method)]; }

uint32_t gan_i_int16_methods(const gan_step *step) {
    uint32_t found = 0;
    if (step->conv.dims != 2) return 0;
    for (int m = METHOD_TOOM3_INT16; m < METHOD_COUNT; m++) {
        const gan_ranges ranges = ranges_of(step, (gan_method)m);
        const uint32_t points = (uint32_t)conv_points(&step->conv, (gan_method)m),
                       side = points + 1 - conv_taps(&step->conv, step->conv.kh);
        if (!ranges.count || (has_side((gan_method)m) && f64_at(ranges.data) != (double)side)) continue;
        if (m == METHOD_TOOM4_INT16 && side != 2) continue;
        if (m != METHOD_WINOGRAD_INT16 || ranges.count == points * points) found |= 1u << m;
    }
    return found;
}

float gan_i_int16_scale(const gan_step *step, gan_method method, int p) {
    const int at = range_of(method) == RANGE_DIRECT ? 0 : p + has_side(method); /* elements read the same inputs */
    double most = f64_at(ranges_of(step, method).data + 8 * at);
    const int points = method == METHOD_WINOGRAD_SMALL_INT16 ? (int)WINOGRAD_SMALL
                       : method == METHOD_TOOM4_INT16        ? 4
                                                             : 0;
    if (points) most *= (1 + is_of_two(points, p / points)) * (1 + is_of_two(points, p % points));
    return most > 1e-30 ? (float)(INT16_MOST / most) : 0; /* inputs that were never seen become zeros */
}

int16_parts gan_i_int16_parts(const gan_conv *conv, gan_method method, const gan_kernels *kernels) {
    const uint64_t sets = int16_sets(conv, method), scales = round_up(sets, 16);
    const uint64_t columns = method_is_fold(method)
                                 ? round_up(fold_columns(conv), (uint64_t)kernels->nr)
                                 : (uint64_t)padded(conv->out.c, kernels) * conv->out_stride * conv->out_stride * sets;
    return (int16_parts){scales, scales + columns};
}

/* One output channel's weight for input `i` of all slices, each padded to `wide` inputs. */
static double weight_at(const float *w, uint64_t i, uint64_t in, uint64_t wide, uint64_t nr) {
    const uint64_t slice = i / wide, c = i % wide;
    return c < in ? (double)w[(slice * in + c) * nr] : 0;
}

/* What one output channel's weights at a point are multiplied with; NaN if they aren't finite. */
static double factor_of(const float *w, uint64_t slices, uint64_t in, uint64_t nr) {
    const uint64_t wide = round_up(in, KBLOCK), all = slices * wide;
    double most = 0, largest = 0;
    for (uint64_t first = 0; first < all; first += INT16_SLICE) {
        double sum = 0;
        for (uint64_t i = first; i < all && i < first + INT16_SLICE; i++) {
            const double size = fabs(weight_at(w, i, in, wide, nr));
            sum += size;
            largest = size > largest ? size : largest;
        }
        if (!(sum <= 1e300)) return NAN;
        most = sum > most ? sum : most;
    }
    const double by_sum = ((double)INT32_MAX / INT16_MOST - INT16_SLICE / 2 - 1) / most, by_size = INT16_MAX / largest;
    return most < 1e-30 ? 0 : by_sum < by_size ? by_sum : by_size;
}

void gan_i_to_int16(const float *panel, int points, uint64_t slices, uint64_t in, uint64_t nr, const float *in_scale,
                    float *scale, int16_t *to) {
    const uint64_t wide = round_up(in, KBLOCK), all = slices * wide;
    for (int p = 0; p < points; p++, panel += slices * in * nr, scale += nr, to += all * nr) {
        double factor[MAX_NR];
        for (uint64_t n = 0; n < nr; n++) {
            factor[n] = factor_of(panel + n, slices, in, nr);
            const double both = factor[n] * (double)in_scale[p];
            scale[n] = both == 0 ? 0 : (float)(1 / both); /* NaN stays, so that a broken model shows */
        }
        for (uint64_t i = 0; i < all; i++)
            for (uint64_t n = 0; n < nr; n++) {
                const double w = weight_at(panel + n, i, in, wide, nr) * factor[n];
                to[(i / 2 * nr + n) * 2 + i % 2] = w == w ? (int16_t)nearbyint(w) : 0;
            }
    }
}
