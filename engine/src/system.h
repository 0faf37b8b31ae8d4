/* What the engine needs from the operating system. system_posix.c and system_windows.c implement it, and no other file
 * depends on the system. To port the engine, write a third file (without threads, let gan_i_thread_start return 0). */
#ifndef GAN_SYSTEM_H
#define GAN_SYSTEM_H

#include "gan.h"

/* ---- memory ---- */

/* Allocate `floats` floats, aligned to a cache line; large arrays are put on huge pages.  NULL if there is no memory.
 * gan_i_free accepts NULL. */
float *gan_i_allocate(uint64_t floats);
/* `size` bytes aligned to a cache line. */
void *gan_i_allocate_bytes(size_t size);
void gan_i_free(void *memory);

/* ---- files ---- */

/* Read a whole regular file into memory, which gan_i_free frees. GAN_ERROR_CORRUPT if it shrinks or grows meanwhile. */
gan_status gan_i_read_file(const char *path, void **data, size_t *size);

/* ---- threads ---- */

/* A lock with a condition to wait for. */
typedef struct gan_monitor gan_monitor;
gan_monitor *gan_i_monitor_new(void);
void gan_i_monitor_free(gan_monitor *monitor);
void gan_i_enter(gan_monitor *monitor);
/* Enter unless another thread is inside; returns whether it did. */
int gan_i_try_enter(gan_monitor *monitor);
void gan_i_leave(gan_monitor *monitor);
/* Call it inside: leave, sleep until woken (or spuriously), and enter again. */
void gan_i_wait(gan_monitor *monitor);
void gan_i_wake_all(gan_monitor *monitor);

typedef struct gan_thread {
    uintptr_t id;
} gan_thread;
/* Start a thread named "gan" that calls run(arg), with all signals blocked except those of its own faults; 0 if the
 * system refuses. */
int gan_i_thread_start(gan_thread *thread, void (*run)(void *), void *arg);
void gan_i_thread_join(gan_thread thread);
void gan_i_yield(void);

/* ---- the machine and the process ---- */

/* The number of physical cores that the calling thread may use, at most 1,024: limited by its affinity, which threads
 * that it starts inherit, and by the quotas of the process's cgroups. */
int gan_i_usable_cores(void);
/* system_posix.c only: of the logical cores 0 .. n-1 that are allowed, those that share no physical core with a lower
 * one that is.  `folder` is one like /sys/devices/system/cpu; a core that it doesn't describe counts. */
int gan_i_physical_cores(const char *folder, const unsigned char *allowed, int n);
/* system_posix.c only: the number of cores that the lowest CPU quota of a process's cgroup and its ancestors allows; 0
 * if there is no quota. `membership` is a file like /proc/self/cgroup, `mount` a folder like /sys/fs/cgroup. */
double gan_i_cpu_quota(const char *membership, const char *mount);
/* The same for bytes of memory; 0 if there is no limit. */
double gan_i_memory_bound(const char *membership, const char *mount);
/* An AArch64 processor's register MIDR_EL1 (the maker in the highest 8 bits, the part in bits 4 to 15); 0 on others, and
 * if it can't be read. */
uint32_t gan_i_arm_processor(void);
/* Bytes of the last-level cache, 0 if that is unknown. */
uint64_t gan_i_last_level_cache(void);
/* Bytes of the machine's memory, or the cgroup's limit on this process if that is less; 0 if unknown. */
uint64_t gan_i_memory(void);
/* The number of forks between this process and the one that first called this: it differs between parent and child,
 * even if both have the same process number. */
unsigned gan_i_forks(void);

#endif
