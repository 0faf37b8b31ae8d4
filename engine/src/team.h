/* A persistent team of threads, and crews: the members of a team that work on one batch together. */
#ifndef GAN_TEAM_H
#define GAN_TEAM_H

#include <stdatomic.h>

#include "gan.h"

typedef struct team team;

/* The caller is member 0; `size - 1` threads are started. */
gan_status gan_i_team_new(int size, team **out);
void gan_i_team_free(team *t);
/* Run work(arg, 0) here and work(arg, member) on every other member that comes in time; return when those are done.
 * A member may be asked twice in one call.  One call at a time.  In a forked child the caller works alone. */
void gan_i_team_run(team *t, void (*work)(void *arg, int member), void *arg);

/* A phase is a number of items, taken by whoever is free, and is over when all of them are done: a member that the
 * system keeps from running is never waited for unless it holds an item, and passes over the phases it missed. */
typedef struct crew {
    _Alignas(64) atomic_ullong ticket; /* phase << 32 | next item */
    _Alignas(64) atomic_uint done;     /* items of the phase that are finished */
    atomic_uint sleepers;              /* members that wait for the phase's end in the team's lock */
    team *team;                        /* whose members they are; NULL if there is only one */
    int size;
} crew;

/* A member's place in its crew's phases.  Starts at zeros with each job. */
typedef struct cursor {
    crew *crew;
    uint32_t phase;
    int holding; /* an item that is not finished yet */
} cursor;

void gan_i_crew_init(crew *c, team *t, int size);
/* Finish the item held and take the next of the phase's `items` (at least 1): 1 and *item, or 0 where none is left. */
int gan_i_crew_take(cursor *p, uint64_t items, uint64_t *item);
/* Wait until the phase is over, asleep if that takes long.  Call it once, after take has given 0. */
void gan_i_crew_barrier(cursor *p);

#endif
