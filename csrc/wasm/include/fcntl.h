#ifndef GAN_WASM_FCNTL_H
#define GAN_WASM_FCNTL_H
#define O_RDONLY 0
#define O_CLOEXEC 0
static inline int open(const char *path, int flags) { return (void)path, (void)flags, -1; }
#endif
