/* Seed -> latents and labels, to the bit of docs/latent-rng.md. */
#ifndef GAN_LATENTS_H
#define GAN_LATENTS_H

#include <stdint.h>

enum { LATENT_TABLE = 65536 };

/* T[u], the inverse normal distribution function at (u + 0.5) / 65536, or the uniform prior's values. */
void gan_i_normal_table(float table[LATENT_TABLE]);
void gan_i_uniform_table(float table[LATENT_TABLE]);

/* The `nz` coordinates of one image. */
void gan_i_latent(const float table[LATENT_TABLE], uint64_t seed, uint64_t index, uint32_t nz, float *out);
/* The 16-bit numbers of coordinates first .. first+count-1 of a stream; by the table, what they stand for. */
void gan_i_numbers(uint64_t seed, uint64_t index, uint32_t stream, uint64_t first, uint64_t count, uint16_t *out);
void gan_i_noise(const float table[LATENT_TABLE], uint64_t seed, uint64_t index, uint32_t stream, uint64_t first,
                 uint64_t count, float *out);
/* What lies the share `at` of the way from one latent to another: on their great circle, or on a straight line. */
void gan_i_arc(const float *from, const float *to, double at, float *out, uint32_t nz);
void gan_i_line(const float *from, const float *to, double at, float *out, uint32_t nz);
int64_t gan_i_label(uint64_t seed, uint64_t index, uint32_t classes);

#endif
