/* Whole models under what a program does to them: odd arguments, other counts than asked for, files that change,
 * forks, signals, and many threads.  check_model SECONDS keeps 64 threads on one handle for that long (1). */
#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "samples.h"
#include "pool.h"

static uint8_t *want; /* the known images */

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int generates(gan_context *context, uint64_t start, uint64_t count) {
    uint8_t *out = malloc(KNOWN_BYTES);
    const gan_request request = known_request(start, count);
    if (!out) exit(2);
    const gan_status status = generate_bytes(context, &request, out, KNOWN_BYTES);
    const int ok = status == GAN_OK && alike(out, want + start * KNOWN_IMAGE, count * KNOWN_IMAGE);
    free(out);
    return ok;
}

static int generates_anew(gan_model *model, uint32_t threads, uint32_t batch, uint64_t start, uint64_t count) {
    gan_context *context;
    const gan_context_options options = {.threads = threads, .batch = batch};
    if (gan_context_new(model, &options, &context) != GAN_OK) return 0;
    const int ok = generates(context, start, count);
    gan_context_free(context);
    return ok;
}

/* A volume: what describes it, its bytes and its floats, and that formats of pictures are refused. */
static int check_volume(void) {
    enum { SIDE = 8, VOLUME = SIDE * SIDE * SIDE, COUNT = 3 };
    static uint8_t got[COUNT * VOLUME];
    static float floats[COUNT * VOLUME], rows[SIDE * SIDE][SIDE + 2];
    gan_model *model;
    gan_context *context;
    gan_info info = {0};
    size_t size;
    int failed = 0, off = 0;
    uint8_t *volumes = load(KNOWN "/volume.bytes", &size);
    const gan_context_options options = {.threads = 2, .batch = COUNT};
    if (open_sample(KNOWN "/volume-3.gan", &model) != GAN_OK || gan_context_new(model, &options, &context) != GAN_OK)
        exit(2);
    gan_describe(model, &info);
    failed += check(info.kind == GAN_KIND_VOLUME && info.channels == 1 && info.depth == SIDE && info.height == SIDE &&
                        info.width == SIDE && info.low == 0 && info.high == 1,
                    "a volume's description");
    const gan_request request = known_request(0, COUNT), one = known_request(0, 1);
    failed += check(generate_bytes(context, &request, got, sizeof got) == GAN_OK && alike(got, volumes, sizeof got),
                    "the bytes of volumes");
    failed += check(generate_floats(context, &request, floats, COUNT * VOLUME) == GAN_OK, "their floats");
    const gan_output apart = {
        .data = rows, .data_size = sizeof rows, .format = GAN_FLOAT_PLANAR, .row_stride = sizeof *rows};
    failed += check(gan_generate(context, &one, &apart) == GAN_OK, "rows of slices with a stride");
    for (int i = 0; i < VOLUME; i++) off += rows[i / SIDE][i % SIDE] != floats[i];
    failed += check(!off, "the same floats");
    for (uint32_t format = GAN_GRAY8; format <= GAN_BGRA8; format++) {
        const gan_output picture = {.data = got, .data_size = sizeof got, .format = format};
        failed += check(gan_generate(context, &one, &picture) == GAN_ERROR_ARGUMENT &&
                            strstr(gan_context_message(context), "a volume") != NULL,
                        "a picture's format for a volume");
    }
    const gan_output below = {.data = got, .data_size = sizeof got, .row_stride = -SIDE};
    failed += check(gan_generate(context, &one, &below) == GAN_ERROR_ARGUMENT, "a volume from below");
    gan_step_info step = {0};
    failed += check(gan_describe_step(context, 1, &step) == GAN_OK && step.depth == 4 && step.channels == 9,
                    "a step of a volume");
    gan_context_free(context);
    gan_close(model);
    free(volumes);
    return failed;
}

static int check_arguments(gan_model *model) {
    static float floats[KNOWN_BYTES];
    uint8_t byte[KNOWN_IMAGE];
    int failed = 0;
    gan_context *context;
    gan_model *none;
    uint64_t scratch, weights;
    failed += check(gan_open(NULL, NULL, &none) == GAN_ERROR_ARGUMENT && !none, "no path");
    failed += check(gan_open(KNOWN, NULL, &none) == GAN_ERROR_FILE && !none, "a folder");
    failed += check(gan_open("/dev/zero", NULL, &none) == GAN_ERROR_FILE && !none, "a device");
    failed += check(gan_open_memory(NULL, 9, NULL, &none) == GAN_ERROR_ARGUMENT, "no memory");
    failed += check(gan_open("x", NULL, NULL) == GAN_ERROR_ARGUMENT, "nowhere for the model");
    gan_close(NULL), gan_context_free(NULL), gan_describe(NULL, NULL), gan_describe_input(NULL, NULL);
    gan_describe_context(NULL, NULL);
    gan_info about = {0};
    gan_describe(model, &about);
    failed += check(about.low == -1 && about.high == 1, "the range");
    const gan_context_options many = {.threads = 1025}, huge = {.threads = 2, .batch = UINT32_MAX},
                              poor = {.max_memory = 1000};
    failed += check(gan_context_size(model, &many, &scratch, &weights) == GAN_ERROR_ARGUMENT, "1025 threads");
    failed += check(gan_context_size(model, &huge, &scratch, &weights) == GAN_OK, "a huge batch");
    failed += check(gan_context_new(model, &poor, &context) == GAN_ERROR_MEMORY && !context, "1000 bytes");
    failed += check(gan_threads_default() >= 1, "default threads");
    if (gan_context_new(model, NULL, &context) != GAN_OK) return failed + 1;
    gan_request request = {.start = 1ull << 40};
    failed += check(generate_bytes(context, &request, NULL, 0) == GAN_OK, "a count of zero");
    failed += check(generate_bytes(context, NULL, byte, sizeof byte) == GAN_ERROR_ARGUMENT, "no request");
    request.count = 1;
    failed += check(generate_bytes(context, &request, byte, sizeof byte) == GAN_OK, "start 2^40");
    failed += check(generate_bytes(context, &request, byte, sizeof byte - 1) == GAN_ERROR_ARGUMENT, "a small buffer");
    failed += check(generate_bytes(context, &request, NULL, sizeof byte) == GAN_ERROR_ARGUMENT, "no buffer");
    request.start = UINT64_MAX;
    failed += check(generate_floats(context, &request, floats, KNOWN_BYTES) == GAN_OK, "the last image");
    request.count = 2;
    failed += check(generate_floats(context, &request, floats, KNOWN_BYTES) == GAN_ERROR_ARGUMENT, "one beyond");
    request.start = 0, request.count = UINT64_MAX;
    failed += check(generate_bytes(context, &request, byte, SIZE_MAX) == GAN_ERROR_ARGUMENT, "a huge count");
    gan_context_free(context);
    return failed;
}

/* Contexts made for other batches than what they generate: their scratch memory must do. */
static int check_counts(gan_model *model) {
    int failed = 0;
    const uint32_t batches[] = {1, 2, 4, 7, 14, 100};
    for (uint32_t threads = 1; threads <= 5; threads++)
        for (size_t b = 0; b < sizeof batches / sizeof *batches; b++)
            for (uint64_t count = 1; count <= KNOWN_IMAGES; count += threads % 2 ? 3 : 1)
                failed += check(generates_anew(model, threads, batches[b], 0, count), "a count beside the batch");
    return failed;
}

/* One context gives an image the same bits whatever is generated with it: all at once, one by one, in uneven parts. */
static int check_same_bits(const char *path) {
    const uint32_t batches[] = {1, 3, KNOWN_IMAGES};
    gan_model *model;
    gan_info info = {0};
    int failed = 0;
    if (open_sample(path, &model) != GAN_OK) exit(2);
    gan_describe(model, &info);
    const size_t image = (size_t)info.channels * (info.depth ? info.depth : 1) * info.height * info.width;
    float *whole = malloc(sizeof *whole * image * KNOWN_IMAGES), *cut = malloc(sizeof *cut * image * KNOWN_IMAGES);
    if (!whole || !cut) exit(2);
    for (uint32_t threads = 1; threads <= 3; threads++) {
        for (size_t b = 0; b < sizeof batches / sizeof *batches; b++) {
            gan_context *context;
            const gan_context_options options = {.threads = threads, .batch = batches[b]};
            if (gan_context_new(model, &options, &context) != GAN_OK) exit(2);
            gan_request request = known_request(0, KNOWN_IMAGES);
            failed += generate_floats(context, &request, whole, image * KNOWN_IMAGES) != GAN_OK;
            for (uint64_t part = 1; part <= 5; part += 2) {
                for (uint64_t at = 0; at < KNOWN_IMAGES; at += part) {
                    const uint64_t left = KNOWN_IMAGES - at;
                    request = known_request(at, left < part ? left : part);
                    failed += generate_floats(context, &request, cut + at * image, image * left) != GAN_OK;
                }
                failed += check(!memcmp(whole, cut, sizeof *cut * image * KNOWN_IMAGES), "the same bits in parts");
            }
            gan_context_free(context);
        }
    }
    free(whole), free(cut);
    gan_close(model);
    return failed;
}

static uint64_t size_of(gan_model *model, const gan_context_options *options) {
    uint64_t scratch = 0, weights = 0;
    return gan_context_size(model, options, &scratch, &weights) == GAN_OK ? scratch + weights : 0;
}

/* Transformed weights are counted: those that no context uses take nothing from the next one, so that a bound that a
 * fresh model keeps to costs no speed. */
static int check_memory(void) {
    gan_model *model, *fresh;
    gan_context *many, *one, *again;
    const gan_context_options large = {.threads = 1, .batch = 14};
    gan_context_options small = {.threads = 1, .batch = 1};
    int failed = 0;
    if (open_sample(KNOWN "/chain.gan", &model) != GAN_OK || open_sample(KNOWN "/chain.gan", &fresh) != GAN_OK) exit(2);
    const uint64_t need_large = size_of(fresh, &large), need_small = size_of(fresh, &small);
    gan_close(fresh);
    if (gan_context_new(model, &large, &many) != GAN_OK) return 1;
    const int shared = size_of(model, &small) == need_small; /* both generate by the same */
    small.max_memory = need_small;
    if (!shared)
        failed += check(gan_context_new(model, &small, &one) == GAN_ERROR_MEMORY && !one,
                        "memory that another context needs");
    if (gan_context_new(model, &large, &again) != GAN_OK) return 1;
    gan_context_free(many);
    if (!shared) failed += check(size_of(model, &small) == 0, "the other of two still needs it");
    gan_context_free(again);
    failed += check(size_of(model, &small) == need_small, "as much as a fresh model needs");
    if (gan_context_new(model, &small, &one) != GAN_OK) return check(0, "memory that no context needs any more");
    failed += check(generates(one, 0, 14), "generating with other weights");
    failed += check(generates_anew(model, 1, 14, 0, 14) && generates(one, 3, 9), "generating with both again");
    failed += check(size_of(model, &large) >= need_large, "both are counted");
    gan_context_free(one);
    failed += check(size_of(model, &large) == need_large, "nothing is left of the other");
    gan_close(model);
    return failed;
}

/* Two threads with one context: each call generates the known images or gets the answer that the context is busy. */
typedef struct sharing {
    gan_context *context;
    long generated, busy, wrong;
} sharing;

static void *share(void *arg) {
    sharing *s = arg;
    uint8_t *out = malloc(KNOWN_BYTES);
    const gan_request request = known_request(0, KNOWN_IMAGES);
    for (int i = 0; out && i < 300; i++) {
        const gan_status status = generate_bytes(s->context, &request, out, KNOWN_BYTES);
        if (status == GAN_OK) s->generated++;
        if (status == GAN_ERROR_BUSY) s->busy++;
        s->wrong += status == GAN_OK ? !alike(out, want, KNOWN_BYTES) : status != GAN_ERROR_BUSY;
    }
    free(out);
    return NULL;
}

static int check_sharing(gan_model *model) {
    gan_context *context;
    const gan_context_options options = {.threads = 2, .batch = 14};
    pthread_t threads[3];
    sharing all[3] = {{0}};
    long generated = 0, wrong = 0;
    if (gan_context_new(model, &options, &context) != GAN_OK) return 1;
    for (int i = 0; i < 3; i++) {
        all[i].context = context;
        if (pthread_create(&threads[i], NULL, share, &all[i])) exit(2);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        generated += all[i].generated, wrong += all[i].wrong;
    }
    gan_context_free(context);
    return check(generated > 0 && !wrong, "a shared context generates, or answers that it is busy");
}

/* Labels that another thread writes to: each is read once, so that it is refused or in its place in the table. */
static volatile int64_t moving[KNOWN_IMAGES];
static atomic_int moved;

static void *move_labels(void *arg) {
    (void)arg;
#if defined(__SANITIZE_THREAD__)
    atomic_store(&moved, 1); /* the race is what this is about */
#endif
    for (int64_t i = 0; !atomic_load(&moved); i++) moving[i % KNOWN_IMAGES] = i % 3 ? i % 2 : (int64_t)1 << 40;
    return NULL;
}

static int check_labels(void) {
    gan_model *model;
    gan_context *context;
    gan_info info = {0};
    pthread_t thread;
    int failed = 0;
    if (open_sample(KNOWN "/labels.gan", &model) != GAN_OK || gan_context_new(model, NULL, &context) != GAN_OK) exit(2);
    gan_describe(model, &info);
    const size_t size = (size_t)info.channels * info.height * info.width * KNOWN_IMAGES;
    uint8_t *out = malloc(size);
    gan_request request = {
        .seed = 7, .count = KNOWN_IMAGES, .labels = (const int64_t *)(uintptr_t)moving, .labels_size = KNOWN_IMAGES};
    if (!out || pthread_create(&thread, NULL, move_labels, NULL)) exit(2);
    for (int i = 0; i < 300; i++) {
        const gan_status status = generate_bytes(context, &request, out, size);
        failed += check(status == GAN_OK || status == GAN_ERROR_LABEL, "labels that change meanwhile");
    }
    atomic_store(&moved, 1);
    pthread_join(thread, NULL);
    const int64_t bad[KNOWN_IMAGES] = {0, 1, 0, info.classes}, good[KNOWN_IMAGES] = {0};
    request.labels = bad;
    failed += check(generate_bytes(context, &request, out, size) == GAN_ERROR_LABEL, "a label that there isn't");
    request.labels = good;
    failed += check(generate_bytes(context, &request, out, size) == GAN_OK, "labels that there are");
    free(out);
    gan_context_free(context);
    gan_close(model);
    return failed;
}

static int check_files(void) {
    char path[] = "/tmp/gan-XXXXXX";
    size_t size;
    int failed = 0;
    uint8_t *bytes = load(KNOWN "/chain.gan", &size);
    const int handle = mkstemp(path);
    gan_model *model, *again;
    if (handle < 0 || write(handle, bytes, size) != (ssize_t)size || open_sample(path, &model) != GAN_OK) exit(2);
    if (ftruncate(handle, 100)) exit(2);
    failed += check(generates_anew(model, 2, 4, 0, 14), "a file cut after it was opened");
    failed += check(open_sample(path, &again) == GAN_ERROR_FORMAT && !again, "a cut file");
    for (size_t i = 0; i < size; i++) bytes[i] ^= 0x55;
    if (pwrite(handle, bytes, size, 0) != (ssize_t)size) exit(2);
    failed += check(generates_anew(model, 1, 1, 0, 14), "a file overwritten after it was opened");
    unlink(path);
    close(handle);
    gan_close(model);
    free(bytes);
    return failed;
}

#if defined(__SANITIZE_THREAD__)
static int check_fork(gan_model *model) {
    return !model;
} /* ThreadSanitizer can't start a thread in a child of threads */
#else
static int ends_well(pid_t child) {
    int how = 0;
    return waitpid(child, &how, 0) == child && WIFEXITED(how) && WEXITSTATUS(how) == 0;
}

static int check_fork(gan_model *model) {
    gan_context *context;
    const gan_context_options options = {.threads = 3, .batch = 14};
    if (gan_context_new(model, &options, &context) != GAN_OK || !generates(context, 0, 14)) return 1;
    fflush(stdout);
    const pid_t child = fork();
    if (!child) {
        alarm(60); /* a child that waits for threads it doesn't have would wait for ever */
        int bad = !generates(context, 0, 14) + !generates_anew(model, 3, 14, 2, 9);
        gan_context_free(context);
        gan_close(model);
        _exit(bad);
    }
    int failed = check(ends_well(child), "a child goes on with what was open");
    failed += check(generates(context, 0, 14), "the parent goes on");
    gan_context_free(context);
    return failed;
}
#endif

/* Forks beside a thread that makes contexts: a child goes on or gets the answer that the model is busy, and never
 * waits. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__) /* whose own locks a child may find taken */
static int check_forks(gan_model *model) { return !model; }
#else
static atomic_int forked;

static void *make_contexts(void *arg) {
    for (uint32_t i = 0; !atomic_load(&forked); i++) generates_anew(arg, 2, 1 + i % 14, 0, 1);
    return NULL;
}

static int check_forks(gan_model *model) {
    enum { FORKS = 200 };
    pthread_t thread;
    int went_on = 0, busy = 0, failed = 0;
    if (pthread_create(&thread, NULL, make_contexts, model)) exit(2);
    fflush(stdout);
    for (int i = 0; i < FORKS; i++) {
        const pid_t child = fork();
        if (!child) {
            gan_context *context;
            const gan_context_options options = {.threads = 2, .batch = 14};
            alarm(30);
            const gan_status status = gan_context_new(model, &options, &context);
            if (status == GAN_ERROR_BUSY) _exit(2);
            const int ok = status == GAN_OK && generates(context, 0, 14);
            gan_context_free(context);
            _exit(!ok);
        }
        int how = 0;
        if (waitpid(child, &how, 0) != child || !WIFEXITED(how)) failed++;
        else if (WEXITSTATUS(how) == 2) busy++;
        else if (WEXITSTATUS(how) == 0) went_on++;
        else failed++;
    }
    atomic_store(&forked, 1);
    pthread_join(thread, NULL);
    printf("%d forks beside a thread that makes contexts: %d generated, %d were busy, %d failed\n", FORKS, went_on,
           busy, failed);
    return check(!failed, "forks beside a thread that makes contexts");
}
#endif

/* A member that holds an item for long is waited for asleep: yields would burn what it may need. */
static void slow_member(void *arg, int index) {
    gan_cursor cursor = {.group = arg, .member = index};
    uint64_t item;
    while (gan_i_group_take(&cursor, 2, &item)) {
        if (index) usleep(300000);
        else usleep(1000); /* so that the other one comes */
    }
    gan_i_group_barrier(&cursor);
}

/* Members that take items in turn get those of their own range first, and every item of a phase is taken once. */
static int check_ranges(void) {
    enum { MEMBERS = 3, ITEMS = 10, PHASES = 3 };
    gan_group group;
    gan_cursor cursors[MEMBERS];
    int wrong = 0;
    gan_i_group_init(&group, NULL, MEMBERS);
    for (int m = 0; m < MEMBERS; m++) cursors[m] = (gan_cursor){.group = &group, .member = m};
    for (int phase = 0; phase < PHASES; phase++) {
        int taken[ITEMS] = {0}, left = MEMBERS;
        for (int turn = 0; left; turn++) {
            left = 0;
            for (int m = 0; m < MEMBERS; m++) {
                uint64_t item;
                if (m == 2 && turn > 1) continue; /* it holds an item, and the others take the rest of its range */
                if (!gan_i_group_take(&cursors[m], ITEMS, &item)) continue;
                wrong += turn < 2 && item != (uint64_t)(ITEMS * m / MEMBERS + turn);
                taken[item]++;
                left++;
            }
        }
        uint64_t item;
        wrong += gan_i_group_take(&cursors[2], ITEMS, &item); /* finishes the last one */
        for (int i = 0; i < ITEMS; i++) wrong += taken[i] != 1;
        for (int m = 0; m < MEMBERS; m++) gan_i_group_barrier(&cursors[m]);
    }
    return check(!wrong, "ranges of items");
}

static int check_waiting(void) {
    static gan_group group;
    gan_pool *pool;
    struct timespec began, ended;
    const struct sched_param above = {.sched_priority = 1}, usual = {0};
    if (gan_i_pool_new(2, NULL, NULL, &pool) != GAN_OK) return 1;
    /* If the system allows it, above the member's priority: then a yield gives nobody a turn, however busy the machine
     * is with other work. */
    const int raised = !sched_setscheduler(0, SCHED_FIFO, &above);
    int slept = 0;
    for (int i = 0; i < 10 && !slept; i++) { /* until the other member comes in time to hold an item */
        gan_i_group_init(&group, pool, 2);
        const double start = seconds();
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &began);
        gan_i_pool_run(pool, slow_member, &group);
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ended);
        const double used = (double)(ended.tv_sec - began.tv_sec) + 1e-9 * (double)(ended.tv_nsec - began.tv_nsec);
        slept = seconds() - start > 0.25 && used < 0.05;
    }
    if (raised && sched_setscheduler(0, SCHED_OTHER, &usual)) exit(2);
    gan_i_pool_free(pool);
    return check(slept, "waiting for long is sleeping");
}

static volatile sig_atomic_t signals, strangers;
static pthread_t caller;

static void count_signal(int signal) {
    (void)signal;
    signals++;
    if (!pthread_equal(pthread_self(), caller)) strangers++;
}

static int check_signals(gan_model *model) {
    const struct sigaction handler = {.sa_handler = count_signal}, ignore = {.sa_handler = SIG_IGN};
    const struct itimerval often = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
    gan_context *context;
    const gan_context_options options = {.threads = 3, .batch = 14};
    int failed = 0;
    if (gan_context_new(model, &options, &context) != GAN_OK) return 1;
    caller = pthread_self();
    sigaction(SIGALRM, &handler, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    for (int i = 0; i < 10000 && signals < 50; i++)
        failed += check(generates(context, 0, 14), "generating among signals");
    setitimer(ITIMER_REAL, &never, NULL);
    sigaction(SIGALRM, &ignore, NULL);
    failed += check(signals > 5 && !strangers, "signals go to the program's own thread");
    gan_context_free(context);
    return failed;
}

/* The pool's threads take no signal of the process, and of their own the faults. */
#if defined(__SANITIZE_THREAD__)
static int check_masks(gan_model *model) { return !model; } /* ThreadSanitizer has a thread of its own */
#else
/* How many of the process's other threads block all of `others` and none of `faults`. */
static int masked_threads(const int *faults, int n_faults, const int *others, int n_others) {
    int right = 0;
    DIR *folder = opendir("/proc/self/task");
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        char path[300], line[200];
        if (entry->d_name[0] == '.' || atoi(entry->d_name) == (int)getpid()) continue;
        snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
        FILE *f = fopen(path, "r");
        unsigned long long blocked = 0;
        int ok = 1;
        while (f && fgets(line, sizeof line, f))
            if (sscanf(line, "SigBlk: %llx", &blocked) == 1) break;
        if (f) fclose(f);
        for (int i = 0; i < n_faults; i++) ok &= !(blocked >> (faults[i] - 1) & 1);
        for (int i = 0; i < n_others; i++) ok &= (int)(blocked >> (others[i] - 1) & 1);
        right += ok;
    }
    if (folder) closedir(folder);
    return right;
}

static int check_masks(gan_model *model) {
    gan_context *context;
    const gan_context_options options = {.threads = 3};
    const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT}, others[] = {SIGALRM, SIGTERM, SIGUSR1};
    int right = 0;
    if (gan_context_new(model, &options, &context) != GAN_OK) return 1;
    /* a thread that only starts has everything blocked */
    for (int i = 0; i < 5000 && right != 2; i++) {
        right = masked_threads(faults, 6, others, 3);
        usleep(1000);
    }
    gan_context_free(context);
    return check(right == 2, "the pool's threads take their own faults alone");
}
#endif

double gan_i_cpu_quota(const char *membership, const char *mount); /* engine/src/system.h */
double gan_i_memory_bound(const char *membership, const char *mount);

static char *put_file(const char *folder, const char *name, const char *text) {
    static char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    if (!f || fputs(text, f) < 0 || fclose(f)) exit(2);
    return path;
}

/* The least quota of a process's group and of those above it, in a tree like /sys/fs/cgroup. */
static int check_quotas(void) {
    char top[] = "/tmp/gan-XXXXXX", outer[100], inner[100], older[100];
    int failed = 0;
    if (!mkdtemp(top)) exit(2);
    snprintf(outer, sizeof outer, "%s/outer", top), snprintf(inner, sizeof inner, "%s/outer/inner", top);
    snprintf(older, sizeof older, "%s/cpu", top);
    if (mkdir(outer, 0700) || mkdir(inner, 0700) || mkdir(older, 0700)) exit(2);
    const char *membership = strdup(put_file(top, "membership", "3:cpu:/other\n0::/outer/inner\n"));
    failed += check(gan_i_cpu_quota("/nowhere", top) == 0, "no groups");
    failed += check(gan_i_cpu_quota(membership, top) == 0, "groups without quotas");
    put_file(older, "cpu.cfs_quota_us", "-1\n"), put_file(older, "cpu.cfs_period_us", "100000\n");
    failed += check(gan_i_cpu_quota(membership, top) == 0, "no quota of the older kind");
    put_file(older, "cpu.cfs_quota_us", "700000\n");
    failed += check(gan_i_cpu_quota(membership, top) == 7, "a quota of the older kind");
    put_file(inner, "cpu.max", "300000 100000\n");
    failed += check(gan_i_cpu_quota(membership, top) == 3, "the group's own quota");
    put_file(outer, "cpu.max", "150000 100000\n");
    failed += check(gan_i_cpu_quota(membership, top) == 1.5, "a lower one above it");
    put_file(outer, "cpu.max", "max 100000\n"), put_file(top, "cpu.max", "200000 100000\n");
    failed += check(gan_i_cpu_quota(membership, top) == 2, "one at the top");
    put_file(top, "membership", "0::/seen/from/outside\n");
    failed += check(gan_i_cpu_quota(membership, top) == 2, "a name from outside of a container");
    put_file(top, "membership", "0::/\n");
    failed += check(gan_i_cpu_quota(membership, top) == 2, "the top itself");
    failed += check(gan_i_memory_bound(membership, top) == 0, "no bound of memory");
    put_file(top, "memory.max", "max\n");
    failed += check(gan_i_memory_bound(membership, top) == 0, "a bound that is none");
    put_file(top, "memory.max", "1048576\n");
    failed += check(gan_i_memory_bound(membership, top) == 1048576, "a bound of memory");
    unlink(put_file(top, "memory.max", ""));
    const char *files[] = {"membership",           "cpu.max",
                           "cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us",
                           "outer/cpu.max",        "outer/inner/cpu.max"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) unlink(put_file(top, files[i], ""));
    rmdir(inner), rmdir(outer), rmdir(older), rmdir(top);
    free((char *)(uintptr_t)membership);
    return failed;
}

typedef struct generator {
    gan_model *model;
    int index;
    time_t end;
    long done, wrong;
} generator;

static void *generate_on(void *arg) {
    generator *d = arg;
    do {
        const uint64_t start = (uint64_t)((d->index + d->done) % KNOWN_IMAGES);
        d->wrong += !generates_anew(d->model, d->index % 8 ? 1 : 2, 1u << d->index % 4, start, KNOWN_IMAGES - start);
        d->done++;
    } while (time(NULL) < d->end);
    return NULL;
}

static int check_many_threads(gan_model *model, int seconds) {
    enum { MANY = 64 };
    pthread_t threads[MANY];
    static generator generators[MANY];
    long done = 0, wrong = 0;
    for (int i = 0; i < MANY; i++) {
        generators[i] = (generator){.model = model, .index = i, .end = time(NULL) + seconds};
        if (pthread_create(&threads[i], NULL, generate_on, &generators[i])) exit(2);
    }
    for (int i = 0; i < MANY; i++) {
        pthread_join(threads[i], NULL);
        done += generators[i].done, wrong += generators[i].wrong;
    }
    printf("64 threads on one handle, %d s: %ld calls, %ld wrong\n", seconds, done, wrong);
    return wrong || done < MANY;
}

#if defined(GAN_DEBUG)
static int check_caller_errors(gan_model *model) {
    gan_context *context;
    int how = 0;
    if (gan_context_new(model, NULL, &context) != GAN_OK) return 1;
    fflush(stdout);
    const pid_t child = fork();
    if (!child) {
        gan_close(model); /* while its context lives */
        _exit(0);
    }
    gan_context_free(context);
    const int aborted = waitpid(child, &how, 0) == child && WIFSIGNALED(how) && WTERMSIG(how) == SIGABRT;
    return check(aborted, "a handle closed too early is caught");
}
#else
static int check_caller_errors(gan_model *model) { return !model; }
#endif

int main(int argc, char **argv) {
    size_t size;
    gan_model *model;
    want = load(KNOWN "/chain.bytes", &size);
    if (size != KNOWN_BYTES || open_sample(KNOWN "/chain.gan", &model) != GAN_OK) return 2;
    int failed = check(generates_anew(model, 2, 14, 0, 14), "the known images");
    failed += check_arguments(model) + check_counts(model) + check_memory() + check_same_bits(KNOWN "/chain.gan") +
              check_same_bits(KNOWN "/labels.gan") + check_same_bits(KNOWN "/volume-3.gan") + check_volume() +
              check_files() + check_fork(model);
    failed += check_forks(model) + check_sharing(model) + check_labels() + check_waiting() + check_ranges();
    failed += check_signals(model);
    failed += check_masks(model) + check_quotas() + check_caller_errors(model);
    failed += check_many_threads(model, argc > 1 ? atoi(argv[1]) : 1);
    gan_close(model);
    free(want);
    printf("%d failures\n", failed);
    return failed != 0;
}
