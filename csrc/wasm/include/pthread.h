/* One thread: a lock is always free, and no other thread can be started.  A page runs an instance a worker. */
#ifndef GAN_WASM_PTHREAD_H
#define GAN_WASM_PTHREAD_H
typedef int pthread_t, pthread_mutex_t, pthread_cond_t;
static inline int pthread_mutex_init(pthread_mutex_t *m, const void *how) { return (void)m, (void)how, 0; }
static inline int pthread_mutex_lock(pthread_mutex_t *m) { return (void)m, 0; }
static inline int pthread_mutex_unlock(pthread_mutex_t *m) { return (void)m, 0; }
static inline int pthread_mutex_destroy(pthread_mutex_t *m) { return (void)m, 0; }
static inline int pthread_cond_init(pthread_cond_t *c, const void *how) { return (void)c, (void)how, 0; }
static inline int pthread_cond_wait(pthread_cond_t *c, pthread_mutex_t *m) { return (void)c, (void)m, 0; }
static inline int pthread_cond_broadcast(pthread_cond_t *c) { return (void)c, 0; }
static inline int pthread_cond_destroy(pthread_cond_t *c) { return (void)c, 0; }
static inline int pthread_join(pthread_t t, void **result) { return (void)t, (void)result, 0; }
static inline int pthread_create(pthread_t *t, const void *how, void *(*run)(void *), void *arg) {
    return (void)t, (void)how, (void)run, (void)arg, -1;
}
#endif
