#include "team.h"

#include <stdlib.h>

#include "system.h"

/* A barrier inside one image comes every few microseconds, so waiting spins first; but a spin on a core that the
 * awaited thread needs would last a whole time slice, hence the yields; and a yield never gives way to a thread of
 * lower priority and burns a quota that the awaited thread may need, hence the sleep. */
enum { SPINS = 4000, YIELDS = 200, CLOSED = 1 << 30 };

struct team {
    int size, started;
    thread *threads;
    monitor *lock;
    unsigned forks; /* gan_i_forks() when the threads were started: a child that was forked has none of them */
    _Alignas(64) atomic_uint job; /* counts calls */
    _Alignas(64) atomic_int running; /* members at work on the job, and CLOSED when no more may join */
    atomic_int stop;
    atomic_uint sleepers; /* callers that wait in the lock for the members at work */
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

/* The i-th turn of a wait: whether it is still to be tried without sleeping. */
static int patient(int i) {
    if (i < SPINS) relax();
    else if (i < SPINS + YIELDS) gan_i_yield();
    return i < SPINS + YIELDS;
}

static unsigned await_job(team *t, unsigned seen) {
    unsigned now;
    for (int i = 0; patient(i); i++)
        if ((now = atomic_load_explicit(&t->job, memory_order_acquire)) != seen) return now;
    gan_i_enter(t->lock);
    while ((now = atomic_load_explicit(&t->job, memory_order_acquire)) == seen) gan_i_wait(t->lock);
    gan_i_leave(t->lock);
    return now;
}

/* After a change that somebody may sleep for.  The change and this load, like a sleeper's count and its last look, are
 * sequentially consistent: one of the two sees the other. */
static void wake_sleepers(team *t, atomic_uint *sleepers) {
    if (!atomic_load(sleepers)) return;
    gan_i_enter(t->lock);
    gan_i_wake_all(t->lock);
    gan_i_leave(t->lock);
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
        if (atomic_fetch_sub(&me.team->running, 1) == CLOSED + 1) wake_sleepers(me.team, &me.team->sleepers);
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
    if (t->size > 1 && gan_i_forks() == t->forks) announce(t);
    work(arg, 0);
    atomic_fetch_or(&t->running, CLOSED);
    for (int i = 0; patient(i); i++)
        if (atomic_load_explicit(&t->running, memory_order_acquire) == CLOSED) return;
    gan_i_enter(t->lock);
    atomic_fetch_add(&t->sleepers, 1);
    while (atomic_load(&t->running) != CLOSED) gan_i_wait(t->lock);
    atomic_fetch_sub(&t->sleepers, 1);
    gan_i_leave(t->lock);
}

gan_status gan_i_team_new(int size, team **out) {
    team *t = gan_i_allocate_bytes(sizeof *t);
    *out = NULL;
    if (!t) return GAN_ERROR_MEMORY;
    *t = (team){.size = size, .running = CLOSED, .forks = gan_i_forks()};
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
    if (gan_i_forks() == t->forks) {
        atomic_store(&t->stop, 1);
        if (t->started) announce(t);
        for (int i = 1; i <= t->started; i++) gan_i_thread_join(t->threads[i]);
        gan_i_monitor_free(t->lock);
    }
    free(t->threads);
    gan_i_free(t);
}

void gan_i_crew_init(crew *c, team *t, int size) {
    atomic_init(&c->ticket, 0);
    atomic_init(&c->done, 0);
    atomic_init(&c->sleepers, 0);
    c->team = t;
    c->size = size;
}

int gan_i_crew_take(cursor *p, uint64_t items, uint64_t *item) {
    crew *c = p->crew;
    if (p->holding) {
        p->holding = 0;
        if (atomic_fetch_add_explicit(&c->done, 1, memory_order_acq_rel) + 1 == items) { /* the phase's last */
            atomic_store_explicit(&c->done, 0, memory_order_relaxed);
            atomic_store(&c->ticket, (unsigned long long)(p->phase + 1) << 32);
            if (c->size > 1) wake_sleepers(c->team, &c->sleepers);
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

static int is_over(const cursor *p) { return (uint32_t)(atomic_load(&p->crew->ticket) >> 32) != p->phase; }

void gan_i_crew_barrier(cursor *p) {
    int over = is_over(p);
    for (int i = 0; !over && patient(i); i++) over = is_over(p);
    if (!over) {
        crew *c = p->crew;
        team *t = c->team;
        gan_i_enter(t->lock);
        atomic_fetch_add(&c->sleepers, 1);
        while (!is_over(p)) gan_i_wait(t->lock);
        atomic_fetch_sub(&c->sleepers, 1);
        gan_i_leave(t->lock);
    }
    p->phase++;
}
