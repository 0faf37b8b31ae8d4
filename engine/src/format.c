/* Reading a .gan file: nothing is used before it is checked, and no sum or product can overflow unseen. */
#include <stdlib.h>

#include "format_parts.h"

float gan_i_element(const tensor *t, uint64_t i) {
    if (t->dtype == DTYPE_F32) return f32_at((const unsigned char *)t->data + 4 * i);
    const unsigned char *p = (const unsigned char *)t->data + 2 * i;
    const uint32_t half = (uint32_t)p[0] | (uint32_t)p[1] << 8;
    uint32_t bits;
    if (t->dtype == DTYPE_BF16) {
        bits = half << 16;
    } else {
        const uint32_t sign = (half & 0x8000u) << 16, exponent = half >> 10 & 31u, fraction = half & 0x3FFu;
        if (!exponent) { /* zero and denormals: fraction x 2^-24, exact in float */
            const float small = (float)fraction * 0x1p-24f;
            return sign ? -small : small;
        }
        bits = sign | (exponent == 31u ? 0x7F800000u : (exponent + 112u) << 23) | fraction << 13;
    }
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* That no two tensors overlap bounds what a file can ask for: its weights are no more than its bytes. */
gan_status gan_i_take_tensor(weights *w, gan_dtype dtype, uint64_t offset, uint64_t count, tensor *out) {
    const uint64_t width = dtype == DTYPE_F32 ? 4 : 2;
    if (!count || count > UINT64_MAX / width || offset % ALIGNMENT || offset < w->taken ||
        !inside(offset, count * width, w->size))
        return GAN_ERROR_CORRUPT;
    w->taken = offset + count * width;
    *out = (tensor){.data = w->data + offset, .count = count, .dtype = dtype};
    return GAN_OK;
}

gan_status gan_i_check_layer(file *f, uint32_t index) {
    layer *la = &f->layers[index];
    const operation *op = gan_i_operation(la->op);
    if (!op || la->n_inputs < op->fewest_inputs || la->n_inputs > op->most_inputs) return GAN_ERROR_UNSUPPORTED;
    for (uint32_t i = 0; i < la->n_inputs; i++) {
        if (la->inputs[i] >= FIRST_LAYER + index || (la->inputs[i] == VALUE_LABEL && !f->classes)) return GAN_ERROR_CORRUPT;
        if ((la->inputs[i] == VALUE_LABEL) != (op->rule == RUN_LABELLED)) return GAN_ERROR_UNSUPPORTED;
    }
    for (int i = 0; i < MAX_ARGS; i++)
        if (la->args[i] > MAX_ARG) return GAN_ERROR_UNSUPPORTED;
    if (!op->shape(f, la)) return GAN_ERROR_UNSUPPORTED;
    uint32_t dims[MAX_RANK];
    const int rank = op->weight(la, dims);
    uint64_t count = rank > 0; /* at most 2^20 x 2^20 x 2^12 */
    for (int i = 0; i < rank; i++) count *= dims[i];
    const uint64_t biases = la->out.c;
    if (la->weight.count != count) return GAN_ERROR_CORRUPT;
    if (la->bias.count ? op->bias == BIAS_NONE || la->bias.count != biases : op->bias == BIAS_NEEDED) return GAN_ERROR_CORRUPT;
    f->weight_bytes += la->weight.count * (la->weight.dtype == DTYPE_F32 ? 4 : 2);
    f->weight_bytes += la->bias.count * (la->bias.dtype == DTYPE_F32 ? 4 : 2);
    return GAN_OK;
}

/* What holds of every version once the layers are read. */
static gan_status check_whole(const file *f) {
    const shape last = f->layers[f->n_layers - 1].out;
    if (last.c != f->image.c || last.h != f->image.h || last.w != f->image.w) return GAN_ERROR_CORRUPT;
    return last.h ? GAN_OK : GAN_ERROR_UNSUPPORTED;
}

gan_status gan_i_parse(const void *memory, size_t size, file *f) {
    const unsigned char *p = memory;
    *f = (file){0};
    if (size < 16 || memcmp(p, GAN_MAGIC, sizeof GAN_MAGIC)) return GAN_ERROR_FORMAT;
    const uint32_t version = u32_at(p + 8);
    if (version > 3) return GAN_ERROR_VERSION;
    gan_status status = version == 3 ? gan_i_parse_3(p, size, f) : gan_i_parse_old(p, size, f);
    if (status == GAN_OK) status = check_whole(f);
    if (status != GAN_OK) gan_i_file_free(f);
    return status;
}

void gan_i_file_free(file *f) {
    free(f->layers);
    free(f->inputs);
    f->layers = NULL;
    f->inputs = NULL;
}
