#ifndef GAN_WASM_MATH_H
#define GAN_WASM_MATH_H
#define NAN __builtin_nanf("")
/* instructions */
static inline double sqrt(double x) { return __builtin_sqrt(x); }
static inline double fabs(double x) { return __builtin_fabs(x); }
static inline double nearbyint(double x) { return __builtin_nearbyint(x); }
static inline float nearbyintf(float x) { return __builtin_nearbyintf(x); }
#define INFINITY __builtin_inff()
static inline float sqrtf(float x) { return __builtin_sqrtf(x); } /* likewise */
static inline float fabsf(float x) { return __builtin_fabsf(x); }
float expf(float x);
float tanhf(float x);
#endif
