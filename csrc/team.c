#define _GNU_SOURCE
#include "team.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A barrier inside one picture comes every few microseconds, so waiting spins; but a spin on a core that the
 * awaited thread needs would last a whole time slice, hence the yields.  Between calls a member soon sleeps. */
enum { SPINS = 4000, YIELDS = 200, CLOSED = 1 << 30 };

struct team {
    int size, started;
    pthread_t *threads;
    pthread_mutex_t lock;
    pthread_cond_t wake;
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
        sched_yield();
    }
    pthread_mutex_lock(&t->lock);
    while ((now = atomic_load_explicit(&t->job, memory_order_acquire)) == seen) pthread_cond_wait(&t->wake, &t->lock);
    pthread_mutex_unlock(&t->lock);
    return now;
}

static void *serve(void *arg) {
    const member me = *(member *)arg;
    free(arg);
    unsigned seen = 0;
    for (;;) {
        seen = await_job(me.team, seen);
        if (atomic_load(&me.team->stop)) return NULL;
        int now = atomic_load_explicit(&me.team->running, memory_order_acquire);
        while (!(now & CLOSED) && !atomic_compare_exchange_weak_explicit(&me.team->running, &now, now + 1, memory_order_acq_rel,
                                                                         memory_order_acquire)) {
        }
        if (now & CLOSED) continue; /* too late: the job was done without this member */
        me.team->work(me.team->arg, me.index);
        atomic_fetch_sub_explicit(&me.team->running, 1, memory_order_release);
    }
}

static void announce(team *t) {
    pthread_mutex_lock(&t->lock);
    atomic_fetch_add_explicit(&t->job, 1, memory_order_release);
    pthread_cond_broadcast(&t->wake);
    pthread_mutex_unlock(&t->lock);
}

void gan_i_team_run(team *t, void (*work)(void *, int), void *arg) {
    t->work = work;
    t->arg = arg;
    atomic_store_explicit(&t->running, 0, memory_order_release);
    if (t->size > 1) announce(t);
    work(arg, 0);
    atomic_fetch_or_explicit(&t->running, CLOSED, memory_order_acq_rel);
    for (int i = 0; atomic_load_explicit(&t->running, memory_order_acquire) != CLOSED; i++) {
        if (i < SPINS) relax();
        else sched_yield();
    }
}

gan_status gan_i_team_new(int size, team **out) {
    team *t = aligned_alloc(64, (sizeof *t + 63) / 64 * 64);
    *out = NULL;
    if (!t) return GAN_ERROR_MEMORY;
    *t = (team){.size = size, .running = CLOSED};
    t->threads = calloc((size_t)size, sizeof *t->threads);
    if (!t->threads) {
        free(t);
        return GAN_ERROR_MEMORY;
    }
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->wake, NULL);
    for (int i = 1; i < size; i++) {
        member *me = malloc(sizeof *me);
        if (me) *me = (member){t, i};
        if (!me || pthread_create(&t->threads[i], NULL, serve, me)) {
            const gan_status status = me ? GAN_ERROR_THREAD : GAN_ERROR_MEMORY;
            free(me);
            gan_i_team_free(t);
            return status;
        }
        t->started = i;
    }
    *out = t;
    return GAN_OK;
}

void gan_i_team_free(team *t) {
    if (!t) return;
    atomic_store(&t->stop, 1);
    announce(t);
    for (int i = 1; i <= t->started; i++) pthread_join(t->threads[i], NULL);
    pthread_cond_destroy(&t->wake);
    pthread_mutex_destroy(&t->lock);
    free(t->threads);
    free(t);
}

int gan_i_team_size(const team *t) { return t->size; }

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
        else sched_yield();
    }
    p->phase++;
}

/* Whole cores of a cgroup's CPU quota, or 0 where it has none. */
static int quota(void) {
    double share = 0, period = 0;
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "r");
    if (f) {
        if (fscanf(f, "%lf %lf", &share, &period) != 2) share = 0;
        fclose(f);
    } else if ((f = fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "r"))) {
        if (fscanf(f, "%lf", &share) != 1) share = 0;
        fclose(f);
        if (share > 0 && (f = fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "r"))) {
            if (fscanf(f, "%lf", &period) != 1) period = 0;
            fclose(f);
        }
    }
    if (share <= 0 || period <= 0) return 0;
    const double cores = share / period;
    return cores < 1 ? 1 : cores > 1024 ? 1024 : (int)cores;
}

int gan_i_usable_cores(void) {
    int cores = 0;
#if defined(__linux__)
    cpu_set_t set;
    if (!sched_getaffinity(0, sizeof set, &set)) cores = CPU_COUNT(&set);
#endif
    if (cores < 1) cores = (int)sysconf(_SC_NPROCESSORS_ONLN);
    const int bound = quota();
    if (bound && bound < cores) cores = bound;
    return cores < 1 ? 1 : cores;
}
