/* A model: its file, its program, and the packed weights that contexts share. */
#ifndef GAN_MODEL_H
#define GAN_MODEL_H

#include <stdatomic.h>

#include "plan.h"
#include "system.h"

/* A step's weights as one method wants them, and the number of contexts that use them; they are freed at zero. */
typedef struct packed_weights {
    float *floats;
    uint32_t users;
} packed_weights;

struct gan_model {
    const void *data;
    size_t size;
    void *owned; /* memory of the file that gan_open read, or NULL */
    gan_file file;
    char *manifest; /* the file's manifest, followed by a NUL */
    const gan_kernels *kernels;
    gan_program program;
    float *table; /* of the prior */
    float *zeros;
    gan_monitor *lock;  /* guards `packed` */
    packed_weights *packed; /* [step][METHOD_COUNT] */
    atomic_uint forks;    /* gan_i_forks() in the process that last held the lock */
    atomic_uint contexts; /* not yet freed */
};

/* Take the model's lock. GAN_ERROR_BUSY in a child that was forked while another thread held the lock: no thread of the
 * child would ever release it. */
gan_status gan_i_model_enter(gan_model *model);
void gan_i_model_leave(gan_model *model);

/* Debug builds (GAN_DEBUG) abort if a caller does what gan.h forbids. */
#if defined(GAN_DEBUG)
#include <stdlib.h>
#define CALLER_ERROR(wrong) ((wrong) ? abort() : (void)0)
#else
#define CALLER_ERROR(wrong) ((void)0)
#endif

/* How a context generates `count` images, for tools/explain.c: *methods has one method per step. */
gan_plan gan_i_context_plan(gan_context *context, uint64_t count, const gan_method **methods);
/* Lay a context of a model that takes images out for a size, unless it is; what gan_apply does first. */
gan_status gan_i_context_resize(gan_context *context, uint32_t height, uint32_t width);
/* The program that a context runs: the model's, or for images that of their size. */
const gan_program *gan_i_context_program(const gan_context *context);

/* Get the weights of step `step` for a method, packing them unless another context has, and count one more user. Hold
 * the model's lock. Weights don't depend on the size of images, so `program` may be that of any. */
gan_status gan_i_acquire_weights(gan_model *model, const gan_program *program, uint32_t step, gan_method method,
                                 const float **out);
void gan_i_release_weights(gan_model *model, uint32_t step, gan_method method);

#endif
