#include "team.h"

#include <stdlib.h>

#include "system.h"

/* A barrier inside one picture comes every few microseconds, so waiting spins; but a spin on a core that the
 * awaited thread needs would last a whole time slice, hence the yields.  Between calls a member soon sleeps. */
enum { SPINS = 4000, YIELDS = 200, CLOSED = 1 << 30 };

struct team {
    int size, started;
    thread *threads;
    monitor *lock;
    uint64_t process; /* that the threads are in: a child that was forked has none of them */
    _Alignas(64) atomic_uint job; /* counts calls */
    _Alignas(64) atomic_int running; /* members at work on the job, and CLOSED when no more may join */
    atomic_int stop;
    void (*work)(void *, int);
    void *arg;
};

typedef struct member {
    team *team;
    int index;
} member;

static inline void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

static unsigned await_job(team *t, unsigned seen) {
    unsigned now;
    for (int i = 0; i < SPINS; i++) {
        if ((now = atomic_load_explicit(&t->job, memory_order_acquire)) != seen) return now;
        relax();
    }
    for (int i = 0; i < YIELDS; i++) {
        if ((now = atomic_load_explicit(&t->job, memory_order_acquire)) != seen) return now;
        gan_i_yield();
    }
    gan_i_enter(t->lock);
    while ((now = atomic_load_explicit(&t->job, memory_order_acquire)) == seen) gan_i_wait(t->lock);
    gan_i_leave(t->lock);
    return now;
}

static void serve(void *arg) {
    const member me = *(member *)arg;
    free(arg);
    unsigned seen = 0;
    for (;;) {
        seen = await_job(me.team, seen);
        if (atomic_load(&me.team->stop)) return;
        int now = atomic_load_explicit(&me.team->running, memory_order_acquire);
        while (!(now & CLOSED) &&
               !atomic_compare_exchange_weak_explicit(&me.team->running, &now, now + 1, memory_order_acq_rel,
                                                      memory_order_acquire)) {
        }
        if (now & CLOSED) continue; /* too late: the job was done without this member */
        me.team->work(me.team->arg, me.index);
        atomic_fetch_sub_explicit(&me.team->running, 1, memory_order_release);
    }
}

static void announce(team *t) {
    gan_i_enter(t->lock);
    atomic_fetch_add_explicit(&t->job, 1, memory_order_release);
    gan_i_wake_all(t->lock);
    gan_i_leave(t->lock);
}

void gan_i_team_run(team *t, void (*work)(void *, int), void *arg) {
    t->work = work;
    t->arg = arg;
    atomic_store_explicit(&t->running, 0, memory_order_release);
    if (t->size > 1 && gan_i_process() == t->process) announce(t);
    work(arg, 0);
    atomic_fetch_or_explicit(&t->running, CLOSED, memory_order_acq_rel);
    for (int i = 0; atomic_load_explicit(&t->running, memory_order_acquire) != CLOSED; i++) {
        if (i < SPINS) relax();
        else gan_i_yield();
    }
}

gan_status gan_i_team_new(int size, team **out) {
    team *t = gan_i_allocate_bytes(sizeof *t);
    *out = NULL;
    if (!t) return GAN_ERROR_MEMORY;
    *t = (team){.size = size, .running = CLOSED, .process = gan_i_process()};
    t->threads = calloc((size_t)size, sizeof *t->threads);
    t->lock = gan_i_monitor_new();
    gan_status status = t->threads && t->lock ? GAN_OK : GAN_ERROR_MEMORY;
    for (int i = 1; i < size && status == GAN_OK; i++) {
        member *me = malloc(sizeof *me);
        if (me) *me = (member){t, i};
        if (me && gan_i_thread_start(&t->threads[i], serve, me)) {
            t->started = i;
            continue;
        }
        status = me ? GAN_ERROR_THREAD : GAN_ERROR_MEMORY;
        free(me);
    }
    if (status == GAN_OK) *out = t;
    else gan_i_team_free(t);
    return status;
}

void gan_i_team_free(team *t) {
    if (!t) return;
    /* in a forked child there is nobody to join, and the lock may be held by a thread that isn't there */
    if (gan_i_process() == t->process) {
        atomic_store(&t->stop, 1);
        if (t->started) announce(t);
        for (int i = 1; i <= t->started; i++) gan_i_thread_join(t->threads[i]);
        gan_i_monitor_free(t->lock);
    }
    free(t->threads);
    gan_i_free(t);
}

void gan_i_crew_init(crew *c, int size) {
    atomic_init(&c->ticket, 0);
    atomic_init(&c->done, 0);
    c->size = size;
}

int gan_i_crew_take(place *p, uint64_t items, uint64_t *item) {
    crew *c = p->crew;
    if (p->holding) {
        p->holding = 0;
        if (atomic_fetch_add_explicit(&c->done, 1, memory_order_acq_rel) + 1 == items) { /* the phase's last */
            atomic_store_explicit(&c->done, 0, memory_order_relaxed);
            atomic_store_explicit(&c->ticket, (unsigned long long)(p->phase + 1) << 32, memory_order_release);
            return 0;
        }
    }
    unsigned long long t = atomic_load_explicit(&c->ticket, memory_order_acquire);
    do {
        if ((uint32_t)(t >> 32) != p->phase || (uint32_t)t >= items) return 0;
    } while (!atomic_compare_exchange_weak_explicit(&c->ticket, &t, t + 1, memory_order_acq_rel, memory_order_acquire));
    *item = (uint32_t)t;
    p->holding = 1;
    return 1;
}

void gan_i_crew_barrier(place *p) {
    for (int i = 0; (uint32_t)(atomic_load_explicit(&p->crew->ticket, memory_order_acquire) >> 32) == p->phase; i++) {
        if (i < SPINS) relax();
        else gan_i_yield();
    }
    p->phase++;
}
