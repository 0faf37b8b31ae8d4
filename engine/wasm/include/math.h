#ifndef GAN_WASM_MATH_H
#define GAN_WASM_MATH_H
static inline double sqrt(double x) { return __builtin_sqrt(x); } /* an instruction */
#define INFINITY __builtin_inff()
static inline float sqrtf(float x) { return __builtin_sqrtf(x); } /* likewise */
static inline float fabsf(float x) { return __builtin_fabsf(x); }
float expf(float x);
float tanhf(float x);
#endif
