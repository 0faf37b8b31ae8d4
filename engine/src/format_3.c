/* Version 3: a table of ports, and records of any length.  Every byte means something or is zero, and is checked. */
#include <stdlib.h>

#include "format_parts.h"

enum {
    HEADER = 144,
    CHECKSUM = 112, /* the head's, taken as zeros in it; the data's follows */
    PORT = 192,
    NAME = 64, /* of a port, at its end */
    SIZE = 32,
    MAX_PORTS = 64,
    RECORD = 24, /* the fixed part of a record */
    TENSOR = 48,
    ATTRIBUTE = 24,
    KEY = 16,
    MAX_NAME = 1024,
    NOISE_STREAM = 16, /* the first one of noise: docs/latent-rng.md */
    DROPOUT_STREAM = 4096 /* likewise of masks */
};

typedef enum port_kind {
    PORT_LATENT,
    PORT_STYLE,
    PORT_LABEL,
    PORT_SCALAR,
    PORT_NOISE,
    PORT_IMAGE,
    PORT_VOLUME,
    PORT_VIDEO,
    PORT_AUDIO,
    PORT_VALUES,
    PORT_KINDS
} port_kind;

typedef enum port_prior { PRIOR_NONE, PRIOR_NORMAL, PRIOR_UNIFORM, PRIOR_TRUNCATED, PRIOR_COUNT } port_prior;

/* The head's parts, whose places are checked. */
typedef struct head {
    const unsigned char *ports, *sizes, *records;
    uint64_t records_size;
    uint32_t n_ports, n_sizes;
    uint32_t n_inputs;           /* ports that go in: the first values */
    uint32_t values[MAX_PORTS];  /* of each: VALUE_Z, VALUE_LABEL, or that of an OP_GIVEN */
    gan_layer given[MAX_PORTS];  /* the file's n_given scalars and planes of noise */
    uint32_t symbols[2];         /* of the input image's height and width: 1 + index of a size, or 0 */
} head;

static int zeros(const unsigned char *p, uint64_t size) {
    while (size && !*p) p++, size--;
    return !size;
}

static uint64_t to_multiple(uint64_t size, uint64_t unit) { return (size + unit - 1) / unit * unit; }

/* A dimension that is a number: no symbol, that many times 1. */
static uint32_t fixed_dim(const unsigned char *port, uint32_t i) {
    const unsigned char *dim = port + 16 + 12 * i;
    return u32_at(dim) || u32_at(dim + 8) != 1 ? 0 : u32_at(dim + 4);
}

static gan_status read_latent(const unsigned char *port, gan_file *file) {
    const uint32_t prior = u32_at(port + 92);
    const int usual = prior == PRIOR_NORMAL ||
                      (prior == PRIOR_UNIFORM && f32_at(port + 96) == -1 && f32_at(port + 100) == 1);
    file->nz = fixed_dim(port, 0);
    file->input = (gan_shape){file->nz, 0, 0, 0};
    file->prior = prior == PRIOR_NORMAL ? GAN_PRIOR_NORMAL : GAN_PRIOR_UNIFORM;
    const int fits = usual && u32_at(port + 8) == DTYPE_F32 && u32_at(port + 12) == 1 && u32_at(port + 108) == 0;
    return fits && file->nz && file->nz <= MAX_SIDE ? GAN_OK : GAN_ERROR_UNSUPPORTED;
}

/* Numbers of another network, such as StyleGAN's w: a vector, or rows of which each goes to a layer. */
static gan_status read_values(const unsigned char *port, gan_file *file) {
    const uint32_t rank = u32_at(port + 12), rows = rank == 2 ? fixed_dim(port, 0) : 1;
    const uint32_t length = rank == 1 || rank == 2 ? fixed_dim(port, rank - 1) : 0;
    if (u32_at(port + 8) != DTYPE_F32 || u32_at(port + 92) != PRIOR_NONE || u32_at(port + 108) || !length || !rows ||
        length > MAX_SIDE / rows)
        return GAN_ERROR_UNSUPPORTED;
    file->nz = length * rows;
    file->input = rank == 2 ? (gan_shape){length, 1, rows, 0} : (gan_shape){length, 0, 0, 0};
    file->prior = GAN_PRIOR_NONE;
    return GAN_OK;
}

/* A number, or a plane of normal noise, for each image. */
static gan_status read_given(const unsigned char *port, int noise, head *h, gan_file *file) {
    const uint32_t height = noise ? fixed_dim(port, 1) : 0, width = noise ? fixed_dim(port, 2) : 1,
                   planes = file->n_given - file->scalars, prior = noise ? PRIOR_NORMAL : PRIOR_NONE;
    if (u32_at(port + 8) != DTYPE_F32 || u32_at(port + 12) != (noise ? 3 : 0) || u32_at(port + 92) != prior ||
        u32_at(port + 108) != (noise ? NOISE_STREAM + planes : 0) ||
        (noise && (fixed_dim(port, 0) != 1 || !height || !width || height > MAX_SIDE || width > MAX_SIDE ||
                   height > MAX_VALUE / width)))
        return GAN_ERROR_UNSUPPORTED;
    gan_layer *layer = &h->given[file->n_given++];
    *layer = (gan_layer){.op = OP_GIVEN, .out = {width, noise ? height : 0, noise ? 1 : 0, 0}};
    layer->args[0] = noise ? GIVEN_NOISE : GIVEN_SCALAR;
    layer->args[1] = NOISE_STREAM + planes;
    layer->offset = noise ? file->noise : file->scalars;
    if (noise) file->noise += (uint64_t)height * width;
    else file->scalars++;
    return file->noise <= MAX_VALUE ? GAN_OK : GAN_ERROR_UNSUPPORTED;
}

/* The uniform numbers of a dropout: an image whose sides are numbers, or shares of those of the image that goes in. */
static gan_status read_mask(const unsigned char *port, head *h, gan_file *file) {
    gan_layer *layer = &h->given[file->n_given];
    *layer = (gan_layer){.op = OP_GIVEN, .out = {fixed_dim(port, 0), 0, 0, 0}, .offset = file->noise};
    layer->args[0] = GIVEN_MASK;
    layer->args[1] = DROPOUT_STREAM + file->n_given;
    uint32_t sides[2];
    for (uint32_t i = 0; i < 2; i++) {
        const unsigned char *dim = port + 16 + 12 * (1 + i);
        const uint32_t symbol = u32_at(dim), times = u32_at(dim + 4), over = u32_at(dim + 8);
        if ((symbol && (symbol != h->symbols[i] || times != 1)) || (!symbol && over != 1) || !over)
            return GAN_ERROR_UNSUPPORTED;
        layer->args[2 + i] = symbol ? over : 0;
        sides[i] = symbol ? 0 : times;
    }
    layer->out.h = sides[0], layer->out.w = sides[1];
    if (u32_at(port + 8) != DTYPE_F32 || u32_at(port + 12) != 3 || f32_at(port + 96) != 0 || f32_at(port + 100) != 1 ||
        u32_at(port + 108) != layer->args[1] || !gan_i_operation(OP_GIVEN)->shape(file, layer) || !layer->out.h ||
        !layer->out.w)
        return GAN_ERROR_UNSUPPORTED;
    file->noise += layer->out.c * shape_pixels(layer->out);
    file->n_given++;
    return GAN_OK;
}

static gan_status read_label(const unsigned char *port, gan_file *file) {
    file->classes = u32_at(port + 104);
    const int fits = u32_at(port + 8) == DTYPE_I64 && u32_at(port + 12) == 0 && u32_at(port + 108) == 1;
    return fits && file->classes && file->classes <= MAX_SIDE ? GAN_OK : GAN_ERROR_UNSUPPORTED;
}

static int read_range(const unsigned char *port, float *low, float *high) {
    *low = f32_at(port + 112);
    *high = f32_at(port + 116);
    if (*low == 0 && *high == 0) *low = -1, *high = 1; /* nothing bounds them */
    return *low < *high && *high - *low < 1e30f;
}

/* A side of the image that goes in: a number, or a size as it is. */
static gan_status read_side(const unsigned char *port, uint32_t i, const head *h, gan_side *side, uint32_t *symbol) {
    const unsigned char *dim = port + 16 + 12 * i;
    *symbol = u32_at(dim);
    const uint32_t times = u32_at(dim + 4), over = u32_at(dim + 8);
    if (*symbol > h->n_sizes) return GAN_ERROR_CORRUPT;
    if (over != 1 || (*symbol && times != 1)) return GAN_ERROR_UNSUPPORTED;
    *side = (gan_side){times, 1, times};
    if (*symbol) {
        const unsigned char *size = h->sizes + (uint64_t)SIZE * (*symbol - 1);
        *side = (gan_side){u32_at(size + 16), u32_at(size + 20), u32_at(size + 24)};
        if (side->most > MAX_SIDE) side->most = MAX_SIDE;
    }
    return side->least && side->least <= side->most && side->most <= MAX_SIDE ? GAN_OK : GAN_ERROR_UNSUPPORTED;
}

static gan_status read_input_image(const unsigned char *port, head *h, gan_file *file) {
    if (!read_range(port, &file->in_low, &file->in_high)) return GAN_ERROR_CORRUPT;
    if (u32_at(port + 8) != DTYPE_F32 || u32_at(port + 12) != 3 || u32_at(port + 88) || u32_at(port + 92) ||
        u32_at(port + 108))
        return GAN_ERROR_UNSUPPORTED;
    gan_status status = read_side(port, 1, h, &file->height, &h->symbols[0]);
    if (status == GAN_OK) status = read_side(port, 2, h, &file->width, &h->symbols[1]);
    if (status != GAN_OK) return status;
    file->square = h->symbols[0] && h->symbols[0] == h->symbols[1];
    file->input = (gan_shape){fixed_dim(port, 0), file->height.least, file->width.least, 0};
    const uint64_t pixels = (uint64_t)file->input.h * file->input.w;
    return file->input.c && file->input.c <= MAX_SIDE && pixels <= MAX_VALUE / file->input.c ? GAN_OK
                                                                                             : GAN_ERROR_UNSUPPORTED;
}

/* A volume's four dimensions, or a signal's two, all of them numbers. */
static int read_fixed_shape(const unsigned char *port, gan_file *file) {
    const uint32_t c = fixed_dim(port, 0), last = u32_at(port + 12) - 1;
    file->image = (gan_shape){c, 1, fixed_dim(port, last), 0};
    if (last == 3) file->image.d = fixed_dim(port, 1), file->image.h = fixed_dim(port, 2);
    return file->image.c && file->image.h && file->image.w && (last == 1 || file->image.d);
}

/* A volume or a signal, of a latent alone. */
static gan_status read_volume(const unsigned char *port, const head *h, gan_file *file) {
    if (!read_range(port, &file->low, &file->high)) return GAN_ERROR_CORRUPT;
    const int volume = u32_at(port + 4) == PORT_VOLUME;
    file->kind = volume ? GAN_KIND_VOLUME : GAN_KIND_SIGNAL;
    if (u32_at(port + 8) != DTYPE_F32 || u32_at(port + 12) != (volume ? 4u : 2u) || u32_at(port + 88) ||
        u32_at(port + 120) != h->n_inputs + file->n_layers - 1)
        return GAN_ERROR_UNSUPPORTED;
    return read_fixed_shape(port, file) ? GAN_OK : GAN_ERROR_UNSUPPORTED;
}

/* Rows of numbers for another network, such as a w for each layer of StyleGAN's synthesis. */
static gan_status read_made_values(const unsigned char *port, const head *h, gan_file *file) {
    if (!read_range(port, &file->low, &file->high)) return GAN_ERROR_CORRUPT;
    file->kind = GAN_KIND_VALUES;
    file->image = (gan_shape){fixed_dim(port, 1), 1, fixed_dim(port, 0), 0};
    const int fits = u32_at(port + 8) == DTYPE_F32 && u32_at(port + 12) == 2 && file->image.c && file->image.w &&
                     u32_at(port + 120) == h->n_inputs + file->n_layers - 1;
    return fits ? GAN_OK : GAN_ERROR_UNSUPPORTED;
}

/* A side of the image that comes out: a number, or a share of a size that an input side has. */
static gan_status read_out_side(const unsigned char *port, uint32_t i, const head *h, gan_dim *out) {
    const unsigned char *dim = port + 16 + 12 * i;
    const uint32_t symbol = u32_at(dim), times = u32_at(dim + 4), over = u32_at(dim + 8);
    if (symbol > h->n_sizes || !over) return GAN_ERROR_CORRUPT;
    *out = (gan_dim){0, times, over};
    if (!symbol) return over == 1 ? GAN_OK : GAN_ERROR_UNSUPPORTED;
    out->of = symbol == h->symbols[0] ? 1 : symbol == h->symbols[1] ? 2 : 0;
    return out->of ? GAN_OK : GAN_ERROR_UNSUPPORTED;
}

static gan_status read_image(const unsigned char *port, const head *h, gan_file *file) {
    if (!read_range(port, &file->low, &file->high)) return GAN_ERROR_CORRUPT;
    file->image.c = fixed_dim(port, 0);
    gan_status status = read_out_side(port, 1, h, &file->out_height);
    if (status == GAN_OK) status = read_out_side(port, 2, h, &file->out_width);
    if (status != GAN_OK) return status;
    file->image = gan_i_image_at(file, file->input.h, file->input.w);
    const int fits = u32_at(port + 8) == DTYPE_F32 && u32_at(port + 12) == 3 && u32_at(port + 88) == 0 &&
                     u32_at(port + 120) == h->n_inputs + file->n_layers - 1;
    return fits ? GAN_OK : GAN_ERROR_UNSUPPORTED;
}

/* The fields that don't apply to a port of its kind, and what follows its name, which must be zeros. */
static int rest_is_zeros(const unsigned char *port, uint32_t out, uint32_t kind) {
    const uint32_t prior = u32_at(port + 92);
    const uint64_t parameters = out || prior <= PRIOR_NORMAL ? 0 : prior == PRIOR_UNIFORM ? 8 : 4;
    size_t name = 0;
    while (name < NAME && port[PORT - NAME + name]) name++;
    return name && zeros(port + PORT - NAME + name, NAME - name) &&
           (!out || (prior == PRIOR_NONE && !u32_at(port + 108))) && zeros(port + 96 + parameters, 8 - parameters) &&
           (kind == PORT_LABEL || !u32_at(port + 104)) && (out || !u32_at(port + 120)) && !u32_at(port + 124);
}

/* A name, zero-filled, and three numbers that a size may have. */
static int sizes_hold(const head *h) {
    for (uint32_t i = 0; i < h->n_sizes; i++) {
        const unsigned char *size = h->sizes + (uint64_t)SIZE * i;
        const uint32_t least = u32_at(size + 16), multiple = u32_at(size + 20), most = u32_at(size + 24);
        size_t name = 0;
        while (name < 16 && size[name]) name++;
        if (!name || !zeros(size + name, 16 - name) || !multiple || least < multiple || least > most ||
            least % multiple || u32_at(size + 28))
            return 0;
    }
    return 1;
}

static const char *const KINDS[PORT_KINDS] = {"latent", "style",  "label", "scalar", "noise",
                                              "image",  "volume", "video", "audio",  "values"};

static const char *port_name(const unsigned char *port, char to[NAME]) {
    const gan_layer like = {.name = (const char *)port + PORT - NAME, .name_size = NAME};
    gan_i_layer_name(&like, to, NAME);
    for (int i = 0; i < NAME; i++)
        if (!port[PORT - NAME + i]) to[i] = 0;
    return to;
}

static int is_made(uint32_t kind) {
    return kind == PORT_IMAGE || kind == PORT_VOLUME || kind == PORT_AUDIO || kind == PORT_VALUES;
}

/* This engine runs a latent or values, perhaps a label, scalars and noise, to one image, volume, signal or rows of values,
 * or one image to one image: other ports are unsupported. */
static gan_status read_ports(head *h, gan_file *file) {
    int seen[2][PORT_KINDS] = {{0}}, made = 0; /* inputs, outputs */
    if (!sizes_hold(h)) return GAN_ERROR_CORRUPT;
    for (uint32_t i = 0; i < h->n_ports; i++) {
        const unsigned char *port = h->ports + (uint64_t)PORT * i;
        const uint32_t out = u32_at(port), kind = u32_at(port + 4), rank = u32_at(port + 12);
        if (out > 1 || kind >= PORT_KINDS || u32_at(port + 8) >= DTYPE_COUNT || rank > MAX_RANK ||
            u32_at(port + 92) >= PRIOR_COUNT || !zeros(port + 16 + 12 * rank, 12 * (MAX_RANK - rank)) ||
            !rest_is_zeros(port, out, kind) || (!out && h->n_inputs != i))
            return GAN_ERROR_CORRUPT;
        const int given = !out && (kind == PORT_SCALAR || kind == PORT_NOISE), values = !out && kind == PORT_VALUES;
        const int known = out ? is_made(kind)
                              : given || values || kind == PORT_IMAGE || kind == PORT_LABEL || kind == PORT_LATENT;
        if (!known || (seen[out][kind]++ && !given) || (out && made++))
            return REFUSE(file, GAN_ERROR_UNSUPPORTED,
                          "the %s %s is %s: the C engine runs a latent or values, a label, scalars and noise to an "
                          "image, a volume, a signal or values, or an image to an image",
                          out ? "output" : "input", port_name(port, (char[NAME]){0}), KINDS[kind]);
        if (!out && h->n_inputs == MAX_PORTS)
            return REFUSE(file, GAN_ERROR_UNSUPPORTED, "more than %u inputs", (uint64_t)MAX_PORTS);
        if (!out)
            h->values[h->n_inputs++] = kind == PORT_LABEL ? VALUE_LABEL : given ? FIRST_LAYER + file->n_given : VALUE_Z;
        const gan_status status = out                                           ? (kind == PORT_IMAGE    ? read_image
                                                                                   : kind == PORT_VALUES ? read_made_values
                                                                                                         : read_volume)(port, h, file)
                                  : kind == PORT_LABEL                          ? read_label(port, file)
                                  : given && u32_at(port + 92) == PRIOR_UNIFORM ? read_mask(port, h, file)
                                  : given              ? read_given(port, kind == PORT_NOISE, h, file)
                                  : values             ? read_values(port, file)
                                  : kind == PORT_IMAGE ? read_input_image(port, h, file)
                                                       : read_latent(port, file);
        if (status == GAN_ERROR_UNSUPPORTED && (given || values))
            return REFUSE(file, status, "the input %s is %s of a type, shape, prior or stream that isn't run",
                          port_name(port, (char[NAME]){0}), KINDS[kind]);
        if (status != GAN_OK) return status;
    }
    const int image = seen[0][PORT_IMAGE] && h->n_inputs == 1 + file->n_given && !file->scalars;
    const int start = seen[0][PORT_LATENT] + seen[0][PORT_VALUES] == 1 && !seen[0][PORT_IMAGE];
    if (!made || (image && !seen[1][PORT_IMAGE]) || (!image && !start)) return GAN_ERROR_UNSUPPORTED;
    if (file->noise && file->prior == GAN_PRIOR_UNIFORM) return GAN_ERROR_UNSUPPORTED; /* one table is kept */
    return image || !h->n_sizes ? GAN_OK : GAN_ERROR_UNSUPPORTED;
}

/* Where `key`, zero-filled to KEY bytes, stands in a list of keys separated by blanks; -1 if it doesn't. */
static int key_index(const unsigned char *key, const char *list) {
    for (int i = 0; *list; i++) {
        size_t length = 0;
        while (list[length] && list[length] != ' ') length++;
        if (length < KEY && !memcmp(key, list, length) && zeros(key + length, KEY - length)) return i;
        list += length + (list[length] == ' ');
    }
    return -1;
}

static uint32_t keys_in(const char *list) {
    uint32_t count = *list != 0;
    for (; *list; list++) count += *list == ' ';
    return count;
}

/* Numbers that lie within 0 .. 1e30, after the side of a tile for Toom-Cook. */
static gan_status read_ranges(const unsigned char *p, uint32_t numbers, uint32_t type, range_kind kind,
                              gan_layer *layer) {
    static const uint32_t COUNTS[RANGE_COUNT] = {1 + 3 * 3, 1 + 5 * 5, 6 * 6, 1}, HALVED = 5 * 5; /* of stride 2 */
    if (layer->ranges[kind].count) return GAN_ERROR_CORRUPT;
    if (type != 1 || (numbers != COUNTS[kind] && (kind != RANGE_WINOGRAD || numbers != HALVED)))
        return GAN_ERROR_UNSUPPORTED;
    for (uint32_t i = 0; i < numbers; i++)
        if (!(f64_at(p + 8 * i) >= 0 && f64_at(p + 8 * i) <= 1e30)) return GAN_ERROR_UNSUPPORTED;
    layer->ranges[kind] = (gan_ranges){p, numbers};
    return GAN_OK;
}

/* Each attribute that the operation has, once, with one number; and a product's ranges, if it has any. */
static gan_status read_attributes(const unsigned char *p, uint64_t left, uint32_t count, gan_layer *layer) {
    const gan_operation *op = gan_i_operation(layer->op);
    uint32_t seen = 0, wanted = (1u << (keys_in(op->integers) + keys_in(op->reals))) - 1;
    for (uint32_t i = 0; i < count; i++) {
        if (left < ATTRIBUTE + 8) return GAN_ERROR_CORRUPT;
        const uint32_t type = u32_at(p + KEY), numbers = u32_at(p + KEY + 4);
        if (type > 1 || !numbers || numbers > (left - ATTRIBUTE) / 8) return GAN_ERROR_CORRUPT;
        const int range = op->rule == RUN_PRODUCT ? key_index(p, "toom3 toom5 winograd direct") : -1;
        if (range >= 0) {
            const gan_status status = read_ranges(p + ATTRIBUTE, numbers, type, (range_kind)range, layer);
            if (status != GAN_OK) return status;
            p += ATTRIBUTE + 8ull * numbers, left -= ATTRIBUTE + 8ull * numbers;
            continue;
        }
        const int at = key_index(p, type ? op->reals : op->integers);
        const uint64_t bits = u64_at(p + ATTRIBUTE);
        if (at < 0 || numbers != 1 || (!type && bits > MAX_ARG)) return GAN_ERROR_UNSUPPORTED;
        const uint32_t bit = 1u << ((type ? keys_in(op->integers) : 0) + (uint32_t)at);
        if (seen & bit) return GAN_ERROR_CORRUPT;
        seen |= bit;
        double real;
        memcpy(&real, &bits, sizeof real);
        if (type) layer->fargs[at] = real > -1e38 && real < 1e38 ? (float)real : 0;
        else layer->args[at] = (uint32_t)bits;
        if (type && !(real > -1e38 && real < 1e38)) return GAN_ERROR_UNSUPPORTED;
        p += ATTRIBUTE + 8, left -= ATTRIBUTE + 8;
    }
    if (left) return GAN_ERROR_CORRUPT;
    return seen == wanted ? GAN_OK : GAN_ERROR_UNSUPPORTED;
}

/* A tensor's role is 0 for the weight and 1 for the bias, in this order. */
static gan_status read_tensor(const unsigned char *p, weight_region *region, gan_layer *layer) {
    const uint32_t role = u32_at(p), dtype = u32_at(p + 4), rank = u32_at(p + 8);
    const uint64_t offset = u64_at(p + 40);
    if (role > 1 || dtype > DTYPE_BF16) return GAN_ERROR_UNSUPPORTED;
    if (rank > MAX_RANK || !rank || u32_at(p + 12) || !zeros(p + 16 + 4 * rank, 4 * (MAX_RANK - rank)))
        return GAN_ERROR_CORRUPT;
    uint64_t count = 1;
    for (uint32_t i = 0; i < rank; i++) {
        const uint32_t dim = u32_at(p + 16 + 4 * i);
        if (!dim || dim > region->size / count) return GAN_ERROR_CORRUPT; /* at least a byte a number */
        count *= dim;
    }
    gan_tensor *tensor = role ? &layer->bias : &layer->weight;
    if (tensor->count || (!role && layer->bias.count)) return GAN_ERROR_CORRUPT;
    const uint64_t before = region->taken;
    const gan_status status = gan_i_take_tensor(region, (gan_dtype)dtype, offset, count, tensor);
    if (status != GAN_OK) return status;
    return offset - before < ALIGNMENT && zeros(region->data + before, offset - before) ? GAN_OK : GAN_ERROR_CORRUPT;
}

/* The tensor at `p` against the dimensions that its layer gives it. */
static int has_dims(const unsigned char *p, int rank, const uint32_t *dims) {
    if (u32_at(p + 8) != (uint32_t)rank) return 0;
    for (int i = 0; i < rank; i++)
        if (u32_at(p + 16 + 4 * i) != dims[i]) return 0;
    return 1;
}

/* The record at `p`, of at most `left` bytes, into layer `index`; its size, 0 unless *status is GAN_OK. */
static uint64_t read_record(const unsigned char *p, uint64_t left, uint32_t index, const head *h, weight_region *region,
                            uint32_t *inputs, gan_file *file, gan_status *status) {
    gan_layer *layer = &file->layers[index];
    *status = GAN_ERROR_CORRUPT;
    if (left < RECORD) return 0;
    const uint32_t size = u32_at(p), number = u32_at(p + 4), n_inputs = u32_at(p + 8), n_tensors = u32_at(p + 12);
    const uint32_t n_attributes = u32_at(p + 16), name = u32_at(p + 20);
    if (size < RECORD || size % 8 || size > left || name > MAX_NAME) return 0;
    *status = GAN_ERROR_UNSUPPORTED;
    const int known = number != OP_GIVEN && gan_i_operation(number);
    if (!known) gan_i_message(file->message, GAN_MESSAGE_SIZE, "operation %u is unknown", (uint64_t)number);
    if (!known || !n_inputs || n_inputs > MAX_INPUTS || n_tensors > 2 || n_attributes > MAX_ARGS + 2 + RANGE_COUNT)
        return 0;
    *status = GAN_ERROR_CORRUPT;
    const uint64_t inputs_size = to_multiple(4ull * n_inputs, 8), tensors = RECORD + inputs_size;
    const uint64_t names = tensors + (uint64_t)TENSOR * n_tensors, attributes = names + to_multiple(name, 8);
    if (attributes > size || !zeros(p + RECORD + 4ull * n_inputs, inputs_size - 4ull * n_inputs) ||
        !zeros(p + names + name, to_multiple(name, 8) - name))
        return 0;
    *layer = (gan_layer){.op = (gan_op)number,
                         .n_inputs = n_inputs,
                         .inputs = inputs,
                         .name = (const char *)p + names,
                         .name_size = name};
    for (uint32_t i = 0; i < n_inputs; i++) {
        const uint32_t value = u32_at(p + RECORD + 4 * i);
        if (value >= h->n_inputs + index - file->n_given) return 0;
        inputs[i] = value < h->n_inputs ? h->values[value] : FIRST_LAYER + file->n_given + (value - h->n_inputs);
    }
    for (uint32_t i = 0; i < n_tensors; i++)
        if ((*status = read_tensor(p + tensors + (uint64_t)TENSOR * i, region, layer)) != GAN_OK) return 0;
    if ((*status = read_attributes(p + attributes, size - attributes, n_attributes, layer)) != GAN_OK) return 0;
    if ((*status = gan_i_check_layer(file, index)) != GAN_OK) return 0;
    uint32_t dims[MAX_RANK];
    const int rank = gan_i_operation(number)->weight(layer, dims);
    *status = GAN_ERROR_CORRUPT;
    if (layer->weight.count && !has_dims(p + tensors, rank, dims)) return 0;
    if (layer->bias.count && !has_dims(p + tensors + (layer->weight.count ? TENSOR : 0), 1, &layer->out.c)) return 0;
    *status = GAN_OK;
    return size;
}

static int checksums_hold(const unsigned char *p, uint64_t data, uint64_t size) {
    unsigned char header[HEADER];
    memcpy(header, p, HEADER);
    memset(header + CHECKSUM, 0, 16);
    gan_checksum of_head = {0}, of_data = {0};
    gan_i_check_words(&of_head, header, HEADER);
    gan_i_check_words(&of_head, p + HEADER, data - HEADER);
    gan_i_check_words(&of_data, p + data, size - data);
    return of_head.first == u64_at(p + CHECKSUM) && of_head.second == u64_at(p + CHECKSUM + 8) &&
           of_data.first == u64_at(p + CHECKSUM + 16) && of_data.second == u64_at(p + CHECKSUM + 24);
}

gan_status gan_i_parse_3(const unsigned char *p, size_t size, gan_file *file) {
    if (size < HEADER || u32_at(p + 12) != HEADER || u64_at(p + 16) != size) return GAN_ERROR_CORRUPT;
    const uint64_t manifest = u64_at(p + 24), manifest_size = u64_at(p + 32), data = u64_at(p + 40),
                   data_size = u64_at(p + 48);
    head h = {.n_ports = u32_at(p + 60), .n_sizes = u32_at(p + 64)};
    file->n_layers = u32_at(p + 56);
    h.records_size = u64_at(p + 72);
    const uint64_t ports = HEADER, records = ports + (uint64_t)PORT * h.n_ports + (uint64_t)SIZE * h.n_sizes;
    if (!file->n_layers || file->n_layers > MAX_LAYERS || !h.n_ports || h.n_ports > 2 * MAX_PORTS ||
        h.n_sizes > MAX_PORTS || !inside(records, h.records_size, size) || h.records_size % 8 ||
        file->n_layers > h.records_size / RECORD || manifest != records + h.records_size ||
        !inside(manifest, manifest_size, size) || data != to_multiple(manifest + manifest_size, ALIGNMENT) ||
        data > size || data_size != size - data)
        return GAN_ERROR_CORRUPT;
    if (!checksums_hold(p, data, size)) return GAN_ERROR_CORRUPT;
    file->error_budget = f32_at(p + 80);
    if (!zeros(p + 68, 4) || !zeros(p + 92, 20) ||
        !zeros(p + manifest + manifest_size, data - manifest - manifest_size) || !(file->error_budget >= 0))
        return GAN_ERROR_CORRUPT;
    if (u32_at(p + 84) >= DTYPE_COUNT) return GAN_ERROR_CORRUPT;
    file->int16 = u32_at(p + 84) == DTYPE_I16 || u32_at(p + 84) == DTYPE_I8;
    if (u32_at(p + 88)) return GAN_ERROR_UNSUPPORTED; /* a fixed batch */
    file->manifest = (const char *)p + manifest;
    file->manifest_size = (size_t)manifest_size;
    h.ports = p + ports;
    h.sizes = h.ports + (uint64_t)PORT * h.n_ports;
    h.records = p + records;
    gan_status status = read_ports(&h, file);
    if (status != GAN_OK) return status;
    file->n_layers += file->n_given;
    file->layers = calloc(file->n_layers, sizeof *file->layers);
    file->inputs = calloc((size_t)(h.records_size / sizeof *file->inputs) + 1, sizeof *file->inputs);
    if (!file->layers || !file->inputs) return GAN_ERROR_MEMORY;
    weight_region region = {.data = p + data, .size = data_size};
    memcpy(file->layers, h.given, sizeof *file->layers * file->n_given);
    uint64_t at = 0, inputs = 0;
    for (uint32_t i = 0; i < file->n_given; i++) file->layers[i].inputs = file->inputs; /* it reads none of them */
    for (uint32_t i = file->n_given; i < file->n_layers; i++) {
        at += read_record(h.records + at, h.records_size - at, i, &h, &region, file->inputs + inputs, file, &status);
        if (status != GAN_OK) return gan_i_refuse_layer(file, i, status);
        inputs += file->layers[i].n_inputs;
    }
    const uint64_t rest = data_size - region.taken;
    return at == h.records_size && rest < ALIGNMENT && zeros(region.data + region.taken, rest) ? GAN_OK
                                                                                               : GAN_ERROR_CORRUPT;
}
