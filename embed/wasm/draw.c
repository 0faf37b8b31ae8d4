/* Pictures of a seed by the WebAssembly engine, which wasm2c has turned into C: draw g.gan SEED COUNT > pictures.raw,
 * uint8 (count, height, width, channels).  Structures lie as wasm32 lays them out; this machine is little-endian. */
#include "gan.h" /* wasm2c's, with the functions of engine/include/gan.h */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef WASM_RT_MEMCHECK_GUARD_PAGES
#define W(name) w2c_gan_##name
typedef w2c_gan engine;
#define engine_start(e) wasm2c_gan_instantiate(e)
#else /* wabt 1.0.32 names them otherwise */
#define W(name) Z_ganZ_##name
typedef Z_gan_instance_t engine;
#define engine_start(e) (Z_gan_init_module(), Z_gan_instantiate(e))
#endif

enum { BATCH = 32 }; /* pictures drawn at once */

static engine e;

static void check(u32 status, const char *what) {
    if (!status) return;
    fprintf(stderr, "draw: %s: %s\n", what, (const char *)W(memory)(&e)->data + W(gan_status_string)(&e, status));
    exit(2);
}

/* A copy of `data` in the engine's memory, zeros where it is NULL; its address there. */
static u32 put(const void *data, size_t size) {
    const u32 at = size < UINT32_MAX ? W(malloc)(&e, (u32)size) : 0;
    if (!at) {
        fprintf(stderr, "draw: no memory for %zu bytes more\n", size);
        exit(2);
    }
    u8 *to = W(memory)(&e)->data + at;
    if (data) memcpy(to, data, size);
    else memset(to, 0, size);
    return at;
}

static u32 word(u32 at) {
    u32 value;
    memcpy(&value, W(memory)(&e)->data + at, sizeof value);
    return value;
}

/* The whole file, to be freed. */
static void *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    long end = -1;
    if (file && !fseek(file, 0, SEEK_END)) end = ftell(file);
    void *data = end > 0 && end < INT32_MAX ? malloc((size_t)end) : NULL;
    if (data) rewind(file);
    if (!data || fread(data, (size_t)end, 1, file) != 1) {
        fprintf(stderr, "draw: %s: can't be read\n", path);
        exit(2);
    }
    fclose(file);
    *size = (size_t)end;
    return data;
}

/* A whole number within 0 .. 2^64-1, or 0 for what is none. */
static int number(const char *text, u64 *value) {
    char *end;
    errno = 0;
    *value = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && !errno;
}

int main(int argc, char **argv) {
    u64 seed, count;
    if (argc != 4 || !number(argv[2], &seed) || !number(argv[3], &count) || !count) {
        fprintf(stderr, "usage: draw g.gan SEED COUNT > pictures.raw, with SEED 0 to 2^64-1 and COUNT at least 1\n");
        return 2;
    }
    size_t size;
    void *data = read_file(argv[1], &size);
    wasm_rt_init();
    engine_start(&e);
    const u32 cell = put(NULL, 64), file = put(data, size);
    free(data);
    check(W(gan_open_memory)(&e, file, (u32)size, 0, cell), argv[1]);
    const struct { u32 size, more[15]; } known = {sizeof known, {0}}; /* each structure begins with its size */
    const u32 model = word(cell), info = put(&known, sizeof known);
    W(gan_describe)(&e, model, info);
    const u32 picture = word(info + 16) * word(info + 20) * word(info + 24); /* channels, height, width */
    const struct { u64 size, memory; u32 threads, batch, more[4]; } options = {40, 0, 1, BATCH, {0}};
    check(W(gan_context_new)(&e, model, put(&options, sizeof options), cell), argv[1]);
    const u32 context = word(cell), pixels = put(NULL, (size_t)BATCH * picture);

    const struct { u32 size, data, data_size, more[5]; } output = {32, pixels, BATCH * picture, {0}};

    for (u64 start = 0; start < count; start += BATCH) {
        const u64 now = count - start < BATCH ? count - start : BATCH;
        const struct { u64 size, seed, start, count, more[6]; } request = {80, seed, start, now, {0}};
        const u32 at = put(&request, sizeof request), to = put(&output, sizeof output);
        check(W(gan_generate)(&e, context, at, to), argv[1]);
        W(free)(&e, at);
        W(free)(&e, to);
        if (fwrite(W(memory)(&e)->data + pixels, picture, (size_t)now, stdout) != now ||
            (start + now == count && fflush(stdout))) {
            fprintf(stderr, "draw: the pictures can't be written\n");
            return 2;
        }
    }
    return 0;
}
