#ifndef GAN_WASM_MATH_H
#define GAN_WASM_MATH_H
static inline double sqrt(double x) { return __builtin_sqrt(x); } /* an instruction */
float expf(float x);
float tanhf(float x);
#endif
