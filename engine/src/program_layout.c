/* The place of each value in a context's memory, and the distance of its pixels.  Products read and write channels that
 * are padded to whole panels.  A value of few channels that no product writes is stored without padding: an image of
 * three channels then takes a tenth of the memory. */
#include "program_parts.h"

#include <string.h>

/* Whether a step works on values with and without padding between pixels. */
static int takes_any_pixels(const gan_step *step) {
    switch (step->run ? step->layer->op : OP_CONV) {
    case OP_ACTIVATION:
    case OP_ADD:
    case OP_CLAMP:
    case OP_MULTIPLY:
    case OP_PAD:
    case OP_PIXEL_SHUFFLE:
    case OP_UPSAMPLE:
        return 1;
    default:
        return 0;
    }
}

/* Whether a step reads a value without padding: products read up to a block of channels, whatever lies there beyond the
 * value's. */
static int reads_any_pixels(const gan_step *step, gan_shape s) {
    return takes_any_pixels(step) || (!step->run && step->conv.dims == 2 && s.h && s.c < KBLOCK);
}

/* Leave out the padding of values that only such steps write and read.  `free`: scratch, one number per value. */
static void tighten(gan_program *program, const gan_kernels *kernels, uint32_t *free) {
    for (uint32_t v = 0; v < program->n_values; v++) free[v] = v == VALUE_Z && program->values[v].shape.h;
    for (uint32_t n = 0; n < program->n_steps; n++)
        free[program->steps[n].output] = (uint32_t)takes_any_pixels(&program->steps[n]);
    for (uint32_t v = 0; v < program->n_values; v++)
        if (program->values[v].alias != v) free[program->values[v].alias] = 0;
    for (uint32_t n = 0; n < program->n_steps; n++)
        for (uint32_t m = 0; m < program->steps[n].n_inputs; m++) {
            const uint32_t v = program->steps[n].inputs[m];
            free[v] &= (uint32_t)reads_any_pixels(&program->steps[n], program->values[v].shape);
        }
    for (uint32_t v = 0; v < program->n_values; v++) {
        gan_value *value = &program->values[v];
        if (!free[v]) continue;
        value->wide = value->shape.c;
        value->per_image = round_up(shape_pixels(value->shape) * value->wide + KBLOCK, (uint64_t)kernels->nr);
    }
}

/* Find the concatenations that only one product reads (gan_step.pieces).  `maker`: scratch, one number per value. */
static void find_pieces(program_builder *builder, uint32_t *maker) {
    gan_program *program = builder->program;
    for (uint32_t v = 0; v < program->n_values; v++) maker[v] = program->n_steps;
    for (uint32_t n = 0; n < program->n_steps; n++) {
        gan_step *step = &program->steps[n];
        maker[step->output] = n;
        const uint32_t v = step->inputs[0];
        if (step->run || maker[v] == program->n_steps || builder->uses[v] != 1) continue;
        gan_step *join = &program->steps[maker[v]];
        if (!join->run || join->layer->op != OP_CONCAT) continue;
        int whole = 1; /* whether all but the last have whole blocks of channels */
        for (uint32_t m = 0; m + 1 < join->n_inputs; m++)
            whole &= program->values[join->inputs[m]].shape.c % KBLOCK == 0;
        if (!whole) continue;
        step->pieces = join->inputs, step->n_pieces = join->n_inputs;
        join->reader = n;
    }
}

/* Whether a step is elementwise: it may write over its input. */
static int is_elementwise(const gan_step *step) {
    if (!step->run || step->style.filter) return 0;
    switch (step->layer->op) {
    case OP_ACTIVATION:
    case OP_ADD:
    case OP_ADD_NOISE:
    case OP_ADD_PLANE:
    case OP_AFFINE:
    case OP_CHANNEL_BIAS:
    case OP_CLAMP:
    case OP_INSTANCE_NORM:
    case OP_MULTIPLY:
    case OP_SCALE:
    case OP_SCALE_CHANNELS:
    case OP_SHIFT_CHANNELS:
        return 1;
    default:
        return 0;
    }
}

/* Whether step `n` may write its output in place of the value `v`: no later step reads that. */
static int replaces(const gan_program *program, uint32_t n, uint32_t v, const uint32_t *last) {
    const gan_step *step = &program->steps[n];
    const gan_value *from = &program->values[v], *to = &program->values[step->output];
    int reads = 0;
    for (uint32_t m = 0; m < step->n_inputs; m++) reads |= step->inputs[m] == v;
    return reads && last[v] == n + 1 && v != VALUE_Z && is_elementwise(step) && from->per_image == to->per_image &&
           from->wide == to->wide && shape_pixels(from->shape) == shape_pixels(to->shape);
}

/* Enlarge the values' memory, if needed, so that a value fits at its offset. */
static void note_end(gan_program *program, uint32_t v) {
    const gan_value *value = &program->values[v];
    const uint64_t end = value->offset + value->per_image;
    const int outer = value->shape.d && v == program->values[program->n_values - 1].alias;
    if (!outer && end > program->inner_per_image) program->inner_per_image = end;
    program->values_per_image = end > program->values_per_image ? end : program->values_per_image;
}

/* Give every stored value a place that no value alive at the same time has: first fit in order of birth.
 * last[v]: the last step that reads v, counted from 1, and beyond all for the image.  `alive`: scratch for the values
 * in use, kept in order of offset. */
static void place_values(gan_program *program, uint32_t *last, uint32_t *alive) {
    uint32_t n_alive = 0;
    for (uint32_t v = 0; v < program->n_values; v++) last[v] = 0;
    for (uint32_t n = 0; n < program->n_steps; n++) {
        const gan_step *step = &program->steps[n];
        for (uint32_t m = 0; m < step->n_inputs; m++) last[program->values[step->inputs[m]].alias] = n + 1;
        for (uint32_t m = 0; m < step->n_pieces; m++) last[program->values[step->pieces[m]].alias] = n + 1;
    }
    last[program->values[program->n_values - 1].alias] = program->n_steps + 1;
    for (uint32_t i = 0; i <= program->n_steps; i++) {
        const uint32_t born = i ? program->steps[i - 1].output : VALUE_Z;
        gan_value *value = &program->values[born];
        if (value->alias != born) continue;
        uint32_t kept = 0, to = 0;
        for (uint32_t j = 0; j < n_alive; j++) /* what was read for the last time before this step is gone */
            if (last[alive[j]] >= i) alive[kept++] = alive[j];
        n_alive = kept;
        while (i && to < n_alive && !replaces(program, i - 1, alive[to], last)) to++;
        if (i && to < n_alive) { /* in place: memory that is in a cache */
            value->offset = program->values[alive[to]].offset;
            alive[to] = born;
            note_end(program, born);
            continue;
        }
        to = 0;
        for (uint64_t at = 0; to < n_alive; to++) {
            const gan_value *other = &program->values[alive[to]];
            if (at + value->per_image <= other->offset) break;
            at = value->offset = other->offset + other->per_image;
        }
        memmove(alive + to + 1, alive + to, sizeof *alive * (n_alive - to));
        alive[to] = born;
        n_alive++;
        note_end(program, born);
    }
}

void gan_i_place_values(program_builder *builder) {
    find_pieces(builder, builder->reader);
    tighten(builder->program, builder->kernels, builder->uses);
    place_values(builder->program, builder->uses, builder->reader);
}
