/* What a context needs: methods, memory, threads. */
#ifndef GAN_SETUP_H
#define GAN_SETUP_H

#include "model.h"

/* What a context does and needs, worked out before any memory is allocated. */
typedef struct gan_setup {
    gan_method *methods;                     /* by step */
    int threads;
    max_chunks max_chunk;
    uint64_t group_scratch[2], thread_scratch, floats; /* `group_scratch`: of a group of one thread, and of all */
    uint64_t weights;                /* bytes of packed weights that the model holds with this context */
} gan_setup;

/* Find the fastest setup within max_memory.  If it is too large, memory gets a price, the lowest that is enough: layers
 * whose transform saves little time for its memory give it up first.  If that isn't enough, chunks get smaller.
 * `setup->methods` has room for two methods of each step.  In the lock. */
gan_status gan_i_lay_out(const gan_model *model, const gan_program *program, const gan_context_options *options,
                         gan_setup *setup);

#endif
