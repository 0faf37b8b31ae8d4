/* The operations of operations.def as one table, which reading, shapes, scheduling and running look things up in. */
#ifndef GAN_OPERATIONS_H
#define GAN_OPERATIONS_H

#include "format.h"

struct gan_worker;
struct gan_step;
struct gan_rows;

typedef enum bias_rule { BIAS_NONE, BIAS_OPTIONAL, BIAS_NEEDED } bias_rule;

/* How an operation becomes a step. */
typedef enum run_rule {
    RUN_PRODUCT,  /* a convolution or a linear layer: run_direct.c, run_toom.c, run_fold.c */
    RUN_SCALED,   /* rows by `run`, with factors and summands that are laid out beforehand; takes an activation in */
    RUN_NORMED,   /* the same, once the moments of each channel are known (run_norm.c) */
    RUN_ROWS,     /* rows by `run` */
    RUN_LABELLED  /* rows by `run`, from the label */
} run_rule;

typedef struct gan_operation {
    const char *name; /* NULL for a number that no operation has */
    uint32_t fewest_inputs, most_inputs;
    bias_rule bias;
    run_rule rule;
    const char *integers,
        *reals; /* keys of the attributes, separated by blanks: in the order of layer.args and .fargs */
    /* The output's shape into layer->out, of inputs that are there; 0 if the layer doesn't take them. */
    int (*shape)(const gan_file *file, gan_layer *layer);
    /* The shape of the weight, its rank returned; 0 for none.  The arguments have passed `shape`. */
    int (*weight)(const gan_layer *layer, uint32_t dims[MAX_RANK]);
    /* Compute some rows of the output; NULL for a product. */
    void (*run)(const struct gan_worker *worker, const struct gan_step *step, const struct gan_rows *r);
} gan_operation;

/* The dimensions of a convolution's kernel, and whether it is transposed. */
static inline int conv_dims(gan_op op) {
    return op == OP_CONV_3D || op == OP_CONV_TRANSPOSE_3D ? 3 : op == OP_CONV_1D || op == OP_CONV_TRANSPOSE_1D ? 1 : 2;
}
static inline int conv_is_transposed(gan_op op) {
    return op == OP_CONV_TRANSPOSE || op == OP_CONV_TRANSPOSE_3D || op == OP_CONV_TRANSPOSE_1D;
}

void gan_i_run_given(const struct gan_worker *worker, const struct gan_step *step, const struct gan_rows *r);

/* NULL for a number that this library doesn't know. */
const gan_operation *gan_i_operation(uint32_t number);

/* What every operation's line in operations.def stands for. */
#define OPERATION(number, NAME, ...) \
    int gan_i_shape_##NAME(const gan_file *file, gan_layer *layer); \
    int gan_i_weight_##NAME(const gan_layer *layer, uint32_t dims[MAX_RANK]); \
    void gan_i_run_##NAME(const struct gan_worker *worker, const struct gan_step *step, const struct gan_rows *r);
#include "operations.def"
#undef OPERATION

#endif
