#include "arguments.h"

#include <stdarg.h>
#include <string.h>

#include "latents.h"

enum { LARGEST = 4096 }; /* no structure grows to this: a larger size is none */

gan_status gan_i_take(void *to, size_t known, const void *from) {
    memset(to, 0, known);
    if (!from) return GAN_OK;
    size_t size;
    memcpy(&size, from, sizeof size);
    if (!size) size = known; /* the structure of version 0.1, as all are */
    if (size < sizeof size || size > LARGEST) return GAN_ERROR_ARGUMENT;
    for (size_t i = known; i < size; i++)
        if (((const unsigned char *)from)[i]) return GAN_ERROR_UNSUPPORTED;
    memcpy(to, from, size < known ? size : known);
    return GAN_OK;
}

void gan_i_hand(void *to, const void *from, size_t known) {
    size_t size;
    memcpy(&size, to, sizeof size);
    const size_t most = size && size < known ? size : known;
    if (most > sizeof size)
        memcpy((unsigned char *)to + sizeof size, (const unsigned char *)from + sizeof size, most - sizeof size);
}

/* Write `text` at offset `at` of `size` bytes, the last of which is kept for a NUL; return the offset after it. */
static size_t put(char *to, size_t size, size_t at, const char *text) {
    while (*text && at + 1 < size) to[at++] = *text++;
    return at;
}

static size_t put_number(char *to, size_t size, size_t at, uint64_t number) {
    char digits[21], *first = digits + sizeof digits - 1;
    *first = 0;
    do *--first = (char)('0' + number % 10);
    while (number /= 10);
    return put(to, size, at, first);
}

void gan_i_message(char *to, size_t size, const char *format, ...) {
    if (!to || !size) return;
    size_t at = 0;
    va_list arguments;
    va_start(arguments, format);
    for (; *format; format++) {
        if (*format != '%') {
            const char one[2] = {*format, 0};
            at = put(to, size, at, one);
        } else if (*++format == 's') {
            at = put(to, size, at, va_arg(arguments, const char *));
        } else {
            at = put_number(to, size, at, va_arg(arguments, uint64_t));
        }
    }
    va_end(arguments);
    to[at] = 0;
}

gan_status gan_i_explain(char *to, size_t size, gan_status status) {
    if (to && size && status != GAN_OK && !*to) gan_i_message(to, size, "%s", gan_status_string(status));
    return status;
}

/* Whether an array is there for all images, if it is given. */
static int holds(const void *array, size_t size, uint64_t count, uint64_t each, const char *name, char *message) {
    if (!array || size / each >= count) return 1;
    gan_i_message(message, GAN_MESSAGE_SIZE, "%s has %u numbers: %u images need %u each", name, (uint64_t)size, count,
                  each);
    return 0;
}

gan_status gan_i_take_request(const gan_file *file, const gan_request *from, gan_request *to, char *message) {
    if (!from) return GAN_ERROR_ARGUMENT;
    const gan_status status = gan_i_take(to, sizeof *to, from);
    if (status != GAN_OK || !to->count) return status;
    if (!to->indices && !to->seeds && to->start > UINT64_MAX - (to->count - 1)) {
        gan_i_message(message, GAN_MESSAGE_SIZE, "start %u: too large for %u images", to->start, to->count);
        return GAN_ERROR_ARGUMENT;
    }
    if (!holds(to->seeds, to->seeds_size, to->count, 1, "seeds", message) ||
        !holds(to->indices, to->indices_size, to->count, 1, "indices", message) ||
        !holds(to->labels, to->labels_size, to->count, 1, "labels", message) ||
        !holds(to->latents, to->latents_size, to->count, file->nz ? file->nz : 1, "latents", message) ||
        !holds(to->scalars, to->scalars_size, to->count, file->scalars ? file->scalars : 1, "scalars", message) ||
        !holds(to->noise, to->noise_size, to->count, file->noise ? file->noise : 1, "noise", message))
        return GAN_ERROR_ARGUMENT;
    if (file->prior == GAN_PRIOR_NONE && !to->latents) {
        gan_i_message(message, GAN_MESSAGE_SIZE, "the model starts from %u numbers without a distribution: give them",
                      (uint64_t)file->nz);
        return GAN_ERROR_ARGUMENT;
    }
    if (to->latent_scale == 0) to->latent_scale = 1;
    if (!(to->latent_scale > -1e30f && to->latent_scale < 1e30f)) {
        gan_i_message(message, GAN_MESSAGE_SIZE, "the latent scale is no number, or too large");
        return GAN_ERROR_ARGUMENT;
    }
    if (!file->classes) {
        if (to->labels) gan_i_message(message, GAN_MESSAGE_SIZE, "labels are given, and the model takes none");
        return to->labels ? GAN_ERROR_LABEL : GAN_OK;
    }
    if (to->labeling > GAN_LABELS_ALL) {
        gan_i_message(message, GAN_MESSAGE_SIZE, "labeling %u: at most %u", (uint64_t)to->labeling,
                      (uint64_t)GAN_LABELS_ALL);
        return GAN_ERROR_ARGUMENT;
    }
    return GAN_OK;
}

gan_status gan_i_take_noise(const gan_images *images, uint64_t noise, gan_request *to, char *message) {
    *to = (gan_request){.seed = images->seed,
                        .start = images->start,
                        .count = images->count,
                        .noise = images->noise,
                        .noise_size = images->noise_size};
    if (to->start > UINT64_MAX - (to->count - 1)) {
        gan_i_message(message, GAN_MESSAGE_SIZE, "start %u: too large for %u images", to->start, to->count);
        return GAN_ERROR_ARGUMENT;
    }
    return holds(to->noise, to->noise_size, to->count, noise ? noise : 1, "noise", message) ? GAN_OK
                                                                                            : GAN_ERROR_ARGUMENT;
}

int64_t gan_i_label_of(const gan_request *request, uint64_t i, uint32_t classes) {
    if (request->labels) return *(const volatile int64_t *)&request->labels[i];
    if (request->labeling == GAN_LABELS_ONE) return request->label;
    const uint64_t index = index_of(request, i);
    if (request->labeling == GAN_LABELS_ALL) return (int64_t)(index % classes);
    return gan_i_label(seed_of(request, i), index, classes);
}
