/* WebAssembly in a host that gives memory and nothing else: no files, no threads; a page runs an instance a worker. */
#include "../src/system.h"

#include <stdlib.h>

float *gan_i_allocate(uint64_t floats) {
    return floats > SIZE_MAX / sizeof(float) ? NULL : gan_i_allocate_bytes((size_t)floats * sizeof(float));
}

void *gan_i_allocate_bytes(size_t size) { return malloc(size); } /* libc.c aligns to a cache line */
void gan_i_free(void *memory) { free(memory); }

gan_status gan_i_read_file(const char *path, void **data, size_t *size) {
    (void)path, (void)data, (void)size;
    return GAN_ERROR_FILE;
}

/* One thread: a lock is always free. */
struct gan_monitor {
    int unused;
};

gan_monitor *gan_i_monitor_new(void) { return malloc(sizeof(gan_monitor)); }
void gan_i_monitor_free(gan_monitor *monitor) { free(monitor); }
void gan_i_enter(gan_monitor *monitor) { (void)monitor; }
int gan_i_try_enter(gan_monitor *monitor) { return (void)monitor, 1; }
void gan_i_leave(gan_monitor *monitor) { (void)monitor; }
void gan_i_wait(gan_monitor *monitor) { (void)monitor; }
void gan_i_wake_all(gan_monitor *monitor) { (void)monitor; }

int gan_i_thread_start(gan_thread *thread, void (*run)(void *), void *arg) {
    return (void)thread, (void)run, (void)arg, 0;
}
void gan_i_thread_join(gan_thread thread) { (void)thread; }
void gan_i_yield(void) {}

int gan_i_usable_cores(void) { return 1; }
uint32_t gan_i_arm_processor(void) { return 0; }
uint64_t gan_i_last_level_cache(void) { return 0; }
uint64_t gan_i_memory(void) { return (uint64_t)1 << 32; } /* what an instance can grow to */
unsigned gan_i_forks(void) { return 0; }
