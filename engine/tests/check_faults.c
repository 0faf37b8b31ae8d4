/* What the system may refuse: memory, threads, reads.  The linker puts the functions below in the library's way
 * (--wrap), so every single call can be made to fail. */
#include <errno.h>
#include <pthread.h>
#include <sys/types.h>

#include "samples.h"

static long allocations, refuse_allocation = -1, live, threads, refuse_thread = -1;
static int reading; /* how the next reads go */
enum { READ_WELL, READ_SHORT, READ_FAILS, READ_ENDS_EARLY, READ_GOES_ON };

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
int __real_posix_memalign(void **to, size_t unit, size_t size);
void __real_free(void *p);
int __real_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*run)(void *), void *arg);
ssize_t __real_read(int handle, void *to, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
int __wrap_posix_memalign(void **to, size_t unit, size_t size);
void __wrap_free(void *p);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*run)(void *), void *arg);
ssize_t __wrap_read(int handle, void *to, size_t size);

static void *counted(void *p) {
    if (p) __atomic_fetch_add(&live, 1, __ATOMIC_RELAXED);
    return p;
}
static int refused(void) { return __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED) == refuse_allocation; }

void *__wrap_malloc(size_t size) { return refused() ? NULL : counted(__real_malloc(size)); }
void *__wrap_calloc(size_t n, size_t size) { return refused() ? NULL : counted(__real_calloc(n, size)); }
int __wrap_posix_memalign(void **to, size_t unit, size_t size) {
    if (refused() || __real_posix_memalign(to, unit, size)) return ENOMEM;
    counted(*to);
    return 0;
}
void __wrap_free(void *p) {
    if (p) __atomic_fetch_sub(&live, 1, __ATOMIC_RELAXED);
    __real_free(p);
}

int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*run)(void *), void *arg) {
    return threads++ == refuse_thread ? EAGAIN : __real_pthread_create(t, a, run, arg);
}

ssize_t __wrap_read(int handle, void *to, size_t size) {
    static unsigned calls;
    calls++;
    switch (reading) {
    case READ_SHORT:
        if (calls % 3 == 0) {
            errno = EINTR;
            return -1;
        }
        return __real_read(handle, to, size < 1000 ? size : calls % 1000 + 1);
    case READ_FAILS:
        errno = EIO;
        return -1;
    case READ_ENDS_EARLY:
        return size > 1000 ? __real_read(handle, to, 1000) : 0;
    case READ_GOES_ON: /* the file grew after its size was asked for */
        memset(to, 0, size);
        return (ssize_t)size;
    default:
        return __real_read(handle, to, size);
    }
}

/* Open, make a context of three threads, generate, close: the status of the first thing that fails. */
static gan_status use(const char *path, uint8_t *out, long *generating) {
    gan_model *model = (gan_model *)(uintptr_t)1;
    gan_status status = open_sample(path, &model);
    if (status != GAN_OK) return model ? GAN_OK : status; /* OK would be wrong here, and is reported */
    gan_context *context = (gan_context *)(uintptr_t)1;
    const gan_context_options options = {.threads = 3, .batch = KNOWN_IMAGES};
    status = gan_context_new(model, &options, &context);
    if (status == GAN_OK) {
        const gan_request request = known_request(0, KNOWN_IMAGES);
        const long before = allocations;
        status = generate_bytes(context, &request, out, KNOWN_BYTES);
        *generating = allocations - before;
        gan_context_free(context);
    } else if (context) {
        status = GAN_OK;
    }
    gan_close(model);
    return status;
}

enum { IMAGES = 2, IMAGE_HEIGHT = 24, IMAGE_WIDTH = 36, IMAGE_BYTES = IMAGES * IMAGE_HEIGHT * IMAGE_WIDTH * 3 };

/* The same of images that go in, at one size, a smaller one and the first again.  After a call that fails, the context
 * works once there is memory. */
static gan_status use_images(uint8_t *out) {
    static uint8_t given[IMAGE_BYTES];
    gan_model *model;
    gan_context *context;
    const gan_context_options options = {.threads = 2};
    for (uint64_t i = 0; i < IMAGE_BYTES; i++) given[i] = (uint8_t)(i * 2654435761u >> 7);
    gan_status status = open_sample(KNOWN "/images-3.gan", &model);
    if (status != GAN_OK) return status;
    status = gan_context_new(model, &options, &context);
    for (int i = 0; i < 3 && status == GAN_OK; i++) {
        const gan_images images = {.count = IMAGES,
                                   .height = i == 1 ? 8 : IMAGE_HEIGHT,
                                   .width = i == 1 ? 8 : IMAGE_WIDTH,
                                   .data = given,
                                   .data_size = IMAGE_BYTES};
        const gan_output output = {.data = out, .data_size = IMAGE_BYTES};
        status = gan_apply(context, &images, &output);
        if (status == GAN_OK) continue;
        refuse_allocation = -1;
        if (gan_apply(context, &images, &output) != GAN_OK) status = GAN_OK; /* which is reported */
        break;
    }
    gan_context_free(context);
    gan_close(model);
    return status;
}

static int check_images(uint8_t *out) {
    int failed = 0;
    size_t size;
    uint8_t *want = load(KNOWN "/images.bytes", &size);
    const long before = live;
    allocations = 0;
    failed += check(use_images(out) == GAN_OK && size == IMAGE_BYTES && alike(out, want, size),
                    "the known images of images");
    failed += check(live == before, "everything of theirs is freed");
    const long all = allocations;
    for (long n = 0; n < all; n++) {
        allocations = 0;
        refuse_allocation = n;
        const gan_status status = use_images(out);
        failed += check(status == GAN_ERROR_MEMORY || status == GAN_ERROR_THREAD, "an allocation of images refused");
        failed += check(live == before, "everything is freed after a refused allocation of images");
    }
    refuse_allocation = -1;
    free(want);
    printf("%ld allocations refused in turn with images\n", all);
    return failed;
}

int main(void) {
    static uint8_t out[KNOWN_BYTES];
    int failed = 0;
    size_t size;
    long generating = 0;
    uint8_t *want = load(KNOWN "/chain.bytes", &size);
    const char *path = KNOWN "/chain.gan";
    const long before = live;

    allocations = threads = 0;
    failed += check(use(path, out, &generating) == GAN_OK && alike(out, want, KNOWN_BYTES), "the known images");
    failed += check(generating == 0, "generating allocates nothing");
    failed += check(live == before, "everything is freed");
    const long all = allocations, all_threads = threads;
    failed += check(all > 10 && all_threads == 2, "the wraps are in place");
    for (refuse_allocation = 0; refuse_allocation < all; refuse_allocation++) {
        allocations = 0;
        const gan_status status = use(path, out, &generating);
        failed += check(status == GAN_ERROR_MEMORY || status == GAN_ERROR_THREAD, "an allocation refused");
        failed += check(live == before, "everything is freed after a refused allocation");
    }
    refuse_allocation = -1;
    for (refuse_thread = 0; refuse_thread < all_threads; refuse_thread++) {
        threads = 0;
        failed += check(use(path, out, &generating) == GAN_ERROR_THREAD && live == before, "a thread refused");
    }
    refuse_thread = -1;

    reading = READ_SHORT;
    memset(out, 0, sizeof out);
    failed += check(use(path, out, &generating) == GAN_OK && alike(out, want, KNOWN_BYTES),
                    "short and interrupted reads");
    reading = READ_FAILS;
    failed += check(use(path, out, &generating) == GAN_ERROR_FILE && live == before, "a read that fails");
    reading = READ_ENDS_EARLY;
    failed += check(use(path, out, &generating) == GAN_ERROR_CORRUPT && live == before, "a file cut while it is read");
    reading = READ_GOES_ON;
    failed += check(use(path, out, &generating) == GAN_ERROR_CORRUPT && live == before,
                    "a file that grows while it is read");
    free(want);
    reading = READ_WELL;
    failed += check_images(out);
    printf("%ld allocations and %ld threads refused in turn, %d failures\n", all, all_threads, failed);
    return failed != 0;
}
