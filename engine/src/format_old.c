/* Versions 1 and 2: records of one size, each with a weight and a bias. */
#include <stdlib.h>

#include "format_parts.h"
#include "pack.h"

enum { HEADER = 128, RECORD = 192, SLOTS = 8 };

static gan_status read_layer(const unsigned char *r, uint32_t index, weights *w, file *f) {
    layer *la = &f->layers[index];
    const uint32_t number = u32_at(r), dtype = u32_at(r + 112);
    uint32_t *inputs = f->inputs + (size_t)index * SLOTS;
    if (!gan_i_operation(number) || u32_at(r + 4) < 1 || u32_at(r + 4) > SLOTS || dtype > DTYPE_BF16)
        return GAN_ERROR_UNSUPPORTED;
    *la = (layer){.op = (gan_op)number, .n_inputs = u32_at(r + 4), .inputs = inputs};
    for (uint32_t i = 0; i < la->n_inputs; i++) inputs[i] = u32_at(r + 8 + 4 * i);
    for (int i = 0; i < SLOTS; i++) la->args[i] = u32_at(r + 40 + 4 * i);
    for (int i = 0; i < 2; i++) la->fargs[i] = f32_at(r + 72 + 4 * i);
    for (int i = 0; i < 2; i++) {
        const uint64_t offset = u64_at(r + 80 + 16 * i), count = u64_at(r + 88 + 16 * i);
        const gan_status status = count ? gan_i_take_tensor(w, (gan_dtype)dtype, offset, count, i ? &la->bias : &la->weight) : GAN_OK;
        if (status != GAN_OK) return status;
    }
    return gan_i_check_layer(f, index);
}

gan_status gan_i_parse_old(const unsigned char *p, size_t size, file *f) {
    if (size < HEADER) return GAN_ERROR_FORMAT;
    const uint32_t version = u32_at(p + 8);
    if (version < 1 || u32_at(p + 12) != RECORD || u64_at(p + 16) != size) return GAN_ERROR_CORRUPT;
    const uint64_t manifest = u64_at(p + 24), manifest_size = u64_at(p + 32), data = u64_at(p + 40);
    const uint64_t data_size = u64_at(p + 48);
    f->n_layers = u32_at(p + 56);
    f->nz = u32_at(p + 60);
    f->prior = u32_at(p + 64);
    f->classes = u32_at(p + 68);
    f->image = (shape){u32_at(p + 72), u32_at(p + 76), u32_at(p + 80)};
    f->low = f32_at(p + 84);
    f->high = f32_at(p + 88);
    const uint32_t points = version > 1 ? u32_at(p + 92) : 0;
    if (points == 1 || !(f->low < f->high) || !(f->high - f->low < 1e30f)) return GAN_ERROR_CORRUPT;
    f->error_budget = points ? gan_i_error_of_points(points) : 0;
    if (!f->n_layers || f->n_layers > 512) return GAN_ERROR_CORRUPT;
    const uint64_t head = HEADER + (uint64_t)f->n_layers * RECORD;
    if (manifest != head || !inside(manifest, manifest_size, size) || data % ALIGNMENT || data < manifest + manifest_size ||
        !inside(data, data_size, size) || data + data_size != size)
        return GAN_ERROR_CORRUPT;
    /* The head's checksum covers everything before the data with its own 16 bytes taken as zeros. */
    unsigned char header[HEADER];
    memcpy(header, p, HEADER);
    memset(header + 96, 0, 16);
    checksum of_head = {0}, of_data = {0};
    gan_i_sum_words(&of_head, header, HEADER);
    gan_i_sum_words(&of_head, p + HEADER, data - HEADER);
    gan_i_sum_words(&of_data, p + data, data_size);
    if (of_head.first != u64_at(p + 96) || of_head.second != u64_at(p + 104) || of_data.first != u64_at(p + 112) ||
        of_data.second != u64_at(p + 120))
        return GAN_ERROR_CORRUPT;
    if (!f->nz || f->nz > MAX_SIDE || f->prior > GAN_PRIOR_UNIFORM || f->classes > MAX_SIDE) return GAN_ERROR_UNSUPPORTED;
    f->manifest = (const char *)p + manifest;
    f->manifest_size = (size_t)manifest_size;
    f->layers = calloc(f->n_layers, sizeof *f->layers);
    f->inputs = calloc((size_t)f->n_layers * SLOTS, sizeof *f->inputs);
    if (!f->layers || !f->inputs) return GAN_ERROR_MEMORY;
    weights w = {.data = p + data, .size = data_size};
    gan_status status = GAN_OK;
    for (uint32_t i = 0; i < f->n_layers && status == GAN_OK; i++) status = read_layer(p + HEADER + (uint64_t)RECORD * i, i, &w, f);
    return status;
}
