#include "pool.h"

#include <stdlib.h>

#include "system.h"

/* Waiting spins first, since within one image barriers are microseconds apart.  Then it yields: spinning on a core that
 * the awaited thread needs would take a whole time slice.  Then it sleeps: a yield never lets a thread of lower
 * priority run, and uses up CPU quota that the awaited thread may need. */
enum { SPINS = 4000, YIELDS = 200, CLOSED = 1 << 30 };

struct gan_pool {
    int size, started;
    gan_parallel parallel; /* the program's own threads, or NULL */
    void *user;
    gan_thread *threads;
    gan_monitor *lock;
    unsigned forks; /* gan_i_forks() when the threads were started: a child that was forked has none of them */
    _Alignas(64) atomic_uint calls; /* counts calls of gan_i_pool_run */
    _Alignas(64) atomic_int running; /* members that do the work, plus CLOSED once no more may join */
    atomic_int stop;
    atomic_uint sleepers; /* callers that sleep until the members have finished */
    void (*work)(void *, int);
    void *arg;
};

typedef struct pool_member {
    gan_pool *pool;
    int index;
} pool_member;

static inline void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

/* Spin or yield, depending on the attempt i of a wait; 0 if it is time to sleep. */
static int patient(int i) {
    if (i < SPINS) relax();
    else if (i < SPINS + YIELDS) gan_i_yield();
    return i < SPINS + YIELDS;
}

static unsigned await_call(gan_pool *pool, unsigned seen) {
    unsigned now;
    for (int i = 0; patient(i); i++)
        if ((now = atomic_load_explicit(&pool->calls, memory_order_acquire)) != seen) return now;
    gan_i_enter(pool->lock);
    while ((now = atomic_load_explicit(&pool->calls, memory_order_acquire)) == seen) gan_i_wait(pool->lock);
    gan_i_leave(pool->lock);
    return now;
}

/* Call this after a change that others may sleep for. The change, this load, the sleeper's increment and its last check
 * are all sequentially consistent, so either this thread sees the sleeper or the sleeper sees the change. */
static void wake_sleepers(gan_pool *pool, atomic_uint *sleepers) {
    if (!atomic_load(sleepers)) return;
    gan_i_enter(pool->lock);
    gan_i_wake_all(pool->lock);
    gan_i_leave(pool->lock);
}

static void serve(void *arg) {
    const pool_member me = *(pool_member *)arg;
    free(arg);
    unsigned seen = 0;
    for (;;) {
        seen = await_call(me.pool, seen);
        if (atomic_load(&me.pool->stop)) return;
        int now = atomic_load_explicit(&me.pool->running, memory_order_acquire);
        while (!(now & CLOSED) && !atomic_compare_exchange_weak_explicit(&me.pool->running, &now, now + 1,
                                                                         memory_order_acq_rel, memory_order_acquire)) {}
        if (now & CLOSED) continue; /* too late: the others have done the work */
        me.pool->work(me.pool->arg, me.index);
        if (atomic_fetch_sub(&me.pool->running, 1) == CLOSED + 1) wake_sleepers(me.pool, &me.pool->sleepers);
    }
}

static void announce(gan_pool *pool) {
    gan_i_enter(pool->lock);
    atomic_fetch_add_explicit(&pool->calls, 1, memory_order_release);
    gan_i_wake_all(pool->lock);
    gan_i_leave(pool->lock);
}

void gan_i_pool_run(gan_pool *pool, void (*work)(void *, int), void *arg) {
    if (pool->parallel) {
        if (pool->size > 1 && gan_i_forks() == pool->forks) pool->parallel(pool->user, work, arg, pool->size);
        else work(arg, 0);
        return;
    }
    pool->work = work;
    pool->arg = arg;
    atomic_store_explicit(&pool->running, 0, memory_order_release);
    if (pool->size > 1 && gan_i_forks() == pool->forks) announce(pool);
    work(arg, 0);
    atomic_fetch_or(&pool->running, CLOSED);
    for (int i = 0; patient(i); i++)
        if (atomic_load_explicit(&pool->running, memory_order_acquire) == CLOSED) return;
    gan_i_enter(pool->lock);
    atomic_fetch_add(&pool->sleepers, 1);
    while (atomic_load(&pool->running) != CLOSED) gan_i_wait(pool->lock);
    atomic_fetch_sub(&pool->sleepers, 1);
    gan_i_leave(pool->lock);
}

gan_status gan_i_pool_new(int size, gan_parallel parallel, void *user, gan_pool **out) {
    gan_pool *pool = gan_i_allocate_bytes(sizeof *pool);
    *out = NULL;
    if (!pool) return GAN_ERROR_MEMORY;
    *pool = (gan_pool){.size = size, .parallel = parallel, .user = user, .running = CLOSED, .forks = gan_i_forks()};
    pool->threads = calloc((size_t)size, sizeof *pool->threads);
    pool->lock = gan_i_monitor_new();
    gan_status status = pool->threads && pool->lock ? GAN_OK : GAN_ERROR_MEMORY;
    for (int i = 1; i < size && !parallel && status == GAN_OK; i++) {
        pool_member *me = malloc(sizeof *me);
        if (me) *me = (pool_member){pool, i};
        if (me && gan_i_thread_start(&pool->threads[i], serve, me)) {
            pool->started = i;
            continue;
        }
        status = me ? GAN_ERROR_THREAD : GAN_ERROR_MEMORY;
        free(me);
    }
    if (status == GAN_OK) *out = pool;
    else gan_i_pool_free(pool);
    return status;
}

void gan_i_pool_free(gan_pool *pool) {
    if (!pool) return;
    /* a forked child has no threads to join, and a thread that it doesn't have may hold the lock */
    if (gan_i_forks() == pool->forks) {
        atomic_store(&pool->stop, 1);
        if (pool->started) announce(pool);
        for (int i = 1; i <= pool->started; i++) gan_i_thread_join(pool->threads[i]);
        gan_i_monitor_free(pool->lock);
    }
    free(pool->threads);
    gan_i_free(pool);
}

void gan_i_group_init(gan_group *group, gan_pool *pool, int size) {
    for (int k = 0; k < MOST_RANGES; k++) atomic_init(&group->tickets[k], 0);
    atomic_init(&group->done, 0);
    atomic_init(&group->sleepers, 0);
    group->pool = pool;
    group->size = size;
    group->ranges = size < MOST_RANGES ? size : MOST_RANGES;
}

/* Take the next item of a range; 0 if none is left. */
static int take_of(gan_cursor *cursor, int range, uint64_t items, uint64_t *item) {
    gan_group *group = cursor->group;
    const uint64_t ranges = (uint64_t)group->ranges, first = items * (uint64_t)range / ranges,
                   count = items * ((uint64_t)range + 1) / ranges - first;
    atomic_ullong *ticket = &group->tickets[range];
    unsigned long long t = atomic_load_explicit(ticket, memory_order_acquire);
    do {
        if ((uint32_t)(t >> 32) != cursor->phase || (uint32_t)t >= count) return 0;
    } while (!atomic_compare_exchange_weak_explicit(ticket, &t, t + 1, memory_order_acq_rel, memory_order_acquire));
    *item = first + (uint32_t)t;
    cursor->holding = 1;
    return 1;
}

int gan_i_group_take(gan_cursor *cursor, uint64_t items, uint64_t *item) {
    gan_group *group = cursor->group;
    if (cursor->holding) {
        cursor->holding = 0;
        if (atomic_fetch_add_explicit(&group->done, 1, memory_order_acq_rel) + 1 == items) { /* the last of the phase */
            atomic_store_explicit(&group->done, 0, memory_order_relaxed);
            for (int k = group->ranges; k--;)
                atomic_store(&group->tickets[k], (unsigned long long)(cursor->phase + 1) << 32);
            if (group->size > 1) wake_sleepers(group->pool, &group->sleepers);
            return 0;
        }
    }
    const int own = cursor->member * group->ranges / group->size;
    for (int k = 0; k < group->ranges; k++)
        if (take_of(cursor, (own + k) % group->ranges, items, item)) return 1;
    return 0;
}

static int is_over(const gan_cursor *cursor) {
    return (uint32_t)(atomic_load(&cursor->group->tickets[0]) >> 32) != cursor->phase;
}

void gan_i_group_barrier(gan_cursor *cursor) {
    int over = is_over(cursor);
    for (int i = 0; !over && patient(i); i++) over = is_over(cursor);
    if (!over) {
        gan_group *group = cursor->group;
        gan_pool *pool = group->pool;
        gan_i_enter(pool->lock);
        atomic_fetch_add(&group->sleepers, 1);
        while (!is_over(cursor)) gan_i_wait(pool->lock);
        atomic_fetch_sub(&group->sleepers, 1);
        gan_i_leave(pool->lock);
    }
    cursor->phase++;
}
