/**
 * gan.h: generate images from a .gan file.  This header is the whole public interface of the library.
 *
 *     gan_model *model = NULL;
 *     gan_context *context = NULL;
 *     gan_info info;
 *     gan_status status = gan_open("g.gan", &model);
 *     if (status == GAN_OK) status = gan_context_new(model, NULL, &context);
 *     if (status == GAN_OK) {
 *         gan_describe(model, &info);
 *         const size_t size = (size_t)info.channels * info.height * info.width;
 *         uint8_t *pixels = malloc(size);
 *         const gan_request request = {.seed = 7, .count = 1, .label = GAN_LABEL_RANDOM};
 *         status = pixels ? gan_generate_bytes(context, &request, pixels, size) : GAN_ERROR_MEMORY;
 *         free(pixels);
 *     }
 *     if (status != GAN_OK) fprintf(stderr, "%s\n", gan_status_string(status));
 *     gan_context_free(context);
 *     gan_close(model);
 *
 * Any number of threads may use a model at once.  A context (scratch memory and a pool of threads) runs one call at a
 * time and returns GAN_ERROR_BUSY to a second one.  The library prints nothing, never ends the program, keeps no global
 * state, and allocates nothing while it generates (while it applies, only at the first images of a size).  The threads of a pool block all signals but those of their own
 * faults (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT).
 *
 * After a fork, the child can use what was open: earlier contexts generate with the calling thread alone, and new ones
 * have a pool.  What another thread was using at the fork returns GAN_ERROR_BUSY.  No call waits for a thread that the
 * child doesn't have.
 *
 * The image of a seed and an index is the same to the bit from one context, whatever else is asked for in the same call
 * and however its threads share the work.  Between contexts, processors and releases, docs/gan-file-format.md says what
 * may differ.  That page also describes the file, and docs/latent-rng.md how a seed becomes images.
 */
#ifndef GAN_H
#define GAN_H

/** The version of this header, from which the build takes it; gan_version() returns the library's. */
#define GAN_VERSION "0.1.0"

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

/** What every function that can fail returns. */
typedef enum gan_status {
    GAN_OK = 0,
    GAN_ERROR_ARGUMENT,    /**< a null pointer, a number out of range, or a buffer that is too small */
    GAN_ERROR_FILE,        /**< the file can't be opened or read */
    GAN_ERROR_FORMAT,      /**< not a .gan file */
    GAN_ERROR_VERSION,     /**< a .gan file of a later format version */
    GAN_ERROR_CORRUPT,     /**< the file is cut short, or was changed since it was written */
    GAN_ERROR_UNSUPPORTED, /**< a layer or size that this library doesn't run, or kernels (GAN_CPU) */
    GAN_ERROR_MEMORY, /**< no memory, or max_memory is too little */
    GAN_ERROR_THREAD, /**< a thread can't be started */
    GAN_ERROR_LABEL, /**< a label outside 0 .. classes-1, or labels for a model without classes */
    GAN_ERROR_BUSY /**< the context is generating, or another thread was using the model when this process forked */
} gan_status;

/** An open .gan file. */
typedef struct gan_model gan_model;
/** What generates images of a model: scratch memory and a pool of threads. */
typedef struct gan_context gan_context;

/** The distribution of a model's latents (gan_info.prior). */
enum { GAN_PRIOR_NORMAL = 0, GAN_PRIOR_UNIFORM = 1 };

/** What a model is. */
typedef struct gan_info {
    uint32_t latent_size; /**< 0: the model takes images (gan_describe_input) */
    uint32_t channels, height, width; /**< of the image; if the model takes images, of its smallest one */
    uint32_t classes; /**< 0: the model takes no labels */
    uint32_t prior; /**< GAN_PRIOR_... */
    uint64_t weights; /**< bytes of weights in the file */
    const char *manifest; /**< as in the file (gan-export writes JSON in UTF-8), then a NUL; valid until gan_close */
    size_t manifest_size; /**< without the NUL */
    const char *cpu; /**< the kernels in use: "generic", "avx2", ... */
} gan_info;

/** How a context works.  NULL, or zeros, give the defaults. */
typedef struct gan_options {
    uint32_t threads; /**< at most 1,024; 0: gan_threads_default() */
    uint32_t batch; /**< most images computed at once, rounded up to a multiple of the threads; longer requests are
                              split; 0: 1 */
    uint64_t
        max_memory; /**< bytes for scratch and for the whole model's transformed weights; 0: half of the memory of the
                              machine or its cgroup */
} gan_options;

/** Values of gan_request.label: a random label for each image (docs/latent-rng.md); label i mod classes for index i. */
enum { GAN_LABEL_RANDOM = -1, GAN_LABEL_ALL = -2 };

/** Which images to generate: those of the indices start .. start+count-1 of a seed, or those of given latents.  With
 * latents, seed and start only determine the labels of GAN_LABEL_RANDOM (both) and GAN_LABEL_ALL (start). */
typedef struct gan_request {
    uint64_t seed, start, count;
    int64_t label; /**< one label for all, or GAN_LABEL_...; ignored by a model without classes */
    const int64_t *labels; /**< `count` labels instead of `label`, or NULL; must be NULL for a model without classes */
    const float *latents; /**< count x latent_size, or NULL */
} gan_request;

/** The images that a model takes: all zeros for a model of latents.  A height or a width is a multiple of its `multiple`
 * from `least` to `most`. */
typedef struct gan_input {
    uint32_t channels;
    uint32_t least_height, multiple_height, most_height;
    uint32_t least_width, multiple_width, most_width;
    float low, high; /**< the range of the values, as the file states it; -1 and 1 if nothing bounds them */
} gan_input;

/** Images that go in, of one size: as bytes (count, height, width, channels), which are mapped from 0 .. 255 to
 * gan_input's low .. high, or as floats (count, channels, height, width).  One of the two is NULL. */
typedef struct gan_images {
    uint64_t count;
    uint32_t height, width;
    const uint8_t *bytes;
    const float *floats;
} gan_images;

/** Open a file.  It is read whole and can then be changed or deleted.  `path` is UTF-8 on Windows.
 *
 * Each call reads the environment variable GAN_CPU: the name of the kernels to use (as gan_info.cpu gives it), not
 * the fastest; GAN_ERROR_UNSUPPORTED if this machine can't run them.  On failure, *model is NULL. */
GAN_API gan_status gan_open(const char *path, gan_model **model);
/** Open a file in memory, which must stay as it is until gan_close.  Otherwise as gan_open. */
GAN_API gan_status gan_open_memory(const void *data, size_t size, gan_model **model);
/** Close a model.  Free every context of the model first.  NULL is allowed. */
GAN_API void gan_close(gan_model *model);
/** Describe a model. */
GAN_API void gan_describe(const gan_model *model, gan_info *info);
/** Get the range of the image's values, as the file states it; -1 and 1 if nothing bounds them.  Either may be NULL. */
GAN_API void gan_range(const gan_model *model, float *low, float *high);

/** Describe the images that a model takes. */
GAN_API void gan_describe_input(const gan_model *model, gan_input *input);
/** Get the height and width of the image that comes out for one of this height and width.  GAN_ERROR_ARGUMENT for a size
 * that the model doesn't take, and for a model of latents. */
GAN_API gan_status gan_output_size(const gan_model *model, uint32_t height, uint32_t width, uint32_t *out_height,
                                   uint32_t *out_width);

/** Get the default number of threads: the cores that the calling thread may use, at most 1,024. */
GAN_API uint32_t gan_threads_default(void);
/** Get the memory that gan_context_new would take with these options: bytes of scratch, and of transformed weights
 * that the model would then hold in all.  Contexts share transformed weights; those that no context uses are freed. */
GAN_API gan_status gan_context_size(gan_model *model, const gan_options *options, uint64_t *scratch, uint64_t *weights);
/** Get the same for a model that takes images, at a height and width, for which gan_apply_bytes and gan_apply_floats
 * would take it. */
GAN_API gan_status gan_apply_size(gan_model *model, const gan_options *options, uint32_t height, uint32_t width,
                                  uint64_t *scratch, uint64_t *weights);
/** Make a context: choose how to compute each layer, transform the weights, start the threads.  On failure, *context is
 * NULL.  The model must outlive the context. */
GAN_API gan_status gan_context_new(gan_model *model, const gan_options *options, gan_context **context);
/** Free a context, which must not be generating.  NULL is allowed. */
GAN_API void gan_context_free(gan_context *context);
/** Get the number of threads that a context generates with. */
GAN_API uint32_t gan_context_threads(const gan_context *context);

/** Generate images as bytes, (count, height, width, channels).  Values are mapped from gan_range's low .. high to
 * -1 .. 1, and then to bytes: clamp(floor(x * 127.5 + 128), 0, 255).  `out_size` counts bytes. */
GAN_API gan_status gan_generate_bytes(gan_context *context, const gan_request *request, uint8_t *out, size_t out_size);
/** Generate images as floats, (count, channels, height, width), in the model's own range.  `out_size` counts floats. */
GAN_API gan_status gan_generate_floats(gan_context *context, const gan_request *request, float *out, size_t out_size);

/** Compute images from images, as gan_generate_bytes returns them: (count, height, width, channels), of the size that
 * gan_output_size gives.  All threads compute one image together; gan_options.batch has no effect.
 *
 * The first images of a size, and each change of size, choose how to compute each layer and allocate the memory for it.
 * GAN_ERROR_ARGUMENT for a size that the model doesn't take, GAN_ERROR_UNSUPPORTED for one that a layer can't have,
 * GAN_ERROR_MEMORY if it needs more than max_memory; the context can then be used with other sizes. */
GAN_API gan_status gan_apply_bytes(gan_context *context, const gan_images *images, uint8_t *out, size_t out_size);
/** Compute images from images, as gan_generate_floats returns them.  Otherwise as gan_apply_bytes. */
GAN_API gan_status gan_apply_floats(gan_context *context, const gan_images *images, float *out, size_t out_size);

/** Get the latents of the images start .. start+count-1 of a seed: count x latent_size floats. */
GAN_API gan_status gan_latents(const gan_model *model, uint64_t seed, uint64_t start, uint64_t count, float *out);
/** Get the random labels of the same images: `count` of them.  GAN_ERROR_LABEL for a model without classes. */
GAN_API gan_status gan_labels(const gan_model *model, uint64_t seed, uint64_t start, uint64_t count, int64_t *out);

/** Describe a status in one line of English. */
GAN_API const char *gan_status_string(gan_status status);
/** Get the library's version, "major.minor.patch". */
GAN_API const char *gan_version(void);

#ifdef __cplusplus
}
#endif
#endif
