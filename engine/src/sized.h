/* A model that takes images, at one size of them. */
#ifndef GAN_SIZED_H
#define GAN_SIZED_H

#include "model.h"

typedef struct gan_sized {
    gan_file file; /* whose layers the program uses */
    gan_program program;
    uint32_t height, width; /* 0, 0 for none */
} gan_sized;

/* GAN_ERROR_ARGUMENT for a size that the model doesn't take, GAN_ERROR_UNSUPPORTED for one that a layer can't have. */
gan_status gan_i_sized(const gan_model *model, uint32_t height, uint32_t width, gan_sized *out);
/* Nothing, or zeros, may be freed too. */
void gan_i_sized_free(gan_sized *sized);

#endif
