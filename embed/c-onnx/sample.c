/* Pictures of a seed by a sampler graph: sample g.sampler.onnx SEED COUNT [LABEL] > pictures.raw, uint8 (count, height,
 * width, channels).  Where there are labels, random ones are drawn without one. */
#define PROGRAM "sample"
#include "ort.h"

int main(int argc, char **argv) {
    int64_t seed, start = 0, count, label = -1;
    if (argc < 4 || argc > 5 || !number(argv[2], &seed) || !number(argv[3], &count) || count < 1 || count > MOST ||
        (argc == 5 && !number(argv[4], &label)))
        fail("usage: sample g.sampler.onnx SEED COUNT [LABEL] > pictures.raw, SEED 0 to 2^63-1, COUNT 1 to %d", MOST);
    find_onnxruntime();
    OrtEnv *env;
    check(ort->CreateEnv(ORT_LOGGING_LEVEL_FATAL, "sample", &env));
    OrtSession *session = open_model(env, argv[1]);
    size_t inputs;
    check(ort->SessionGetInputCount(session, &inputs));
    if (argc == 5 && inputs < 4) fail("label %s: this generator has none", argv[4]);

    const char *names[] = {"seed", "start", "count", "label"}, *outputs[] = {"image"};
    int64_t one = 1, *given[] = {&seed, &start, &count, &label};
    OrtValue *values[4] = {NULL}, *image = NULL;
    for (size_t i = 0; i < 4; i++) /* numbers have no dimensions, labels have one */
        values[i] = tensor(given[i], sizeof *given[i], &one, i == 3, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64);
    check(ort->Run(session, NULL, names, (const OrtValue *const *)values, inputs < 4 ? 3 : 4, outputs, 1, &image));

    void *pixels;
    size_t size;
    OrtTensorTypeAndShapeInfo *shape;
    check(ort->GetTensorTypeAndShape(image, &shape));
    check(ort->GetTensorShapeElementCount(shape, &size));
    check(ort->GetTensorMutableData(image, &pixels));
    if (fwrite(pixels, 1, size, stdout) != size || fflush(stdout)) fail("the pictures can't be written");

    ort->ReleaseTensorTypeAndShapeInfo(shape);
    ort->ReleaseValue(image);
    for (size_t i = 0; i < 4; i++) ort->ReleaseValue(values[i]);
    ort->ReleaseSession(session);
    ort->ReleaseEnv(env);
    return 0;
}
