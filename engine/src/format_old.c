/* Versions 1 and 2: records of one size, each with a weight and a bias. */
#include <stdlib.h>

#include "format_parts.h"
#include "pack.h"

enum { HEADER = 128, RECORD = 192, SLOTS = 8 };

static gan_status read_layer(const unsigned char *r, uint32_t index, weight_region *region, gan_file *file) {
    gan_layer *layer = &file->layers[index];
    const uint32_t number = u32_at(r), dtype = u32_at(r + 112);
    uint32_t *inputs = file->inputs + (size_t)index * SLOTS;
    if (!gan_i_operation(number) || u32_at(r + 4) < 1 || u32_at(r + 4) > SLOTS || dtype > DTYPE_BF16)
        return GAN_ERROR_UNSUPPORTED;
    *layer = (gan_layer){.op = (gan_op)number, .n_inputs = u32_at(r + 4), .inputs = inputs};
    for (uint32_t i = 0; i < layer->n_inputs; i++) inputs[i] = u32_at(r + 8 + 4 * i);
    for (int i = 0; i < SLOTS; i++) layer->args[i] = u32_at(r + 40 + 4 * i);
    for (int i = 0; i < 2; i++) layer->fargs[i] = f32_at(r + 72 + 4 * i);
    for (int i = 0; i < 2; i++) {
        const uint64_t offset = u64_at(r + 80 + 16 * i), count = u64_at(r + 88 + 16 * i);
        const gan_status status = count ? gan_i_take_tensor(region, (gan_dtype)dtype, offset, count,
                                                            i ? &layer->bias : &layer->weight)
                                        : GAN_OK;
        if (status != GAN_OK) return status;
    }
    return gan_i_check_layer(file, index);
}

gan_status gan_i_parse_old(const unsigned char *p, size_t size, gan_file *file) {
    if (size < HEADER) return GAN_ERROR_FORMAT;
    const uint32_t version = u32_at(p + 8);
    if (version < 1 || u32_at(p + 12) != RECORD || u64_at(p + 16) != size) return GAN_ERROR_CORRUPT;
    const uint64_t manifest = u64_at(p + 24), manifest_size = u64_at(p + 32), data = u64_at(p + 40);
    const uint64_t data_size = u64_at(p + 48);
    file->n_layers = u32_at(p + 56);
    file->nz = u32_at(p + 60);
    file->prior = u32_at(p + 64);
    file->classes = u32_at(p + 68);
    file->image = (gan_shape){u32_at(p + 72), u32_at(p + 76), u32_at(p + 80), 0};
    file->low = f32_at(p + 84);
    file->high = f32_at(p + 88);
    const uint32_t points = version > 1 ? u32_at(p + 92) : 0;
    if (points == 1 || !(file->low < file->high) || !(file->high - file->low < 1e30f)) return GAN_ERROR_CORRUPT;
    file->error_budget = points ? gan_i_error_of_points(points) : 0;
    if (!file->n_layers || file->n_layers > 512) return GAN_ERROR_CORRUPT;
    const uint64_t head = HEADER + (uint64_t)file->n_layers * RECORD;
    if (manifest != head || !inside(manifest, manifest_size, size) || data % ALIGNMENT ||
        data < manifest + manifest_size || !inside(data, data_size, size) || data + data_size != size)
        return GAN_ERROR_CORRUPT;
    /* The head's checksum covers everything before the data with its own 16 bytes taken as zeros. */
    unsigned char header[HEADER];
    memcpy(header, p, HEADER);
    memset(header + 96, 0, 16);
    gan_checksum of_head = {0}, of_data = {0};
    gan_i_sum_words(&of_head, header, HEADER);
    gan_i_sum_words(&of_head, p + HEADER, data - HEADER);
    gan_i_sum_words(&of_data, p + data, data_size);
    if (of_head.first != u64_at(p + 96) || of_head.second != u64_at(p + 104) || of_data.first != u64_at(p + 112) ||
        of_data.second != u64_at(p + 120))
        return GAN_ERROR_CORRUPT;
    file->input = (gan_shape){file->nz, 0, 0, 0};
    if (!file->nz || file->nz > MAX_SIDE || file->prior > GAN_PRIOR_UNIFORM || file->classes > MAX_SIDE)
        return GAN_ERROR_UNSUPPORTED;
    file->manifest = (const char *)p + manifest;
    file->manifest_size = (size_t)manifest_size;
    file->layers = calloc(file->n_layers, sizeof *file->layers);
    file->inputs = calloc((size_t)file->n_layers * SLOTS, sizeof *file->inputs);
    if (!file->layers || !file->inputs) return GAN_ERROR_MEMORY;
    weight_region region = {.data = p + data, .size = data_size};
    gan_status status = GAN_OK;
    for (uint32_t i = 0; i < file->n_layers && status == GAN_OK; i++) {
        status = read_layer(p + HEADER + (uint64_t)RECORD * i, i, &region, file);
        if (status != GAN_OK) gan_i_refuse_layer(file, i, status);
    }
    return status;
}
