#ifndef GAN_WASM_MMAN_H
#define GAN_WASM_MMAN_H
#include <stddef.h>
#define MAP_FAILED ((void *)-1)
#define PROT_READ 1
#define MAP_PRIVATE 2
static inline void *mmap(void *at, size_t size, int protection, int flags, int handle, long offset) {
    return (void)at, (void)size, (void)protection, (void)flags, (void)handle, (void)offset, MAP_FAILED;
}
static inline int munmap(void *at, size_t size) { return (void)at, (void)size, 0; }
#endif
