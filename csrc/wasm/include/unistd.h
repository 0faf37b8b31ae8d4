#ifndef GAN_WASM_UNISTD_H
#define GAN_WASM_UNISTD_H
#define _SC_NPROCESSORS_ONLN 84
static inline long sysconf(int name) { return (void)name, 1; }
static inline int close(int handle) { return (void)handle, 0; }
#endif
