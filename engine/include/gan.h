/**
 * @file gan.h
 * Generate images from a .gan file.  This header is the whole public interface of the library, in C11 and C++17.
 *
 *     #include <stdio.h>
 *     #include <stdlib.h>
 *     #include "gan.h"
 *     int main(void) {
 *         gan_model *model = NULL;
 *         gan_context *context = NULL;
 *         gan_info info = {.size = sizeof info};
 *         gan_status status = gan_open("g.gan", NULL, &model);
 *         if (status == GAN_OK) status = gan_context_new(model, NULL, &context);
 *         gan_describe(model, &info);
 *         const size_t size = (size_t)3 * info.height * info.width;
 *         const gan_request request = {.seed = 7, .count = 1};
 *         const gan_output output = {.data = malloc(size), .data_size = size, .format = GAN_RGB8};
 *         if (status == GAN_OK) status = gan_generate(context, &request, &output);
 *         if (status == GAN_OK) printf("P6 %u %u 255\n", info.width, info.height), fwrite(output.data, 1, size, stdout);
 *         if (status != GAN_OK) fprintf(stderr, "%s\n", gan_status_string(status));
 *         free(output.data), gan_context_free(context), gan_close(model);
 *         return status != GAN_OK;
 *     }
 *
 * Structures begin with their size in bytes.  A later version of the library may add members at the end of one, and the
 * size says which members a program knows: set it to `sizeof` of the structure.  Zero means the structure as it was in
 * version 0.1, so a structure of zeros is valid, and it asks for the defaults.  The library reads members that a program
 * doesn't know as zeros, and refuses (GAN_ERROR_UNSUPPORTED) a newer program's members that it doesn't know itself
 * unless they are zeros.  It writes no more of a structure than the program knows.  Initialize each one: sizes of
 * structures that the library fills are read too.
 *
 * Any number of threads may use a model at once.  A context (scratch memory and threads) runs one call at a time and
 * returns GAN_ERROR_BUSY to a second one.  The library prints nothing, never ends the program, reads no environment
 * variable, keeps no global state, and allocates nothing while it generates (while it applies, only at the first images
 * of a size).  The threads that it starts are named "gan" and block all signals but those of their own faults
 * (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT).
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

#include <stddef.h>
#include <stdint.h>

/** The version of this header; the build and the packages take it from here.  gan_version() returns the library's. */
#define GAN_VERSION_MAJOR 0
#define GAN_VERSION_MINOR 1 /**< of this header; before 1.0 a new one may break programs */
#define GAN_VERSION_PATCH 0 /**< of this header */

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

/** What every function that can fail returns: one of the constants below.  Later versions may add constants. */
typedef int32_t gan_status;
enum {
    GAN_OK = 0,
    GAN_ERROR_ARGUMENT = 1,    /**< a null pointer, a number out of range, or a buffer that is too small */
    GAN_ERROR_FILE = 2,        /**< the file can't be opened or read */
    GAN_ERROR_FORMAT = 3,      /**< not a .gan file */
    GAN_ERROR_VERSION = 4,     /**< a .gan file of a later format version */
    GAN_ERROR_CORRUPT = 5,     /**< the file is cut short, or was changed since it was written */
    GAN_ERROR_UNSUPPORTED = 6, /**< a layer, size, member or kernels that this library doesn't have or can't run */
    GAN_ERROR_MEMORY = 7,      /**< no memory, or max_memory is too little */
    GAN_ERROR_THREAD = 8,      /**< a thread can't be started */
    GAN_ERROR_LABEL = 9,       /**< a label outside 0 .. classes-1, or labels for a model without classes */
    GAN_ERROR_BUSY = 10, /**< the context is generating, or another thread used the model at this process's fork */
    GAN_CANCELED = 11 /**< the program's own callback stopped the call */
};

/** An open .gan file. */
typedef struct gan_model gan_model;
/** What generates images of a model: scratch memory and threads. */
typedef struct gan_context gan_context;

/** A size of a buffer for a message (gan_open_options.message, gan_context_options.message) that holds any of them. */
enum { GAN_MESSAGE_SIZE = 256 };

/** The distribution of a model's latents (gan_info.prior). */
enum {
    GAN_PRIOR_NORMAL = 0,
    GAN_PRIOR_UNIFORM = 1,
    GAN_PRIOR_NONE =
        2 /**< none: "latents" are what another network gives, such as StyleGAN's w; the request has them */
};

/** How a file is opened.  NULL, or zeros, give the defaults. */
typedef struct gan_open_options {
    size_t size; /**< sizeof(gan_open_options), or 0 */
    const char *kernels; /**< the kernels to use, named as gan_info.kernels names them; NULL: this machine's fastest */
    char *message; /**< NULL, or gets one line that explains a failure: the layer, its value, what is allowed */
    size_t message_size; /**< bytes of it, at least 1; GAN_MESSAGE_SIZE is enough */
} gan_open_options;

/** What comes out of a model (gan_info.kind).  In what follows, "image" means any of them. */
enum {
    GAN_KIND_IMAGE = 0, /**< (channels, height, width) */
    GAN_KIND_VOLUME = 1, /**< (channels, depth, height, width) */
    GAN_KIND_SIGNAL = 2, /**< (channels, width): its height is 1 */
    GAN_KIND_VALUES = 3 /**< rows of numbers for another model, such as StyleGAN's w for each layer, and no image:
                             `width` rows of `channels` numbers, its height is 1.  GAN_FLOAT_INTERLEAVED gives row by
                             row; formats of bytes are refused */
};

/** What a model is. */
typedef struct gan_info {
    size_t size; /**< sizeof(gan_info), or 0 */
    uint32_t latent_size; /**< 0: the model takes images (gan_describe_input) */
    uint32_t classes; /**< 0: the model takes no labels */
    uint32_t prior; /**< GAN_PRIOR_... */
    uint32_t channels; /**< of the image */
    uint32_t height; /**< of the image; if the model takes images, of what it makes of the smallest one */
    uint32_t width; /**< likewise */
    float low; /**< the least of the image's values, as the file states it; -1 if nothing bounds them */
    float high; /**< the greatest of them; 1 if nothing bounds them */
    uint64_t weights; /**< bytes of weights in the file */
    const char *manifest; /**< as in the file (gan-export writes JSON in UTF-8), then a NUL; valid until gan_close */
    size_t manifest_size; /**< without the NUL */
    const char *kernels; /**< those in use: "generic", "avx2", "avx512", "avx512vnni", "neon", "simd128" */
    uint32_t kind; /**< GAN_KIND_... */
    uint32_t depth; /**< of a volume: its image is depth x height x width; 0 for others */
    const char *arithmetic; /**< the narrowest products of contexts with GAN_ARITHMETIC_FAST: "float32" or "int16" */
    uint32_t scalars; /**< numbers that each image takes beside its latent and label, such as StyleGAN's psi */
    uint64_t noise_size; /**< numbers of noise that each image takes: those of all its planes, 0 for none; if the model
                              takes images, for the smallest one */
} gan_info;

/** The images that a model takes: all zeros for a model of latents.  A height or a width is a multiple of its `multiple`
 * from `least` to `most`. */
typedef struct gan_input {
    size_t size; /**< sizeof(gan_input), or 0 */
    uint32_t channels; /**< of the images */
    uint32_t least_height; /**< of an image, in pixels */
    uint32_t multiple_height; /**< what a height is a multiple of */
    uint32_t most_height; /**< of an image */
    uint32_t least_width; /**< of an image, in pixels */
    uint32_t multiple_width; /**< what a width is a multiple of */
    uint32_t most_width; /**< of an image */
    float low; /**< the least value, as the file states it; -1 if nothing bounds them */
    float high; /**< the greatest one; 1 if nothing bounds them */
} gan_input;

/** A program's own threads, for gan_context_options.parallel: call work(arg, i) once for each i of 0 .. n-1, on any
 * threads, together or one after another, and return when all of them have returned. */
typedef void (*gan_parallel)(void *user, void (*work)(void *arg, int i), void *arg, int n);

/** Values of gan_context_options.arithmetic. */
enum {
    GAN_ARITHMETIC_FAST = 0, /**< products as narrow as the file allows and this machine is faster with */
    GAN_ARITHMETIC_FLOAT32 = 1 /**< products of float32 alone */
};

/** How a context works.  NULL, or zeros, give the defaults. */
typedef struct gan_context_options {
    size_t size; /**< sizeof(gan_context_options), or 0 */
    uint64_t max_memory; /**< bytes for scratch and for the whole model's transformed weights; 0: half of the memory of
                                the machine or its cgroup */
    uint32_t threads; /**< at most 1,024; 0: gan_threads_default() */
    uint32_t batch; /**< most images computed at once, rounded up to a multiple of the threads; longer requests are
                                split; 0: 1 */
    gan_parallel parallel; /**< NULL: the context starts threads-1 threads.  Otherwise it starts none, and calls this
                                with n = threads for each batch of work */
    void *user; /**< the first argument of `parallel` */
    char *message; /**< NULL, or gets one line that explains a failure of gan_context_new */
    size_t message_size; /**< bytes of it, at least 1; GAN_MESSAGE_SIZE is enough */
    uint32_t arithmetic; /**< GAN_ARITHMETIC_...: it matters for files of `gan-export native --arithmetic fast` */
} gan_context_options;

/** What a context is made of. */
typedef struct gan_context_info {
    size_t size; /**< sizeof(gan_context_info), or 0 */
    uint64_t scratch; /**< bytes of scratch memory */
    uint64_t weights; /**< bytes of the model's transformed weights when the context was made, with its own */
    uint32_t threads; /**< as many as it has */
    uint32_t batch; /**< images that it computes at once at most */
    uint32_t steps; /**< what gan_describe_step describes: layers, without those that are part of another */
} gan_context_info;

/** How a context computes one step. */
typedef struct gan_step_info {
    size_t size; /**< sizeof(gan_step_info), or 0 */
    uint64_t weights; /**< bytes of the step's transformed weights */
    uint64_t output; /**< bytes of what it computes, for one image */
    double cycles; /**< of one thread for one image, as the cost model of docs/engine.md estimates */
    uint32_t channels; /**< of what it computes */
    uint32_t height; /**< of what it computes; 0 for a vector */
    uint32_t width; /**< likewise */
    uint32_t points; /**< per side of a tile of a transformed method; 0 for other methods */
    const char *operation; /**< the operation's name in docs/gan-file-format.md: "CONV_TRANSPOSE" */
    const char *method; /**< "direct", "fold", "strassen", "toom3", "toom4", "toom5", "winograd", "winograd3", or "rows"
                             for no product */
    const char *arithmetic; /**< of its products: "float32" or "int16" */
    char layer[64]; /**< the layer's name in the file, cut to 63 bytes; "" in files that don't name layers */
    uint32_t depth; /**< of what it computes, if it is a volume; 0 for others */
} gan_step_info;

/** Values of gan_request.labeling. */
enum {
    GAN_LABELS_RANDOM = 0, /**< a random label for each image (docs/latent-rng.md) */
    GAN_LABELS_ONE = 1, /**< gan_request.label for all images */
    GAN_LABELS_ALL = 2 /**< label i mod classes for index i */
};

/** Which images to generate.  Image i of a request, 0 .. count-1, has the seed seeds[i], or else `seed`; the index
 * indices[i], or else start + i, or else with `seeds` alone `start`; and the latent and label of these two
 * (docs/latent-rng.md), unless latents or labels are given.  Zeros, with a count, are images of seed 0 with random
 * labels.  An array that isn't NULL has at least `count` entries, and its size counts its numbers. */
typedef struct gan_request {
    size_t size; /**< sizeof(gan_request), or 0 */
    uint64_t seed; /**< of all images, unless `seeds` is given */
    uint64_t start; /**< the first image's index, unless `indices` is given */
    uint64_t count; /**< number of images */
    int64_t label; /**< for GAN_LABELS_ONE */
    uint32_t labeling; /**< GAN_LABELS_..., ignored by a model without classes */
    float latent_scale; /**< what latents are multiplied by, given ones too; 0: 1 */
    const uint64_t *seeds; /**< NULL, or each image's seed */
    size_t seeds_size; /**< numbers in it */
    const uint64_t *indices; /**< NULL, or each image's index */
    size_t indices_size; /**< numbers in it */
    const int64_t *labels; /**< NULL, or each image's label, instead of `labeling`; NULL for a model without classes */
    size_t labels_size; /**< numbers in it */
    const float *latents; /**< NULL, or each image's latent: count x latent_size */
    size_t latents_size; /**< numbers in it */
    const float *scalars; /**< NULL: each is 1; or count x gan_info.scalars, in the file's order */
    size_t scalars_size; /**< numbers in it */
    const float *noise; /**< NULL: that of the seed and the index (docs/latent-rng.md); or count x noise_size, plane by
                             plane in the file's order */
    size_t noise_size; /**< numbers in it */
} gan_request;

/** How pixels lie in memory (gan_output.format, gan_images.format).  Images that come out as bytes are mapped from
 * gan_info's low .. high to -1 .. 1, and then clamp(floor(x * 127.5 + 128), 0, 255); images that go in as bytes are
 * mapped from 0 .. 255 to gan_input's low .. high.  Floats are in the model's own range.  Of a volume, the slices lie one
 * after another, as if it were an image of height depth x height, and its strides are those of that image (not
 * negative); volumes and signals have no format of pictures, GAN_GRAY8 to GAN_BGRA8. */
enum {
    GAN_BYTES = 0, /**< the model's channels in turn, however many: (height, width, channels); of a volume (depth,
                                    height, width, channels), of a signal (width, channels) */
    GAN_GRAY8 = 1, /**< of a model with one channel */
    GAN_RGB8 = 2, /**< of one channel, three times, or of three */
    GAN_RGBA8 = 3, /**< of one, three or four channels; alpha is 255 unless it is the fourth.  Going in, of
                                    three, without alpha, or four */
    GAN_BGRA8 = 4, /**< the same in the order of Windows bitmaps and Direct3D */
    GAN_FLOAT_PLANAR = 5, /**< float32, channel by channel: (channels, height, width); of a volume (channels, depth,
                                    height, width), of a signal (channels, width) */
    GAN_FLOAT_INTERLEAVED = 6 /**< float32, pixel by pixel: (height, width, channels) */
};

/** Called on the calling thread when images first .. first+count-1 of a request lie at `images`, as gan_output
 * describes them.  Return 0 to go on, anything else to stop: then the call returns GAN_CANCELED. */
typedef int (*gan_done)(void *user, uint64_t first, uint64_t count, void *images);

/** Where images go.  Strides are in bytes; 0 means that nothing lies between two rows or two images.  Float formats
 * need an address and strides that are multiples of 4.  Bytes between rows and images are not touched. */
typedef struct gan_output {
    size_t size; /**< sizeof(gan_output), or 0 */
    void *data; /**< the first byte of the first image, whatever the strides */
    size_t data_size; /**< bytes; those of all images, or with `done` at least those of one */
    ptrdiff_t row_stride; /**< from row to row (of a plane, if planar); negative: the last row lies first */
    ptrdiff_t image_stride; /**< from image to image, at least height x row_stride (x channels, if planar) */
    gan_done done; /**< NULL, or called for each batch (gan_context_options.batch) as it is finished.  If `data`
                                 holds fewer images than are asked for, each batch replaces the one before */
    void *user; /**< the first argument of `done` */
    uint32_t format; /**< GAN_BYTES, ... */
} gan_output;

/** Images that go in, all of one size.  Format and strides are as those of gan_output.  Noise, which a model with dropout
 * takes, is that of the seed and of the index start + i for image i (docs/latent-rng.md), unless it is given. */
typedef struct gan_images {
    size_t size; /**< sizeof(gan_images), or 0 */
    uint64_t count; /**< number of images */
    const void *data; /**< the first byte of the first image, whatever the strides */
    size_t data_size; /**< bytes, at least those of all images */
    ptrdiff_t row_stride; /**< as in gan_output */
    ptrdiff_t image_stride; /**< as in gan_output */
    uint32_t height; /**< of each image, in pixels */
    uint32_t width; /**< of each image, in pixels */
    uint32_t format; /**< GAN_BYTES, ... */
    uint64_t seed; /**< of all images' noise; of no effect on a model without noise, as the members after it */
    uint64_t start; /**< the first image's index */
    const float
        *noise; /**< NULL: that of the seed and the index; or each image's, input by input in the file's order, and
                             channel by channel */
    size_t noise_size; /**< numbers in it, at least those of all images */
} gan_images;

/** Open the file at `path` (UTF-8 on Windows) with `options`, or the defaults if they are NULL.  The file is read whole
 * and can then be changed or deleted.  Returns GAN_OK and a model in *model, which gan_close frees; on failure *model is
 * NULL.  Any thread may call it at any time. */
GAN_API gan_status gan_open(const char *path, const gan_open_options *options, gan_model **model);
/** Open a file that lies in memory: `size` bytes at `data`, which must stay as they are until gan_close.  Otherwise as
 * gan_open. */
GAN_API gan_status gan_open_memory(const void *data, size_t size, const gan_open_options *options, gan_model **model);
/** Close a model, which may be NULL.  Free every context of the model first; no other call may use it meanwhile. */
GAN_API void gan_close(gan_model *model);
/** Describe a model in *info.  Does nothing if either is NULL.  Thread-safe. */
GAN_API void gan_describe(const gan_model *model, gan_info *info);
/** Describe the images that a model takes in *input.  Does nothing if either is NULL.  Thread-safe. */
GAN_API void gan_describe_input(const gan_model *model, gan_input *input);
/** Get the height and width of the image that comes out for one of `height` and `width`.  Returns GAN_ERROR_ARGUMENT for
 * a size that the model doesn't take, and for a model of latents.  Thread-safe. */
GAN_API gan_status gan_output_size(const gan_model *model, uint32_t height, uint32_t width, uint32_t *out_height,
                                   uint32_t *out_width);

/** Get the default number of threads: the physical cores that the calling thread may use, no more than its cgroup's
 * quota, and at most 1,024.  Cores that share their arithmetic with another (hyper-threads) count once.  Thread-safe. */
GAN_API uint32_t gan_threads_default(void);
/** Get the memory that gan_context_new would take with these options: bytes of scratch in *scratch, and in *weights those
 * of transformed weights that the model would then hold in all.  Contexts share transformed weights; those that no
 * context uses are freed.  For a model of images, of its smallest ones.  Returns what gan_context_new would.
 * Thread-safe. */
GAN_API gan_status gan_context_size(gan_model *model, const gan_context_options *options, uint64_t *scratch,
                                    uint64_t *weights);
/** Get the same of a model that takes images, for images of `height` and `width`, for which gan_apply would take it.
 * Returns what gan_apply would.  Thread-safe. */
GAN_API gan_status gan_apply_size(gan_model *model, const gan_context_options *options, uint32_t height, uint32_t width,
                                  uint64_t *scratch, uint64_t *weights);
/** Make a context: choose how to compute each layer, transform the weights, start the threads.  Returns GAN_OK and a
 * context in *context, which gan_context_free frees; on failure *context is NULL.  The model must outlive the context.
 * Thread-safe. */
GAN_API gan_status gan_context_new(gan_model *model, const gan_context_options *options, gan_context **context);
/** Free a context, which may be NULL and must not be generating. */
GAN_API void gan_context_free(gan_context *context);
/** Describe a context in *info.  Does nothing if either is NULL.  Call it while the context isn't generating. */
GAN_API void gan_describe_context(const gan_context *context, gan_context_info *info);
/** Describe step `index` of a context in *step, 0 .. gan_context_info.steps-1.  Returns GAN_ERROR_ARGUMENT beyond these,
 * and for a model of images that the context hasn't been given any.  Call it while the context isn't generating. */
GAN_API gan_status gan_describe_step(const gan_context *context, uint32_t index, gan_step_info *step);

/** Generate the images of a request to *output.  Returns GAN_OK when all are there, GAN_CANCELED if output->done stopped
 * it; on other failures the content of the buffer is undefined.  One call at a time on a context; others return
 * GAN_ERROR_BUSY. */
GAN_API gan_status gan_generate(gan_context *context, const gan_request *request, const gan_output *output);
/** Compute images from images, to *output: of the size that gan_output_size gives.  All threads compute one image
 * together; gan_context_options.batch has no effect, and output->done is called for each image.
 *
 * The first images of a size, and each change of size, choose how to compute each layer and allocate the memory for it.
 * Returns GAN_ERROR_ARGUMENT for a size that the model doesn't take, GAN_ERROR_UNSUPPORTED for one that a layer can't
 * have, GAN_ERROR_MEMORY if it needs more than max_memory; the context can then be used with other sizes.  Otherwise as
 * gan_generate. */
GAN_API gan_status gan_apply(gan_context *context, const gan_images *images, const gan_output *output);
/** Explain the last failure of gan_generate or gan_apply on this context in one line of English; "" if none failed.
 * Valid until the context's next call.  Call it while the context isn't generating. */
GAN_API const char *gan_context_message(const gan_context *context);

/** Get the latents of a request's images: request->count x latent_size floats to `out`, which holds `out_size` floats.
 * Returns GAN_ERROR_ARGUMENT for a model of images and for GAN_PRIOR_NONE.  Thread-safe. */
GAN_API gan_status gan_latents(const gan_model *model, const gan_request *request, float *out, size_t out_size);
/** Get the labels of a request's images: request->count numbers to `out`, which holds `out_size` numbers.  Returns
 * GAN_ERROR_LABEL for a model without classes.  Thread-safe. */
GAN_API gan_status gan_labels(const gan_model *model, const gan_request *request, int64_t *out, size_t out_size);
/** Get the latent that lies the share `at` (0 .. 1) of the way from one latent to another: on the great circle for a
 * normal prior, on a straight line for a uniform one.  Each of the three is `size` floats, any number of a model's
 * latents in turn.  The result is the same to the bit on every processor.  `out` may be `from` or `to`.  Returns
 * GAN_ERROR_ARGUMENT for other shares and for sizes that aren't a multiple of latent_size.  Thread-safe. */
GAN_API gan_status gan_interpolate(const gan_model *model, const float *from, const float *to, double at, float *out,
                                   size_t size);

/** Describe a status in one line of English.  Thread-safe. */
GAN_API const char *gan_status_string(gan_status status);
/** Get the library's version, "major.minor.patch".  Thread-safe. */
GAN_API const char *gan_version(void);

#ifdef __cplusplus
}
#endif
#endif
