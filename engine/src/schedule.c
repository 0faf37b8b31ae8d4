#include "schedule.h"

#include <stdlib.h>
#include <string.h>

#include "system.h"

enum {
    MAX_CONSTANTS = 1 << 25, /* 128 MiB, whatever a file of a few bytes says */
    DEFAULT_LLC_BYTES = 16000000
};

typedef struct builder {
    const file *f;
    const gan_kernels *k;
    schedule *s;
    uint32_t *uses, *reader; /* by value: how many layers read it, and the last of them */
    unsigned char *absorbed;    /* by layer: fused into a step before it, or read by nobody */
} builder;

/* The only layer that reads `v`, or NULL. */
static const layer *only_reader(const builder *b, uint32_t v) {
    return b->uses[v] == 1 && v != FIRST_LAYER + b->f->n_layers - 1 ? &b->f->layers[b->reader[v]] : NULL;
}

static uint32_t value_of(const builder *b, const layer *la) { return FIRST_LAYER + (uint32_t)(la - b->f->layers); }

static void absorb(builder *b, const layer *la) { b->absorbed[la - b->f->layers] = 1; }

/* Fuse the activation that alone reads the step's output. */
static void fuse_activation(builder *b, step *st) {
    const layer *next = only_reader(b, st->output);
    if (!next || next->op != OP_ACTIVATION) return;
    absorb(b, next);
    st->act = (activation){(activation_kind)next->args[0], next->fargs[0]};
    st->output = value_of(b, next);
}

static shape as_picture(shape s) { return s.h ? s : (shape){s.c, 1, 1}; }

static void conv_geometry(const layer *la, shape in, step *st) {
    conv *c = &st->conv;
    *c = (conv){.in = as_picture(in), .out = as_picture(la->out), .kh = 1, .kw = 1, .out_stride = 1, .in_stride = 1,
                .upsampled = 1, .layer_kernel = 1};
    if (la->op == OP_LINEAR) return;
    c->kh = c->kw = c->layer_kernel = la->args[2];
    c->layer_pad = (int32_t)la->args[4];
    if (la->op == OP_CONV_TRANSPOSE) {
        c->out_stride = la->args[3];
        c->pad = (int32_t)la->args[4];
    } else if (la->args[3] == 1) {
        c->pad = (int32_t)(la->args[2] - 1) - (int32_t)la->args[4]; /* a transposed one with its kernel turned round */
    } else {
        c->in_stride = la->args[3];
        c->pad = (int32_t)la->args[4];
    }
}

static void build_conv(builder *b, const layer *la, step *st) {
    conv_geometry(la, value_shape(b->f, la->inputs[0]), st);
    fuse_activation(b, st);
    const layer *next = only_reader(b, st->output);
    if (la->op != OP_LINEAR || !next || next->op != OP_RESHAPE || !next->args[1]) return;
    absorb(b, next);
    st->output = value_of(b, next);
    st->conv.out = next->out;
    st->conv.kh = next->out.h;
    st->conv.kw = next->out.w;
    st->conv.pixel_bias = 1;
    if (st->act.kind == ACT_NONE) fuse_activation(b, st);
}

/* Output y = f m + rho of a convolution over f-fold nearest upsampling reads input m + d for the kernel element
 * kk with d = floor((rho - pad + kk) / f): a transposed convolution of stride f and kernel element
 * rho - f d + pad', where pad' is the largest f d - rho. */
static void build_upsampled_conv(builder *b, const layer *up, step *st) {
    const layer *la = only_reader(b, st->output);
    const uint32_t factor = up->args[0];
    if (up->args[1] || factor < 2 || factor > 8 || !la || la->op != OP_CONV || la->args[3] != 1) return;
    const int32_t f = (int32_t)factor, k = (int32_t)la->args[2], pad = (int32_t)la->args[4];
    if (k < 2 || k > 16 || pad > 16 || la->out.h % factor || la->out.w % factor) return;
    const shape in = value_shape(b->f, up->inputs[0]);
    int32_t most = -(1 << 20), least = 1 << 20;
    for (int32_t rho = 0; rho < f; rho++) {
        for (int32_t kk = 0; kk < k; kk++) {
            const int32_t reach = f * floor_div(rho - pad + kk, f) - rho;
            most = reach > most ? reach : most;
            least = reach < least ? reach : least;
        }
    }
    const int32_t kernel = most - least + 1;
    if (kernel * kernel > MAX_GROWTH * k * k) return;
    absorb(b, la);
    st->layer = la;
    st->run = NULL;
    st->output = value_of(b, la);
    st->conv = (conv){.in = in, .out = la->out, .pad = most, .kh = (uint32_t)kernel, .out_stride = factor,
                      .in_stride = 1, .upsampled = factor, .layer_pad = pad, .layer_kernel = (uint32_t)k};
    st->conv.kw = st->conv.kh;
    fuse_activation(b, st);
}

static void build_step(builder *b, const layer *la) {
    schedule *s = b->s;
    step *st = &s->steps[s->n_steps];
    const operation *op = gan_i_operation(la->op);
    *st = (step){.layer = la, .n_inputs = la->n_inputs, .inputs = la->inputs, .run = op->run, .output = value_of(b, la)};
    if (op->rule == RUN_PRODUCT) {
        build_conv(b, la, st);
    } else if (la->op == OP_UPSAMPLE) {
        build_upsampled_conv(b, la, st);
    } else if (la->op == OP_ACTIVATION) {
        st->act = (activation){(activation_kind)la->args[0], la->fargs[0]};
    } else if (la->op == OP_RESHAPE && shape_pixels(value_shape(b->f, la->inputs[0])) == 1 && shape_pixels(la->out) == 1) {
        s->values[st->output].alias = s->values[la->inputs[0]].alias;
        return;
    } else if (op->rule == RUN_SCALED) {
        fuse_activation(b, st);
    }
    s->n_steps++;
}

/* Bias of a convolution, [Cout padded] or [pixel][Cout padded]; scale and shift of an affine step. */
static uint64_t constants_of(const builder *b, const step *st) {
    const uint32_t c = padded(b->s->values[st->output].shape.c, b->k);
    if (!st->run) return st->conv.pixel_bias ? c * shape_pixels(st->conv.out) : c;
    if (st->layer->op == OP_SCALE) return 2ull * (uint64_t)b->k->nr; /* all channels alike: one panel's */
    return st->layer->op == OP_AFFINE ? 2ull * c : 0;
}

static void fill_constants(const builder *b, const step *st, float *to) {
    const layer *la = st->layer;
    const uint32_t channels = b->s->values[st->output].shape.c, wide = padded(channels, b->k);
    if (!st->run) {
        const uint64_t pixels = st->conv.pixel_bias ? shape_pixels(st->conv.out) : 1;
        for (uint64_t p = 0; p < pixels && la->bias.count; p++)
            for (uint32_t c = 0; c < channels; c++) to[p * wide + c] = gan_i_element(&la->bias, c * pixels + p);
    } else if (la->op == OP_SCALE) {
        for (int i = 0; i < b->k->nr; i++) to[i] = la->fargs[0], to[b->k->nr + i] = la->fargs[1];
    } else if (la->op == OP_AFFINE) {
        for (uint32_t c = 0; c < channels; c++) {
            to[c] = gan_i_element(&la->weight, c);
            to[wide + c] = gan_i_element(&la->bias, c);
        }
    }
}

/* Give every stored value a place that no value alive at the same time has: first fit in order of birth.
 * last[v]: the last step that reads v, counted from 1, and beyond all for the image.  `alive`: scratch for the values
 * in use, kept in order of offset. */
static void place_values(schedule *s, uint32_t *last, uint32_t *alive) {
    uint32_t n_alive = 0;
    for (uint32_t v = 0; v < s->n_values; v++) last[v] = 0;
    for (uint32_t n = 0; n < s->n_steps; n++)
        for (uint32_t m = 0; m < s->steps[n].n_inputs; m++) last[s->values[s->steps[n].inputs[m]].alias] = n + 1;
    last[s->values[s->n_values - 1].alias] = s->n_steps + 1;
    for (uint32_t i = 0; i <= s->n_steps; i++) {
        const uint32_t born = i ? s->steps[i - 1].output : VALUE_Z;
        value *v = &s->values[born];
        if (v->alias != born) continue;
        uint32_t kept = 0, to = 0;
        for (uint32_t j = 0; j < n_alive; j++) /* what was read for the last time before this step is gone */
            if (last[alive[j]] >= i) alive[kept++] = alive[j];
        n_alive = kept;
        for (uint64_t at = 0; to < n_alive; to++) {
            const value *w = &s->values[alive[to]];
            if (at + v->per_image <= w->offset) break;
            at = v->offset = w->offset + w->per_image;
        }
        memmove(alive + to + 1, alive + to, sizeof *alive * (n_alive - to));
        alive[to] = born;
        n_alive++;
        const uint64_t end = v->offset + v->per_image;
        s->values_per_image = end > s->values_per_image ? end : s->values_per_image;
    }
}

void gan_i_schedule_free(schedule *s) {
    free(s->steps);
    free(s->values);
    free(s->constants);
    *s = (schedule){0};
}

machine gan_i_machine(const gan_kernels *k) {
    const uint64_t cache = gan_i_last_level_cache(), memory = gan_i_memory();
    return (machine){gan_i_fma_per_cycle(k), cache ? cache : DEFAULT_LLC_BYTES, memory ? memory : UINT64_MAX};
}

gan_status gan_i_schedule(const file *f, const gan_kernels *k, schedule *s) {
    const uint32_t n_values = FIRST_LAYER + f->n_layers;
    *s = (schedule){.n_values = n_values, .machine = gan_i_machine(k)};
    builder b = {.f = f, .k = k, .s = s};
    s->steps = calloc(f->n_layers, sizeof *s->steps);
    s->values = calloc(n_values, sizeof *s->values);
    b.uses = calloc(n_values, sizeof *b.uses);
    b.reader = calloc(n_values, sizeof *b.reader);
    b.absorbed = calloc(f->n_layers, 1);
    gan_status status = GAN_ERROR_MEMORY;
    if (!s->steps || !s->values || !b.uses || !b.reader || !b.absorbed) goto done;
    /* What the picture doesn't depend on is left out, so that the last step is the one that makes it. */
    for (uint32_t i = f->n_layers; i--;) {
        b.absorbed[i] = i + 1 < f->n_layers && !b.uses[FIRST_LAYER + i];
        for (uint32_t j = 0; j < f->layers[i].n_inputs && !b.absorbed[i]; j++) {
            if (!b.uses[f->layers[i].inputs[j]]) b.reader[f->layers[i].inputs[j]] = i;
            b.uses[f->layers[i].inputs[j]]++;
        }
    }
    for (uint32_t v = 0; v < n_values; v++) {
        value *to = &s->values[v];
        to->shape = value_shape(f, v);
        to->alias = v;
        to->per_image = shape_pixels(to->shape) * padded(to->shape.c, k);
    }
    for (uint32_t i = 0; i < f->n_layers; i++)
        if (!b.absorbed[i]) build_step(&b, &f->layers[i]);
    status = GAN_ERROR_UNSUPPORTED;
    if (!s->n_steps) goto done; /* a generator that only renames its latent */
    for (uint32_t i = 0; i < s->n_steps; i++) {
        const shape out = s->values[s->steps[i].output].shape;
        const uint64_t row = (uint64_t)(out.h ? out.w : 1) * padded(out.c, k);
        s->max_row_floats = row > s->max_row_floats ? row : s->max_row_floats;
        s->steps[i].constants = (uint32_t)s->n_constants;
        s->n_constants += constants_of(&b, &s->steps[i]);
        if (s->n_constants > MAX_CONSTANTS) goto done;
    }
    status = GAN_ERROR_MEMORY;
    s->constants = calloc(s->n_constants + 1, sizeof *s->constants);
    if (!s->constants) goto done;
    for (uint32_t i = 0; i < s->n_steps; i++) fill_constants(&b, &s->steps[i], s->constants + s->steps[i].constants);
    place_values(s, b.uses, b.reader);
    status = GAN_OK;
done:
    free(b.uses);
    free(b.reader);
    free(b.absorbed);
    if (status != GAN_OK) gan_i_schedule_free(s);
    return status;
}
