/* Pictures of latents: draw g.onnx latents.raw [LABEL] > pictures.raw, float32 (N, nz) in, uint8 (N, height, width,
 * channels) out.  Where there are labels, picture i gets label i mod classes without one. */
#include <math.h>

#define PROGRAM "draw"
#include "ort.h"

/* The number of labels, 0 if there are none: a key of the manifest, JSON that every export carries. */
static int64_t classes_of(const OrtSession *session, const char *path) {
    OrtModelMetadata *metadata;
    OrtAllocator *allocator;
    char *manifest;
    check(ort->SessionGetModelMetadata(session, &metadata));
    check(ort->GetAllocatorWithDefaultOptions(&allocator));
    check(ort->ModelMetadataLookupCustomMetadataMap(metadata, allocator, "gan-export.manifest", &manifest));
    if (!manifest) fail("%s: no file of gan-export onnx", path);
    const char *key = "\"classes\":", *at = strstr(manifest, key);
    const int64_t classes = at ? strtoll(at + strlen(key), NULL, 10) : 0;
    if (!strstr(manifest, "\"range\":[-1.0,1.0]") && strstr(manifest, "\"range\":["))
        fail("%s: values in [-1, 1] are needed; export it without --raw", path);
    check(ort->AllocatorFree(allocator, manifest));
    ort->ReleaseModelMetadata(metadata);
    return classes;
}

/* Numbers in each latent: the last dimension of the input z. */
static int64_t latent_size(const OrtSession *session) {
    OrtTypeInfo *type;
    const OrtTensorTypeAndShapeInfo *shape;
    int64_t dimensions[2];
    check(ort->SessionGetInputTypeInfo(session, 0, &type));
    check(ort->CastTypeInfoToTensorInfo(type, &shape));
    size_t rank;
    check(ort->GetDimensionsCount(shape, &rank));
    if (rank != 2) fail("the model's first input is no latents (N, nz); sample.c runs sampler graphs");
    check(ort->GetDimensions(shape, dimensions, 2));
    if (dimensions[1] < 1 || dimensions[1] > 1 << 20) fail("the size of the model's latents is not fixed");
    ort->ReleaseTypeInfo(type);
    return dimensions[1];
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

/* float (N, C, H, W) in [-1, 1] to bytes (N, H, W, C) on standard output. */
static void write_pictures(OrtValue *image) {
    OrtTensorTypeAndShapeInfo *info;
    ONNXTensorElementDataType type;
    size_t rank;
    int64_t shape[4];
    const float *values;
    check(ort->GetTensorTypeAndShape(image, &info));
    check(ort->GetTensorElementType(info, &type));
    check(ort->GetDimensionsCount(info, &rank));
    if (type != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT || rank != 4) fail("the model draws no float32 (N, C, H, W)");
    check(ort->GetDimensions(info, shape, 4));
    void *data;
    check(ort->GetTensorMutableData(image, &data));
    values = data;
    const int64_t channels = shape[1], plane = shape[2] * shape[3];
    uint8_t *pixels = malloc((size_t)(channels * plane));
    if (!pixels) fail("no memory");
    for (int64_t n = 0; n < shape[0]; n++, values += channels * plane) {
        for (int64_t c = 0; c < channels; c++)
            for (int64_t p = 0; p < plane; p++) {
                const float x = floorf(values[c * plane + p] * 127.5f + 128);
                pixels[p * channels + c] = (uint8_t)(x > 255 ? 255 : x > 0 ? x : 0);
            }
        if (fwrite(pixels, (size_t)(channels * plane), 1, stdout) != 1) fail("the pictures can't be written");
    }
    if (fflush(stdout)) fail("the pictures can't be written");
    free(pixels);
    ort->ReleaseTensorTypeAndShapeInfo(info);
}

int main(int argc, char **argv) {
    int64_t label = 0;
    if (argc < 3 || argc > 4 || (argc == 4 && !number(argv[3], &label)))
        fail("usage: draw g.onnx latents.raw [LABEL] > pictures.raw");
    find_onnxruntime();
    OrtEnv *env;
    check(ort->CreateEnv(ORT_LOGGING_LEVEL_FATAL, "draw", &env));
    OrtSession *session = open_model(env, argv[1]);
    const int64_t classes = classes_of(session, argv[1]), nz = latent_size(session);
    if (argc == 4 && !classes) fail("label %s: this generator has none", argv[3]);
    if (argc == 4 && label >= classes) fail("label %s: must be 0 to %d", argv[3], (int)classes - 1);
    int64_t count;
    float *latents = read_latents(argv[2], nz, &count);
    int64_t labels[MOST];
    for (int64_t i = 0; classes && i < count; i++) labels[i] = argc == 4 ? label : i % classes;

    const char *names[] = {"z", "label"}, *outputs[] = {"image"};
    const int64_t shape[] = {count, nz};
    OrtValue *image = NULL, *values[] = {
        tensor(latents, (size_t)(count * nz) * sizeof *latents, shape, 2, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT),
        tensor(labels, (size_t)count * sizeof *labels, shape, 1, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64),
    };
    check(ort->Run(session, NULL, names, (const OrtValue *const *)values, classes ? 2 : 1, outputs, 1, &image));
    write_pictures(image);

    ort->ReleaseValue(image);
    for (size_t i = 0; i < 2; i++) ort->ReleaseValue(values[i]);
    ort->ReleaseSession(session);
    ort->ReleaseEnv(env);
    free(latents);
    return 0;
}
