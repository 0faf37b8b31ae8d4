/* What gan_open makes: the file, its schedule, and the packed weights that contexts share. */
#ifndef GAN_MODEL_H
#define GAN_MODEL_H

#include <pthread.h>

#include "pack.h"

struct gan_model {
    const void *data;
    size_t size;
    int mapped;
    file f;
    const gan_kernels *k;
    schedule s;
    float *table; /* of the prior */
    float *zeros;
    pthread_mutex_t lock; /* guards what follows; a packed form, once there, stays until gan_close */
    float **packed;       /* [step][FORM_COUNT] */
    uint64_t packed_bytes;
};

/* `floats` floats, aligned to a cache line, or to a huge page and on huge pages where that pays; NULL where there
 * is no memory. */
float *gan_i_allocate(uint64_t floats);

/* The packed weights of step `step`, made at the first call.  Takes no lock. */
gan_status gan_i_packed(gan_model *m, uint32_t step, form f, const float **out);

#endif
