/* A context, for the files that make, describe and use it. */
#ifndef GAN_CONTEXT_H
#define GAN_CONTEXT_H

#include "pool.h"
#include "setup.h"
#include "sized.h"

/* A plan, and the number of images that it is for (0: none yet). */
typedef struct cached_plan {
    uint64_t count;
    gan_plan plan;
} cached_plan;

enum { PLANS = 4 }; /* programs generate batches of one size and a remainder, so a few plans suffice */

struct gan_context {
    gan_model *model;
    gan_context_options options; /* `threads` and `batch` as they turned out */
    gan_sized sized; /* of a model that takes images */
    gan_setup setup;
    const float **packed;
    uint32_t n_packed; /* steps whose weights are acquired */
    float *scratch;
    gan_pool *pool;
    gan_group *groups;
    cached_plan planned[PLANS];
    uint32_t next_planned;
    atomic_int busy; /* a call is generating */
    char message[GAN_MESSAGE_SIZE]; /* of the last call that failed */
};

#endif
