/* What gan.h offers besides packed images of a range: formats and strides, indices and seeds, rounds with a callback, a
 * program's own threads, messages, descriptions, sizes of structures. */
#include <math.h>

#include "samples.h"
#include "system.h"
#if defined(__linux__)
#include <dirent.h>
#include <unistd.h>
#endif

static gan_model *model;
static gan_context *context;
static uint8_t want[KNOWN_BYTES];

static gan_status draw(const gan_request *request, void *to, size_t size, uint32_t format, ptrdiff_t row) {
    const gan_output output = {.data = to, .data_size = size, .format = format, .row_stride = row};
    return gan_generate(context, request, &output);
}

static int check_formats(void) {
    enum { ROW = 16 * 4 + 12, SIZE = 2 * 16 * ROW };
    static uint8_t padded[SIZE];
    static float planes[2 * KNOWN_IMAGE], pixels[2 * KNOWN_IMAGE];
    const gan_request two = known_request(0, 2);
    int failed = 0, wrong = 0;
    memset(padded, 7, SIZE);
    failed += check(draw(&two, padded, SIZE, GAN_BGRA8, -ROW) == GAN_OK, "rows from below, blue first");
    for (int i = 0; i < 2; i++)
        for (int y = 0; y < 16; y++)
            for (int x = 0; x < 16; x++) {
                const uint8_t *pixel = padded + (i * 16 + 15 - y) * ROW + x * 4,
                              *rgb = want + ((i * 16 + y) * 16 + x) * 3;
                wrong += pixel[0] != rgb[2] || pixel[1] != rgb[1] || pixel[2] != rgb[0] || pixel[3] != 255;
                wrong += padded[(i * 16 + y) * ROW + 64 + x % 12] != 7; /* between the rows */
            }
    failed += check(!wrong, "their bytes");
    failed += check(draw(&two, planes, sizeof planes, GAN_FLOAT_PLANAR, 0) == GAN_OK &&
                        draw(&two, pixels, sizeof pixels, GAN_FLOAT_INTERLEAVED, 0) == GAN_OK,
                    "floats");
    for (int n = 0; n < 2 * KNOWN_IMAGE; n++)
        wrong += pixels[n] != planes[n / KNOWN_IMAGE * KNOWN_IMAGE + n % 3 * 256 + n % KNOWN_IMAGE / 3];
    failed += check(!wrong, "floats in both orders");
    failed += check(draw(&two, padded, SIZE, GAN_GRAY8, 0) == GAN_ERROR_ARGUMENT &&
                        strstr(gan_context_message(context), "channels") != NULL,
                    "a format for another number of channels");
    failed += check(draw(&two, padded, SIZE, GAN_RGB8, 47) == GAN_ERROR_ARGUMENT, "rows that overlap");
    failed += check(draw(&two, padded, SIZE, 99, 0) == GAN_ERROR_ARGUMENT, "no such format");
    failed += check(draw(&two, (uint8_t *)planes + 1, SIZE, GAN_FLOAT_PLANAR, 0) == GAN_ERROR_ARGUMENT, "odd floats");
    failed += check(draw(&two, padded, SIZE, GAN_BYTES, PTRDIFF_MIN) == GAN_ERROR_ARGUMENT, "a huge stride");
    return failed;
}

static int check_requests(void) {
    static uint8_t got[3 * KNOWN_IMAGE];
    static float latents[3 * 4096], middle[4096];
    const uint64_t indices[] = {5, 0, 5}, seeds[] = {KNOWN_SEED, KNOWN_SEED, KNOWN_SEED};
    gan_info info = {.size = sizeof info};
    int failed = 0;
    gan_describe(model, &info);
    const size_t nz = info.latent_size;
    gan_request request = {.count = 3, .indices = indices, .indices_size = 3, .seeds = seeds, .seeds_size = 3};
    failed += check(
        draw(&request, got, sizeof got, GAN_BYTES, 0) == GAN_OK && !memcmp(got, want + 5 * KNOWN_IMAGE, KNOWN_IMAGE) &&
            !memcmp(got + KNOWN_IMAGE, want, KNOWN_IMAGE) && !memcmp(got, got + 2 * KNOWN_IMAGE, KNOWN_IMAGE),
        "images of any indices");
    failed += check(gan_latents(model, &request, latents, 3 * nz) == GAN_OK &&
                        !memcmp(latents, latents + 2 * nz, nz * sizeof *latents),
                    "their latents");
    failed += check(gan_latents(model, &request, latents, 3 * nz - 1) == GAN_ERROR_ARGUMENT, "no room for latents");
    failed += check(gan_interpolate(model, latents, latents + nz, 0, middle, nz) == GAN_OK &&
                        fabsf(middle[0] - latents[0]) < 1e-5f &&
                        gan_interpolate(model, latents, latents + nz, 1, middle, nz) == GAN_OK &&
                        fabsf(middle[0] - latents[nz]) < 1e-5f,
                    "the ends of a walk");
    failed += check(gan_interpolate(model, latents, latents, 1.5, middle, nz) == GAN_ERROR_ARGUMENT, "beyond its end");
    request.indices_size = 2;
    failed += check(draw(&request, got, sizeof got, GAN_BYTES, 0) == GAN_ERROR_ARGUMENT &&
                        strstr(gan_context_message(context), "indices") != NULL,
                    "too few indices");
    return failed;
}

typedef struct seen {
    uint64_t next;
    int wrong, stop;
} seen;

static int take(void *user, uint64_t first, uint64_t count, void *images) {
    seen *s = user;
    s->wrong += first != s->next || memcmp(images, want + first * KNOWN_IMAGE, count * KNOWN_IMAGE) != 0;
    s->next = first + count;
    return s->stop;
}

static int check_rounds(void) {
    static uint8_t few[3 * KNOWN_IMAGE];
    const gan_request all = known_request(0, KNOWN_IMAGES);
    seen s = {0};
    gan_output output = {.data = few, .data_size = sizeof few, .done = take, .user = &s};
    int failed = check(gan_generate(context, &all, &output) == GAN_OK && s.next == KNOWN_IMAGES && !s.wrong,
                       "images through a small buffer");
    s = (seen){.stop = 1};
    failed += check(gan_generate(context, &all, &output) == GAN_CANCELED && s.next && s.next <= 3, "a call stopped");
    return failed;
}

/* One after another, the last first: as a program's pool may, if it is busy. */
static void in_turn(void *user, void (*work)(void *arg, int i), void *arg, int n) {
    ++*(int *)user;
    while (n--) work(arg, n);
}

static int check_own_threads(void) {
    static uint8_t got[KNOWN_BYTES];
    int calls = 0, failed = 0;
    gan_context *own;
    const gan_context_options options = {.threads = 3, .batch = 7, .parallel = in_turn, .user = &calls};
    const gan_request all = known_request(0, KNOWN_IMAGES);
    if (gan_context_new(model, &options, &own) != GAN_OK) return check(0, "a context of the program's threads");
    failed += check(generate_bytes(own, &all, got, sizeof got) == GAN_OK && alike(got, want, KNOWN_BYTES) && calls == 1,
                    "images by the program's threads");
    gan_context_info info = {.size = sizeof info};
    gan_describe_context(own, &info);
    failed += check(info.threads == 3 && info.batch == 9 && info.scratch && info.weights && info.steps,
                    "its description");
    for (uint32_t i = 0; i < info.steps; i++) {
        gan_step_info step = {.size = sizeof step};
        failed += check(gan_describe_step(own, i, &step) == GAN_OK && step.method && step.operation && step.channels &&
                            step.cycles > 0 && !strcmp(step.arithmetic, "float32"),
                        "a step's description");
    }
    gan_step_info none = {0};
    failed += check(gan_describe_step(own, info.steps, &none) == GAN_ERROR_ARGUMENT, "a step that there isn't");
    gan_context_free(own);
    return failed;
}

/* Of a program of a later version, and of an earlier one. */
static int check_sizes(void) {
    struct {
        gan_request known;
        uint64_t more;
    } newer = {.known = known_request(0, 1)};
    struct {
        size_t size;
        uint32_t latent_size, guard;
    } older = {.size = 12, .guard = 77};
    static uint8_t got[KNOWN_IMAGE];
    newer.known.size = sizeof newer;
    int failed = check(draw(&newer.known, got, sizeof got, GAN_BYTES, 0) == GAN_OK, "a longer structure");
    newer.more = 1;
    failed += check(draw(&newer.known, got, sizeof got, GAN_BYTES, 0) == GAN_ERROR_UNSUPPORTED, "an unknown member");
    newer.known.size = SIZE_MAX;
    failed += check(draw(&newer.known, got, sizeof got, GAN_BYTES, 0) == GAN_ERROR_ARGUMENT, "no size");
    gan_describe(model, (gan_info *)(void *)&older);
    return failed + check(older.latent_size && older.guard == 77 && older.size == 12, "a shorter structure");
}

static int check_messages(void) {
    char message[GAN_MESSAGE_SIZE];
    gan_open_options options = {.kernels = "z80", .message = message, .message_size = sizeof message};
    gan_model *none;
    gan_context *poor;
    int failed = check(gan_open(KNOWN "/chain.gan", &options, &none) == GAN_ERROR_UNSUPPORTED && strstr(message, "z80"),
                       "kernels that there aren't");
    options = (gan_open_options){.kernels = "generic", .message = message, .message_size = 6};
    failed += check(gan_open(KNOWN, &options, &none) == GAN_ERROR_FILE && strlen(message) == 5, "a cut message");
    const gan_context_options little = {.max_memory = 1000, .message = message, .message_size = sizeof message};
    failed += check(gan_context_new(model, &little, &poor) == GAN_ERROR_MEMORY && strstr(message, "at most 1000"),
                    "what a context needs");
    failed += check(!strcmp(gan_version(), "0.1.0") && GAN_VERSION_MINOR == 1, "the version");
    return failed;
}

#if defined(__linux__)
/* The threads that a context starts, by the name that a debugger shows. */
static int check_names(void) {
    gan_context *three;
    const gan_context_options options = {.threads = 3};
    if (gan_context_new(model, &options, &three) != GAN_OK) return check(0, "three threads");
    int named = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (int round = 0; round < 1000 && named < 2; round++) { /* a thread names itself once it runs */
        named = 0;
        usleep(1000);
        rewinddir(tasks);
        for (struct dirent *task; (task = readdir(tasks));) {
            char path[512], name[32] = "";
            snprintf(path, sizeof path, "/proc/self/task/%s/comm", task->d_name);
            FILE *file = fopen(path, "r");
            if (!file) continue;
            named += fgets(name, sizeof name, file) && !strcmp(name, "gan\n");
            fclose(file);
        }
    }
    closedir(tasks);
    gan_context_free(three);
    return check(named == 2, "the names of two threads beside the caller's");
}
#endif

#if !defined(_WIN32)
static int check_cores(void) {
    char folder[] = "/tmp/gan-cores-XXXXXX", command[512];
    if (!mkdtemp(folder)) exit(2);
    snprintf(command, sizeof command,
             "cd %s && for i in 0 1 2 3; do mkdir -p cpu$i/topology; echo $((i %% 2)),$((i %% 2 + 2)) > "
             "cpu$i/topology/thread_siblings_list; done",
             folder);
    if (system(command)) exit(2);
    const unsigned char all[5] = {1, 1, 1, 1, 1}, some[5] = {0, 1, 1, 1, 0};
    int failed = check(gan_i_physical_cores(folder, all, 5) == 3, "two cores of two threads, and one that isn't known");
    failed += check(gan_i_physical_cores(folder, some, 5) == 2, "those that are allowed");
    snprintf(command, sizeof command, "rm -r %s", folder);
    return failed + (system(command) != 0);
}
#endif

int main(void) {
    const gan_context_options options = {.threads = 1, .batch = 3};
    const gan_request all = known_request(0, KNOWN_IMAGES);
    if (open_sample(KNOWN "/chain.gan", &model) != GAN_OK || gan_context_new(model, &options, &context) != GAN_OK ||
        generate_bytes(context, &all, want, sizeof want) != GAN_OK)
        return 2;
    int failed = check_formats() + check_requests() + check_rounds() + check_own_threads() + check_sizes() +
                 check_messages();
#if !defined(_WIN32)
    failed += check_cores();
#endif
#if defined(__linux__)
    failed += check_names();
#endif
    gan_context_free(context);
    gan_close(model);
    printf("%d failures\n", failed);
    return failed != 0;
}
