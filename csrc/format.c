/* Reading a .gan file: nothing is used before it is checked, and no sum or product can overflow unseen. */
#include "format.h"

#include <stdlib.h>
#include <string.h>

enum { HEADER = 128, RECORD = 192, FIRST_VERSION = 1, VERSION = 2 };
static const unsigned char MAGIC[8] = {0x89, 'G', 'A', 'N', '\r', '\n', 0x1a, '\n'};

/* Bounds that keep every product below within 64 bits, far above any generator. */
#define MAX_DIM 65536u
#define MAX_VALUE (1ull << 28) /* numbers in one value of one picture */
enum { MAX_KERNEL = 1024, MAX_STRIDE = 64 };

static uint32_t u32_at(const unsigned char *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t u64_at(const unsigned char *p) { return (uint64_t)u32_at(p) | (uint64_t)u32_at(p + 4) << 32; }

static float f32_at(const unsigned char *p) {
    const uint32_t bits = u32_at(p);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* docs/FORMAT.md "Checksums": a = sum of 64-bit words, b = sum of (i + 1) x word i, both mod 2^64. */
static void add_words(uint64_t sums[2], uint64_t *index, const unsigned char *p, uint64_t size) {
    uint64_t i = *index, a = sums[0], b = sums[1];
    for (; size >= 8; size -= 8, p += 8) {
        const uint64_t w = u64_at(p);
        a += w;
        b += ++i * w;
    }
    if (size) {
        unsigned char tail[8] = {0};
        memcpy(tail, p, size);
        const uint64_t w = u64_at(tail);
        a += w;
        b += ++i * w;
    }
    sums[0] = a;
    sums[1] = b;
    *index = i;
}

static int checks(const unsigned char *p, uint64_t size, const unsigned char *stored) {
    uint64_t sums[2] = {0, 0}, index = 0;
    add_words(sums, &index, p, size);
    return sums[0] == u64_at(stored) && sums[1] == u64_at(stored + 8);
}

static int inside(uint64_t offset, uint64_t size, uint64_t whole) { return offset <= whole && size <= whole - offset; }

float gan_i_element(const tensor *t, gan_dtype dtype, uint64_t i) {
    if (dtype == DTYPE_F32) return f32_at((const unsigned char *)t->data + 4 * i);
    const unsigned char *p = (const unsigned char *)t->data + 2 * i;
    const uint32_t half = (uint32_t)p[0] | (uint32_t)p[1] << 8;
    uint32_t bits;
    if (dtype == DTYPE_BF16) {
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

static int same(shape a, shape b) { return a.c == b.c && a.h == b.h && a.w == b.w; }

static int picture(shape s) { return s.h > 0; }

/* The layer's output shape, into la->out.  0 where the layer doesn't take its inputs. */
static int infer(const file *f, layer *la) {
    const uint32_t *g = la->args;
    const uint32_t wanted = la->op == OP_ADD || la->op == OP_MULTIPLY ? 2 : 1;
    if (la->op == OP_CONCAT ? la->n_inputs < 2 : la->n_inputs != wanted) return 0;
    const shape x = value_shape(f, la->inputs[0]);
    const int label = la->inputs[0] == VALUE_LABEL;
    if (label != (la->op == OP_EMBEDDING || la->op == OP_ONE_HOT)) return 0;
    for (int i = 0; i < MAX_ARGS; i++)
        if (g[i] > MAX_DIM * 16u) return 0;
    int64_t c = x.c, h = x.h, w = x.w;
    switch (la->op) {
    case OP_LINEAR:
        if (picture(x) || x.c != g[0]) return 0;
        c = g[1];
        break;
    case OP_CONV_TRANSPOSE: {
        if (!picture(x) || x.c != g[0] || !g[2] || !g[3] || g[5] >= g[3] || g[2] > MAX_KERNEL || g[3] > MAX_STRIDE) return 0;
        const int64_t grow = (int64_t)g[2] - 2 * (int64_t)g[4] + g[5];
        c = g[1];
        h = (h - 1) * g[3] + grow;
        w = (w - 1) * g[3] + grow;
        if (h < 1 || w < 1) return 0; /* two zeros would pass for a vector */
        break;
    }
    case OP_CONV:
        if (!picture(x) || x.c != g[0] || !g[2] || !g[3] || g[2] > MAX_KERNEL || g[3] > MAX_STRIDE) return 0;
        if (g[4] > MAX_DIM) return 0;
        if (h + 2 * (int64_t)g[4] < g[2] || w + 2 * (int64_t)g[4] < g[2]) return 0;
        c = g[1];
        h = (h + 2 * (int64_t)g[4] - g[2]) / g[3] + 1;
        w = (w + 2 * (int64_t)g[4] - g[2]) / g[3] + 1;
        break;
    case OP_AFFINE:
        if (x.c != g[0]) return 0;
        break;
    case OP_ACTIVATION:
        if (g[0] == ACT_NONE || g[0] >= ACT_COUNT) return 0;
        break;
    case OP_SCALE:
        break;
    case OP_UPSAMPLE:
        if (!picture(x) || !g[0] || g[1] > 1) return 0;
        h *= g[0];
        w *= g[0];
        break;
    case OP_ADD:
    case OP_MULTIPLY:
        if (la->inputs[1] == VALUE_LABEL || !same(x, value_shape(f, la->inputs[1]))) return 0;
        break;
    case OP_CONCAT:
        for (uint32_t i = 1; i < la->n_inputs; i++) {
            const shape y = value_shape(f, la->inputs[i]);
            if (la->inputs[i] == VALUE_LABEL || y.h != x.h || y.w != x.w) return 0;
            c += y.c;
        }
        break;
    case OP_RESHAPE:
        c = g[0], h = g[1], w = g[2];
        if (!h != !w || c > 1 << 28 || h > MAX_DIM || w > MAX_DIM) return 0;
        if (x.c * shape_pixels(x) != (uint64_t)c * shape_pixels((shape){0, g[1], g[2]})) return 0;
        break;
    case OP_CROP:
        if (!picture(x) || (uint64_t)g[0] + g[2] > x.h || (uint64_t)g[1] + g[3] > x.w || !g[2] || !g[3]) return 0;
        h = g[2], w = g[3];
        break;
    case OP_EMBEDDING:
        if (g[0] != f->classes) return 0;
        c = g[1], h = w = 0;
        break;
    case OP_ONE_HOT:
        if (g[0] != f->classes) return 0;
        c = g[0], h = w = 0;
        break;
    default:
        return 0;
    }
    const int vector = !h && !w;
    if (c < 1 || (uint64_t)c > MAX_VALUE || (!vector && (h < 1 || w < 1 || h > MAX_DIM || w > MAX_DIM))) return 0;
    if (!vector && (uint64_t)c * (uint64_t)h > MAX_VALUE / (uint64_t)w) return 0;
    la->out = (shape){(uint32_t)c, (uint32_t)h, (uint32_t)w};
    return 1;
}

/* How many numbers the layer's weight must hold; its bias may hold 0 or the output's channels. */
static uint64_t weight_count(const layer *la) {
    const uint64_t a = la->args[0], b = la->args[1], k = la->args[2];
    switch (la->op) {
    case OP_LINEAR:
    case OP_EMBEDDING:
        return a * b; /* each at most 2^20 */
    case OP_CONV_TRANSPOSE:
    case OP_CONV:
        return k * k > (1ull << 62) / (a * b) ? UINT64_MAX : a * b * k * k;
    case OP_AFFINE:
        return a;
    default:
        return 0;
    }
}

static gan_status read_tensor(const unsigned char *r, const unsigned char *data, uint64_t data_size, gan_dtype dtype,
                              tensor *t) {
    const uint64_t offset = u64_at(r), width = dtype == DTYPE_F32 ? 4 : 2;
    t->count = u64_at(r + 8);
    t->data = NULL;
    if (!t->count) return GAN_OK;
    if (t->count > UINT64_MAX / width || offset % 64 || !inside(offset, t->count * width, data_size))
        return GAN_ERROR_CORRUPT;
    t->data = data + offset;
    return GAN_OK;
}

static gan_status read_layer(const unsigned char *r, uint32_t index, const unsigned char *data, uint64_t data_size,
                             file *f) {
    layer *la = &f->layers[index];
    const uint32_t op = u32_at(r), n = u32_at(r + 4), dtype = u32_at(r + 112);
    if (op < 1 || op >= OP_COUNT || n < 1 || n > MAX_INPUTS || dtype >= DTYPE_COUNT) return GAN_ERROR_UNSUPPORTED;
    la->op = (gan_op)op;
    la->dtype = (gan_dtype)dtype;
    la->n_inputs = n;
    for (uint32_t i = 0; i < n; i++) {
        la->inputs[i] = u32_at(r + 8 + 4 * i);
        if (la->inputs[i] >= FIRST_LAYER + index || (la->inputs[i] == VALUE_LABEL && !f->classes))
            return GAN_ERROR_CORRUPT;
    }
    for (int i = 0; i < MAX_ARGS; i++) la->args[i] = u32_at(r + 40 + 4 * i);
    for (int i = 0; i < 2; i++) la->fargs[i] = f32_at(r + 72 + 4 * i);
    memcpy(la->name, r + 128, 64);
    la->name[64] = 0;
    if (!infer(f, la)) return GAN_ERROR_UNSUPPORTED;
    gan_status status = read_tensor(r + 80, data, data_size, la->dtype, &la->weight);
    if (status == GAN_OK) status = read_tensor(r + 96, data, data_size, la->dtype, &la->bias);
    if (status != GAN_OK) return status;
    if (la->weight.count != weight_count(la)) return GAN_ERROR_CORRUPT;
    const int biased = la->op == OP_LINEAR || la->op == OP_CONV || la->op == OP_CONV_TRANSPOSE;
    if (la->op == OP_AFFINE ? la->bias.count != la->out.c
                            : la->bias.count && (!biased || la->bias.count != la->out.c))
        return GAN_ERROR_CORRUPT;
    f->weight_bytes += (la->weight.count + la->bias.count) * (la->dtype == DTYPE_F32 ? 4 : 2);
    return GAN_OK;
}

gan_status gan_i_parse(const void *memory, size_t size, file *f) {
    const unsigned char *p = memory;
    memset(f, 0, sizeof *f);
    if (size < HEADER || memcmp(p, MAGIC, sizeof MAGIC)) return GAN_ERROR_FORMAT;
    const uint32_t version = u32_at(p + 8);
    if (version > VERSION) return GAN_ERROR_VERSION;
    if (version < FIRST_VERSION || u32_at(p + 12) != RECORD || u64_at(p + 16) != size) return GAN_ERROR_CORRUPT;
    const uint64_t manifest = u64_at(p + 24), manifest_size = u64_at(p + 32), data = u64_at(p + 40);
    const uint64_t data_size = u64_at(p + 48);
    f->n_layers = u32_at(p + 56);
    f->nz = u32_at(p + 60);
    f->prior = u32_at(p + 64);
    f->classes = u32_at(p + 68);
    f->image = (shape){u32_at(p + 72), u32_at(p + 76), u32_at(p + 80)};
    f->low = f32_at(p + 84);
    f->high = f32_at(p + 88);
    f->points = version > FIRST_VERSION ? u32_at(p + 92) : 0;
    if (f->points == 1) return GAN_ERROR_CORRUPT;
    if (!(f->low < f->high) || !(f->high - f->low < 1e30f)) return GAN_ERROR_CORRUPT;
    if (!f->n_layers || f->n_layers > MAX_LAYERS) return GAN_ERROR_CORRUPT;
    const uint64_t head = HEADER + (uint64_t)f->n_layers * RECORD;
    if (manifest != head || !inside(manifest, manifest_size, size) || data % 64 || data < manifest + manifest_size ||
        !inside(data, data_size, size) || data + data_size != size)
        return GAN_ERROR_CORRUPT;
    /* The head's checksum covers everything before the data with its own 16 bytes taken as zeros. */
    unsigned char header[HEADER];
    memcpy(header, p, HEADER);
    memset(header + 96, 0, 16);
    uint64_t sums[2] = {0, 0}, index = 0;
    add_words(sums, &index, header, HEADER);
    add_words(sums, &index, p + HEADER, data - HEADER);
    if (sums[0] != u64_at(p + 96) || sums[1] != u64_at(p + 104) || !checks(p + data, data_size, p + 112))
        return GAN_ERROR_CORRUPT;
    if (!f->nz || f->nz > MAX_DIM || f->prior > GAN_PRIOR_UNIFORM || f->classes > MAX_DIM) return GAN_ERROR_UNSUPPORTED;
    f->manifest = (const char *)p + manifest;
    f->manifest_size = (size_t)manifest_size;
    f->layers = calloc(f->n_layers, sizeof *f->layers);
    if (!f->layers) return GAN_ERROR_MEMORY;
    gan_status status = GAN_OK;
    for (uint32_t i = 0; i < f->n_layers && status == GAN_OK; i++)
        status = read_layer(p + HEADER + (uint64_t)RECORD * i, i, p + data, data_size, f);
    if (status == GAN_OK && !same(f->layers[f->n_layers - 1].out, f->image)) status = GAN_ERROR_CORRUPT;
    if (status == GAN_OK && !picture(f->image)) status = GAN_ERROR_UNSUPPORTED;
    if (status != GAN_OK) {
        free(f->layers);
        f->layers = NULL;
    }
    return status;
}
