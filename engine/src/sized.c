#include "sized.h"

void gan_i_sized_free(gan_sized *sized) {
    gan_i_program_free(&sized->program);
    gan_i_file_free(&sized->file);
    sized->height = sized->width = 0;
}

/* Whether two programs have the same steps with the same weights, whatever their images' size. */
static int alike(const gan_file *of_a, const gan_program *a, const gan_file *of_b, const gan_program *b) {
    if (a->n_steps != b->n_steps) return 0;
    for (uint32_t i = 0; i < a->n_steps; i++) {
        const gan_step *s = &a->steps[i], *t = &b->steps[i];
        if (s->layer - of_a->layers != t->layer - of_b->layers || !s->run != !t->run) return 0;
        if (s->run) continue;
        const gan_conv *c = &s->conv, *d = &t->conv;
        if (c->kh != d->kh || c->kw != d->kw || c->pad != d->pad || c->out_stride != d->out_stride ||
            c->in_stride != d->in_stride || c->upsampled != d->upsampled || c->in.c != d->in.c || c->out.c != d->out.c)
            return 0;
    }
    return 1;
}

gan_status gan_i_sized(const gan_model *model, uint32_t height, uint32_t width, gan_sized *out) {
    *out = (gan_sized){.height = height, .width = width};
    gan_status status = gan_i_file_at(&model->file, height, width, &out->file);
    if (status == GAN_OK) status = gan_i_program(&out->file, model->kernels, &out->program);
    if (status == GAN_OK && !alike(&model->file, &model->program, &out->file, &out->program))
        status = GAN_ERROR_UNSUPPORTED;
    if (status != GAN_OK) gan_i_sized_free(out);
    return status;
}
