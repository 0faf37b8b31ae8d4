/* Reading a .gan file: nothing is used before it is checked, and no sum or product can overflow unseen. */
#include <stdlib.h>

#include "format_parts.h"

float gan_i_element(const gan_tensor *tensor, uint64_t i) {
    if (tensor->dtype == DTYPE_F32) return f32_at((const unsigned char *)tensor->data + 4 * i);
    const unsigned char *p = (const unsigned char *)tensor->data + 2 * i;
    const uint32_t half = (uint32_t)p[0] | (uint32_t)p[1] << 8;
    uint32_t bits;
    if (tensor->dtype == DTYPE_BF16) {
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
gan_status gan_i_take_tensor(weight_region *region, gan_dtype dtype, uint64_t offset, uint64_t count, gan_tensor *out) {
    const uint64_t width = dtype == DTYPE_F32 ? 4 : 2;
    if (!count || count > UINT64_MAX / width || offset % ALIGNMENT || offset < region->taken ||
        !inside(offset, count * width, region->size))
        return GAN_ERROR_CORRUPT;
    region->taken = offset + count * width;
    *out = (gan_tensor){.data = region->data + offset, .count = count, .dtype = dtype};
    return GAN_OK;
}

void gan_i_layer_name(const gan_layer *layer, char *to, size_t size) {
    size_t n = 0;
    for (; n < layer->name_size && n + 1 < size; n++)
        to[n] = layer->name[n] >= ' ' && layer->name[n] <= '~' ? layer->name[n] : '?';
    to[n] = 0;
}

gan_status gan_i_refuse_layer(gan_file *file, uint32_t index, gan_status status) {
    const gan_layer *layer = &file->layers[index];
    const gan_operation *op = layer->n_inputs ? gan_i_operation(layer->op) : NULL;
    char name[64], reason[GAN_MESSAGE_SIZE];
    gan_i_layer_name(layer, name, sizeof name);
    memcpy(reason, file->message, sizeof reason);
    return REFUSE(file, status, "layer %u%s%s%s%s%s: %s", (uint64_t)(index - file->n_given), *name ? " " : "", name,
                  op ? " (" : "", op ? op->name : "", op ? ")" : "", *reason ? reason : gan_status_string(status));
}

/* The largest value of some attributes, which their layers' shapes are held to as well. */
static const struct limit {
    const char *key;
    uint32_t most;
} LIMITS[] = {{"kernel", MAX_KERNEL}, {"stride", MAX_STRIDE}, {"padding", MAX_SIDE}, {"factor", MAX_FACTOR}};

static gan_status check_limits(gan_file *file, const gan_layer *layer) {
    const char *key = gan_i_operation(layer->op)->integers;
    for (int i = 0; i < MAX_ARGS && *key; i++) {
        size_t length = 0;
        while (key[length] && key[length] != ' ') length++;
        for (size_t n = 0; n < sizeof LIMITS / sizeof *LIMITS; n++) {
            size_t same = 0;
            while (same < length && LIMITS[n].key[same] == key[same]) same++;
            if (same == length && !LIMITS[n].key[same] && layer->args[i] > LIMITS[n].most)
                return REFUSE(file, GAN_ERROR_UNSUPPORTED, "%s %u, at most %u", LIMITS[n].key, (uint64_t)layer->args[i],
                              (uint64_t)LIMITS[n].most);
        }
        key += length + (key[length] == ' ');
    }
    return GAN_OK;
}

gan_status gan_i_check_layer(gan_file *file, uint32_t index) {
    gan_layer *layer = &file->layers[index];
    const gan_operation *op = gan_i_operation(layer->op);
    if (!op || layer->op == OP_GIVEN || layer->n_inputs < op->fewest_inputs || layer->n_inputs > op->most_inputs)
        return GAN_ERROR_UNSUPPORTED;
    for (uint32_t i = 0; i < layer->n_inputs; i++) {
        if (layer->inputs[i] >= FIRST_LAYER + index || (layer->inputs[i] == VALUE_LABEL && !file->classes))
            return GAN_ERROR_CORRUPT;
        if ((layer->inputs[i] == VALUE_LABEL) != (op->rule == RUN_LABELLED)) return GAN_ERROR_UNSUPPORTED;
        const int mask = layer->inputs[i] >= FIRST_LAYER && is_mask(&file->layers[layer->inputs[i] - FIRST_LAYER]);
        if (mask != (layer->op == OP_DROPOUT && i == 1)) return GAN_ERROR_UNSUPPORTED;
    }
    for (int i = 0; i < MAX_ARGS; i++)
        if (layer->args[i] > MAX_ARG) return GAN_ERROR_UNSUPPORTED;
    const gan_status limits = check_limits(file, layer);
    if (limits != GAN_OK) return limits;
    if (!op->shape(file, layer))
        return REFUSE(file, GAN_ERROR_UNSUPPORTED, "its attributes don't go with the size of its inputs, or give none");
    uint32_t dims[MAX_RANK];
    const int rank = op->weight(layer, dims);
    uint64_t count = rank > 0; /* at most 2^20 x 2^20 x 2^12 */
    for (int i = 0; i < rank; i++) count *= dims[i];
    const uint64_t biases = layer->out.c;
    if (layer->weight.count != count)
        return REFUSE(file, GAN_ERROR_CORRUPT, "%u weights, of %u", layer->weight.count, count);
    if (layer->bias.count ? op->bias == BIAS_NONE || layer->bias.count != biases : op->bias == BIAS_NEEDED)
        return GAN_ERROR_CORRUPT;
    file->weight_bytes += layer->weight.count * (layer->weight.dtype == DTYPE_F32 ? 4 : 2);
    file->weight_bytes += layer->bias.count * (layer->bias.dtype == DTYPE_F32 ? 4 : 2);
    return GAN_OK;
}

/* What holds of every version once the layers are read. */
static gan_status check_whole(const gan_file *file) {
    const gan_shape last = file->layers[file->n_layers - 1].out;
    if (!shape_same(last, file->image)) return GAN_ERROR_CORRUPT;
    return last.h ? GAN_OK : GAN_ERROR_UNSUPPORTED;
}

gan_status gan_i_parse(const void *memory, size_t size, gan_file *file) {
    const unsigned char *p = memory;
    *file = (gan_file){0};
    if (size < 16 || memcmp(p, GAN_MAGIC, sizeof GAN_MAGIC)) return GAN_ERROR_FORMAT;
    const uint32_t version = u32_at(p + 8);
    if (version > 3)
        return REFUSE(file, GAN_ERROR_VERSION, "a .gan file of version %u: this library reads up to 3",
                      (uint64_t)version);
    gan_status status = version == 3 ? gan_i_parse_3(p, size, file) : gan_i_parse_old(p, size, file);
    if (status == GAN_OK) status = check_whole(file);
    if (status != GAN_OK) gan_i_file_free(file);
    return status;
}

static int takes_side(gan_side side, uint32_t value) {
    return value >= side.least && value <= side.most && value % side.multiple == 0;
}

int gan_i_takes_size(const gan_file *file, uint32_t height, uint32_t width) {
    return takes_side(file->height, height) && takes_side(file->width, width) && (!file->square || height == width);
}

static uint32_t side_of(gan_dim dim, uint32_t height, uint32_t width) {
    if (!dim.of) return dim.times;
    const uint64_t whole = (uint64_t)(dim.of == 1 ? height : width) * dim.times;
    return whole % dim.over || whole / dim.over > MAX_SIDE ? 0 : (uint32_t)(whole / dim.over);
}

gan_shape gan_i_image_at(const gan_file *file, uint32_t height, uint32_t width) {
    const gan_shape s = {file->image.c, side_of(file->out_height, height, width),
                         side_of(file->out_width, height, width), 0};
    return s.h && s.w ? s : (gan_shape){s.c, 0, 0, 0};
}

gan_status gan_i_file_at(const gan_file *file, uint32_t height, uint32_t width, gan_file *out) {
    *out = *file;
    out->layers = NULL;
    out->inputs = NULL;
    if (file->nz || !gan_i_takes_size(file, height, width)) return GAN_ERROR_ARGUMENT;
    if ((uint64_t)height * width > MAX_VALUE / file->input.c) return GAN_ERROR_UNSUPPORTED;
    out->layers = malloc(file->n_layers * sizeof *out->layers);
    if (!out->layers) return GAN_ERROR_MEMORY;
    memcpy(out->layers, file->layers, file->n_layers * sizeof *out->layers);
    out->input.h = height;
    out->input.w = width;
    out->image = gan_i_image_at(file, height, width);
    out->noise = 0;
    gan_status status = GAN_OK;
    for (uint32_t i = 0; i < out->n_layers && status == GAN_OK; i++) {
        gan_layer *layer = &out->layers[i];
        if (!gan_i_operation(layer->op)->shape(out, layer)) status = GAN_ERROR_UNSUPPORTED;
        if (layer->op == OP_GIVEN && layer->args[0] != GIVEN_SCALAR) {
            layer->offset = out->noise;
            out->noise += layer->out.c * shape_pixels(layer->out);
        }
    }
    if (status == GAN_OK) status = check_whole(out);
    if (status != GAN_OK) gan_i_file_free(out);
    return status;
}

void gan_i_file_free(gan_file *file) {
    free(file->layers);
    free(file->inputs);
    file->layers = NULL;
    file->inputs = NULL;
}
