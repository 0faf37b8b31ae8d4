/* draw_c FILE SEED COUNT: the pictures' bytes to standard output. */
#include <gan.h>
#include <stdio.h>
#include <stdlib.h>
#if defined(_WIN32)
#include <fcntl.h>
#include <io.h>
#endif

int main(int argc, char **argv)
{
    gan_model *model;
    gan_context *context;
    gan_info info;
    gan_request request = {0};
    size_t size;
    uint8_t *pictures;
    if (argc != 4 || gan_open(argv[1], &model) != GAN_OK || gan_context_new(model, NULL, &context) != GAN_OK) return 1;
    gan_describe(model, &info);
    request.seed = strtoull(argv[2], NULL, 10);
    request.count = strtoull(argv[3], NULL, 10);
    size = (size_t)request.count * info.channels * info.height * info.width;
    pictures = malloc(size);
    if (pictures == NULL || gan_generate_bytes(context, &request, pictures, size) != GAN_OK) return 1;
#if defined(_WIN32)
    _setmode(_fileno(stdout), _O_BINARY);
#endif
    fwrite(pictures, 1, size, stdout);
    free(pictures);
    gan_context_free(context);
    gan_close(model);
    return 0;
}
