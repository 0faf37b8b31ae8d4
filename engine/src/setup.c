#include "setup.h"

#include <math.h>

/* Cycles per byte: at the least, memory hardly counts; at the most, nothing else does. */
static const double LEAST_PRICE = 1e-4, MOST_PRICE = 1e9;

enum {
    PRICE_STEPS = 10, /* of bisection between them: to 3 % */
    MAX_THREADS = 1024,
    CHUNK_TILES = 6, /* register tiles of images that a thread generates at once */
    VALUES_BYTES = 32 << 20,
    VOLUMES_BYTES = 96 << 20 /* the same if volumes are generated */
};

static uint64_t measure(const gan_model *model, const gan_program *program, gan_setup *setup, uint32_t batch) {
    const uint32_t round = setup->max_chunk.of_thread * (uint32_t)setup->threads;
    setup->max_chunk.of_group = batch < round ? batch : round;
    const scratch_needs one = gan_i_needs(program, model->kernels, setup->methods, 1, setup->max_chunk.of_thread);
    const scratch_needs all = gan_i_needs(program, model->kernels, setup->methods, setup->threads,
                                          setup->max_chunk.of_group);
    setup->group_scratch[0] = one.group_scratch;
    setup->group_scratch[1] = all.group_scratch;
    setup->thread_scratch = one.thread_scratch > all.thread_scratch ? one.thread_scratch : all.thread_scratch;
    /* images that go in are never computed side by side: each would take memory of its own */
    const uint64_t separate = model->file.nz ? one.group_scratch * (uint64_t)setup->threads : 0;
    setup->floats = (separate > all.group_scratch ? separate : all.group_scratch) +
                    setup->thread_scratch * (uint64_t)setup->threads;
    setup->weights = 0;
    for (uint32_t i = 0; i < program->n_steps; i++) {
        if (program->steps[i].run) continue;
        for (uint32_t f = 0; f < METHOD_COUNT; f++)
            if (f == (uint32_t)setup->methods[i] || model->packed[i * METHOD_COUNT + f].users)
                setup->weights += gan_i_method_floats(&program->steps[i].conv, (gan_method)f, model->kernels) *
                                  sizeof(float);
    }
    return setup->weights + setup->floats * sizeof(float);
}

/* Choose methods; whether the setup then takes `bound` bytes at most. */
static int fits(const gan_model *model, const gan_program *program, uint32_t batch, method_limits allowed,
                uint64_t bound, gan_setup *setup) {
    gan_i_plan_methods(program, model->kernels, batch, setup->threads, setup->max_chunk.of_thread, allowed,
                       setup->methods, setup->methods + program->n_steps);
    return measure(model, program, setup, batch) <= bound;
}

/* The same at the lowest price of memory at which it fits. */
static int fits_at_a_price(const gan_model *model, const gan_program *program, uint32_t batch, method_limits allowed,
                           uint64_t bound, gan_setup *setup) {
    double low = LEAST_PRICE, high = MOST_PRICE;
    allowed.price = high;
    if (!fits(model, program, batch, allowed, bound, setup)) return 0;
    for (int i = 0; i < PRICE_STEPS; i++) {
        allowed.price = sqrt(low * high);
        if (fits(model, program, batch, allowed, bound, setup)) high = allowed.price;
        else low = allowed.price;
    }
    allowed.price = high; /* the setup is that of the last price that was tried */
    return fits(model, program, batch, allowed, bound, setup);
}

gan_status gan_i_lay_out(const gan_model *model, const gan_program *program, const gan_context_options *options,
                         gan_setup *setup) {
    const uint32_t batch = options && options->batch && model->file.nz ? options->batch : 1,
                   threads = options ? options->threads : 0;
    if (threads > MAX_THREADS || (options && options->arithmetic > GAN_ARITHMETIC_FLOAT32)) return GAN_ERROR_ARGUMENT;
    setup->threads = threads ? (int)threads : gan_i_usable_cores();
    /* a volume's last step is nearly always folded, since it has few channels */
    const gan_step *last = &program->steps[program->n_steps - 1];
    const int folds = !last->run && gan_i_method_fits(&last->conv, METHOD_FOLD);
    const uint64_t values = folds ? program->inner_per_image : program->values_per_image;
    const uint64_t image = values * sizeof(float) * (uint64_t)setup->threads;
    const uint64_t fit = (model->file.image.d ? VOLUMES_BYTES : VALUES_BYTES) / image;
    const uint32_t chunk = CHUNK_TILES * (uint32_t)model->kernels->mr;
    const uint32_t share = (uint32_t)(((uint64_t)batch + (uint64_t)setup->threads - 1) / (uint64_t)setup->threads);
    const uint32_t largest = fit < 1 ? 1 : fit < chunk ? (uint32_t)fit : chunk;
    const uint64_t bound = options && options->max_memory ? options->max_memory : program->machine.memory / 2;
    const method_limits allowed = {0, model->file.error_budget,
                                   !options || options->arithmetic != GAN_ARITHMETIC_FLOAT32};
    for (setup->max_chunk.of_thread = share < largest ? share : largest; setup->max_chunk.of_thread;
         setup->max_chunk.of_thread /= 2) {
        if (fits(model, program, batch, allowed, bound, setup)) return GAN_OK;
        if (fits_at_a_price(model, program, batch, allowed, bound, setup)) return GAN_OK;
    }
    return GAN_ERROR_MEMORY;
}
