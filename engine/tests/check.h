/* What the engine's own tests share. */
#ifndef GAN_CHECK_H
#define GAN_CHECK_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/kernels.h"

/* Repeatable numbers in -1..1, denormals and zeros among them. */
static inline float next_number(uint64_t *state) {
    *state = *state * 6364136223846793005ull + 1442695040888963407ull;
    const uint32_t r = (uint32_t)(*state >> 33);
    if (r % 61 == 0) return 0;
    if (r % 67 == 0) return 1e-41f;
    return (float)(int32_t)(r - (1u << 30)) / (float)(1u << 30);
}

static inline void fill(float *x, uint64_t n, uint64_t seed) {
    for (uint64_t i = 0; i < n; i++) x[i] = next_number(&seed);
}

/* `n` floats that start one float past an aligned address, so that nothing may count on alignment. */
static inline float *floats(uint64_t n) {
    float *p = calloc(n + 32, sizeof *p);
    if (!p) exit(2);
    return p + 1;
}

static inline void release(float *p) { free(p - 1); }

static inline double largest_difference(const float *a, const float *b, uint64_t n) {
    double most = 0;
    for (uint64_t i = 0; i < n; i++) {
        if (a[i] == b[i]) continue; /* infinities too */
        const double d = fabs((double)a[i] - (double)b[i]);
        if (!(d <= most)) most = isnan(d) ? INFINITY : d;
    }
    return most;
}

static inline double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Counts and prints a failure. */
static inline int expect(int ok, const char *isa, const char *what, double error) {
    if (!ok) printf("FAILED %s %s: off by %g\n", isa, what, error);
    return !ok;
}

#if defined(WIDE)
extern const gan_kernels gan_i_wide; /* tests/wide.c */
#endif

int check_layers(const gan_kernels *k);
int check_errors(const gan_kernels *k, int print);
void bench_layers(const gan_kernels *k, double peak);

#endif
