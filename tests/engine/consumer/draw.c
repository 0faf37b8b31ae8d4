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
    gan_info info = {0};
    gan_request request = {0};
    gan_output output = {0};
    if (argc != 4 || gan_open(argv[1], NULL, &model) != GAN_OK || gan_context_new(model, NULL, &context) != GAN_OK) return 1;
    gan_describe(model, &info);
    request.seed = strtoull(argv[2], NULL, 10);
    request.count = strtoull(argv[3], NULL, 10);
    output.data_size = (size_t)request.count * info.channels * info.height * info.width;
    output.data = malloc(output.data_size);
    if (output.data == NULL || gan_generate(context, &request, &output) != GAN_OK) return 1;
#if defined(_WIN32)
    _setmode(_fileno(stdout), _O_BINARY);
#endif
    fwrite(output.data, 1, output.data_size, stdout);
    free(output.data);
    gan_context_free(context);
    gan_close(model);
    return 0;
}
