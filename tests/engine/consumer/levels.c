/* levels FILE KERNELS SIDE: bytes that these kernels compute, to standard output: 14 images of seed 7, or one of SIDE x
 * SIDE of a model that takes images.  Ends with 3 if the kernels can't run here. */
#include <gan.h>
#include <stdio.h>
#include <stdlib.h>
#if defined(_WIN32)
#include <fcntl.h>
#include <io.h>
#endif

static gan_status apply(const gan_model *model, gan_context *context, uint32_t side, unsigned char *out, size_t *size)
{
    static unsigned char pixels[64 * 64 * 8];
    gan_input input = {.size = sizeof input};
    gan_images images = {.size = sizeof images, .count = 1, .data = pixels, .height = side, .width = side};
    gan_output output = {.size = sizeof output, .data = out};
    uint32_t height, width;
    gan_info info = {.size = sizeof info};
    gan_describe(model, &info);
    gan_describe_input(model, &input);
    if (gan_output_size(model, side, side, &height, &width) != GAN_OK) return GAN_ERROR_ARGUMENT;
    images.data_size = (size_t)side * side * input.channels;
    if (images.data_size > sizeof pixels || (size_t)height * width * info.channels > *size) return GAN_ERROR_ARGUMENT;
    for (size_t i = 0; i < images.data_size; i++) pixels[i] = (unsigned char)(i * 2654435761u >> 24);
    *size = output.data_size = (size_t)height * width * info.channels;
    return gan_apply(context, &images, &output);
}

int main(int argc, char **argv)
{
    static unsigned char bytes[1 << 20];
    gan_open_options options = {.size = sizeof options};
    gan_model *model = NULL;
    gan_context *context = NULL;
    gan_info info = {.size = sizeof info};
    size_t size = sizeof bytes;
    if (argc != 4) return 2;
#if defined(_WIN32)
    _setmode(_fileno(stdout), _O_BINARY);
#endif
    options.kernels = argv[2];
    gan_status status = gan_open(argv[1], &options, &model);
    if (status == GAN_ERROR_UNSUPPORTED) return 3;
    if (status == GAN_OK) status = gan_context_new(model, NULL, &context);
    if (status != GAN_OK) return 1;
    gan_describe(model, &info);
    if (info.latent_size) {
        const gan_request request = {.size = sizeof request, .seed = 7, .count = 14};
        gan_output output = {.size = sizeof output, .data = bytes};
        size = output.data_size = (size_t)14 * info.channels * (info.depth ? info.depth : 1) * info.height * info.width;
        status = size <= sizeof bytes ? gan_generate(context, &request, &output) : GAN_ERROR_ARGUMENT;
    } else {
        status = apply(model, context, (uint32_t)atoi(argv[3]), bytes, &size);
    }
    gan_context_free(context);
    gan_close(model);
    return status != GAN_OK || fwrite(bytes, 1, size, stdout) != size;
}
