#ifndef GAN_WASM_SCHED_H
#define GAN_WASM_SCHED_H
static inline int sched_yield(void) { return 0; }
#endif
