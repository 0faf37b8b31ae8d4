/* What the engine's own tests share. */
#ifndef GAN_CHECK_H
#define GAN_CHECK_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "kernels/kernels.h"

/* Repeatable numbers in -1..1, denormals and zeros among them. */
static inline float next_number(uint64_t *state) {
    *state = *state * 6364136223846793005ull + 1442695040888963407ull;
    const uint32_t r = (uint32_t)(*state >> 33);
    if (r % 61 == 0) return 0;
    if (r % 67 == 0) return 1e-41f;
    return (float)(int32_t)(r - (1u << 30)) / (float)(1u << 30);
}

/* Set by main; fixed sequences are mixed with it. */
extern uint64_t check_seed;
extern int check_prints_errors;

static inline void fill(float *x, uint64_t n, uint64_t seed) {
    seed += check_seed * 0x9E3779B97F4A7C15ull;
    for (uint64_t i = 0; i < n; i++) x[i] = next_number(&seed);
}

/* `n` zeros whose last is followed, on Linux, by a page that can't be touched, so that reading or writing beyond them
 * ends the program; they are aligned to a float only, since kernels may count on no more. */
#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__) /* which sees it by itself */
typedef struct guarded { /* before the array, for release */
    void *base;
    size_t size;
} guarded;

static inline float *floats(uint64_t n) {
    const size_t page = 1 << 16; /* a multiple of any system's */
    const size_t used = ((size_t)n * sizeof(float) + sizeof(guarded) + page - 1) / page * page;
    unsigned char *base = mmap(NULL, used + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED || mprotect(base + used, page, PROT_NONE)) exit(2);
    const guarded all = {base, used + page};
    float *p = (float *)(void *)(base + used) - n;
    memcpy((unsigned char *)p - sizeof all, &all, sizeof all);
    return p;
}

static inline void release(float *p) {
    guarded all;
    memcpy(&all, (unsigned char *)p - sizeof all, sizeof all);
    munmap(all.base, all.size);
}
#else
static inline float *floats(uint64_t n) {
    float *p = calloc(n + 2, sizeof *p);
    if (!p) exit(2);
    return p + 1;
}

static inline void release(float *p) { free(p - 1); }
#endif

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

int check_int16(const gan_kernels *kernels);
int check_layers(const gan_kernels *kernels);
int check_random_layers(const gan_kernels *kernels);
int check_errors(const gan_kernels *kernels);
int check_choices(const gan_kernels *kernels);
void bench_layers(const gan_kernels *kernels, double peak);

#endif
