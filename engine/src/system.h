/* What the engine asks of an operating system.  system_posix.c and system_windows.c answer; no other file knows
 * which system it runs on, so a new one is a third file (one without threads refuses gan_i_thread_start). */
#ifndef GAN_SYSTEM_H
#define GAN_SYSTEM_H

#include "gan.h"

/* ---- memory ---- */

/* `floats` floats, aligned to a cache line, or to a huge page and on huge pages where that pays; NULL where there
 * is no memory.  gan_i_free takes NULL too. */
float *gan_i_allocate(uint64_t floats);
/* `size` bytes aligned to a cache line. */
void *gan_i_allocate_bytes(size_t size);
void gan_i_free(void *memory);

/* ---- files ---- */

/* A regular file, whole, in memory for gan_i_free.  GAN_ERROR_CORRUPT where it shrinks or grows meanwhile. */
gan_status gan_i_read_file(const char *path, void **data, size_t *size);

/* ---- threads ---- */

/* A lock with a condition to wait for. */
typedef struct monitor monitor;
monitor *gan_i_monitor_new(void);
void gan_i_monitor_free(monitor *m);
void gan_i_enter(monitor *m);
/* Enter if nobody is inside; whether it did. */
int gan_i_try_enter(monitor *m);
void gan_i_leave(monitor *m);
/* Inside: leave, sleep until woken (or for no reason), enter. */
void gan_i_wait(monitor *m);
void gan_i_wake_all(monitor *m);

typedef struct thread {
    uintptr_t id;
} thread;
/* Start run(arg), which sees no signal but those of its own faults; 0 where the system refuses. */
int gan_i_thread_start(thread *t, void (*run)(void *), void *arg);
void gan_i_thread_join(thread t);
void gan_i_yield(void);

/* ---- the machine and the process ---- */

/* The cores that the calling thread may use, at most 1,024: its affinity, which threads that it starts inherit, and the
 * process's cgroups' quotas. */
int gan_i_usable_cores(void);
/* system_posix.c: the cores that the least quota of a process's cgroup and of those above it allows, 0 for no quota.
 * `membership` is like /proc/self/cgroup, `mount` like /sys/fs/cgroup. */
double gan_i_cpu_quota(const char *membership, const char *mount);
/* Likewise bytes of memory; 0 for no bound. */
double gan_i_memory_bound(const char *membership, const char *mount);
/* Bytes of the last-level cache, 0 where that is unknown. */
uint64_t gan_i_last_level_cache(void);
/* Bytes of the machine's memory, or the cgroup's limit on this process if that is less; 0 if unknown. */
uint64_t gan_i_memory(void);
/* How often this process was forked from one that had asked before: differs in a child, whatever its process number. */
unsigned gan_i_forks(void);

#endif
