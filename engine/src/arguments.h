/* What a program hands in: structures of a known or unknown size, requests; and the messages that explain a refusal. */
#ifndef GAN_ARGUMENTS_H
#define GAN_ARGUMENTS_H

#include "format.h"

/* Copy a caller's structure, which begins with its size, to `to`, of `known` bytes: what it lacks becomes zeros.
 * `from` may be NULL: all zeros.  GAN_ERROR_UNSUPPORTED if it has members, not zero, that this library doesn't know. */
gan_status gan_i_take(void *to, size_t known, const void *from);
/* Copy a structure of `known` bytes to a caller's, which begins with its size: as much of it as the caller knows. */
void gan_i_hand(void *to, const void *from, size_t known);

/* Write a line to `to`, of `size` bytes, which may be NULL: %s a string, %u a uint64_t, as its only conversions. */
void gan_i_message(char *to, size_t size, const char *format, ...);
/* If a call failed and there is no message yet, let the status explain it.  Returns the status. */
gan_status gan_i_explain(char *to, size_t size, gan_status status);

/* Copy a request and check everything of it but its labels, which are checked when they are read. */
gan_status gan_i_take_request(const gan_file *file, const gan_request *from, gan_request *to, char *message);

/* The request of the noise that goes in beside images, of which each takes `noise` numbers. */
gan_status gan_i_take_noise(const gan_images *images, uint64_t noise, gan_request *to, char *message);

static inline uint64_t seed_of(const gan_request *request, uint64_t i) {
    return request->seeds ? request->seeds[i] : request->seed;
}

static inline uint64_t index_of(const gan_request *request, uint64_t i) {
    return request->indices ? request->indices[i] : request->seeds ? request->start : request->start + i;
}

/* The label of image i, in whatever range a caller's own is.  It is read once: the caller may write to it meanwhile. */
int64_t gan_i_label_of(const gan_request *request, uint64_t i, uint32_t classes);

#endif
