/* Drawing one chunk of pictures: each step by all members of a crew, with a barrier between phases. */
#ifndef GAN_RUN_H
#define GAN_RUN_H

#include "plan.h"
#include "team.h"

/* What every chunk of a call shares; read only. */
typedef struct job {
    const schedule *s;
    const gan_kernels *k;
    const method *methods;           /* by step */
    const float *const *packed;  /* by step: the weights in that method */
    const float *table;          /* the prior's LATENT_TABLE values */
    const float *zeros;          /* as many as any value has channels */
    const gan_request *request;
    uint32_t nz, classes;
    float factor, offset; /* bring the values to [-1, 1]: x * factor + offset */
    atomic_int *bad_label; /* set if one of the caller's labels is none of the model's */
    uint8_t *bytes; /* where the pictures go: one of the two */
    float *floats;
} job;

/* A member's view of its crew's chunk. */
typedef struct worker {
    const job *j;
    cursor cursor;
    float *values, *transformed, *thread_scratch; /* the first two are the crew's */
    int64_t *labels;
    uint64_t first; /* of the chunk, counted from the request's start */
    uint32_t images;
} worker;

/* Rows y0 .. y1-1 of an image. */
typedef struct rows {
    uint32_t image, y0, y1;
} rows;

/* Called by every member of the crew. */
void gan_i_run_chunk(worker *w);

/* The parts, one a file. */
void gan_i_run_direct(worker *w, const step *st, const float *weights);
void gan_i_run_toom(worker *w, const step *st, method f, const float *weights);
void gan_i_run_fold(worker *w, const step *st, const float *weights, int last);

/* n finished values as bytes. */
static inline void put_bytes(const job *j, float *x, uint8_t *out, int64_t n) {
    if (j->factor != 1 || j->offset != 0)
        for (int64_t i = 0; i < n; i++) x[i] = x[i] * j->factor + j->offset;
    j->k->to_bytes(x, out, n);
}

/* Where value `v` of the chunk's picture `image` lies, [pixel][channels padded]. */
static inline float *value_at(const worker *w, uint32_t v, uint32_t image) {
    const value *to = &w->j->s->values[w->j->s->values[v].alias];
    return w->values + to->offset * w->images + to->per_image * image;
}

/* Some pixels of a picture. */
typedef struct rectangle {
    int32_t y0, y1, x0, x1; /* half open */
} rectangle;

static inline int64_t rectangle_area(rectangle r) {
    return r.y1 > r.y0 && r.x1 > r.x0 ? (int64_t)(r.y1 - r.y0) * (r.x1 - r.x0) : 0;
}

/* Weights are multiplied in slices: 128 x 16 floats stay in the first-level cache beside the inputs, and sums that
 * start from zero four times in 512 channels keep half the rounding error of one long sum, for 2 % of the time. */
enum { SLICE = 128 };

/* Split `left` rows into `tiles` parts that differ by one at most: the next part. */
static inline int next_part(int64_t left, int64_t tiles) { return (int)((left + tiles - 1) / tiles); }

#endif
