/* What the parts of program.c share. */
#ifndef GAN_PROGRAM_PARTS_H
#define GAN_PROGRAM_PARTS_H

#include "program.h"

typedef struct program_builder {
    const gan_file *file;
    const gan_kernels *kernels;
    gan_program *program;
    uint32_t *uses, *reader; /* by value: how many layers read it, and the last of them */
    unsigned char *absorbed;    /* by layer: fused into another step, or read by nobody */
} program_builder;

/* The only layer that reads `v`, or NULL. */
static inline const gan_layer *only_reader(const program_builder *builder, uint32_t v) {
    return builder->uses[v] == 1 && v != FIRST_LAYER + builder->file->n_layers - 1
               ? &builder->file->layers[builder->reader[v]]
               : NULL;
}

static inline uint32_t value_of(const program_builder *builder, const gan_layer *layer) {
    return FIRST_LAYER + (uint32_t)(layer - builder->file->layers);
}

static inline activation gan_i_activation(const gan_layer *layer) {
    return (activation){.kind = (activation_kind)layer->args[0], .slope = layer->fargs[0]};
}

static inline void absorb(program_builder *builder, const gan_layer *layer) {
    builder->absorbed[layer - builder->file->layers] = 1;
}

/* Give each value its place in a context's memory (program_layout.c).  This overwrites the builder's `uses` and
 * `reader`. */
void gan_i_place_values(program_builder *builder);
/* program_style.c: the filters whose result one layer scales, which then computes both. */
void gan_i_join_filters(program_builder *builder);
/* Make a step of StyleGAN's out of its layer and those behind it; nothing for other layers. */
void gan_i_build_style(program_builder *builder, gan_step *step);
/* Floats of the constants of a step of StyleGAN's, 0 for others, and the constants. */
uint64_t gan_i_style_constants(const gan_program *program, const gan_kernels *kernels, const gan_step *step);
void gan_i_fill_style(const gan_program *program, const gan_kernels *kernels, const gan_step *step, float *to);

#endif
