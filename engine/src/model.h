/* What gan_open makes: the file, its schedule, and the packed weights that contexts share. */
#ifndef GAN_MODEL_H
#define GAN_MODEL_H

#include <stdatomic.h>

#include "pack.h"
#include "system.h"

/* A step's weights in one method, and how many contexts draw by them: none, and they are freed. */
typedef struct packed {
    float *floats;
    uint32_t users;
} packed;

struct gan_model {
    const void *data;
    size_t size;
    void *owned; /* the file that gan_open read, or NULL */
    file f;
    char *manifest; /* the file's, with a NUL behind it */
    const gan_kernels *k;
    schedule s;
    float *table; /* of the prior */
    float *zeros;
    monitor *lock;  /* guards `packed` */
    packed *packed; /* [step][METHOD_COUNT] */
    atomic_uint forks;    /* gan_i_forks() of the process that last held the lock */
    atomic_uint contexts; /* not yet freed */
};

/* Take the model's lock.  GAN_ERROR_BUSY in a child that was forked while another thread held it: nobody is there to
 * give it back. */
gan_status gan_i_model_enter(gan_model *m);
void gan_i_model_leave(gan_model *m);

/* What gan.h forbids a caller is caught in debug builds (GAN_DEBUG), where it ends the program. */
#if defined(GAN_DEBUG)
#include <stdlib.h>
#define CALLER_ERROR(wrong) ((wrong) ? abort() : (void)0)
#else
#define CALLER_ERROR(wrong) ((void)0)
#endif

/* The weights of step `step` in a method, packed if no other context has them: one user more.  In the lock. */
gan_status gan_i_acquire_weights(gan_model *m, uint32_t step, method f, const float **out);
void gan_i_release_weights(gan_model *m, uint32_t step, method f);

#endif
