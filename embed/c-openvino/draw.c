/* Pictures of a graph that OpenVINO reads, as uint8 (N, height, width, channels):
 *   draw g.sampler.onnx SEED COUNT [LABEL] > pictures.raw   a seed's first ones; without a label, with random ones
 *   draw g.xml latents.raw > pictures.raw                   of float32 (N, nz), for a generator without labels */
#include <errno.h>
#include <math.h>
#include <openvino/c/openvino.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 4096 }; /* pictures at once */

/* Say what is wrong, and end. */
static _Noreturn void fail(const char *format, ...) {
    va_list values;
    va_start(values, format);
    fprintf(stderr, "draw: ");
    vfprintf(stderr, format, values);
    fprintf(stderr, "\n");
    va_end(values);
    exit(2);
}

/* End with the last line of what OpenVINO says, the one that is not of its source. */
static void check(ov_status_e status, const char *what) {
    if (status == OK) return;
    const char *message = ov_get_last_err_msg();
    if (!message || !*message) message = ov_get_error_info(status);
    size_t end = strlen(message), start;
    while (end && strchr(" \n", message[end - 1])) end--;
    for (start = end; start && message[start - 1] != '\n';) start--;
    fail("%s: %.*s", what, (int)(end - start), message + start);
}

/* A whole number within 0 .. 2^63-1, or 0 for what is none. */
static int number(const char *text, int64_t *value) {
    char *end;
    errno = 0;
    *value = strtoll(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && !errno;
}

static ov_compiled_model_t *compile(const ov_core_t *core, const char *path) {
    ov_compiled_model_t *model;
    /* float32 held: where the processor has bfloat16, OpenVINO's own choice is that */
    check(ov_core_compile_model_from_file(core, path, "CPU", 2, &model, ov_property_key_hint_inference_precision, "f32"),
          path);
    return model;
}

static int has_input(const ov_compiled_model_t *model, const char *wanted) {
    size_t inputs;
    int found = 0;
    check(ov_compiled_model_inputs_size(model, &inputs), wanted);
    for (size_t i = 0; i < inputs; i++) {
        ov_output_const_port_t *port;
        char *name;
        check(ov_compiled_model_input_by_index(model, i, &port), wanted);
        check(ov_port_get_any_name(port, &name), wanted);
        found |= !strcmp(name, wanted);
        ov_free(name);
        ov_output_const_port_free(port);
    }
    return found;
}

static void feed(ov_infer_request_t *request, const char *name, ov_element_type_e type, int64_t rank,
                 int64_t *dimensions, void *data) {
    const ov_shape_t shape = {rank, dimensions}; /* ov_shape_create takes no rank of 0 */
    ov_tensor_t *tensor;
    check(ov_tensor_create_from_host_ptr(type, shape, data, &tensor), name);
    check(ov_infer_request_set_tensor(request, name, tensor), name);
    ov_tensor_free(tensor);
}

/* Numbers in each latent: the last dimension of the input z. */
static int64_t latent_size(const ov_compiled_model_t *model) {
    ov_output_const_port_t *port;
    ov_partial_shape_t shape;
    if (!has_input(model, "z")) fail("the model takes neither a seed nor latents");
    check(ov_compiled_model_input_by_name(model, "z", &port), "z");
    check(ov_port_get_partial_shape(port, &shape), "z");
    const int fixed = shape.rank.max == 2 && shape.dims[1].min == shape.dims[1].max;
    const int64_t size = fixed ? shape.dims[1].min : 0;
    if (size < 1 || size > 1 << 20) fail("the model's latents are not (N, nz)");
    ov_partial_shape_free(&shape);
    ov_output_const_port_free(port);
    return size;
}

/* Whole rows of `nz` floats, to be freed; their number in `count`. */
static float *read_latents(const char *path, int64_t nz, int64_t *count) {
    const size_t row = (size_t)nz * sizeof(float), most = MOST * row;
    float *latents = malloc(most + 1);
    FILE *file = fopen(path, "rb");
    if (!latents || !file) fail("%s: can't be read", path);
    const size_t size = fread(latents, 1, most + 1, file);
    fclose(file);
    if (!size || size > most || size % row)
        fail("%s: 1 to %d whole rows of %d floats are needed", path, MOST, (int)nz);
    *count = (int64_t)(size / row);
    return latents;
}

/* Whether the file holds `text`, whose first letter is nowhere else in it. */
static int holds(const char *path, const char *text) {
    FILE *file = fopen(path, "rb");
    char part[1 << 16];
    size_t found = 0;
    for (size_t n; file && text[found] && (n = fread(part, 1, sizeof part, file));)
        for (size_t i = 0; i < n && text[found]; i++) found = part[i] == text[found] ? found + 1 : part[i] == *text;
    if (file) fclose(file);
    return !text[found];
}

/* Whether values are in [-1, 1]: the manifest says so, JSON that every export carries, escaped in OpenVINO's XML. */
static int usual_range(const char *path) {
    return holds(path, "range\":[-1.0,1.0]") || holds(path, "range&quot;:[-1.0,1.0]") ||
           !(holds(path, "range\":[") || holds(path, "range&quot;:["));
}

/* uint8 (N, H, W, C), or float (N, C, H, W) in [-1, 1], to bytes (N, H, W, C) on standard output. */
static void write_pictures(const ov_tensor_t *image, const char *path) {
    ov_shape_t shape;
    ov_element_type_e type;
    void *data;
    check(ov_tensor_get_shape(image, &shape), "image");
    check(ov_tensor_get_element_type(image, &type), "image");
    check(ov_tensor_data(image, &data), "image");
    if ((type != F32 && type != U8) || shape.rank != 4) fail("the model draws neither bytes nor float32 (N, C, H, W)");
    if (type == F32 && !usual_range(path))
        fail("%s: values in [-1, 1] are needed; export it without --raw, or with --uint8", path);
    const int64_t channels = shape.dims[1], plane = shape.dims[2] * shape.dims[3];
    const size_t picture = (size_t)(channels * plane);
    uint8_t *pixels = malloc(picture);
    if (!pixels) fail("no memory");
    for (int64_t n = 0; n < shape.dims[0]; n++) {
        const float *values = (const float *)data + (size_t)n * picture;
        if (type == U8) memcpy(pixels, (const uint8_t *)data + (size_t)n * picture, picture);
        for (int64_t c = 0; type == F32 && c < channels; c++)
            for (int64_t p = 0; p < plane; p++) {
                const float x = floorf(values[c * plane + p] * 127.5f + 128);
                pixels[p * channels + c] = (uint8_t)(x > 255 ? 255 : x > 0 ? x : 0);
            }
        if (fwrite(pixels, picture, 1, stdout) != 1) fail("the pictures can't be written");
    }
    if (fflush(stdout)) fail("the pictures can't be written");
    free(pixels);
    ov_shape_free(&shape);
}

int main(int argc, char **argv) {
    if (argc < 3 || argc > 5) fail("usage: draw FILE SEED COUNT [LABEL] | latents.raw > pictures.raw");
    ov_core_t *core;
    check(ov_core_create(&core), "OpenVINO");
    ov_compiled_model_t *model = compile(core, argv[1]);
    ov_infer_request_t *request;
    check(ov_compiled_model_create_infer_request(model, &request), argv[1]);

    const int labels = has_input(model, "label");
    int64_t seed, start = 0, count, label = -1, one = 1, shape[2];
    float *latents = NULL;
    if (has_input(model, "seed")) {
        if (argc < 4 || !number(argv[2], &seed) || !number(argv[3], &count) || !count || count > MOST ||
            (argc == 5 && !number(argv[4], &label)))
            fail("usage: draw g.sampler.onnx SEED COUNT [LABEL], SEED 0 to 2^32-129, COUNT 1 to %d", MOST);
        if (argc == 5 && !labels) fail("label %s: this generator has none", argv[4]);
        feed(request, "seed", I64, 0, NULL, &seed);
        feed(request, "start", I64, 0, NULL, &start);
        feed(request, "count", I64, 0, NULL, &count);
        if (labels) feed(request, "label", I64, 1, &one, &label);
    } else {
        if (argc > 3) fail("%s takes latents: draw g.xml latents.raw", argv[1]);
        if (labels) fail("%s takes a label for each latent; its sampler graph draws by label", argv[1]);
        shape[1] = latent_size(model);
        latents = read_latents(argv[2], shape[1], &shape[0]);
        feed(request, "z", F32, 2, shape, latents);
    }
    check(ov_infer_request_infer(request), latents ? argv[1] : "the seed or label may be out of range");
    ov_tensor_t *image;
    check(ov_infer_request_get_output_tensor(request, &image), "image");
    write_pictures(image, argv[1]);

    ov_tensor_free(image);
    ov_infer_request_free(request);
    ov_compiled_model_free(model);
    ov_core_free(core);
    free(latents);
    return 0;
}
