/* gan.h: draw pictures from a .gan file.  This header is the whole public interface of the library.
 *
 *   gan_model *model;  gan_context *context;
 *   if (gan_open("g.gan", &model) == GAN_OK && gan_context_new(model, NULL, &context) == GAN_OK) {
 *       gan_request request = {.seed = 7, .count = 1, .label = GAN_LABEL_RANDOM};
 *       gan_generate_bytes(context, &request, pixels, sizeof pixels);
 *   }
 *
 * A model may be shared by any number of threads; a context (scratch memory and a team of threads) serves one
 * call at a time and answers GAN_ERROR_BUSY to a second.  Nothing here prints, exits or keeps global state, and generating allocates nothing.  The team
 * takes no signals but those of its own faults (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT).  After a fork the
 * child goes on with what was open: its old contexts draw with the calling thread alone, new ones have a team.  What
 * another thread was using at the fork answers GAN_ERROR_BUSY; no call waits for a thread that isn't there.
 * docs/gan-file-format.md describes the file, docs/latent-rng.md how a seed becomes pictures.
 */
#ifndef GAN_H
#define GAN_H

#define GAN_VERSION "0.1.0" /* of this header; gan_version() is the library's.  docs/gan-file-format.md says what they promise */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(GAN_BUILD) && defined(_WIN32)
#define GAN_API __declspec(dllexport)
#elif defined(GAN_BUILD)
#define GAN_API __attribute__((visibility("default")))
#else
#define GAN_API
#endif

typedef enum gan_status {
    GAN_OK = 0,
    GAN_ERROR_ARGUMENT,    /* a null pointer, an impossible number, a buffer that is too small */
    GAN_ERROR_FILE,        /* the file can't be opened or read */
    GAN_ERROR_FORMAT,      /* not a .gan file */
    GAN_ERROR_VERSION,     /* a .gan file of a later format */
    GAN_ERROR_CORRUPT,     /* cut short, or changed since it was written */
    GAN_ERROR_UNSUPPORTED, /* a layer, size or chain of layers, or a GAN_CPU, that this library doesn't take */
    GAN_ERROR_MEMORY,      /* no memory, or more needed than max_memory allows */
    GAN_ERROR_THREAD,      /* a thread can't be started */
    GAN_ERROR_LABEL,       /* a label outside 0 .. classes-1; an array of labels, or gan_labels, without classes */
    GAN_ERROR_BUSY         /* the context is drawing; or a forked child's model was in use by another thread at the fork */
} gan_status;

typedef struct gan_model gan_model;
typedef struct gan_context gan_context;

enum { GAN_PRIOR_NORMAL = 0, GAN_PRIOR_UNIFORM = 1 };

/* What a model is.  `manifest` is as the file has it, JSON in UTF-8 if gan-export wrote it; a NUL follows its
 * manifest_size bytes.  It lives as long as the model. */
typedef struct gan_info {
    uint32_t latent_size, channels, height, width;
    uint32_t classes; /* 0: no labels */
    uint32_t prior;   /* GAN_PRIOR_... */
    uint64_t weights; /* bytes of weights in the file */
    const char *manifest;
    size_t manifest_size;
    const char *cpu; /* the kernels in use: "generic", "avx2", ... */
} gan_info;

/* How a context works; NULL or zeros give the defaults. */
typedef struct gan_options {
    uint32_t threads;    /* 0: gan_threads_default(); more than 1,024 are refused (GAN_ERROR_ARGUMENT) */
    uint32_t batch;      /* most pictures drawn at once, rounded up to a multiple of the threads; 0: 1.  More take turns */
    uint64_t max_memory; /* bytes for transformed weights (the whole model's) and scratch; 0: half of what the machine,
                            or its cgroup, has */
} gan_options;

enum { GAN_LABEL_RANDOM = -1, GAN_LABEL_ALL = -2 }; /* by the law of latents; index i has label i mod classes */

/* Which pictures.  Those of indices start .. start+count-1 of a seed, or those of latents given: seed and start then
 * choose nothing but the labels of GAN_LABEL_RANDOM (both) and GAN_LABEL_ALL (start). */
typedef struct gan_request {
    uint64_t seed, start, count;
    int64_t label;         /* a label for all, or GAN_LABEL_...; a model without classes ignores it */
    const int64_t *labels; /* count labels instead of `label`; NULL for none, as for a model without classes */
    const float *latents;  /* count x latent_size instead of those of seed and start, or NULL */
} gan_request;

/* Open a file, which is read whole and then no longer needed (`path` is UTF-8 on Windows), or a block of memory, which
 * must outlive the model and stay as it is.  Each open reads the environment's GAN_CPU: the name of kernels to use
 * instead of the best, as gan_info.cpu gives it; GAN_ERROR_UNSUPPORTED where this machine or library has none so named. */
GAN_API gan_status gan_open(const char *path, gan_model **model);
GAN_API gan_status gan_open_memory(const void *data, size_t size, gan_model **model);
/* Close after the last context of the model is freed: one that is left, or that draws meanwhile, would read freed
 * memory.  The library built for debugging (GAN_DEBUG) aborts instead.  NULL is fine. */
GAN_API void gan_close(gan_model *model);
GAN_API void gan_describe(const gan_model *model, gan_info *info);
/* The range of the last layer's values by the file; -1 and 1 where nothing bounds them. */
GAN_API void gan_range(const gan_model *model, float *low, float *high);

/* The cores that the calling thread may use, at most 1,024: what a context without a number of threads takes. */
GAN_API uint32_t gan_threads_default(void);
/* Bytes of scratch that a context with these options takes, and of all transformed weights that the model then holds,
 * other contexts' included.  Contexts share them; weights that no context uses any more are freed. */
GAN_API gan_status gan_context_size(gan_model *model, const gan_options *options, uint64_t *scratch, uint64_t *weights);
GAN_API gan_status gan_context_new(gan_model *model, const gan_options *options, gan_context **context);
GAN_API void gan_context_free(gan_context *context);
GAN_API uint32_t gan_context_threads(const gan_context *context);

/* Draw into `out`: uint8 (count, height, width, channels), clamp(floor(x * 127.5 + 128), 0, 255) of the last layer's
 * values x, brought from gan_range's low .. high to -1 .. 1. */
GAN_API gan_status gan_generate_bytes(gan_context *context, const gan_request *request, uint8_t *out, size_t out_size);
/* Draw into `out`: float (count, channels, height, width), as the last layer gives them; `out_size` counts floats. */
GAN_API gan_status gan_generate_floats(gan_context *context, const gan_request *request, float *out, size_t out_size);

/* The latents, float (count, latent_size), and the random labels of pictures start .. start+count-1. */
GAN_API gan_status gan_latents(const gan_model *model, uint64_t seed, uint64_t start, uint64_t count, float *out);
GAN_API gan_status gan_labels(const gan_model *model, uint64_t seed, uint64_t start, uint64_t count, int64_t *out);

/* One line of English for a status, and "major.minor.patch" of the library. */
GAN_API const char *gan_status_string(gan_status status);
GAN_API const char *gan_version(void);

#ifdef __cplusplus
}
#endif
#endif
