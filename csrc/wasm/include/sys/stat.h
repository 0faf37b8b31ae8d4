#ifndef GAN_WASM_STAT_H
#define GAN_WASM_STAT_H
struct stat {
    long st_size;
};
#define S_ISREG(mode) 0
static inline int fstat(int handle, struct stat *about) { return (void)handle, (void)about, -1; }
#endif
