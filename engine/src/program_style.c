/* Steps of style-based generators.  Between two convolutions an image is filtered, scaled by a vector, shifted by a
 * plane of noise and a bias, activated and clamped; these layers become one step, which reads and writes it once. */
#include "pack.h"
#include "program_parts.h"

#include <math.h>
#include <string.h>

/* The order in which one step does what its layers say. */
typedef enum place {
    NO_PLACE,
    PLACE_FILTER,
    PLACE_SCALE,
    PLACE_PLANE,
    PLACE_SHIFT,
    PLACE_ACTIVATION,
    PLACE_CLAMP
} place;

static place place_of(const gan_layer *layer) {
    switch (layer->op) {
    case OP_GROUPED_CONV:
        return PLACE_FILTER;
    case OP_SCALE_CHANNELS:
        return PLACE_SCALE;
    case OP_ADD_PLANE:
    case OP_ADD_NOISE:
        return PLACE_PLANE;
    case OP_SHIFT_CHANNELS:
    case OP_CHANNEL_BIAS:
        return PLACE_SHIFT;
    case OP_ACTIVATION:
        return PLACE_ACTIVATION;
    case OP_CLAMP:
        return PLACE_CLAMP;
    default:
        return NO_PLACE;
    }
}

/* The filter without a bias that gives `v` to one layer, or NULL. */
static const gan_layer *filter_of(const program_builder *builder, uint32_t v) {
    if (v < FIRST_LAYER || builder->uses[v] != 1) return NULL;
    const gan_layer *layer = &builder->file->layers[v - FIRST_LAYER];
    return layer->op == OP_GROUPED_CONV && !layer->bias.count ? layer : NULL;
}

void gan_i_join_filters(program_builder *builder) {
    for (uint32_t i = 0; i < builder->file->n_layers; i++) {
        const gan_layer *layer = &builder->file->layers[i];
        if (builder->absorbed[i] || layer->op != OP_SCALE_CHANNELS) continue;
        const gan_layer *filter = filter_of(builder, layer->inputs[0]);
        if (filter) absorb(builder, filter);
    }
}

/* Whether each channel has a filter of its own: no convolution of groups of channels. */
static int filters_channels(const gan_layer *filter) {
    return filter->args[0] == filter->args[3] && filter->args[1] == filter->args[3];
}

/* Whether a filter is the same for all channels, and a column times a row: these into `column` and `row`. */
static int separates(const gan_layer *filter, float column[MAX_FILTER], float row[MAX_FILTER]) {
    const uint32_t side = filter->args[2], taps = side * side;
    uint32_t most = 0;
    if (!filters_channels(filter)) return 0;
    for (uint32_t c = 1; c < filter->args[0]; c++)
        for (uint32_t t = 0; t < taps; t++)
            if (gan_i_element(&filter->weight, (uint64_t)c * taps + t) != gan_i_element(&filter->weight, t)) return 0;
    for (uint32_t t = 1; t < taps; t++)
        if (fabsf(gan_i_element(&filter->weight, t)) > fabsf(gan_i_element(&filter->weight, most))) most = t;
    const float largest = gan_i_element(&filter->weight, most);
    if (!(fabsf(largest) > 1e-30f && fabsf(largest) < 1e30f)) return 0;
    for (uint32_t i = 0; i < side; i++) {
        column[i] = gan_i_element(&filter->weight, i * side + most % side);
        row[i] = gan_i_element(&filter->weight, most / side * side + i) / largest;
    }
    for (uint32_t t = 0; t < taps; t++)
        if (!(fabsf(column[t / side] * row[t % side] - gan_i_element(&filter->weight, t)) <= 1e-7f * fabsf(largest)))
            return 0;
    return 1;
}

/* Whether a convolution in groups is computed by Winograd.  Its panels must be at least half full: otherwise most of the
 * transformed weights would be padding. */
static int transforms(const program_builder *builder, const gan_layer *filter) {
    const uint32_t *g = filter->args; /* in, out, kernel, groups, padding */
    const uint32_t in = g[0] / g[3], out = g[1] / g[3];
    return g[2] == 3 && g[4] <= 2 && in % KBLOCK == 0 && in <= MAX_GROUP && 2 * out >= (uint32_t)builder->kernels->nr &&
           filter->out.h >= 8 && filter->out.w >= 8 && method_is_within(METHOD_WINOGRAD, builder->file->error_budget);
}

static uint32_t add_input(gan_step *step, uint32_t value) {
    step->own_inputs[step->n_inputs] = value;
    return step->n_inputs++;
}

/* Take the layer that `at` is the only reader of in, if its place is behind; its place. */
static place take(program_builder *builder, gan_step *step, place at) {
    const gan_layer *next = only_reader(builder, step->output);
    const place to = next ? place_of(next) : NO_PLACE;
    if (to <= at || to == PLACE_SCALE || next->op == OP_SHIFT_CHANNELS) return NO_PLACE; /* their vectors come later */
    if (next->op == OP_ADD_NOISE && next->inputs[1] >= FIRST_LAYER + builder->file->n_given) return NO_PLACE;
    if (next->op == OP_ADD_NOISE) step->style.noise = add_input(step, next->inputs[1]);
    if (to == PLACE_PLANE) step->style.plane = next;
    else if (to == PLACE_SHIFT) step->style.bias = next;
    else if (to == PLACE_ACTIVATION) step->act = gan_i_activation(next);
    else step->style.low = next->fargs[0], step->style.high = next->fargs[1];
    absorb(builder, next);
    step->output = value_of(builder, next);
    return to;
}

void gan_i_build_style(program_builder *builder, gan_step *step) {
    const gan_layer *layer = step->layer;
    const place head = place_of(layer);
    float column[MAX_FILTER], row[MAX_FILTER];
    if (head == NO_PLACE || head >= PLACE_ACTIVATION) return;
    gan_style *style = &step->style;
    *style = (gan_style){.low = -INFINITY, .high = INFINITY};
    place at = head;
    if (layer->op == OP_SCALE_CHANNELS) style->scale = 1, style->filter = filter_of(builder, layer->inputs[0]);
    else if (layer->op == OP_SHIFT_CHANNELS) style->shift = 1;
    else if (layer->op == OP_CHANNEL_BIAS) style->bias = layer;
    else if (layer->op == OP_ADD_PLANE) style->plane = layer;
    else if (layer->op == OP_ADD_NOISE) style->plane = layer, style->noise = 1;
    else if (layer->op == OP_GROUPED_CONV) style->filter = layer;
    if (head == PLACE_FILTER && layer->bias.count) style->bias = layer, at = PLACE_SHIFT;
    step->inputs = step->own_inputs;
    step->n_inputs = 0;
    add_input(step, style->filter ? style->filter->inputs[0] : layer->inputs[0]);
    if (layer->n_inputs > 1) add_input(step, layer->inputs[1]);
    if (style->filter) style->separable = separates(style->filter, column, row);
    if (style->filter) style->grouped = !filters_channels(style->filter);
    if (style->grouped) style->transformed = transforms(builder, style->filter);
    while (at != NO_PLACE) at = take(builder, step, at);
}

/* ---- constants ---- */

/* Of a filter: its column and its row, or [tap][channel padded]; of groups: [group][panel of its outputs][tap, or
 * point][input][nr], and zeros for an input.  Two groups share a panel if gan_i_groups_pair says so. */
static uint64_t filter_floats(const gan_style *style, const gan_kernels *kernels, uint64_t wide) {
    if (!style->filter) return 0;
    const uint32_t *g = style->filter->args; /* in, out, kernel, groups */
    const uint64_t taps = style->transformed ? WINOGRAD * WINOGRAD : (uint64_t)g[2] * g[2],
                   pair = style->transformed && gan_i_groups_pair(style->filter, kernels) ? 2 : 1;
    if (style->separable) return 2 * MAX_FILTER;
    if (filters_channels(style->filter)) return taps * wide;
    const uint64_t inputs = (g[3] + pair - 1) / pair * (g[0] / g[3]); /* of each panel of a group or two */
    return taps * inputs * padded(g[1] / g[3], kernels) + g[0] / g[3];
}

static void fill_groups(const gan_layer *filter, int transformed, const gan_kernels *kernels, float *to) {
    const uint64_t groups = filter->args[3], in = filter->args[0] / groups, out = filter->args[1] / groups,
                   taps = (uint64_t)filter->args[2] * filter->args[2], nr = (uint64_t)kernels->nr,
                   panels = padded((uint32_t)out, kernels) / nr;
    const uint64_t places = transformed ? WINOGRAD * WINOGRAD : taps;
    const int paired = transformed && gan_i_groups_pair(filter, kernels);
    for (uint64_t o = 0; o < filter->args[1]; o++)
        for (uint64_t i = 0; i < in; i++) {
            const uint64_t group = o / out, panel = paired ? group / 2 : group * panels + o % out / nr,
                           column = o % out % nr + (paired ? group % 2 * nr / 2 : 0);
            float elements[MAX_FILTER * MAX_FILTER], values[WINOGRAD * WINOGRAD];
            for (uint64_t t = 0; t < taps; t++) elements[t] = gan_i_element(&filter->weight, (o * in + i) * taps + t);
            if (transformed) gan_i_winograd_weights(elements, values);
            for (uint64_t t = 0; t < places; t++)
                to[((panel * places + t) * in + i) * nr + column] = transformed ? values[t] : elements[t];
        }
}

gan_styled gan_i_styled_constants(const gan_program *program, const gan_kernels *kernels, const gan_step *step) {
    const gan_shape s = program->values[step->output].shape;
    const uint64_t wide = padded(s.c, kernels);
    gan_styled at = {.scale = filter_floats(&step->style, kernels, wide)};
    at.shift = at.scale + wide;
    at.plane = at.shift + wide;
    at.end = at.plane + (step->style.noise ? 1 : step->style.plane ? shape_pixels(s) : 0);
    return at;
}

uint64_t gan_i_style_constants(const gan_program *program, const gan_kernels *kernels, const gan_step *step) {
    const gan_layer *layer = step->layer;
    const uint64_t wide = padded(layer->out.c, kernels);
    switch (layer->op) {
    case OP_GROUPED_CONV:
    case OP_SCALE_CHANNELS:
    case OP_SHIFT_CHANNELS:
    case OP_CHANNEL_BIAS:
    case OP_ADD_PLANE:
    case OP_ADD_NOISE:
        return gan_i_styled_constants(program, kernels, step).end;
    case OP_GROUPED_CONV_TRANSPOSE:
        return (uint64_t)layer->args[2] * layer->args[2] * wide;
    case OP_TRUNCATE:
        return wide;
    case OP_DEMODULATE: /* [panel][in][nr] */
        return layer->args[0] * wide;
    case OP_MODULATED_CONSTANT: /* [pixel][channel padded], and zeros to add */
        return (shape_pixels(layer->out) + 1) * wide;
    default:
        return 0;
    }
}

static void fill_filter(const gan_layer *filter, uint64_t wide, float *to) {
    const uint32_t taps = filter->args[2] * filter->args[2];
    for (uint32_t t = 0; t < taps; t++)
        for (uint32_t c = 0; c < filter->args[0]; c++)
            to[t * wide + c] = gan_i_element(&filter->weight, (uint64_t)c * taps + t);
}

void gan_i_fill_style(const gan_program *program, const gan_kernels *kernels, const gan_step *step, float *to) {
    const gan_layer *layer = step->layer;
    const gan_style *style = &step->style;
    const uint32_t channels = layer->out.c;
    const uint64_t wide = padded(channels, kernels), pixels = shape_pixels(layer->out), nr = (uint64_t)kernels->nr;
    const place head = place_of(layer);
    if (layer->op == OP_GROUPED_CONV_TRANSPOSE) {
        fill_filter(layer, wide, to);
    } else if (layer->op == OP_TRUNCATE) {
        for (uint64_t c = 0; c < channels; c++) to[c] = gan_i_element(&layer->weight, c);
    } else if (layer->op == OP_DEMODULATE) {
        const uint64_t in = layer->args[0];
        for (uint64_t o = 0; o < channels; o++)
            for (uint64_t i = 0; i < in; i++)
                to[(o / nr * in + i) * nr + o % nr] = gan_i_element(&layer->weight, o * in + i);
    } else if (layer->op == OP_MODULATED_CONSTANT) {
        for (uint64_t p = 0; p < pixels; p++)
            for (uint64_t c = 0; c < channels; c++) to[p * wide + c] = gan_i_element(&layer->weight, c * pixels + p);
    } else if (head != NO_PLACE && head < PLACE_ACTIVATION) {
        const gan_styled at = gan_i_styled_constants(program, kernels, step);
        if (style->separable) separates(style->filter, to, to + MAX_FILTER);
        else if (style->grouped) fill_groups(style->filter, style->transformed, kernels, to);
        else if (style->filter) fill_filter(style->filter, wide, to);
        for (uint64_t c = 0; c < channels; c++) to[at.scale + c] = 1;
        for (uint64_t c = 0; style->bias && c < channels; c++) to[at.shift + c] = gan_i_element(&style->bias->bias, c);
        for (uint64_t p = 0; style->plane && p < (style->noise ? 1 : pixels); p++)
            to[at.plane + p] = gan_i_element(&style->plane->weight, p);
    }
}

/* A filter's row has the pixels that padding adds, of the image or of the filter's reach; noise comes behind it. */
uint64_t gan_i_row_floats(const gan_program *program, const gan_step *step, const gan_kernels *kernels) {
    const gan_shape out = program->values[step->output].shape;
    const uint64_t wide = padded(out.c, kernels), row = (out.h ? out.w : 1) * wide;
    if (!step->run) return row;
    if (step->layer->op == OP_ATTEND) return gan_i_attend_floats(program, kernels, step);
    if (step->layer->op == OP_DEMODULATE) return round_up(step->layer->args[0], KBLOCK) + row;
    const uint64_t noise = step->style.noise ? padded(out.w, kernels) : 0;
    const uint64_t groups = step->style.grouped ? gan_i_groups_floats(program, step, kernels) : 0;
    return groups + row + noise + (step->style.filter ? (step->style.filter->args[2] - 1) * wide : 0);
}
