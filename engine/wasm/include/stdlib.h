#ifndef GAN_WASM_STDLIB_H
#define GAN_WASM_STDLIB_H
#include <stddef.h>
void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void free(void *memory);
static inline char *getenv(const char *name) { return (void)name, (char *)0; }
#endif
