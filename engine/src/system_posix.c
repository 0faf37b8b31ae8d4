/* Linux, macOS and their like. */
#if !defined(_WIN32) && !defined(__wasm__)
#define _GNU_SOURCE
#include "system.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#if defined(__linux__) && defined(__aarch64__)
#include <sys/auxv.h>
#endif
#if defined(__APPLE__)
#include <sys/sysctl.h>
#endif

enum { CACHE_LINE = 64, HUGE_PAGE = 2 << 20 };

/* Not aligned_alloc, which Android has from API 28 on and iOS from 13. */
static void *aligned(size_t unit, size_t size) {
    void *memory = NULL;
    return posix_memalign(&memory, unit, size) ? NULL : memory;
}

float *gan_i_allocate(uint64_t floats) {
    if (floats > SIZE_MAX / sizeof(float) - HUGE_PAGE) return NULL;
    const size_t bytes = (size_t)floats * sizeof(float);
    if (bytes < HUGE_PAGE) return gan_i_allocate_bytes(bytes);
    const size_t whole = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    void *memory = aligned(HUGE_PAGE, whole);
#if defined(MADV_HUGEPAGE)
    if (memory) madvise(memory, bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE); /* the rest takes what it needs */
#endif
    return memory;
}

void *gan_i_allocate_bytes(size_t size) {
    if (size > SIZE_MAX - CACHE_LINE) return NULL;
    return aligned(CACHE_LINE, size ? size : 1);
}

void gan_i_free(void *memory) { free(memory); }

static gan_status read_whole(int handle, size_t size, unsigned char *to) {
    size_t done = 0;
    while (done <= size) { /* the last read finds the end, and uses the byte beyond */
        const size_t left = size + 1 - done;
        const ssize_t got = read(handle, to + done, left < 1u << 30 ? left : 1u << 30);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return GAN_ERROR_FILE;
        if (got == 0) return done == size ? GAN_OK : GAN_ERROR_CORRUPT;
        done += (size_t)got;
    }
    return GAN_ERROR_CORRUPT;
}

gan_status gan_i_read_file(const char *path, void **data, size_t *size) {
    struct stat about;
    /* without O_NONBLOCK, opening a pipe would wait for its writer */
    const int handle = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (handle < 0) return GAN_ERROR_FILE;
    gan_status status = GAN_ERROR_FILE;
    if (!fstat(handle, &about) && S_ISREG(about.st_mode)) {
        *size = (size_t)about.st_size;
        *data = (uint64_t)about.st_size < SIZE_MAX - 8 ? gan_i_allocate((uint64_t)about.st_size / sizeof(float) + 1)
                                                       : NULL;
        status = *data ? read_whole(handle, *size, *data) : GAN_ERROR_MEMORY;
        if (status != GAN_OK) gan_i_free(*data);
    }
    close(handle);
    return status;
}

struct gan_monitor {
    pthread_mutex_t lock;
    pthread_cond_t wake;
};

gan_monitor *gan_i_monitor_new(void) {
    gan_monitor *monitor = malloc(sizeof *monitor);
    if (!monitor) return NULL;
    if (!pthread_mutex_init(&monitor->lock, NULL)) {
        if (!pthread_cond_init(&monitor->wake, NULL)) return monitor;
        pthread_mutex_destroy(&monitor->lock);
    }
    free(monitor);
    return NULL;
}

void gan_i_monitor_free(gan_monitor *monitor) {
    if (!monitor) return;
    pthread_cond_destroy(&monitor->wake);
    pthread_mutex_destroy(&monitor->lock);
    free(monitor);
}

void gan_i_enter(gan_monitor *monitor) { pthread_mutex_lock(&monitor->lock); }
int gan_i_try_enter(gan_monitor *monitor) { return !pthread_mutex_trylock(&monitor->lock); }
void gan_i_leave(gan_monitor *monitor) { pthread_mutex_unlock(&monitor->lock); }
void gan_i_wait(gan_monitor *monitor) { pthread_cond_wait(&monitor->wake, &monitor->lock); }
void gan_i_wake_all(gan_monitor *monitor) { pthread_cond_broadcast(&monitor->wake); }

typedef struct beginning {
    void (*run)(void *);
    void *arg;
} beginning;

static void *begin(void *memory) {
    const beginning b = *(beginning *)memory;
    free(memory);
#if defined(__linux__)
    pthread_setname_np(pthread_self(), "gan");
#elif defined(__APPLE__)
    pthread_setname_np("gan");
#endif
    b.run(b.arg);
    return NULL;
}

int gan_i_thread_start(gan_thread *thread, void (*run)(void *), void *arg) {
    _Static_assert(sizeof(pthread_t) <= sizeof thread->id, "a thread's name");
    beginning *b = malloc(sizeof *b);
    pthread_t id;
    const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT};
    sigset_t others, before;
    if (!b) return 0;
    *b = (beginning){run, arg};
    sigfillset(&others);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(&others, faults[i]);
    pthread_sigmask(SIG_SETMASK, &others, &before); /* handlers run on the program's own threads, but for faults here */
    const int refused = pthread_create(&id, NULL, begin, b);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (refused) free(b);
    else thread->id = (uintptr_t)id;
    return !refused;
}

void gan_i_thread_join(gan_thread thread) { pthread_join((pthread_t)thread.id, NULL); }
void gan_i_yield(void) { sched_yield(); }

/* The number or two that a file begins with; how many there were. */
static int numbers(const char *folder, const char *name, double *first, double *second) {
    char path[PATH_MAX];
    const int length = snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = length > 0 && (size_t)length < sizeof path ? fopen(path, "re") : NULL;
    const int found = f ? fscanf(f, "%lf %lf", first, second) : 0;
    if (f) fclose(f);
    return found;
}

/* The least that a file of the process's cgroup (version 2) and of those above it gives, by `read`; 0 for none. */
static double least_of_groups(const char *membership, const char *mount, double (*read)(const char *folder)) {
    char folder[PATH_MAX] = "/", line[PATH_MAX], path[PATH_MAX];
    double least = 0;
    FILE *f = fopen(membership, "re");
    while (f && fgets(line, sizeof line, f)) {
        if (strncmp(line, "0::/", 4)) continue;
        line[strcspn(line, "\n")] = 0;
        strcpy(folder, line + 3);
    }
    if (f) fclose(f);
    /* A container may have its own group at the top and read a name that was given outside: then only the top is
     * there. */
    for (char *end = folder + strlen(folder); end; end = strrchr(folder, '/')) {
        *end = 0;
        const int length = snprintf(path, sizeof path, "%s%s", mount, folder);
        if (length < 0 || (size_t)length >= sizeof path) continue;
        const double bound = read(path);
        if (bound > 0 && (!least || bound < least)) least = bound;
    }
    return least;
}

static double quota_of(const char *folder) {
    double share = 0, period = 0;
    return numbers(folder, "cpu.max", &share, &period) == 2 && share > 0 && period > 0 ? share / period : 0;
}

static double memory_of(const char *folder) {
    double bytes = 0, none = 0;
    return numbers(folder, "memory.max", &bytes, &none) >= 1 && bytes > 0 ? bytes : 0;
}

double gan_i_cpu_quota(const char *membership, const char *mount) {
    double share = 0, period = 0, none = 0;
    const double least = least_of_groups(membership, mount, quota_of);
    if (least) return least;
    const int older = numbers(mount, "cpu/cpu.cfs_quota_us", &share, &none) == 1 && share > 0 &&
                      numbers(mount, "cpu/cpu.cfs_period_us", &period, &none) == 1 && period > 0;
    return older ? share / period : 0; /* cgroups of version 1 */
}

double gan_i_memory_bound(const char *membership, const char *mount) {
    double bytes = 0, none = 0;
    const double least = least_of_groups(membership, mount, memory_of);
    if (least) return least;
    return numbers(mount, "memory/memory.limit_in_bytes", &bytes, &none) == 1 && bytes > 0 ? bytes : 0;
}

uint64_t gan_i_memory(void) {
    const long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    const uint64_t whole = pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : 0;
    const double bound = gan_i_memory_bound("/proc/self/cgroup", "/sys/fs/cgroup");
    return bound > 0 && (!whole || bound < (double)whole) ? (uint64_t)bound : whole;
}

/* Whether a list like "0,4-6" has an allowed core below `core`. */
static int has_lower(const char *list, const unsigned char *allowed, int core) {
    while (*list >= '0' && *list <= '9') {
        char *end;
        const long first = strtol(list, &end, 10), last = *end == '-' ? strtol(end + 1, &end, 10) : first;
        for (long i = first; i <= last && i < core; i++)
            if (allowed[i]) return 1;
        list = *end == ',' ? end + 1 : end;
    }
    return 0;
}

int gan_i_physical_cores(const char *folder, const unsigned char *allowed, int n) {
    int cores = 0;
    for (int i = 0; i < n; i++) {
        char path[256], list[256] = "";
        if (!allowed[i]) continue;
        snprintf(path, sizeof path, "%s/cpu%d/topology/thread_siblings_list", folder, i);
        FILE *f = fopen(path, "re");
        if (f && !fgets(list, sizeof list, f)) *list = 0;
        if (f) fclose(f);
        cores += !has_lower(list, allowed, i);
    }
    return cores;
}

int gan_i_usable_cores(void) {
    int cores = 0;
#if defined(__linux__)
    cpu_set_t set;
    unsigned char allowed[CPU_SETSIZE] = {0};
    if (!sched_getaffinity(0, sizeof set, &set)) {
        for (int i = 0; i < CPU_SETSIZE; i++) allowed[i] = CPU_ISSET(i, &set) != 0;
        cores = gan_i_physical_cores("/sys/devices/system/cpu", allowed, CPU_SETSIZE);
    }
#elif defined(__APPLE__)
    size_t size = sizeof cores;
    if (sysctlbyname("hw.physicalcpu", &cores, &size, NULL, 0)) cores = 0;
#endif
    if (cores < 1) cores = (int)sysconf(_SC_NPROCESSORS_ONLN);
    const double bound = gan_i_cpu_quota("/proc/self/cgroup", "/sys/fs/cgroup");
    if (bound > 0 && bound < cores) cores = (int)bound;
    return cores < 1 ? 1 : cores > 1024 ? 1024 : cores;
}

uint32_t gan_i_arm_processor(void) {
    uint64_t name = 0;
#if defined(__linux__) && defined(__aarch64__)
    enum { CPUID = 1 << 11 }; /* HWCAP_CPUID: the kernel answers reads of MIDR_EL1 */
    if (getauxval(AT_HWCAP) & CPUID) __asm__("mrs %0, midr_el1" : "=r"(name));
#elif defined(__APPLE__) && defined(__aarch64__)
    name = 0x61u << 24; /* the maker, which is what is needed of it */
#endif
    return (uint32_t)name;
}

uint64_t gan_i_last_level_cache(void) {
    /* what the first core shares; sysconf adds up all the caches of a processor that has several */
    FILE *f = fopen("/sys/devices/system/cpu/cpu0/cache/index3/size", "re");
    unsigned long kib = 0;
    const int found = f && fscanf(f, "%luK", &kib) == 1;
    if (f) fclose(f);
    if (found && kib) return (uint64_t)kib << 10;
#if defined(_SC_LEVEL3_CACHE_SIZE)
    const long size = sysconf(_SC_LEVEL3_CACHE_SIZE);
    if (size > 0) return (uint64_t)size;
#endif
    return 0;
}

/* A process number would not do: a child in a PID namespace of its own can bear its parent's. */
static volatile unsigned forks;
static void count_fork(void) { forks++; }
static void count_forks(void) { pthread_atfork(NULL, NULL, count_fork); }

unsigned gan_i_forks(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, count_forks);
    return forks;
}
#else
typedef int gan_i_no_posix;
#endif
