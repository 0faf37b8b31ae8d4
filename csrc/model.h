/* What gan_open makes: the file, its schedule, and the packed weights that contexts share. */
#ifndef GAN_MODEL_H
#define GAN_MODEL_H

#include <stdatomic.h>

#include "pack.h"
#include "system.h"

struct gan_model {
    const void *data;
    size_t size;
    void *owned; /* the file that gan_open read, or NULL */
    file f;
    const gan_kernels *k;
    schedule s;
    float *table; /* of the prior */
    float *zeros;
    monitor *lock; /* guards the two that follow */
    float **packed;       /* [step][FORM_COUNT]; a form stays until gan_close, an unused one at most */
    uint32_t *users;      /* of each: the contexts that draw by it */
    atomic_uint contexts; /* not yet freed */
};

/* What gan.h forbids a caller is caught in debug builds (GAN_DEBUG), where it ends the program. */
#if defined(GAN_DEBUG)
#include <stdlib.h>
#define CALLER_ERROR(wrong) ((wrong) ? abort() : (void)0)
#else
#define CALLER_ERROR(wrong) ((void)0)
#endif

/* The packed weights of step `step`, made at the first call.  Takes no lock. */
gan_status gan_i_packed(gan_model *m, uint32_t step, form f, const float **out);

#endif
