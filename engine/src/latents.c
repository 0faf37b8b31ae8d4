/* Seed -> latents and labels.  Compiled without contraction of floating-point expressions: the table is
 * defined by single roundings (docs/latent-rng.md, "The normal table"). */
#include "latents.h"

#include <math.h>

#include "philox.h"

/* AS 241's PPND16 (Wichura 1988), highest power first: the middle range and the tail that reaches 0.5 / 65536. */
static const double MIDDLE_OVER[8] = {2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4,
                                      4.5921953931549871457e4, 1.3731693765509461125e4, 1.9715909503065514427e3,
                                      1.3314166789178437745e2, 3.3871328727963666080e0};
static const double MIDDLE_UNDER[8] = {
    5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4, 2.1213794301586595867e4,
    5.3941960214247511077e3, 6.8718700749205790830e2, 4.2313330701600911252e1, 1.0};
static const double TAIL_OVER[8] = {7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1,
                                    1.27045825245236838258e0,  3.64784832476320460504e0,  5.76949722146069140550e0,
                                    4.63033784615654529590e0,  1.42343711074968357734e0};
static const double TAIL_UNDER[8] = {
    1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1,
    6.89767334985100004550e-1, 1.67638483018380384940e0,  2.05319162663775882187e0,  1.0};
static const double LN2 = 0.6931471805599453;

static double horner8(double x, const double a[8]) {
    double value = a[0];
    for (int i = 1; i < 8; i++) value = value * x + a[i];
    return value;
}

/* -log(p) for p in (0, 1): p = m / 2^k with m in [1, 2), log m by 2 artanh((m - 1) / (m + 1)). */
static double minus_log(double p) {
    double m = p, k = 0.0;
    while (m < 1.0) {
        m *= 2.0;
        k += 1.0;
    }
    const double s = (m - 1.0) / (m + 1.0), v = s * s;
    double series = 1.0 / 35.0;
    for (int n = 33; n > 0; n -= 2) series = series * v + 1.0 / n;
    return k * LN2 - 2.0 * s * series;
}

void gan_i_normal_table(float table[LATENT_TABLE]) {
    for (int u = 0; u < LATENT_TABLE / 2; u++) {
        const double p = (u + 0.5) / 65536.0, q = 0.5 - p;
        double x;
        if (q <= 0.425) {
            const double r = 0.180625 - q * q;
            x = q * (horner8(r, MIDDLE_OVER) / horner8(r, MIDDLE_UNDER));
        } else {
            const double t = sqrt(minus_log(p)) - 1.6;
            x = horner8(t, TAIL_OVER) / horner8(t, TAIL_UNDER);
        }
        table[u] = -(float)x;
        table[LATENT_TABLE - 1 - u] = (float)x;
    }
}

void gan_i_uniform_table(float table[LATENT_TABLE]) {
    for (int u = 0; u < LATENT_TABLE; u++) table[u] = (float)((u + 0.5) / 32768.0 - 1.0);
}

void gan_i_latent(const float table[LATENT_TABLE], uint64_t seed, uint64_t index, uint32_t nz, float *out) {
    for (uint32_t block = 0; block * 8u < nz; block++) {
        uint32_t c[4] = {block, 0, (uint32_t)index, (uint32_t)(index >> 32)};
        philox4x32(c, (uint32_t)seed, (uint32_t)(seed >> 32));
        const uint32_t left = nz - block * 8u, n = left < 8u ? left : 8u;
        for (uint32_t j = 0; j < n; j++) out[block * 8u + j] = table[(c[j / 2] >> (j % 2 * 16)) & 0xFFFFu];
    }
}

void gan_i_numbers(uint64_t seed, uint64_t index, uint32_t stream, uint64_t first, uint64_t count, uint16_t *out) {
    for (uint64_t at = first; at < first + count;) {
        uint32_t c[4] = {(uint32_t)(at / 8), stream, (uint32_t)index, (uint32_t)(index >> 32)};
        philox4x32(c, (uint32_t)seed, (uint32_t)(seed >> 32));
        do *out++ = (uint16_t)(c[at % 8 / 2] >> (at % 2 * 16));
        while (++at % 8 && at < first + count);
    }
}

void gan_i_noise(const float table[LATENT_TABLE], uint64_t seed, uint64_t index, uint32_t stream, uint64_t first,
                 uint64_t count, float *out) {
    uint16_t numbers[64];
    for (uint64_t done = 0, n; done < count; done += n) {
        n = count - done < 64 ? count - done : 64;
        gan_i_numbers(seed, index, stream, first + done, n, numbers);
        for (uint64_t i = 0; i < n; i++) out[done + i] = table[numbers[i]];
    }
}

int64_t gan_i_label(uint64_t seed, uint64_t index, uint32_t classes) {
    uint32_t c[4] = {0, 1, (uint32_t)index, (uint32_t)(index >> 32)};
    philox4x32(c, (uint32_t)seed, (uint32_t)(seed >> 32));
    return (int64_t)(((uint64_t)c[0] * classes) >> 32);
}

/* The angle whose tangent is y / x, both at least 0: halved three times, then Taylor's series to x^19 / 19, whose rest
 * is below 1e-19 for tangents below 0.0985. */
static double angle_of(double y, double x) {
    const double steep = y > x ? 1 : 0, ratio = y > x ? x / y : y / x;
    double t = ratio;
    for (int i = 0; i < 3; i++) t = t / (1.0 + sqrt(1.0 + t * t));
    double series = 1.0 / 19.0;
    for (int n = 17; n > 0; n -= 2) series = 1.0 / n - series * t * t;
    const double angle = 8.0 * t * series, right = 1.5707963267948966;
    return steep > 0 ? right - angle : angle;
}

/* Of 0 .. pi: Taylor's series about 0 to x^23 / 23!, by symmetry for 0 .. pi / 2 only. */
static double sine_of(double x) {
    const double pi = 3.141592653589793;
    const double a = x > pi / 2 ? pi - x : x;
    double sum = 1.0;
    for (int n = 22; n > 0; n -= 2) sum = 1.0 - sum * a * a / (n * (n + 1.0));
    return a * sum;
}

/* The angle by half the difference and half the sum of the unit vectors, exact near 0 and pi.  Equal latents lie on no
 * one circle, opposite ones (as of nz = 1) on many: these walk straight. */
void gan_i_arc(const float *from, const float *to, double at, float *out, uint32_t nz) {
    double a = 0, b = 0, apart = 0, together = 0;
    for (uint32_t i = 0; i < nz; i++) a += (double)from[i] * (double)from[i], b += (double)to[i] * (double)to[i];
    a = sqrt(a), b = sqrt(b);
    for (uint32_t i = 0; i < nz && a > 0 && b > 0; i++) {
        const double u = (double)from[i] / a, v = (double)to[i] / b;
        apart += (u - v) * (u - v), together += (u + v) * (u + v);
    }
    const double angle = apart > 0 ? 2.0 * angle_of(sqrt(apart), sqrt(together)) : 0, sine = sine_of(angle);
    const int straight = sine < 1e-6;
    const double of_from = straight ? 1.0 - at : sine_of((1.0 - at) * angle) / sine,
                 of_to = straight ? at : sine_of(at * angle) / sine;
    for (uint32_t i = 0; i < nz; i++) out[i] = (float)(of_from * (double)from[i] + of_to * (double)to[i]);
}

void gan_i_line(const float *from, const float *to, double at, float *out, uint32_t nz) {
    for (uint32_t i = 0; i < nz; i++) out[i] = from[i] + (float)at * (to[i] - from[i]);
}
