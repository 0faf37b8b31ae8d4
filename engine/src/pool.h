/* A persistent pool of threads, and groups: the members of a pool that work on one batch together. */
#ifndef GAN_POOL_H
#define GAN_POOL_H

#include <stdatomic.h>

#include "gan.h"

typedef struct gan_pool gan_pool;

/* The caller is member 0; `size - 1` threads are started, or if `parallel` isn't NULL none: it has the work done. */
gan_status gan_i_pool_new(int size, gan_parallel parallel, void *user, gan_pool **out);
void gan_i_pool_free(gan_pool *pool);
/* Run work(arg, 0) on this thread, and work(arg, member) on every other member that wakes in time; return when all of
 * them are done. A member may run twice in one call. One call at a time. In a forked child the caller works alone. */
void gan_i_pool_run(gan_pool *pool, void (*work)(void *arg, int member), void *arg);

enum { MOST_RANGES = 8 };

/* A phase is a number of items, in ranges. A member takes those of its own range first, so that from phase to phase it
 * reads what it wrote itself and what is in its caches, then those of others. The phase is over when all items are done.
 * So a member that the system doesn't run is waited for only if it holds an item, and it skips the phases that it
 * missed. */
typedef struct gan_group {
    _Alignas(64) atomic_ullong tickets[MOST_RANGES]; /* of each range: phase << 32 | its next item; [0] changes last */
    _Alignas(64) atomic_uint done; /* items of the phase that are finished */
    atomic_uint sleepers; /* members that sleep until the phase ends */
    gan_pool *pool; /* the pool of its members; NULL if there is only one */
    int size, ranges;
} gan_group;

/* Where a member is in its group's phases; all zeros at the start of a call. */
typedef struct gan_cursor {
    gan_group *group;
    int member; /* of the group, 0 .. size-1 */
    uint32_t phase;
    int holding; /* an item that is not finished yet */
} gan_cursor;

void gan_i_group_init(gan_group *group, gan_pool *pool, int size);
/* Finish the item held and take the next of the phase's `items` (at least 1): 1 and *item, or 0 if none is left. */
int gan_i_group_take(gan_cursor *cursor, uint64_t items, uint64_t *item);
/* Wait until the phase is over, sleeping if that takes long. Call it once, after take has returned 0. */
void gan_i_group_barrier(gan_cursor *cursor);

#endif
