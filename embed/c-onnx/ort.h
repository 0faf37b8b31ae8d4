/* What both programs share: ONNX Runtime found as they start, a model opened, errors in a line. */
#include <dlfcn.h>
#include <errno.h>
#include <onnxruntime_c_api.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 4096 }; /* pictures at once */

static const OrtApi *ort;

/* Say what is wrong, and end. */
static _Noreturn void fail(const char *format, ...) {
    va_list values;
    va_start(values, format);
    fprintf(stderr, PROGRAM ": ");
    vfprintf(stderr, format, values);
    fprintf(stderr, "\n");
    va_end(values);
    exit(2);
}

/* End with the first line of what ONNX Runtime says. */
static void check(OrtStatus *status) {
    if (!status) return;
    const char *message = ort->GetErrorMessage(status);
    fail("%.*s", (int)strcspn(message, "\n"), message);
}

/* A whole number within 0 .. 2^63-1, or 0 for what is none. */
static int number(const char *text, int64_t *value) {
    char *end;
    errno = 0;
    *value = strtoll(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && !errno;
}

/* The library that ONNXRUNTIME names, or the one that the system or the program's run path has.  Only one symbol is
 * looked up by name, so that one program runs on every version that isn't older than its headers. */
static void find_onnxruntime(void) {
    const char *named = getenv("ONNXRUNTIME"), *names[] = {"libonnxruntime.so.1", "libonnxruntime.dylib"};
    void *library = NULL;
    if (named) library = dlopen(named, RTLD_NOW);
    for (size_t i = 0; !named && !library && i < sizeof names / sizeof *names; i++) library = dlopen(names[i], RTLD_NOW);
    const OrtApiBase *(*base)(void) = NULL;
    if (library) *(void **)&base = dlsym(library, "OrtGetApiBase");
    if (!base) fail("%s: no ONNX Runtime; name libonnxruntime's file in ONNXRUNTIME", named ? named : names[0]);
    ort = base()->GetApi(ORT_API_VERSION);
    if (!ort) fail("ONNX Runtime %s is older than the program's headers", base()->GetVersionString());
}

static OrtSession *open_model(const OrtEnv *env, const char *path) {
    OrtSessionOptions *options;
    OrtSession *session;
    check(ort->CreateSessionOptions(&options));
    check(ort->CreateSession(env, path, options, &session));
    ort->ReleaseSessionOptions(options);
    return session;
}

/* A tensor over `data`, which stays the caller's. */
static OrtValue *tensor(void *data, size_t size, const int64_t *shape, size_t rank, ONNXTensorElementDataType type) {
    OrtMemoryInfo *memory;
    OrtValue *value;
    check(ort->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));
    check(ort->CreateTensorWithDataAsOrtValue(memory, data, size, shape, rank, type, &value));
    ort->ReleaseMemoryInfo(memory);
    return value;
}
