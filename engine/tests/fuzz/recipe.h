/* Turns any bytes into a sound .gan file of version 3: a recipe of layers, whose shapes and weights are made to fit. */
#ifndef GAN_RECIPE_H
#define GAN_RECIPE_H

#include <stddef.h>
#include <stdint.h>

/* A file in memory that the caller frees, and its size; NULL if the recipe has no layers. */
unsigned char *cook(const uint8_t *recipe, size_t size, size_t *out_size);

#endif
