/* How a batch is drawn: which method each convolution takes, how many pictures go together, and who works on what. */
#ifndef GAN_PLAN_H
#define GAN_PLAN_H

#include "pack.h"

/* The tiling of one transformed convolution. */
typedef struct tiling {
    int side, tile_side;     /* points a side; inputs a side of a tile */
    uint32_t ty, tx;         /* tiles a picture */
    uint32_t width;          /* coefficients in a row of tiles: tx x tile + taps - 1 */
    uint64_t tile_floats;    /* of one transformed tile */
    uint32_t max_pass_images, pass_images; /* images that may be transformed together, and that are */
    uint32_t block;          /* tile-rows multiplied together */
    uint32_t group;          /* panels that a block is multiplied with in turn, point by point */
    uint64_t thread_scratch; /* floats that a thread needs for it, at any smaller chunk too */
} tiling;

typedef struct plan {
    int crew;       /* threads that draw a chunk together */
    uint32_t chunk; /* pictures in a chunk */
    double cost;    /* cycles for the whole count, estimated */
} plan;

/* Floats of scratch: what a crew shares, and what each thread has beside it. */
typedef struct needs {
    uint64_t shared, thread_scratch;
} needs;

void gan_i_tile(const conv *c, method f, const gan_kernels *k, uint32_t chunk, int crew, tiling *out);

/* Whether each chunk is drawn by one thread or by all, and its size, given the methods and the largest chunks: of one
 * thread, and of all together. */
plan gan_i_plan(const schedule *s, const gan_kernels *k, const method *methods, uint64_t count, int threads,
                uint32_t largest_chunk, uint32_t largest_together);
/* What a method must keep to: points a side, and a file's error budget. */
typedef struct limits {
    int points;
    float error_budget;
} limits;

/* The best allowed methods for `count` images, by step; returns the plan that goes with them.
 * `trial` is scratch for as many methods. */
plan gan_i_plan_methods(const schedule *s, const gan_kernels *k, uint64_t count, int threads, uint32_t largest_chunk,
                      limits allowed, method *methods, method *trial);

needs gan_i_needs(const schedule *s, const gan_kernels *k, const method *methods, int crew, uint32_t chunk);
/* Estimated cycles of one convolution for `images` pictures by `crew` threads. */
double gan_i_conv_cost(const conv *c, method f, const gan_kernels *k, uint32_t images, int crew, const machine *m);

#endif
