#include "pack.h"
#include "program_parts.h"

#include <stdlib.h>
#include <string.h>

#include "system.h"

enum {
    MAX_CONSTANTS = 1 << 25, /* 128 MiB, whatever a file of a few bytes says */
    DEFAULT_LLC_BYTES = 16000000
};

/* Fuse the activation that is the only reader of the step's output; with a product, PReLU too. */
static void fuse_activation(program_builder *builder, gan_step *step) {
    const gan_layer *next = only_reader(builder, step->output);
    if (!next || (next->op != OP_ACTIVATION && (next->op != OP_PRELU || step->run))) return;
    absorb(builder, next);
    if (next->op == OP_PRELU) step->prelu = next, step->act = (activation){.kind = ACT_PRELU};
    else step->act = gan_i_activation(next);
    step->output = value_of(builder, next);
}

static gan_shape as_image(gan_shape s) { return s.h ? s : (gan_shape){s.c, 1, 1, 0}; }

/* The kernel and the padding along the dimensions that a layer has, and 1 and 0 along the others. */
static void set_dims(gan_conv *conv, int dims, uint32_t kernel, int32_t pad) {
    conv->dims = dims;
    conv->kw = kernel, conv->pad = pad;
    conv->kh = dims > 1 ? kernel : 1, conv->pad_y = dims > 1 ? pad : 0;
    conv->kd = dims > 2 ? kernel : 1, conv->pad_z = dims > 2 ? pad : 0;
}

static void conv_geometry(const gan_layer *layer, gan_shape in, gan_step *step) {
    gan_conv *conv = &step->conv;
    *conv = (gan_conv){.in = as_image(in),
                       .out = as_image(layer->out),
                       .dims = 2,
                       .kd = 1,
                       .kh = 1,
                       .kw = 1,
                       .out_stride = 1,
                       .in_stride = 1,
                       .upsampled = 1,
                       .layer_kernel = 1};
    if (layer->op == OP_LINEAR) return;
    conv->layer_kernel = layer->args[2];
    conv->layer_pad = (int32_t)layer->args[4];
    int32_t pad = (int32_t)layer->args[4];
    if (conv_is_transposed(layer->op)) conv->out_stride = layer->args[3];
    else if (layer->args[3] > 1) conv->in_stride = layer->args[3];
    else pad = (int32_t)(layer->args[2] - 1) - pad; /* a transposed one with its kernel reversed */
    set_dims(conv, conv_dims(layer->op), layer->args[2], pad);
}

static void build_conv(program_builder *builder, const gan_layer *layer, gan_step *step) {
    conv_geometry(layer, value_shape(builder->file, layer->inputs[0]), step);
    fuse_activation(builder, step);
    const gan_layer *next = only_reader(builder, step->output);
    if (layer->op != OP_LINEAR || !next || (next->op != OP_RESHAPE && next->op != OP_RESHAPE_3D) || !next->out.h)
        return;
    absorb(builder, next);
    step->output = value_of(builder, next);
    step->conv.out = next->out;
    step->conv.kd = shape_depth(next->out);
    step->conv.kh = next->out.h;
    step->conv.kw = next->out.w;
    step->conv.pixel_bias = 1;
    if (step->act.kind == ACT_NONE) fuse_activation(builder, step);
}

/* The convolution that takes a nearest upsampling in. */
static int follows(gan_op upsample, gan_op conv) {
    return upsample == OP_UPSAMPLE_3D   ? conv == OP_CONV_3D
           : upsample == OP_UPSAMPLE_1D ? conv == OP_CONV_1D
                                        : conv == OP_CONV;
}

/* Output y = f m + rho of a convolution over f-fold nearest upsampling reads input m + d for the kernel element
 * kk with d = floor((rho - pad + kk) / f): a transposed convolution of stride f and kernel element
 * rho - f d + pad', where pad' is the largest f d - rho. */
static void build_upsampled_conv(program_builder *builder, const gan_layer *up, gan_step *step) {
    const gan_layer *layer = only_reader(builder, step->output);
    const uint32_t factor = up->args[0];
    if (up->args[1] || factor < 2 || factor > 8 || !layer || !follows(up->op, layer->op) || layer->args[3] != 1) return;
    const int32_t f = (int32_t)factor, side = (int32_t)layer->args[2], pad = (int32_t)layer->args[4];
    const int dims = conv_dims(layer->op);
    if (side < 2 || side > 16 || pad > 16 || layer->out.w % factor || (dims > 1 && layer->out.h % factor) ||
        (dims > 2 && layer->out.d % factor))
        return;
    const gan_shape in = value_shape(builder->file, up->inputs[0]);
    int32_t most = -(1 << 20), least = 1 << 20;
    for (int32_t rho = 0; rho < f; rho++) {
        for (int32_t kk = 0; kk < side; kk++) {
            const int32_t reach = f * floor_div(rho - pad + kk, f) - rho;
            most = reach > most ? reach : most;
            least = reach < least ? reach : least;
        }
    }
    const int32_t kernel = most - least + 1;
    int32_t grown = 1, given = 1;
    for (int i = 0; i < dims; i++) grown *= kernel, given *= side;
    if (grown > MAX_GROWTH * given) return;
    absorb(builder, layer);
    step->layer = layer;
    step->run = NULL;
    step->output = value_of(builder, layer);
    step->conv = (gan_conv){.in = in,
                            .out = layer->out,
                            .out_stride = factor,
                            .in_stride = 1,
                            .upsampled = factor,
                            .layer_pad = pad,
                            .layer_kernel = (uint32_t)side};
    set_dims(&step->conv, dims, (uint32_t)kernel, most);
    fuse_activation(builder, step);
}

/* The layer that makes `v` by scaling without an offset, or by upsampling, if only one layer reads `v`; otherwise NULL. */
static const gan_layer *summand_of(const program_builder *builder, uint32_t v) {
    if (v < FIRST_LAYER || builder->uses[v] != 1) return NULL;
    const gan_layer *layer = &builder->file->layers[v - FIRST_LAYER];
    return (layer->op == OP_SCALE && layer->fargs[1] == 0) || (layer->op == OP_UPSAMPLE && layer->args[0] > 1) ? layer
                                                                                                               : NULL;
}

/* Leave out the layers that scale or enlarge an input of a sum: build_sum computes both at once. */
static void join_sums(program_builder *builder) {
    for (uint32_t i = 0; i < builder->file->n_layers; i++) {
        const gan_layer *layer = &builder->file->layers[i];
        if (builder->absorbed[i] || layer->op != OP_ADD) continue;
        const gan_layer *first = summand_of(builder, layer->inputs[0]), *second = summand_of(builder, layer->inputs[1]);
        if (first || second) absorb(builder, first ? first : second);
    }
}

static void build_sum(const program_builder *builder, gan_step *step) {
    const gan_layer *layer = step->layer, *first = summand_of(builder, layer->inputs[0]),
                    *joined = first ? first : summand_of(builder, layer->inputs[1]);
    step->factor = 1;
    if (!joined) return;
    if (joined->op == OP_SCALE) step->factor = joined->fargs[0];
    else step->enlarged = joined;
    step->own_inputs[0] = joined->inputs[0];
    step->own_inputs[1] = layer->inputs[first ? 1 : 0];
    step->inputs = step->own_inputs;
}

static void build_step(program_builder *builder, const gan_layer *layer) {
    gan_program *program = builder->program;
    gan_step *step = &program->steps[program->n_steps];
    const gan_operation *op = gan_i_operation(layer->op);
    *step = (gan_step){.layer = layer,
                       .n_inputs = layer->n_inputs,
                       .inputs = layer->inputs,
                       .run = op->run,
                       .output = value_of(builder, layer)};
    if (op->rule == RUN_PRODUCT) {
        build_conv(builder, layer, step);
    } else if (layer->op == OP_UPSAMPLE || layer->op == OP_UPSAMPLE_3D || layer->op == OP_UPSAMPLE_1D) {
        build_upsampled_conv(builder, layer, step);
    } else if (layer->op == OP_ACTIVATION) {
        step->act = gan_i_activation(layer);
    } else if ((layer->op == OP_RESHAPE || layer->op == OP_RESHAPE_3D) &&
               shape_pixels(value_shape(builder->file, layer->inputs[0])) == 1 && shape_pixels(layer->out) == 1) {
        program->values[step->output].alias = program->values[layer->inputs[0]].alias;
        return;
    } else if (op->rule == RUN_SCALED || op->rule == RUN_NORMED) {
        fuse_activation(builder, step);
    } else if (layer->op == OP_ADD) {
        build_sum(builder, step);
    } else if (layer->op == OP_DROPOUT) {
        step->n_inputs = 1;
        step->style.plane = &builder->file->layers[layer->inputs[1] - FIRST_LAYER];
    } else {
        gan_i_build_style(builder, step);
    }
    program->n_steps++;
}

static uint32_t filter_taps(const gan_layer *layer) { return layer->op == OP_BLUR_DOWN ? 9 : 16; }

/* Floats of the bias of a product, [Cout padded] or [pixel][Cout padded]. */
static uint64_t bias_floats(const program_builder *builder, const gan_step *step) {
    const uint64_t c = padded(builder->program->values[step->output].shape.c, builder->kernels);
    return step->conv.pixel_bias ? c * shape_pixels(step->conv.out) : c;
}

/* Bias of a product, then its slopes; scale and shift of an affine step. */
static uint64_t constants_of(const program_builder *builder, const gan_step *step) {
    const uint32_t c = padded(builder->program->values[step->output].shape.c, builder->kernels);
    if (!step->run) return bias_floats(builder, step) + (step->prelu ? c : 0);
    switch (step->layer->op) {
    case OP_SCALE:
        return 2 * (uint64_t)builder->kernels->nr; /* all channels alike: one panel's */
    case OP_AFFINE:
    case OP_INSTANCE_NORM:
        return 2ull * c;
    case OP_PRELU:
        return c;
    case OP_BLUR_DOWN: /* [tap][c] */
    case OP_BLUR_UP:
        return (uint64_t)filter_taps(step->layer) * c;
    default:
        return gan_i_style_constants(builder->program, builder->kernels, step);
    }
}

static void fill_slopes(const gan_layer *prelu, uint32_t channels, float *to) {
    for (uint32_t c = 0; c < channels; c++) to[c] = gan_i_element(&prelu->weight, prelu->args[0] > 1 ? c : 0);
}

static void fill_constants(const program_builder *builder, const gan_step *step, float *to) {
    const gan_layer *layer = step->layer;
    const uint32_t channels = builder->program->values[step->output].shape.c, wide = padded(channels, builder->kernels);
    if (!step->run) {
        const uint64_t pixels = step->conv.pixel_bias ? shape_pixels(step->conv.out) : 1;
        for (uint64_t p = 0; p < pixels && layer->bias.count; p++)
            for (uint32_t c = 0; c < channels; c++) to[p * wide + c] = gan_i_element(&layer->bias, c * pixels + p);
        if (step->prelu) fill_slopes(step->prelu, channels, to + bias_floats(builder, step));
    } else if (layer->op == OP_SCALE) {
        for (int i = 0; i < builder->kernels->nr; i++)
            to[i] = layer->fargs[0], to[builder->kernels->nr + i] = layer->fargs[1];
    } else if (layer->op == OP_AFFINE) {
        for (uint32_t c = 0; c < channels; c++) {
            to[c] = gan_i_element(&layer->weight, c);
            to[wide + c] = gan_i_element(&layer->bias, c);
        }
    } else if (layer->op == OP_INSTANCE_NORM) {
        for (uint32_t c = 0; c < channels; c++) {
            to[c] = layer->weight.count ? gan_i_element(&layer->weight, c) : 1;
            to[wide + c] = layer->bias.count ? gan_i_element(&layer->bias, c) : 0;
        }
    } else if (layer->op == OP_PRELU) {
        fill_slopes(layer, channels, to);
    } else if (layer->op == OP_BLUR_DOWN || layer->op == OP_BLUR_UP) {
        const uint32_t taps = filter_taps(layer);
        for (uint32_t t = 0; t < taps; t++)
            for (uint32_t c = 0; c < channels; c++) to[t * wide + c] = gan_i_element(&layer->weight, c * taps + t);
    } else {
        gan_i_fill_style(builder->program, builder->kernels, step, to);
    }
}

void gan_i_program_free(gan_program *program) {
    free(program->steps);
    free(program->values);
    free(program->constants);
    *program = (gan_program){0};
}

gan_machine gan_i_machine(const gan_kernels *kernels, uint64_t weights) {
    const uint64_t cache = gan_i_last_level_cache(), memory = gan_i_memory();
    return (gan_machine){gan_i_fma_per_cycle(kernels), cache ? cache : DEFAULT_LLC_BYTES, memory ? memory : UINT64_MAX,
                         weights};
}

gan_status gan_i_program(const gan_file *file, const gan_kernels *kernels, gan_program *program) {
    const uint32_t n_values = FIRST_LAYER + file->n_layers;
    *program = (gan_program){.n_values = n_values, .machine = gan_i_machine(kernels, file->weight_bytes)};
    program_builder builder = {.file = file, .kernels = kernels, .program = program};
    program->steps = calloc(file->n_layers, sizeof *program->steps);
    program->values = calloc(n_values, sizeof *program->values);
    builder.uses = calloc(n_values, sizeof *builder.uses);
    builder.reader = calloc(n_values, sizeof *builder.reader);
    builder.absorbed = calloc(file->n_layers, 1);
    gan_status status = GAN_ERROR_MEMORY;
    if (!program->steps || !program->values || !builder.uses || !builder.reader || !builder.absorbed) goto done;
    /* What the image doesn't depend on is left out, so that the last step is the one that makes it. */
    for (uint32_t i = file->n_layers; i--;) {
        builder.absorbed[i] = is_mask(&file->layers[i]) || (i + 1 < file->n_layers && !builder.uses[FIRST_LAYER + i]);
        for (uint32_t j = 0; j < file->layers[i].n_inputs && !builder.absorbed[i]; j++) {
            if (!builder.uses[file->layers[i].inputs[j]]) builder.reader[file->layers[i].inputs[j]] = i;
            builder.uses[file->layers[i].inputs[j]]++;
        }
    }
    for (uint32_t v = 0; v < n_values; v++) {
        gan_value *to = &program->values[v];
        to->shape = value_shape(file, v);
        to->alias = v;
        to->wide = padded(to->shape.c, kernels);
        if (v < FIRST_LAYER || !is_mask(&file->layers[v - FIRST_LAYER]))
            to->per_image = shape_pixels(to->shape) * to->wide;
    }
    gan_i_join_filters(&builder);
    join_sums(&builder);
    for (uint32_t i = 0; i < file->n_layers; i++)
        if (!builder.absorbed[i]) build_step(&builder, &file->layers[i]);
    status = GAN_ERROR_UNSUPPORTED;
    if (!program->n_steps) goto done; /* a generator that only renames its latent */
    for (uint32_t i = 0; i < program->n_steps; i++) {
        if (!program->steps[i].run && file->int16 && kernels->int16_rate > 0)
            program->steps[i].conv.int16 = gan_i_int16_methods(&program->steps[i]);
        const uint64_t row = gan_i_row_floats(program, &program->steps[i], kernels);
        program->max_row_floats = row > program->max_row_floats ? row : program->max_row_floats;
        program->steps[i].constants = (uint32_t)program->n_constants;
        program->n_constants += constants_of(&builder, &program->steps[i]);
        if (program->n_constants > MAX_CONSTANTS) goto done;
    }
    status = GAN_ERROR_MEMORY;
    program->constants = calloc(program->n_constants + 1, sizeof *program->constants);
    if (!program->constants) goto done;
    for (uint32_t i = 0; i < program->n_steps; i++) {
        gan_step *step = &program->steps[i];
        fill_constants(&builder, step, program->constants + step->constants);
        if (step->prelu) step->act.slopes = program->constants + step->constants + bias_floats(&builder, step);
    }
    gan_i_place_values(&builder);
    status = GAN_OK;
done:
    free(builder.uses);
    free(builder.reader);
    free(builder.absorbed);
    if (status != GAN_OK) gan_i_program_free(program);
    return status;
}
