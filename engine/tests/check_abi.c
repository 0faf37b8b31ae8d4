/* The sizes and offsets of gan.h's structures, as tests/abi lists them for 64-bit systems. */
#include <stdio.h>

#include "gan.h"

#define MEMBER(type, name) \
    printf("member %s.%s %zu %zu\n", #type, #name, offsetof(type, name), sizeof(((type *)0)->name))
#define NUMBER(name) printf("number %s %d\n", #name, (int)(name))

int main(void) {
    printf("size gan_info %zu\n", sizeof(gan_info));
    MEMBER(gan_info, latent_size), MEMBER(gan_info, channels), MEMBER(gan_info, height), MEMBER(gan_info, width);
    MEMBER(gan_info, classes), MEMBER(gan_info, prior), MEMBER(gan_info, weights), MEMBER(gan_info, manifest);
    MEMBER(gan_info, manifest_size), MEMBER(gan_info, cpu);
    printf("size gan_options %zu\n", sizeof(gan_options));
    MEMBER(gan_options, threads), MEMBER(gan_options, batch), MEMBER(gan_options, max_memory);
    printf("size gan_request %zu\n", sizeof(gan_request));
    MEMBER(gan_request, seed), MEMBER(gan_request, start), MEMBER(gan_request, count), MEMBER(gan_request, label);
    MEMBER(gan_request, labels), MEMBER(gan_request, latents);
    printf("size gan_input %zu\n", sizeof(gan_input));
    MEMBER(gan_input, channels), MEMBER(gan_input, least_height), MEMBER(gan_input, multiple_height);
    MEMBER(gan_input, most_height), MEMBER(gan_input, least_width), MEMBER(gan_input, multiple_width);
    MEMBER(gan_input, most_width), MEMBER(gan_input, low), MEMBER(gan_input, high);
    printf("size gan_images %zu\n", sizeof(gan_images));
    MEMBER(gan_images, count), MEMBER(gan_images, height), MEMBER(gan_images, width), MEMBER(gan_images, bytes);
    MEMBER(gan_images, floats);
    printf("size gan_status %zu\n", sizeof(gan_status));
    NUMBER(GAN_OK), NUMBER(GAN_ERROR_ARGUMENT), NUMBER(GAN_ERROR_FILE), NUMBER(GAN_ERROR_FORMAT);
    NUMBER(GAN_ERROR_VERSION), NUMBER(GAN_ERROR_CORRUPT), NUMBER(GAN_ERROR_UNSUPPORTED), NUMBER(GAN_ERROR_MEMORY);
    NUMBER(GAN_ERROR_THREAD), NUMBER(GAN_ERROR_LABEL), NUMBER(GAN_ERROR_BUSY), NUMBER(GAN_PRIOR_NORMAL),
        NUMBER(GAN_PRIOR_UNIFORM);
    NUMBER(GAN_LABEL_RANDOM), NUMBER(GAN_LABEL_ALL);
    return 0;
}
