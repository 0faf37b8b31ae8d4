/* The sizes and offsets of gan.h's structures, as tests/abi lists them for 64-bit systems. */
#include <stdio.h>

#include "gan.h"

#define MEMBER(type, name) \
    printf("member %s.%s %zu %zu\n", #type, #name, offsetof(type, name), sizeof(((type *)0)->name))
#define NUMBER(name) printf("number %s %d\n", #name, (int)(name))

int main(void) {
    printf("size gan_status %zu\n", sizeof(gan_status));
    printf("size gan_open_options %zu\n", sizeof(gan_open_options));
    MEMBER(gan_open_options, size), MEMBER(gan_open_options, kernels), MEMBER(gan_open_options, message);
    MEMBER(gan_open_options, message_size);
    printf("size gan_info %zu\n", sizeof(gan_info));
    MEMBER(gan_info, size), MEMBER(gan_info, latent_size), MEMBER(gan_info, classes), MEMBER(gan_info, prior);
    MEMBER(gan_info, channels), MEMBER(gan_info, height), MEMBER(gan_info, width), MEMBER(gan_info, low);
    MEMBER(gan_info, high), MEMBER(gan_info, weights), MEMBER(gan_info, manifest);
    MEMBER(gan_info, manifest_size), MEMBER(gan_info, kernels);
    MEMBER(gan_info, kind), MEMBER(gan_info, depth), MEMBER(gan_info, arithmetic), MEMBER(gan_info, scalars);
    MEMBER(gan_info, noise_size);
    printf("size gan_input %zu\n", sizeof(gan_input));
    MEMBER(gan_input, size), MEMBER(gan_input, channels), MEMBER(gan_input, least_height);
    MEMBER(gan_input, multiple_height), MEMBER(gan_input, most_height), MEMBER(gan_input, least_width);
    MEMBER(gan_input, multiple_width), MEMBER(gan_input, most_width), MEMBER(gan_input, low);
    MEMBER(gan_input, high);
    printf("size gan_context_options %zu\n", sizeof(gan_context_options));
    MEMBER(gan_context_options, size), MEMBER(gan_context_options, max_memory);
    MEMBER(gan_context_options, threads), MEMBER(gan_context_options, batch);
    MEMBER(gan_context_options, parallel), MEMBER(gan_context_options, user);
    MEMBER(gan_context_options, message), MEMBER(gan_context_options, message_size);
    MEMBER(gan_context_options, arithmetic);
    printf("size gan_context_info %zu\n", sizeof(gan_context_info));
    MEMBER(gan_context_info, size), MEMBER(gan_context_info, scratch), MEMBER(gan_context_info, weights);
    MEMBER(gan_context_info, threads), MEMBER(gan_context_info, batch), MEMBER(gan_context_info, steps);
    printf("size gan_step_info %zu\n", sizeof(gan_step_info));
    MEMBER(gan_step_info, size), MEMBER(gan_step_info, weights), MEMBER(gan_step_info, output);
    MEMBER(gan_step_info, cycles), MEMBER(gan_step_info, channels), MEMBER(gan_step_info, height);
    MEMBER(gan_step_info, width), MEMBER(gan_step_info, points), MEMBER(gan_step_info, operation);
    MEMBER(gan_step_info, method), MEMBER(gan_step_info, arithmetic), MEMBER(gan_step_info, layer);
    MEMBER(gan_step_info, depth);
    printf("size gan_request %zu\n", sizeof(gan_request));
    MEMBER(gan_request, size), MEMBER(gan_request, seed), MEMBER(gan_request, start), MEMBER(gan_request, count);
    MEMBER(gan_request, label), MEMBER(gan_request, labeling), MEMBER(gan_request, latent_scale);
    MEMBER(gan_request, seeds), MEMBER(gan_request, seeds_size), MEMBER(gan_request, indices);
    MEMBER(gan_request, indices_size), MEMBER(gan_request, labels), MEMBER(gan_request, labels_size);
    MEMBER(gan_request, latents), MEMBER(gan_request, latents_size);
    MEMBER(gan_request, scalars), MEMBER(gan_request, scalars_size), MEMBER(gan_request, noise);
    MEMBER(gan_request, noise_size);
    printf("size gan_output %zu\n", sizeof(gan_output));
    MEMBER(gan_output, size), MEMBER(gan_output, data), MEMBER(gan_output, data_size);
    MEMBER(gan_output, row_stride), MEMBER(gan_output, image_stride), MEMBER(gan_output, done);
    MEMBER(gan_output, user), MEMBER(gan_output, format);
    printf("size gan_images %zu\n", sizeof(gan_images));
    MEMBER(gan_images, size), MEMBER(gan_images, count), MEMBER(gan_images, data), MEMBER(gan_images, data_size);
    MEMBER(gan_images, row_stride), MEMBER(gan_images, image_stride), MEMBER(gan_images, height);
    MEMBER(gan_images, width), MEMBER(gan_images, format), MEMBER(gan_images, seed), MEMBER(gan_images, start);
    MEMBER(gan_images, noise), MEMBER(gan_images, noise_size);
    NUMBER(GAN_OK), NUMBER(GAN_ERROR_ARGUMENT), NUMBER(GAN_ERROR_FILE), NUMBER(GAN_ERROR_FORMAT);
    NUMBER(GAN_ERROR_VERSION), NUMBER(GAN_ERROR_CORRUPT), NUMBER(GAN_ERROR_UNSUPPORTED);
    NUMBER(GAN_ERROR_MEMORY), NUMBER(GAN_ERROR_THREAD), NUMBER(GAN_ERROR_LABEL), NUMBER(GAN_ERROR_BUSY);
    NUMBER(GAN_CANCELED), NUMBER(GAN_MESSAGE_SIZE), NUMBER(GAN_PRIOR_NORMAL), NUMBER(GAN_PRIOR_UNIFORM);
    NUMBER(GAN_PRIOR_NONE);
    NUMBER(GAN_KIND_IMAGE), NUMBER(GAN_KIND_VOLUME), NUMBER(GAN_KIND_SIGNAL), NUMBER(GAN_KIND_VALUES);
    NUMBER(GAN_LABELS_RANDOM), NUMBER(GAN_LABELS_ONE), NUMBER(GAN_LABELS_ALL), NUMBER(GAN_BYTES);
    NUMBER(GAN_GRAY8), NUMBER(GAN_RGB8), NUMBER(GAN_RGBA8), NUMBER(GAN_BGRA8), NUMBER(GAN_FLOAT_PLANAR);
    NUMBER(GAN_FLOAT_INTERLEAVED), NUMBER(GAN_ARITHMETIC_FAST), NUMBER(GAN_ARITHMETIC_FLOAT32);
    return 0;
}
